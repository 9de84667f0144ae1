//! A backend that does at once whatever it is told, for one agent on this machine: what remains is what Drowse takes itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use drowse::agent::{AgentKey, AgentUid, Generation, Life, PodUid, Revision};
use drowse::backend::{Backend, BackendEvent, Profile};
use drowse::lifecycle::{AgentSeen, Mode, SuspendedBy, WriteError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::seen;

/// More reports than are ever on their way.
const REPORTS: usize = 1024;

/// The agent.
pub fn key() -> AgentKey {
    AgentKey::new("default", "echo")
}

/// Runs [`key`], which is up at first.
pub struct Obedient(Mutex<State>);

struct State {
    reports: Option<mpsc::Sender<BackendEvent>>,
    object: AgentSeen,
    pod: PodUid,
}

impl Default for Obedient {
    fn default() -> Self {
        let object = seen::agent("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", 1, Mode::Running);
        Self(Mutex::new(State { reports: None, object, pod: PodUid("none".into()) }))
    }
}

impl State {
    fn report(&self, event: BackendEvent) {
        if let Some(reports) = &self.reports {
            reports.try_send(event).expect("somebody listens");
        }
    }

    fn report_object(&self) {
        let (seen, profile) = (self.object.clone(), Arc::new(Profile::default()));
        self.report(BackendEvent::Agent { key: key(), seen, profile });
    }

    fn write(&mut self, mode: Mode, by: SuspendedBy) -> AgentSeen {
        self.object.revision.0 += 1;
        self.object.generation.0 += 1;
        self.object.observed = self.object.generation;
        self.object.mode = mode;
        self.object.suspended_by = by;
        self.report_object();
        self.object.clone()
    }

    fn start_pod(&mut self) {
        self.object.revision.0 += 1;
        self.pod = PodUid(format!("pod-{}", self.object.revision.0).into());
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let seen = seen::pod(self.pod.clone(), &self.object, self.object.revision, address);
        self.report(BackendEvent::Pod { key: key(), seen });
    }

    fn end_pod(&mut self) {
        self.object.revision.0 += 1;
        let (pod, revision) = (self.pod.clone(), self.object.revision);
        self.report(BackendEvent::PodGone { key: key(), pod, revision });
    }
}

impl Backend for Obedient {
    fn outlives_us(&self) -> bool {
        false
    }

    fn watch(&self) -> mpsc::Receiver<BackendEvent> {
        let (reports, receiver) = mpsc::channel(REPORTS);
        let mut state = self.0.lock();
        state.reports = Some(reports);
        state.report_object();
        state.start_pod();
        state.report(BackendEvent::Synced);
        receiver
    }

    fn suspend(
        &self,
        _key: &AgentKey,
        _uid: &AgentUid,
        _revision: Revision,
        by: SuspendedBy,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        let mut state = self.0.lock();
        let written = state.write(Mode::Suspended, by);
        state.end_pod();
        std::future::ready(Ok(written)).boxed()
    }

    fn resume(
        &self,
        _key: &AgentKey,
        _uid: &AgentUid,
        _generation: Generation,
        _from: Mode,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        let mut state = self.0.lock();
        let written = state.write(Mode::Running, SuspendedBy::Idle);
        state.start_pod();
        std::future::ready(Ok(written)).boxed()
    }

    fn read(&self, _key: &AgentKey) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        std::future::ready(Ok(self.0.lock().object.clone())).boxed()
    }

    fn attest(
        &self,
        _key: &AgentKey,
        _life: &Life,
        _at: SocketAddr,
    ) -> BoxFuture<'static, Result<bool, String>> {
        std::future::ready(Ok(true)).boxed()
    }

    fn last_log_lines(&self, _key: &AgentKey) -> Vec<String> {
        Vec::new()
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}
