//! The agents of the process backend.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::Step::{self, Index, Key};
use crate::agent::AgentKey;
use crate::backend::{Profile, Texts};
use crate::config::decode::Document;
use crate::config::model::{ProcessAgent, ProcessBackend, Program, Suspend};
use crate::config::raw;
use crate::policy::Policy;
use crate::policy::messages::{Preset, Ready};
use crate::policy::rules::{Layer, RuleSet};

/// What our annotations begin with.
const ANNOTATION_PREFIX: &str = "drowse.dev/";

pub(super) fn resolve(raw: raw::Process, document: &Document<'_, '_>, folder: &Path) -> ProcessBackend {
    let state_dir = folder.join(raw.state_dir);
    let mut lines: HashMap<AgentKey, usize> = HashMap::new();
    let mut agents = Vec::with_capacity(raw.agents.len());
    for (index, agent) in raw.agents.into_iter().enumerate() {
        let report = Reporter { document, index };
        let key = AgentKey::new(agent.namespace.0.as_str(), agent.name.0.as_str());
        if let Some(line) = lines.get(&key) {
            report.at(
                &[Key("name")],
                format!("{key} stands here a second time (first in line {line}); write another name"),
            );
        }
        lines.entry(key.clone()).or_insert_with(|| report.line());
        agents.push(resolve_agent(key, agent, &report, folder, &state_dir));
    }
    ProcessBackend { state_dir, stop_grace: raw.stop_grace.get(), agents }
}

fn resolve_agent(
    key: AgentKey,
    raw: raw::Agent,
    report: &Reporter<'_, '_, '_>,
    folder: &Path,
    state_dir: &Path,
) -> ProcessAgent {
    check_texts(&raw, report);
    let port = raw.port.get();
    let fill = |text: String| text.replace("{port}", &port.to_string());
    let mut words = raw.command.into_iter().map(fill);
    let program = program(words.next().unwrap_or_default(), folder);
    if program == Program::Named(String::new()) {
        report.at(
            &[Key("command")],
            "there is no program; write a list such as [my-agent, --port, \"{port}\"]",
        );
    }
    ProcessAgent {
        program,
        args: words.collect(),
        port,
        env: raw.env.into_iter().map(|(name, value)| (name, fill(value))).collect(),
        working_dir: match raw.working_dir {
            Some(dir) => folder.join(dir),
            None => state_dir.join(key.namespace()).join(key.name()),
        },
        suspend: raw.suspend,
        probe: raw.probe.map(|path| path.0),
        labels: raw.labels,
        annotations: annotations(raw.annotations, report),
        key,
    }
}

/// A frozen process keeps its subscriptions, so messages would be lost in it instead of waking it.
pub(super) fn check_frozen(process: &ProcessBackend, rules: &RuleSet, document: &Document<'_, '_>) {
    for (index, agent) in process.agents.iter().enumerate() {
        let policy = rules.resolve(&agent.key, &agent.profile()).policy;
        let listens = policy.messages.preset != Preset::Off || policy.ready == Ready::Messages;
        if listens && agent.suspend == Suspend::Freeze {
            let message = "a frozen agent stays subscribed, and its messages would wait in it unseen; write suspend: stop, or \
                           messages: off and ready: port for this agent";
            Reporter { document, index }.at(&[Key("suspend")], message);
        }
    }
}

/// A relative path would else be looked up from the agent's working directory, or from ours.
fn program(word: String, folder: &Path) -> Program {
    match word.as_str() {
        "drowse" => Program::ThisProgram,
        path if path.contains('/') => Program::Named(folder.join(path).to_string_lossy().into_owned()),
        _ => Program::Named(word),
    }
}

/// What the operating system would refuse when the agent is started, hours later.
fn check_texts(raw: &raw::Agent, report: &Reporter<'_, '_, '_>) {
    for (index, word) in raw.command.iter().enumerate().filter(|(_, word)| word.contains('\0')) {
        report
            .at(&[Key("command"), Index(index)], format!("{word:?} has a zero character; write it without"));
    }
    for (name, value) in &raw.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let message = format!("{name:?} cannot be an environment variable; write NAME: value");
            report.at(&[Key("env"), Key(name)], message);
        }
    }
}

/// Without their prefix. Mistakes are found here, where a line can be named.
fn annotations(written: BTreeMap<String, String>, report: &Reporter<'_, '_, '_>) -> BTreeMap<String, String> {
    let anything_goes = Layer { allow_annotations: Some(true), ..Layer::default() };
    let rules = RuleSet::new(Policy::default(), anything_goes, Vec::new());
    let mut ours = BTreeMap::new();
    for (name, value) in written {
        let path = [Key("annotations"), Key(&name)];
        let Some(key) = name.strip_prefix(ANNOTATION_PREFIX) else {
            let message = format!(
                "{name:?} is not for Drowse; write drowse.dev/<rule-key>, such as drowse.dev/idle-timeout"
            );
            report.at(&path, message);
            continue;
        };
        let annotations = Texts::from_iter([(key, value.as_str())]);
        let profile = Profile { annotations, ..Profile::default() };
        for problem in rules.resolve(&AgentKey::new("default", "any"), &profile).problems {
            report.at(&path, problem);
        }
        ours.insert(key.to_owned(), value);
    }
    ours
}

/// Notes what is wrong with one agent.
struct Reporter<'d, 'a, 'p> {
    document: &'d Document<'a, 'p>,
    index: usize,
}

impl Reporter<'_, '_, '_> {
    fn path<'s>(&self, below: &[Step<'s>]) -> Vec<Step<'s>> {
        let mut path = vec![Key("backend"), Key("process"), Key("agents"), Index(self.index)];
        path.extend_from_slice(below);
        path
    }

    fn at(&self, below: &[Step<'_>], message: impl Into<String>) {
        self.document.report(&self.path(below), message);
    }

    fn line(&self) -> usize {
        self.document.line(&self.path(&[])).unwrap_or_default()
    }
}
