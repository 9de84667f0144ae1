//! agent-sandbox's own Python SDK, unchanged, against a Sandbox that sleeps.

use std::path::Path;

use crate::support::{Agent, PATIENCE, World};

#[tokio::test]
async fn the_python_sdk_runs_commands_and_moves_files_in_a_sandbox_that_was_asleep() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let venv = tokio::process::Command::new(root.join("scripts/sdk-venv")).output().await.unwrap();
    assert!(venv.status.success(), "{}", String::from_utf8_lossy(&venv.stderr));
    let python = String::from_utf8(venv.stdout).unwrap().lines().last().unwrap().to_owned();

    let world = World::new("sdk", "idle_timeout: 10m\nmin_running: 0s").await;
    world.create(&Agent::new("echo").with_volume()).await;
    world.suspend("echo").await;
    world.wait_until_asleep("echo").await;
    let run = tokio::process::Command::new(python)
        .arg(root.join("tests/sdk/sdk.py"))
        .args(["--api-url", &format!("http://{}", world.drowse.front)])
        .args(["--sandbox", "echo", "--namespace", &world.namespace, "--server-port", "8080"])
        .output();
    let run = tokio::time::timeout(PATIENCE, run).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    world.wait_for_phase("echo", "Running").await;
}
