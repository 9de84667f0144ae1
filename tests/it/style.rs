//! House rules that no compiler knows, checked by reading the sources.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files that belong to the project, tracked or about to be, relative to its root.
fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git, to tell which files belong to the project");
    let names = String::from_utf8(output.stdout).unwrap();
    let files: Vec<_> =
        names.split_terminator('\0').map(PathBuf::from).filter(|path| root().join(path).is_file()).collect();
    assert!(files.len() > 50, "git lists {} files only; is this a clone?", files.len());
    files
}

/// The text of a file; `None` if it is not text.
fn text(path: &Path) -> Option<String> {
    String::from_utf8(std::fs::read(root().join(path)).unwrap()).ok()
}

fn rust_files() -> impl Iterator<Item = (PathBuf, String)> {
    let rust = files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.filter_map(|path| text(&path).map(|text| (path, text)))
}

/// A source without its comments, for rules about code.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a word stands in a text, not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[track_caller]
fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn every_source_file_says_why_it_exists() {
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        // The first paragraph; reference tables and examples may follow.
        let head = text.lines().take_while(|line| line.starts_with("//! ")).count();
        if !(1..=6).contains(&head) {
            found.push(format!("{}: {head} lines", path.display()));
        }
    }
    assert_none(&found, "a file opens with a `//!` head of 1 to 6 lines");
}

#[test]
fn the_core_is_pure() {
    let banned = [
        "tokio",
        "hyper",
        "kube",
        "async_nats",
        "reqwest",
        "Instant",
        "SystemTime",
        "rand",
        "fastrand",
        "Clock",
        "parking_lot",
    ];
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        if path.starts_with("src/lifecycle") || path.starts_with("src/policy") {
            let code = code(&text);
            let used = banned.iter().filter(|word| has_word(&code, word));
            found.extend(used.map(|word| format!("{}: {word}", path.display())));
        }
    }
    assert_none(&found, "lifecycle and policy know no runtime, no network, no clock and no chance");
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    let banned = [concat!("#[ig", "nore"), concat!("todo", "!("), concat!("unimpl", "emented!(")];
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        let code = code(&text);
        let left = banned.iter().filter(|mark| code.contains(**mark));
        found.extend(left.map(|mark| format!("{}: {mark}", path.display())));
    }
    assert_none(&found, "no test is ignored and nothing is left to do");
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let banned = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut found = Vec::new();
    for path in files() {
        let Some(text) = text(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            let named = banned.iter().filter(|place| line.contains(**place));
            found.extend(named.map(|place| format!("{}:{}: {place}", path.display(), number + 1)));
        }
    }
    assert_none(&found, "the project builds anywhere");
}

#[test]
fn the_build_names_no_host_but_this_machine() {
    let mut found = Vec::new();
    for path in files() {
        let is_build =
            path.starts_with("scripts") || path.starts_with(".ci") || path == Path::new("Makefile");
        let Some(text) = text(&path).filter(|_| is_build) else { continue };
        for url in text.split("://").skip(1) {
            if !["127.0.0.1", "localhost", "$"].iter().any(|host| url.starts_with(host)) {
                found.push(format!("{}: ://{}", path.display(), url.lines().next().unwrap_or_default()));
            }
        }
    }
    assert_none(&found, "packages come through cargo and apt-get, from wherever those are told");
}

#[test]
fn words_are_found_whole() {
    assert!(has_word("use tokio::time", "tokio") && has_word("x: Instant", "Instant"));
    assert!(!has_word("operand strand", "rand") && !has_word("InstantLike", "Instant"));
    assert_eq!(code("let a = 1; // tokio\n//! hyper"), "let a = 1; \n");
}
