//! The secret that lets somebody use the admin API from anywhere.

use std::fmt;
use std::hint::black_box;
use std::path::{Path, PathBuf};

/// Short enough to type, too long to guess over a network.
const MIN_BYTES: usize = 16;
/// What a header line may hold with room to spare.
const MAX_BYTES: usize = 1024;

/// A bearer token. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("failed to read the token from {path}: {error}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not one.
    #[error(
        "the token is not {MIN_BYTES} to {MAX_BYTES} printable ASCII characters without spaces; make one with: \
         head -c 24 /dev/urandom | base64"
    )]
    Unfit,
}

impl Token {
    /// A token from its text; spaces and line ends around it do not count.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let fit = (MIN_BYTES..=MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fit { Ok(Self(text.to_owned())) } else { Err(TokenError::Unfit) }
    }

    /// The token in a file.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::new(&text),
            Err(error) => Err(TokenError::Read { path: path.to_owned(), error }),
        }
    }

    /// For the `Authorization` header of a request that we make.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether this is the one, in a time that tells nothing but its length.
    pub(super) fn is(&self, other: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differing = own.iter().zip(other).fold(0, |bits, (a, b)| black_box(bits | (a ^ b)));
        own.len() == other.len() && differing == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef";

    #[test]
    fn only_the_very_same_text_is_the_token() {
        let token = Token::new(TEXT).unwrap();
        assert!(token.is(TEXT.as_bytes()));
        for other in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0", "1123456789abcdef"] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_token_is_read_from_a_file_without_its_line_end_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, format!("{TEXT}\n")).unwrap();
        let token = Token::read(&path).unwrap();
        assert_eq!(token.bearer(), format!("Bearer {TEXT}"));
        assert!(!format!("{token:?}").contains(TEXT));
        let missing = Token::read(&dir.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("none"), "{missing}");
    }

    #[test]
    fn what_is_too_short_too_long_or_not_printable_is_no_token() {
        for bad in ["", "short", "with a space in it", &"x".repeat(1025), "with-ümlauts-in-it"] {
            let error = Token::new(bad).unwrap_err().to_string();
            assert!(error.contains("/dev/urandom"), "{error}");
        }
    }
}
