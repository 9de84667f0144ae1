//! A configuration file: whatever stands in it, it is read in bounded time, and is either good or every problem with it has a
//! place in it and says what to write.

#![no_main]

use std::path::Path;

use drowse::config::{self, Config, ConfigError, FindBy, Problem};
use libfuzzer_sys::fuzz_target;

/// More help nobody.
const MOST_PROBLEMS: usize = 50;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parse = || config::parse(text, Path::new("/f/drowse.yaml"));
    match parse() {
        Ok(config) => {
            check(&config);
            assert_eq!(parse().expect("it was good"), config, "it means something else the second time");
        }
        Err(error) => {
            check_problems(error.problems(), text);
            check_text(&error, text);
        }
    }
});

/// What the model promises.
fn check(config: &Config) {
    let door = &config.front_door;
    assert!(!door.find_by.is_empty());
    assert_eq!(door.find_by.contains(&FindBy::Path), door.path_prefix.is_some());
    assert!(door.path_prefix.iter().all(|prefix| prefix.starts_with('/') && !prefix.ends_with('/')));
    assert!(!door.domain.is_empty() && door.domain == door.domain.to_lowercase());
    assert!(!door.head_timeout.is_zero() && !door.idle_connection_timeout.is_zero());
    assert!((8 << 10..=1 << 20).contains(&door.max_head_bytes) && door.max_connections > 0);
    assert!(config.admin.listen.ip().is_loopback() || config.admin.token_file.is_some());
}

fn check_problems(problems: &[Problem], text: &str) {
    assert!((1..=MOST_PROBLEMS).contains(&problems.len()), "{} problems", problems.len());
    // As YAML counts them.
    let lines: Vec<&str> = text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r')).collect();
    for problem in problems {
        let (line, column) = (problem.at.line, problem.at.column);
        // What is missing may be missed where the file ends.
        assert!((1..=lines.len() + 1).contains(&line), "line {line} of {}: {}", lines.len(), problem.message);
        let length = lines.get(line - 1).map_or(0, |line| line.chars().count());
        assert!((1..=length + 1).contains(&column), "{line}:{column}, {length} long: {}", problem.message);
        assert!(problem.message.contains("write"), "it does not say what to write: {}", problem.message);
    }
    assert!(problems.is_sorted_by_key(|problem| problem.at));
}

/// What people see has no control characters that the file has chosen, and a bounded length.
fn check_text(error: &ConfigError, text: &str) {
    let shown = error.to_string();
    let control = shown.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "{shown:?}");
    assert!(shown.len() <= MOST_PROBLEMS * (4 * text.len() + 2000), "{} bytes", shown.len());
}
