//! A bar on stderr that says how far a run is. There is none if stderr is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::watch::Look;

/// The bar of one run.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    failed: u64,
}

impl Progress {
    /// For a run of that length.
    pub(super) fn new(name: &str, length: Duration) -> anyhow::Result<Self> {
        let bar = ProgressBar::new(length.as_secs());
        bar.set_style(ProgressStyle::with_template("{prefix} {bar:30} {elapsed}/{len}s {msg}")?);
        bar.set_prefix(name.to_owned());
        Ok(Self { bar, failed: 0 })
    }

    pub(super) fn show(&mut self, look: &Look) {
        let sum = |count: fn(&super::watch::PartLook) -> u64| look.parts.iter().map(count).sum::<u64>();
        self.failed += sum(|part| part.failed);
        let rate = sum(|part| part.answered) as f64 / look.secs;
        let up = look.agents_up.map(|up| format!(", {up} agents up")).unwrap_or_default();
        self.bar.set_message(format!("{rate:.0} answers/s, {} failed{up}", self.failed));
        let length = self.bar.length().unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time since the beginning"
        )]
        self.bar.set_position((look.at as u64).min(length));
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
