//! The configuration: one YAML file, read whole, checked whole, and watched for changes.
//!
//! `raw` is the file as written, [`Config`] what the rest of the program gets. Between them: `node` knows every
//! place in the text, `decode` collects every mistake, `resolve` checks what needs more than one value.

mod decode;
mod model;
mod node;
mod problem;
mod raw;
pub mod reference;
mod resolve;
pub mod schema;
mod syntax;
pub mod watch;
mod words;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

pub use model::{
    Admin, Auth, Backend, Config, FindBy, FrontDoor, Health, HoldStore, Log, LogFormat, ProcessAgent,
    ProcessBackend, Program, Suspend, TokenReview,
};
pub use problem::{ConfigError, Position, Problem};

use decode::Document;
use node::{Node, Value};
use problem::Problems;

/// A file larger than this is not a configuration. Some ten thousand agents fit.
pub const MAX_FILE_BYTES: u64 = 2 << 20;

/// Reads and checks a configuration file.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let bytes = read(path).map_err(|reason| ConfigError::Read { path: path.to_owned(), reason })?;
    parse_bytes(&bytes, path)
}

/// At most [`MAX_FILE_BYTES`] and one more, so that what is too large is noticed.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse_bytes(bytes: &[u8], path: &Path) -> Result<Config, ConfigError> {
    let whole = |at, message: &str| {
        let mut problems = Problems::new("");
        problems.add(at, "", message);
        Err(problems.into_error(path))
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return whole(Position::START, "the file is larger than 2MiB; write a smaller one");
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, path),
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = good.matches('\n').count() + 1;
            let column = good.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            whole(Position { line, column }, "this is not UTF-8; write the file in UTF-8")
        }
    }
}

/// Checks the text of a configuration file. `path` is for messages, and its folder for relative paths in the file.
pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
    let root = node::parse(text);
    let mut problems = Problems::new(text);
    let config = match &root {
        Ok(root) => read_tree(root, &mut problems, path),
        Err((at, message)) => {
            problems.add(*at, "", message);
            None
        }
    };
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.into_error(path)),
    }
}

fn read_tree<'a>(root: &'a Node, problems: &mut Problems<'a>, path: &Path) -> Option<Config> {
    if matches!(root.value, Value::Null) {
        problems.add(
            root.at,
            "",
            "the file is empty; write at least backend: with process: or kubernetes: below",
        );
        return None;
    }
    let document = Document::new(root, problems);
    let file = document.decode::<raw::File>()?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    resolve::resolve(file, &document, path)
}

#[cfg(test)]
mod tests;
