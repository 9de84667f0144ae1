//! What an agent is in the configuration, and what is started for it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::agent::AgentKey;
use crate::backend::Profile;
use crate::lifecycle::Readiness;

/// Our own variables, which an agent has no business with: one of them may be a token.
const OURS: &[u8] = b"DROWSE_";

/// How an agent is suspended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suspend {
    /// Its processes are ended; the next resume starts it anew.
    Stop,
    /// Its processes stand still and keep their memory; the next resume has them go on.
    Freeze,
}

/// One agent as a process of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSpec {
    /// Its name.
    pub key: AgentKey,
    /// The program and its arguments. `{port}` is replaced; a first word `drowse` means this very program.
    pub command: Vec<String>,
    /// The port that it listens on, on 127.0.0.1.
    pub port: u16,
    /// Environment variables besides Drowse's own environment. `{port}` is replaced.
    pub env: BTreeMap<String, String>,
    /// Where it starts; absolute. Made if it does not exist.
    pub working_dir: PathBuf,
    /// Between SIGTERM and SIGKILL when it is stopped.
    pub stop_grace: Duration,
    /// How it is suspended.
    pub suspend: Suspend,
    /// The path that is asked whether it is ready. Without one, a port that takes connections will do.
    pub probe: Option<Arc<str>>,
    /// What rules match on. The port in it is replaced by the one above.
    pub profile: Arc<Profile>,
}

impl AgentSpec {
    /// The program and its arguments as they are executed.
    pub(super) fn words(&self, drowse: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = self.command.iter().map(|word| self.fill(word).into()).collect();
        if let Some(first) = words.first_mut().filter(|first| *first == "drowse") {
            *first = drowse.into();
        }
        words
    }

    /// The variables that it gets besides the ones that are inherited. Ours go before the configuration's.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let mut variables: BTreeMap<_, _> =
            self.env.iter().map(|(name, value)| (name.clone(), self.fill(value))).collect();
        variables.extend([
            ("PORT".to_owned(), self.port.to_string()),
            ("DROWSE_AGENT_NAMESPACE".to_owned(), self.key.namespace().to_owned()),
            ("DROWSE_AGENT_NAME".to_owned(), self.key.name().to_owned()),
        ]);
        variables
    }

    /// What rules match on while its process listens on this port.
    pub(super) fn profile_at(&self, port: u16) -> Arc<Profile> {
        if self.profile.port == Some(port) {
            return Arc::clone(&self.profile);
        }
        Arc::new(Profile { port: Some(port), ..Profile::clone(&self.profile) })
    }

    /// How it wants to be asked whether it is ready after a start.
    pub(super) fn readiness(&self) -> Option<Arc<Readiness>> {
        let path = Arc::clone(self.probe.as_ref()?);
        Some(Arc::new(Readiness::Http { port: self.port, path, headers: Vec::new() }))
    }

    /// The same when it was frozen. The kernel takes connections for a process that stands still, so a port that does
    /// is no sign of life; an answer is, and any will do of one that was ready before.
    pub(super) fn readiness_when_thawed(&self) -> Arc<Readiness> {
        self.readiness().unwrap_or_else(|| Arc::new(Readiness::Answer { port: self.port, path: "/".into() }))
    }

    /// Whether a process that was started as `started` is frozen, and stays so, when this agent is suspended. Not if
    /// it would be started differently now: it would else never be.
    pub(super) fn freezes(&self, started: &Self) -> bool {
        let start = (&self.command, self.port, &self.env, &self.working_dir);
        let started = (&started.command, started.port, &started.env, &started.working_dir);
        self.suspend == Suspend::Freeze && start == started
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{port}", &self.port.to_string())
    }
}

/// Whether an agent inherits this variable of Drowse.
pub(super) fn is_inherited(name: &OsStr) -> bool {
    !name.as_encoded_bytes().starts_with(OURS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(command: &[&str]) -> AgentSpec {
        AgentSpec {
            key: AgentKey::new("default", "echo"),
            command: command.iter().map(ToString::to_string).collect(),
            port: 9101,
            env: BTreeMap::from([
                ("URL".into(), "http://127.0.0.1:{port}".into()),
                ("PORT".into(), "1".into()),
            ]),
            working_dir: "/tmp".into(),
            stop_grace: Duration::from_secs(5),
            suspend: Suspend::Freeze,
            probe: None,
            profile: Arc::new(Profile::default()),
        }
    }

    #[test]
    fn the_port_and_our_own_program_are_filled_in() {
        let drowse = Path::new("/opt/drowse");
        assert_eq!(spec(&["drowse", "--port", "{port}"]).words(drowse), ["/opt/drowse", "--port", "9101"]);
        assert_eq!(spec(&["agent", "drowse", "-p{port}"]).words(drowse), ["agent", "drowse", "-p9101"]);
    }

    #[test]
    fn our_variables_go_before_those_of_the_configuration() {
        let variables = spec(&[]).variables();
        for (name, value) in [
            ("URL", "http://127.0.0.1:9101"),
            ("PORT", "9101"),
            ("DROWSE_AGENT_NAMESPACE", "default"),
            ("DROWSE_AGENT_NAME", "echo"),
        ] {
            assert_eq!(variables[name], value);
        }
    }

    #[test]
    fn only_a_process_that_is_as_the_configuration_says_is_frozen() {
        let now = spec(&["agent"]);
        let started = AgentSpec { stop_grace: Duration::ZERO, probe: Some("/x".into()), ..now.clone() };
        assert!(now.freezes(&now) && now.freezes(&started));
        assert!(!AgentSpec { suspend: Suspend::Stop, ..now.clone() }.freezes(&now));
        for changed in [
            spec(&["agent", "-v"]),
            AgentSpec { port: 9102, ..now.clone() },
            AgentSpec { env: BTreeMap::new(), ..now.clone() },
            AgentSpec { working_dir: "/".into(), ..now.clone() },
        ] {
            assert!(!changed.freezes(&now), "{changed:?}");
        }
    }

    #[test]
    fn a_thawed_process_has_to_answer_and_a_declared_path_to_answer_well() {
        let plain = spec(&[]);
        assert_eq!(plain.readiness(), None);
        let any = Readiness::Answer { port: 9101, path: "/".into() };
        assert_eq!(*plain.readiness_when_thawed(), any);
        let declared = AgentSpec { probe: Some("/ready".into()), ..plain };
        let good = Readiness::Http { port: 9101, path: "/ready".into(), headers: Vec::new() };
        assert_eq!(declared.readiness().as_deref(), Some(&good));
        assert_eq!(*declared.readiness_when_thawed(), good);
    }

    #[test]
    fn settings_of_drowse_are_not_inherited() {
        assert!(is_inherited(OsStr::new("PATH")) && is_inherited(OsStr::new("DROWSY")));
        assert!(!is_inherited(OsStr::new("DROWSE_TOKEN")));
    }
}
