//! The command line as a user meets it: exit codes, and what is said on which stream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use tempfile::TempDir;

struct Done {
    code: i32,
    out: String,
    err: String,
}

/// Runs the program with nothing of ours in its environment.
fn drowse_with(arguments: &[&str], variables: &[(&str, &str)]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drowse"));
    for name in ["DROWSE_ADMIN", "DROWSE_CONFIG", "DROWSE_TOKEN"] {
        command.env_remove(name);
    }
    let output =
        command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn drowse(arguments: &[&str]) -> Done {
    drowse_with(arguments, &[])
}

fn committed(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default()
}

/// A folder with a configuration file.
fn config(text: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("drowse.yaml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

const GOOD: &str = "\
backend:
  process:
    agents:
      - {name: echo, command: [drowse, demo-agent], port: 9101, labels: {team: blue}}
      - {name: relay, command: [drowse, demo-agent], port: 9102}
defaults:
  idle_timeout: 20m
rules:
  - match: {labels: {team: blue}}
    idle_timeout: 30s
";

#[test]
fn a_command_line_that_is_not_understood_is_a_usage_error() {
    for bad in [
        &[][..],
        &["frobnicate"],
        &["run", "--frobnicate"],
        &["run", "--role", "leader"],
        &["explain"],
        &["explain", "echo"],
        &["suspend", "Default/Echo"],
        &["resume"],
        &["resume", "default/echo", "--all"],
        &["status", "-o", "yaml"],
        &["completions", "tcsh"],
    ] {
        let done = drowse(bad);
        assert_eq!(done.code, 2, "{bad:?}: {}", done.err);
        assert!(done.out.is_empty() && !done.err.is_empty(), "{bad:?}: {}", done.out);
    }
    assert!(drowse(&["explain", "echo"]).err.contains("default/echo"), "the error shows how to write it");
}

#[test]
fn jemalloc_is_built_with_the_options_of_the_cargo_configuration() {
    let config = committed(".cargo/config.toml");
    let wanted = config.lines().find_map(|line| line.strip_prefix("JEMALLOC_SYS_WITH_MALLOC_CONF = "));
    let wanted = wanted.expect("it is no longer said there").trim_matches('"').to_owned();
    let told = drowse_with(&["--version"], &[("_RJEM_MALLOC_CONF", "confirm_conf:true")]).err;
    for option in wanted.split(',') {
        assert!(told.contains(&format!("Set conf value: {option}\n")), "{option} is not set: {told}");
    }
    assert!(!told.contains("Invalid"), "{told}");
}

#[test]
fn help_and_version_are_answers_not_errors() {
    for good in [&["--help"][..], &["--version"], &["resume", "--help"]] {
        let done = drowse(good);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{good:?}");
        assert!(!done.out.is_empty());
    }
    assert!(drowse(&["--help"]).out.contains("78 bad configuration"));
    assert!(!drowse(&["--help"]).out.contains("process-guard"), "what is not for people is not shown");
}

#[test]
fn a_good_file_is_shown_as_the_policy_of_each_agent_with_the_rule_that_decided() {
    let (_dir, path) = config(GOOD);
    let done = drowse(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let row = |text: &str, agent: &str| {
        let section = text.split("\n\n").find(|part| part.starts_with(agent)).unwrap_or_default().to_owned();
        let line =
            section.lines().find(|line| line.trim_start().starts_with("idle_timeout")).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row(&done.out, "default/echo"), "idle_timeout 30s rules[0] (line 9)", "{}", done.out);
    assert!(row(&done.out, "default/relay").starts_with("idle_timeout 20m defaults"), "{}", done.out);

    let one = drowse_with(&["check", "default/relay"], &[("DROWSE_CONFIG", path.to_str().unwrap())]);
    assert!(
        one.code == 0 && one.out.contains("default/relay") && !one.out.contains("default/echo"),
        "{}",
        one.out
    );
    let other = drowse(&["check", "team-a/new", "--config", path.to_str().unwrap()]);
    assert!(other.code == 0 && other.out.contains("does not list this agent"), "{}", other.out);
}

#[test]
fn check_warns_of_a_port_that_a_process_does_not_have() {
    let with = |port: u16| {
        let (_dir, path) = config(&format!(
            "backend:\n  process:\n    agents:\n      - name: echo\n        port: 9101\n        command: [echo, \"{{port}}\"]\n\
             rules:\n  - port: {port}\n"
        ));
        let done = drowse(&["check", "--config", path.to_str().unwrap()]);
        assert_eq!(done.code, 0, "{}", done.err);
        done.out
    };
    let other = with(9000);
    let warning = "  warning: port is 9000, and a process has no port but its own, 9101, so every request that names no port gets 502";
    assert!(other.contains(warning), "{other}");
    assert!(!with(9101).contains("warning"));
}

#[test]
fn what_is_allowed_and_probably_not_meant_is_a_warning() {
    let (_dir, path) = config(&format!("{GOOD}front_door: {{drain_timeout: 1s}}\n"));
    let done = drowse(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(
        done.out.contains("\nwarning: front_door.drain_timeout: 1s is less than hold_timeout"),
        "{}",
        done.out
    );
}

#[test]
fn a_bad_file_is_exit_code_78_and_says_where_and_what_to_write() {
    let (_dir, path) = config(&GOOD.replace("idle_timeout: 20m", "idle_timeoutt: 20m"));
    let path = path.to_str().unwrap();
    for command in ["check", "run"] {
        let done = drowse(&[command, "--config", path]);
        assert_eq!((done.code, done.out.as_str()), (78, ""), "{command}");
        assert!(done.err.contains("drowse.yaml:7:3:") && done.err.contains("idle_timeout"), "{}", done.err);
    }
}

#[test]
fn a_file_that_is_not_there_is_exit_code_78_and_named() {
    let done = drowse(&["check", "--config", "/nowhere/drowse.yaml"]);
    assert_eq!(done.code, 78);
    assert!(done.err.contains("/nowhere/drowse.yaml"), "{}", done.err);
    assert!(drowse(&["check"]).err.contains("/etc/drowse/drowse.yaml"), "the default path");
}

#[test]
fn a_token_that_cannot_be_used_is_found_before_anything_starts() {
    let (dir, path) = config(&format!("{GOOD}admin: {{token_file: token}}\n"));
    let check = || drowse(&["check", "--config", path.to_str().unwrap()]);
    let missing = check();
    assert!(missing.code == 78 && missing.err.contains("token"), "{}", missing.err);
    std::fs::write(dir.path().join("token"), "short\n").unwrap();
    assert_eq!(check().code, 78);
    std::fs::write(dir.path().join("token"), "0123456789abcdef\n").unwrap();
    assert_eq!(check().code, 0);
}

#[test]
fn a_role_that_the_process_backend_does_not_have_is_refused() {
    let (_dir, path) = config(GOOD);
    for role in ["controller", "front-door"] {
        let done = drowse(&["run", "--role", role, "--config", path.to_str().unwrap()]);
        assert_eq!(done.code, 2);
        assert!(done.err.contains("--role all"), "{}", done.err);
    }
}

#[test]
fn generated_files_are_what_the_program_prints() {
    for (arguments, path) in [
        (&["schema"][..], "config/schema.json"),
        (&["schema", "--reference"], "config/reference.md"),
        (&["reference", "metrics"], "METRICS.md"),
        (&["reference", "cli"], "docs/cli.md"),
    ] {
        let done = drowse(arguments);
        assert_eq!((done.code, done.err.as_str()), (0, ""));
        assert!(done.out == committed(path), "{path} is out of date; run: make references");
    }
}

#[test]
fn every_shell_gets_a_completion_script() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let done = drowse(&["completions", shell]);
        assert!(done.code == 0 && done.out.contains("explain"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_drowse"))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn when_nobody_answers_it_is_said_where_and_what_to_do() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}");
    for command in [&["status"][..], &["explain", "default/echo"], &["resume", "--all"]] {
        let done = drowse_with(command, &[("DROWSE_ADMIN", &url)]);
        assert_eq!((done.code, done.out.as_str()), (1, ""));
        assert!(done.err.contains(&url) && done.err.contains("is `drowse run` running?"), "{}", done.err);
    }
    let done = drowse(&["status", "--admin", "localhost:9090"]);
    assert!(done.code == 2 && done.err.contains("http://127.0.0.1:9090"), "{}", done.err);
}

/// Answers one call with this, and gives the head and body of the call.
fn answer_once(status: &str, body: &str) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (send, asked) = mpsc::channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        while lines.read_line(&mut head).unwrap() > 2 {
            let line = head.lines().last().unwrap().to_ascii_lowercase();
            length = line.strip_prefix("content-length: ").map_or(length, |n| n.parse().unwrap());
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).unwrap();
        lines.get_mut().write_all(answer.as_bytes()).unwrap();
        send.send(head + &String::from_utf8(body).unwrap()).unwrap();
    });
    (url, asked)
}

const ECHO: &str = r#"{"namespace":"default","name":"echo","phase":"Suspended","since":"2026-01-02T03:04:05Z",
    "lastActivity":null,"inFlight":0,"held":0,"messagesWaiting":0,"idleDeadline":null,"reason":"suspended by a person; calls do not resume it",
    "managed":true}"#;

#[test]
fn commands_are_sent_with_the_token_and_answered_with_how_the_agent_stands() {
    let (url, asked) = answer_once("200 OK", ECHO);
    let token = ("DROWSE_TOKEN", "0123456789abcdef");
    let done = drowse_with(&["suspend", "default/echo", "--stay", "--admin", &url], &[token]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert_eq!(done.out, "default/echo is Suspended: suspended by a person; calls do not resume it\n");
    let asked = asked.recv().unwrap();
    assert!(asked.starts_with("POST /api/v1/agents/default/echo/suspend HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("authorization: Bearer 0123456789abcdef\r\n"), "{asked}");
    assert!(asked.ends_with(r#"{"stay":true}"#), "{asked}");
}

#[test]
fn all_agents_are_resumed_with_one_call() {
    let (url, asked) = answer_once("200 OK", r#"{"agents":3}"#);
    let done = drowse(&["resume", "--all", "--admin", &url]);
    assert!(done.code == 0 && done.out.starts_with("3 agents"), "{}{}", done.out, done.err);
    assert!(asked.recv().unwrap().starts_with("POST /api/v1/resume-all "));
}

#[test]
fn a_list_for_programs_is_what_the_api_answers() {
    let (url, _asked) = answer_once("200 OK", &format!("[{ECHO}]"));
    let done = drowse(&["status", "-o", "json", "--admin", &url]);
    assert_eq!(done.code, 0, "{}", done.err);
    let shown: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(shown, serde_json::from_str::<serde_json::Value>(&format!("[{ECHO}]")).unwrap());
}

#[test]
fn what_the_api_refuses_is_said_in_its_words() {
    let problem = r#"{"type":"about:blank","title":"Conflict","status":409,"detail":"not suspended: 2 requests in flight"}"#;
    let (url, _asked) = answer_once("409 Conflict", problem);
    let done = drowse(&["suspend", "default/echo", "--admin", &url]);
    assert_eq!((done.code, done.err.as_str()), (1, "drowse: not suspended: 2 requests in flight\n"));
}

#[test]
fn something_else_that_answers_is_not_taken_for_drowse() {
    for (status, body) in [("200 OK", "<html>"), ("404 Not Found", "nothing here"), ("200 OK", "{}")] {
        let (url, _asked) = answer_once(status, body);
        let done = drowse(&["explain", "default/echo", "--admin", &url]);
        assert!(done.code == 1 && done.err.contains("is not the admin API"), "{}", done.err);
    }
}
