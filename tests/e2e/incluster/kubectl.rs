//! The cluster as `kubectl` shows it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything that must happen may take before a test gives up. Long, since machines are slow at times.
const PATIENCE: Duration = Duration::from_mins(3);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs it and gives what it prints. A failure is the test's.
#[track_caller]
pub(super) fn kubectl(arguments: &[&str]) -> String {
    try_kubectl(arguments).unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")))
}

/// The same, for what may fail.
pub(super) fn try_kubectl(arguments: &[&str]) -> Result<String, String> {
    run(arguments, "")
}

fn run(arguments: &[&str], input: &str) -> Result<String, String> {
    static CLUSTER: OnceLock<()> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        assert!(
            std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty()),
            "there is no cluster: run these tests by `drowse-cluster run`, see tests/cluster/README.md"
        );
        command(&["get", "crd/sandboxes.agents.x-k8s.io"], "").expect("a cluster with Agent Sandboxes");
    });
    command(arguments, input)
}

fn command(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new("kubectl")
        .arg("--request-timeout=60s")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl on PATH");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Makes an object, or changes it.
#[track_caller]
pub(super) fn apply(object: &Value) {
    run(&["apply", "-f", "-"], &object.to_string()).unwrap_or_else(|error| panic!("{error}\n{object:#}"));
}

/// One object of a namespace, such as `pod/echo`.
#[track_caller]
pub(super) fn get(namespace: &str, what: &str) -> Option<Value> {
    let text = kubectl(&["-n", namespace, "get", what, "--ignore-not-found", "-o", "json"]);
    (!text.is_empty()).then(|| serde_json::from_str(&text).unwrap())
}

/// All objects of a kind in a namespace.
#[track_caller]
pub(super) fn list(namespace: &str, kind: &str, more: &[&str]) -> Vec<Value> {
    let text = kubectl(&[&["-n", namespace, "get", kind, "-o", "json"], more].concat());
    let mut list: Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(list["items"].take()).unwrap()
}

/// The uid of an object.
pub(super) fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Whether a condition of its status is true.
pub(super) fn is(object: &Value, condition: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|found| found["type"] == condition && found["status"] == "True")
}

/// Waits until there is something, and gives it.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "looks again and again at a condition, with a bound")]
pub(super) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(PAUSE);
    }
}
