//! The few commands that the demo agent knows itself, so that there are some where it is the only program.

use std::io::Read as _;
use std::sync::Arc;

use super::blocking;
use super::command::{MAX_OUTPUT, Outcome};
use super::folder::{FileError, Folder};

/// Runs one of them. `cat` reads files of the folder alone.
pub(super) async fn run(folder: &Arc<Folder>, name: &str, arguments: &[String]) -> Outcome {
    match (name, arguments) {
        ("echo", words) => output(format!("{}\n", words.join(" "))),
        ("pwd", []) => output(format!("{}\n", folder.path().display())),
        ("true", _) => output(String::new()),
        ("false", _) => Outcome::failure(1, ""),
        ("cat", [path]) => {
            let name = path.clone();
            match blocking(folder, move |folder| read(folder, &name)).await {
                Ok((stdout, truncated)) => Outcome { truncated, ..output(stdout) },
                Err(error) => Outcome::failure(1, format!("cat: {path}: {error}\n")),
            }
        }
        ("cat" | "pwd", _) => Outcome::failure(2, "write `cat FILE` or `pwd`\n"),
        _ => Outcome::failure(
            127,
            format!(
                "{name}: no such command; there are echo, cat FILE, pwd, true and false, and with \
                 --run-programs the programs of this machine\n"
            ),
        ),
    }
}

fn output(stdout: String) -> Outcome {
    Outcome { stdout, ..Outcome::default() }
}

fn read(folder: &Folder, path: &str) -> Result<(String, bool), FileError> {
    let (file, length) = folder.read(path.as_bytes())?;
    let mut content = Vec::new();
    file.take(MAX_OUTPUT).read_to_end(&mut content)?;
    Ok((String::from_utf8_lossy(&content).into_owned(), length > MAX_OUTPUT))
}
