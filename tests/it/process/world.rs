//! A process backend under test, and the world as its reports tell it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drowse::agent::{AgentKey, AgentUid, Life, PodUid};
use drowse::backend::process::{AgentSpec, ProcessBackend, Suspend};
use drowse::backend::{Backend as _, BackendEvent, Profile};
use drowse::lifecycle::{AgentSeen, Failure, Mode, PodSeen, PodState, SuspendedBy};
use drowse::time::Clock;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::{PATIENCE, PROGRAM, free_port, http};

/// What was reported of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) agent: AgentSeen,
    pub(crate) profile: Arc<Profile>,
    pub(crate) pod: Option<PodSeen>,
}

/// A backend whose reports are read.
pub(crate) struct World {
    pub(crate) backend: Arc<ProcessBackend>,
    pub(crate) dir: TempDir,
    pub(crate) known: HashMap<AgentKey, Known>,
    /// Pods and agents that are gone.
    pub(crate) gone: Vec<PodUid>,
    pub(crate) deleted: Vec<AgentUid>,
    events: mpsc::Receiver<BackendEvent>,
    synced: bool,
}

/// An agent's name.
pub(crate) fn key(name: &str) -> AgentKey {
    AgentKey::new("default", name)
}

/// An agent with this command on a free port.
pub(crate) fn agent(name: &str, command: &[&str]) -> AgentSpec {
    AgentSpec {
        key: key(name),
        command: command.iter().map(ToString::to_string).collect(),
        port: free_port(),
        env: [("PROGRAM".to_owned(), PROGRAM.to_owned())].into(),
        working_dir: PathBuf::new(),
        stop_grace: Duration::from_secs(30),
        suspend: Suspend::Stop,
        probe: None,
        profile: Arc::new(Profile::default()),
    }
}

/// A demo agent.
pub(crate) fn demo(name: &str, more: &[&str]) -> AgentSpec {
    agent(name, &[&["drowse", "demo-agent", "--port", "{port}"], more].concat())
}

/// A shell script; `$PROGRAM` is Drowse.
pub(crate) fn shell(name: &str, script: &str) -> AgentSpec {
    agent(name, &["sh", "-c", script])
}

impl World {
    /// A backend with these agents, everything reported.
    pub(crate) async fn new(specs: &[AgentSpec]) -> Self {
        let dir = TempDir::new().unwrap();
        let specs = specs.iter().map(|spec| placed(spec, &dir)).collect();
        let backend =
            Arc::new(ProcessBackend::new(dir.path().join("state"), specs, PROGRAM.into(), Clock::start()));
        let events = backend.watch();
        let (known, gone, deleted) = (HashMap::new(), Vec::new(), Vec::new());
        let mut world = Self { backend, dir, known, gone, deleted, events, synced: false };
        world.until("everything is reported", |world| world.synced).await;
        world
    }

    /// Takes over a changed list of agents.
    pub(crate) fn apply(&self, specs: &[AgentSpec]) {
        self.backend.apply(specs.iter().map(|spec| placed(spec, &self.dir)).collect());
    }

    /// Reads reports until they make this true.
    pub(crate) async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("never reported: {what}; known: {:?}", self.known));
            self.note(event.expect("the backend reports"));
        }
    }

    fn note(&mut self, event: BackendEvent) {
        match event {
            BackendEvent::Agent { key, seen, profile } => {
                let pod = self.known.remove(&key).and_then(|known| known.pod);
                self.known.insert(key, Known { agent: seen, profile, pod });
            }
            BackendEvent::AgentGone { key, uid } => {
                if self.known.get(&key).is_some_and(|known| known.agent.uid == uid) {
                    self.known.remove(&key);
                }
                self.deleted.push(uid);
            }
            BackendEvent::Pod { key, seen } => {
                self.known.get_mut(&key).expect("the agent is reported before its pod").pod = Some(seen);
            }
            BackendEvent::PodGone { key, pod, .. } => {
                if let Some(known) = self.known.get_mut(&key) {
                    known.pod.take_if(|known| known.uid == pod);
                }
                self.gone.push(pod);
            }
            BackendEvent::Synced => self.synced = true,
            BackendEvent::Stale | BackendEvent::Profile { .. } => {
                panic!("processes are never out of sight")
            }
        }
    }

    pub(crate) fn agent(&self, name: &str) -> &AgentSeen {
        &self.known[&key(name)].agent
    }

    pub(crate) fn pod(&self, name: &str) -> Option<&PodSeen> {
        self.known.get(&key(name))?.pod.as_ref()
    }

    pub(crate) fn life(&self, name: &str) -> Life {
        Life { agent: self.agent(name).uid.clone(), pod: self.pod(name).expect("a pod").uid.clone() }
    }

    pub(crate) fn failure(&self, name: &str) -> Option<&Failure> {
        match &self.pod(name)?.state {
            PodState::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    fn is_up(&self, name: &str) -> bool {
        let up = |pod: &PodSeen| !pod.terminating && matches!(pod.state, PodState::Up(_));
        self.pod(name).is_some_and(up) && self.agent(name).observed == self.agent(name).generation
    }

    /// Writes a resume, without waiting for what comes of it.
    pub(crate) async fn write_resume(&mut self, name: &str) -> AgentSeen {
        let read = self.backend.read(&key(name)).await.unwrap();
        self.backend.resume(&key(name), &read.uid, read.generation, read.mode).await.unwrap()
    }

    /// Writes a suspension, without waiting for what comes of it.
    pub(crate) async fn write_suspend(&mut self, name: &str) -> AgentSeen {
        let read = self.backend.read(&key(name)).await.unwrap();
        self.backend.suspend(&key(name), &read.uid, read.revision, SuspendedBy::Idle).await.unwrap()
    }

    /// Resumes, and waits until its process runs.
    pub(crate) async fn resume(&mut self, name: &str) {
        let written = self.write_resume(name).await;
        assert_eq!(written.mode, Mode::Running);
        self.until("it is up", |world| world.is_up(name) && world.agent(name).revision >= written.revision)
            .await;
    }

    /// Resumes, and waits until it answers.
    pub(crate) async fn resume_and_greet(&mut self, spec: &AgentSpec) -> serde_json::Value {
        self.resume(spec.key.name()).await;
        greet(spec).await
    }

    /// Suspends, and waits until nothing is left.
    pub(crate) async fn suspend(&mut self, name: &str) {
        let pod = self.pod(name).expect("a pod").uid.clone();
        self.write_suspend(name).await;
        self.until("it is gone", |world| world.gone.contains(&pod)).await;
    }

    /// As the core does it when the agent answers.
    pub(crate) async fn attest(&self, spec: &AgentSpec) {
        let at = ([127, 0, 0, 1], spec.port).into();
        let attested = self.backend.attest(&spec.key, &self.life(spec.key.name()), at).await;
        assert_eq!(attested, Ok(true));
    }

    /// Resumes, waits until it answers, and gives what it says.
    pub(crate) async fn resume_and_attest(&mut self, spec: &AgentSpec) -> serde_json::Value {
        let greeting = self.resume_and_greet(spec).await;
        self.attest(spec).await;
        greeting
    }

    /// Resumes an agent that does not come up, and gives the reason.
    pub(crate) async fn resume_to_fail(&mut self, name: &str) -> Failure {
        self.write_resume(name).await;
        self.until("it failed", |world| world.failure(name).is_some()).await;
        self.failure(name).expect("a failure").clone()
    }

    pub(crate) fn log(&self, name: &str) -> String {
        self.backend.last_log_lines(&key(name)).join("\n")
    }

    /// Waits until its log says so, and gives what follows on that line.
    pub(crate) async fn logged(&self, name: &str, text: &str) -> String {
        let line = || self.log(name).lines().find_map(|line| line.strip_prefix(text).map(str::to_owned));
        crate::support::eventually(&format!("{name} logs {text}"), async || line().is_some()).await;
        line().expect("it was there").trim().to_owned()
    }

    /// Process ids that its log tells.
    pub(crate) async fn logged_pid(&self, name: &str, text: &str) -> u32 {
        self.logged(name, text).await.parse().expect("a process id")
    }
}

fn placed(spec: &AgentSpec, dir: &TempDir) -> AgentSpec {
    let mut spec = spec.clone();
    if spec.working_dir.as_os_str().is_empty() {
        spec.working_dir = dir.path().join("work").join(spec.key.name());
    }
    spec
}

/// What a demo agent says, as soon as it answers.
pub(crate) async fn greet(spec: &AgentSpec) -> serde_json::Value {
    let mut answer = None;
    crate::support::eventually("it answers", async || {
        answer = http::get(([127, 0, 0, 1], spec.port).into(), "x", "/").await.ok();
        answer.is_some()
    })
    .await;
    answer.expect("an answer").json()
}

/// The process id in a greeting.
pub(crate) fn pid(greeting: &serde_json::Value) -> u32 {
    greeting["pid"].as_u64().expect("a pid").try_into().unwrap()
}
