//! How Drowse signs in at a NATS server. Secrets come from files, never from the configuration itself.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nkeys::KeyPair;

/// Where the credentials of one connection come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum CredentialsSource {
    /// Nothing: the server lets everybody in, or everybody with the right certificate.
    #[default]
    None,
    /// A user and the file with its password.
    Password {
        /// The user.
        user: String,
        /// The file.
        file: PathBuf,
    },
    /// A file with a token.
    Token(PathBuf),
    /// A `.creds` file, as `nsc` writes it: a JWT and the seed of its key.
    Creds(PathBuf),
    /// A file with the seed of an nkey.
    Nkey(PathBuf),
}

/// What is shown to a server. Shows nobody its secrets otherwise.
#[derive(Clone)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// A key that signs the server's challenge.
    Key {
        /// The key.
        key: Arc<KeyPair>,
        /// What an operator says about that key, if the server works with JWTs.
        jwt: Option<String>,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Password { .. } => "password",
            Self::Token(_) => "token",
            Self::Key { jwt: None, .. } => "nkey",
            Self::Key { jwt: Some(_), .. } => "creds",
        })
    }
}

/// What is wrong with a file of credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read.
    #[error("failed to read {}: {error}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It holds something else.
    #[error("{} {what}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl CredentialsSource {
    /// Reads the files. To be done again for each new connection: they may have been renewed.
    pub fn load(&self) -> Result<Credentials, CredentialsError> {
        match self {
            Self::None => Ok(Credentials::None),
            Self::Password { user, file } => {
                Ok(Credentials::Password { user: user.clone(), password: secret(file)? })
            }
            Self::Token(file) => Ok(Credentials::Token(secret(file)?)),
            Self::Nkey(file) => {
                let text = read(file)?;
                let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
                let seed = seed.ok_or_else(|| content(file, "has no seed of a user key (SU...)"))?;
                Ok(Credentials::Key { key: key(file, seed)?, jwt: None })
            }
            Self::Creds(file) => {
                let text = read(file)?;
                let jwt = block(&text, "USER JWT").ok_or_else(|| content(file, "has no NATS USER JWT"))?;
                let seed = block(&text, "USER NKEY SEED");
                let seed = seed.ok_or_else(|| content(file, "has no USER NKEY SEED"))?;
                Ok(Credentials::Key { key: key(file, seed)?, jwt: Some(jwt.to_owned()) })
            }
        }
    }
}

fn read(file: &Path) -> Result<String, CredentialsError> {
    std::fs::read_to_string(file).map_err(|error| CredentialsError::Read { file: file.to_owned(), error })
}

fn content(file: &Path, what: &'static str) -> CredentialsError {
    CredentialsError::Content { file: file.to_owned(), what }
}

/// The first line of a file.
fn secret(file: &Path) -> Result<String, CredentialsError> {
    let text = read(file)?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() { Err(content(file, "is empty")) } else { Ok(line.to_owned()) }
}

fn key(file: &Path, seed: &str) -> Result<Arc<KeyPair>, CredentialsError> {
    KeyPair::from_seed(seed).map(Arc::new).map_err(|_| content(file, "has a seed that is not one"))
}

/// What stands between the dashed lines `BEGIN ... name` and `END ... name`.
fn block<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with('-') && line.contains("BEGIN") && line.contains(name))?;
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_creds_file_has_a_jwt_and_a_seed() {
        let seed = KeyPair::new_user().seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\nabc.def.ghi\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let written = file(&text);
        let read = CredentialsSource::Creds(written.path().to_owned()).load().unwrap();
        let Credentials::Key { key, jwt } = read else { panic!("{read:?}") };
        assert_eq!((jwt.as_deref(), key.seed().unwrap()), (Some("abc.def.ghi"), seed));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let written = file("nothing of use\n");
        let path = written.path().to_owned();
        for source in [CredentialsSource::Creds(path.clone()), CredentialsSource::Nkey(path.clone())] {
            let error = source.load().unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
        let empty = file("\n");
        assert!(CredentialsSource::Token(empty.path().to_owned()).load().is_err());
        assert!(CredentialsSource::Token("/does/not/exist".into()).load().is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let written = file("hush\n");
        let source = CredentialsSource::Password { user: "u".to_owned(), file: written.path().to_owned() };
        assert_eq!(format!("{:?}", source.load().unwrap()), "password");
    }
}
