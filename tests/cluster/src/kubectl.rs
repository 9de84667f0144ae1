//! Talking to the cluster, through its kubectl.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::command;

/// kubectl, with the rights of an administrator.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    pub(crate) program: PathBuf,
    pub(crate) kubeconfig: PathBuf,
}

impl Kubectl {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs it, and returns what it wrote.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String> {
        command::finish(self.command(args))
    }

    /// Whether it succeeds, soon.
    pub(crate) fn succeeds(&self, args: &[&str]) -> bool {
        let args: Vec<_> = args.iter().copied().chain(["--request-timeout=3s"]).collect();
        self.run(&args).is_ok()
    }

    /// Applies objects that are written out in `text`.
    pub(crate) fn apply(&self, text: &str) -> Result<()> {
        let mut command = self.command(&["apply", "--server-side", "--force-conflicts", "-f", "-"]);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().context("failed to run kubectl")?;
        let mut input = child.stdin.take().context("kubectl has no input")?;
        // It reads all before it writes, so that this cannot block for ever; if it ends early, it says why below.
        let written = input.write_all(text.as_bytes());
        drop(input);
        let output = child.wait_with_output().context("failed to run kubectl")?;
        command::checked(&command, &output)?;
        written.context("failed to tell kubectl what to apply")
    }

    /// Applies every file in a folder.
    pub(crate) fn apply_folder(&self, folder: &Path) -> Result<()> {
        let folder = folder.display().to_string();
        self.run(&["apply", "--server-side", "--force-conflicts", "-f", &folder]).map(drop)
    }
}
