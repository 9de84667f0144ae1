//! One cycle: when each thing was first seen, and the stages that follow from that.

use std::net::IpAddr;
use std::time::Duration;

use ::drowse::time::Moment;
use anyhow::Context as _;
use serde::Serialize;

use super::is_of;
use crate::cluster::sight::Seen;
use crate::server_timing::Waited;

/// When each thing was seen for the first time.
#[derive(Debug, Default)]
pub(super) struct Cycle {
    name: String,
    patched: Option<Moment>,
    created: Option<Moment>,
    scheduled: Option<Moment>,
    addressed: Option<Moment>,
    pod_ready: Option<Moment>,
    sandbox_ready: Option<Moment>,
}

/// How long each stage took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Stages {
    /// The whole: from the request's first byte to the response's.
    pub(super) whole: f64,
    /// From the request to the Sandbox that is seen to be asked to run.
    pub(super) patch: f64,
    /// From there to the pod object.
    pub(super) controller: f64,
    /// From there to a node.
    pub(super) schedule: f64,
    /// From there to an address in the pod's status.
    pub(super) start: f64,
    /// From there to a port that takes connections.
    pub(super) probe: f64,
    /// The read that says who answers there.
    pub(super) attest: f64,
    /// From the port that takes connections to the response, without that read.
    pub(super) release: f64,
    /// From the request to the pod's condition Ready.
    pub(super) pod_ready: f64,
    /// From the request to the Sandbox's condition Ready.
    pub(super) sandbox_ready: f64,
    /// From the begin of the start until Drowse saw the address, as it says.
    pub(super) told_resume: f64,
    /// What Drowse says of its probe, that read included.
    pub(super) told_probe: f64,
}

impl Cycle {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Notes one sight. Gives the pod's address when it is seen for the first time.
    pub(super) fn see(&mut self, at: Moment, seen: &Seen) -> Option<IpAddr> {
        if !is_of(seen, &self.name) {
            return None;
        }
        let note = |mark: &mut Option<Moment>, is_so: bool| {
            let first = is_so && mark.is_none();
            if first {
                *mark = Some(at);
            }
            first
        };
        match seen {
            Seen::Sandbox(sandbox) => {
                note(&mut self.patched, sandbox.running);
                note(&mut self.sandbox_ready, sandbox.running && sandbox.ready);
                None
            }
            // Of the life before.
            Seen::Pod(pod) if pod.gone || pod.terminating => None,
            Seen::Pod(pod) => {
                note(&mut self.created, true);
                note(&mut self.scheduled, pod.scheduled);
                note(&mut self.pod_ready, pod.ready);
                if note(&mut self.addressed, pod.address.is_some()) { pod.address } else { None }
            }
        }
    }

    /// Whether everybody has seen it up.
    pub(super) const fn is_over(&self) -> bool {
        self.sandbox_ready.is_some()
    }

    /// The stages. Each mark was seen in a watch of its own, so one may come a little before the one that it follows from.
    pub(super) fn stages(
        &self,
        sent: Moment,
        accepted: Moment,
        answered: Moment,
        waited: Waited,
    ) -> anyhow::Result<Stages> {
        let mark = |mark: Option<Moment>, what: &str| mark.with_context(|| format!("nobody saw {what}"));
        let patched = mark(self.patched, "the patch")?;
        let created = mark(self.created, "the pod")?;
        let scheduled = mark(self.scheduled, "the pod scheduled")?;
        let addressed = mark(self.addressed, "the pod's address")?;
        let sandbox_ready = mark(self.sandbox_ready, "the Sandbox ready")?;
        let millis = |span: Duration| span.as_secs_f64() * 1000.0;
        let between = |from: Moment, to: Moment| millis(to.since(from));
        Ok(Stages {
            whole: between(sent, answered),
            patch: between(sent, patched),
            controller: between(patched, created),
            schedule: between(created, scheduled),
            start: between(scheduled, addressed),
            probe: between(addressed, accepted),
            attest: millis(waited.attest),
            release: millis(answered.since(accepted).saturating_sub(waited.attest)),
            pod_ready: between(sent, self.pod_ready.unwrap_or(sandbox_ready)),
            sandbox_ready: between(sent, sandbox_ready),
            told_resume: millis(waited.resume),
            told_probe: millis(waited.probe),
        })
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "whole numbers of milliseconds")]
mod tests {
    use super::*;
    use crate::cluster::sight::{PodSight, SandboxSight};

    fn at(millis: u64) -> Moment {
        Moment::from_micros(millis * 1000)
    }

    fn sandbox(ready: bool) -> Seen {
        Seen::Sandbox(SandboxSight { name: "a".into(), running: true, ready, ..SandboxSight::default() })
    }

    fn pod(change: impl FnOnce(&mut PodSight)) -> Seen {
        let mut pod = PodSight { name: "a".into(), ..PodSight::default() };
        change(&mut pod);
        Seen::Pod(pod)
    }

    #[test]
    fn every_stage_ends_where_the_next_begins() {
        let mut cycle = Cycle::new("a");
        let address: IpAddr = [10, 0, 0, 7].into();
        cycle.see(at(1004), &pod(|pod| pod.terminating = true));
        cycle.see(at(1007), &sandbox(false));
        cycle.see(at(1012), &pod(|_| ()));
        cycle.see(at(1020), &pod(|pod| pod.scheduled = true));
        let up = pod(|pod| (pod.scheduled, pod.address) = (true, Some(address)));
        assert_eq!(cycle.see(at(1220), &up), Some(address));
        assert_eq!(cycle.see(at(1221), &up), None, "once is enough");
        assert!(!cycle.is_over());
        cycle.see(at(1300), &sandbox(true));
        assert!(cycle.is_over());
        let waited = Waited { attest: Duration::from_millis(4), ..Waited::default() };
        let stages = cycle.stages(at(1000), at(1222), at(1229), waited).unwrap();
        let parts = [stages.patch, stages.controller, stages.schedule, stages.start, stages.probe];
        assert_eq!(parts, [7.0, 5.0, 8.0, 200.0, 2.0]);
        assert_eq!([stages.attest, stages.release, stages.whole], [4.0, 3.0, 229.0]);
        let all = parts.iter().sum::<f64>() + stages.attest + stages.release;
        assert!((all - stages.whole).abs() < 1e-9, "{stages:?}");
        assert!((stages.sandbox_ready - 300.0).abs() < 1e-9);
    }

    #[test]
    fn another_sandbox_and_the_life_before_do_not_count() {
        let mut cycle = Cycle::new("b");
        cycle.see(at(1), &sandbox(true));
        cycle.see(at(1), &pod(|pod| pod.scheduled = true));
        assert!(!cycle.is_over());
        let stages = cycle.stages(at(0), at(2), at(3), Waited::default());
        assert!(stages.unwrap_err().to_string().contains("the patch"));
    }
}
