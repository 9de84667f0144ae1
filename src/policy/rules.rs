//! Pure: which policy an agent gets, and who says so, key by key.
//!
//! Layers are asked in order (annotations where allowed, matching rules as they stand in the file, defaults,
//! what is built in), and for each key the first layer that names it wins.

use std::collections::BTreeMap;
use std::time::Duration;

use super::glob::Glob;
use super::messages::{Messages, Preset, QueueName, Ready, Redeliver, SubjectTemplate};
use super::{HandsOff, OpenConnections, Policy, Protocol};
use crate::agent::{AgentKey, is_dns_label};
use crate::backend::{Profile, Texts};
use crate::units::{
    Count, HumanDuration, InFlight, PathPatterns, Ping, Port, Timeout, Windows, Written, nearest,
};

/// The prefix of our annotations, for messages; a [`Profile`] has it cut off.
const ANNOTATION_PREFIX: &str = "drowse.dev/";

/// Annotations that Drowse itself writes: not meant for the policy, and no mistake of anybody.
const MARKS: [&str; 3] = ["suspended-at", "suspended-by", "wanted-at"];

/// What one layer says. `None`: ask the next one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "each field is the one of the same name in Policy")]
pub struct Keys {
    pub route: Option<bool>,
    pub manage: Option<bool>,
    pub idle_timeout: Option<Timeout>,
    pub min_running: Option<HumanDuration>,
    pub hold_timeout: Option<Timeout>,
    pub resume_deadline: Option<Timeout>,
    pub max_held: Option<Count>,
    pub max_in_flight: Option<InFlight>,
    pub port: Option<Port>,
    pub protocol: Option<Protocol>,
    pub must_not_wake: Option<PathPatterns>,
    pub open_connections: Option<OpenConnections>,
    pub resume_user_suspended: Option<bool>,
    pub dry_run: Option<bool>,
    pub ready: Option<Ready>,
    pub busy_cap: Option<Timeout>,
    pub keep_awake: Option<Windows>,
    pub ping: Option<Ping>,
    pub messages: Option<Preset>,
    pub subject: Option<SubjectTemplate>,
    pub queue: Option<QueueName>,
    pub redeliver: Option<Redeliver>,
    pub max_messages: Option<Count>,
}

impl Keys {
    /// The names of the keys, as in the file, in the order in which they are shown.
    pub const NAMES: [&str; 23] = [
        "route",
        "manage",
        "idle_timeout",
        "min_running",
        "hold_timeout",
        "resume_deadline",
        "max_held",
        "max_in_flight",
        "port",
        "protocol",
        "must_not_wake",
        "open_connections",
        "resume_user_suspended",
        "dry_run",
        "ready",
        "busy_cap",
        "keep_awake",
        "ping",
        "messages",
        "subject",
        "queue",
        "redeliver",
        "max_messages",
    ];

    /// A layer that says everything that this policy says.
    pub fn of(policy: &Policy) -> Self {
        Self {
            route: Some(policy.route),
            manage: Some(policy.manage),
            idle_timeout: Timeout::new(policy.idle_timeout),
            min_running: Some(policy.min_running.into()),
            hold_timeout: Timeout::new(policy.hold_timeout),
            resume_deadline: Timeout::new(policy.resume_deadline),
            max_held: Some(Count::at_least_one(policy.max_held)),
            max_in_flight: Some(policy.max_in_flight.into()),
            port: policy.port.and_then(Port::new),
            protocol: Some(policy.protocol),
            must_not_wake: Some(PathPatterns::from_strings(&policy.must_not_wake)),
            open_connections: Some(policy.open_connections),
            resume_user_suspended: Some(policy.resume_user_suspended),
            dry_run: Some(policy.dry_run),
            ready: Some(policy.ready),
            busy_cap: Timeout::new(policy.busy_cap),
            keep_awake: Some(policy.keep_awake.clone()),
            ping: Some(policy.ping.clone()),
            messages: Some(policy.messages.preset),
            subject: policy.messages.subject.clone(),
            queue: policy.messages.queue.clone(),
            redeliver: Some(policy.messages.redeliver),
            max_messages: Some(Count::at_least_one(policy.messages.max_held)),
        }
    }
}

/// A layer of keys and where it stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layer {
    /// What it says.
    pub keys: Keys,
    /// Whether agents may override keys by annotations.
    pub allow_annotations: Option<bool>,
    /// Where it stands, for people: `defaults`, `rules[2] (line 41)`.
    pub from: String,
}

/// Which agents a rule is for. What is absent matches all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Match {
    /// A pattern for the namespace.
    pub namespace: Option<Glob>,
    /// A pattern for the name.
    pub name: Option<Glob>,
    /// Labels that the agent must have, with these values.
    pub labels: BTreeMap<String, String>,
}

impl Match {
    fn fits(&self, key: &AgentKey, profile: &Profile) -> bool {
        let fits = |glob: &Option<Glob>, text| glob.as_ref().is_none_or(|glob| glob.matches(text));
        fits(&self.namespace, key.namespace())
            && fits(&self.name, key.name())
            && self.labels.iter().all(|(label, value)| profile.labels.get(label) == Some(value.as_str()))
    }
}

/// One entry of `rules:`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rule {
    /// Which agents it is for.
    pub matches: Match,
    /// What holds for them.
    pub layer: Layer,
}

/// All that the configuration says about agents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleSet {
    base: Policy,
    built_in: Layer,
    defaults: Layer,
    rules: Vec<Rule>,
}

/// The policy of one agent, and how it came about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// What holds.
    pub policy: Policy,
    /// Every key with its value and who says so, in the order of [`Keys::NAMES`].
    pub provenance: Vec<KeyOrigin>,
    /// What is wrong with the agent's annotations, a sentence each. They were ignored.
    pub problems: Vec<String>,
}

/// Where the value of one key comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyOrigin {
    /// The rule key.
    pub key: &'static str,
    /// Its value, as it would be written in the file.
    pub value: String,
    /// `built in`, `defaults`, `rules[2] (line 41)` or `annotation drowse.dev/idle-timeout`.
    pub from: String,
}

impl RuleSet {
    /// Rules on top of defaults on top of what is built in. `base.suspend` is the global switch.
    pub fn new(base: Policy, defaults: Layer, rules: Vec<Rule>) -> Self {
        let built_in = Layer { keys: Keys::of(&base), allow_annotations: None, from: "built in".into() };
        Self { base, built_in, defaults, rules }
    }

    /// The longest time that any caller waits for any agent, and which layer says so. Annotations are not known here.
    pub fn longest_hold_timeout(&self) -> (Duration, &str) {
        let said = |layer: &Layer| layer.keys.hold_timeout.map(Timeout::get);
        let fallback = if said(&self.defaults).is_some() { &self.defaults } else { &self.built_in };
        let layers = self.rules.iter().map(|rule| &rule.layer).chain([fallback]);
        let longest = layers.filter_map(|layer| Some((said(layer)?, layer.from.as_str())));
        longest.max_by_key(|(timeout, _)| *timeout).unwrap_or((self.base.hold_timeout, "built in"))
    }

    /// The policy of an agent with this name and profile.
    pub fn resolve(&self, key: &AgentKey, profile: &Profile) -> Resolved {
        let matching = self.rules.iter().filter(|rule| rule.matches.fits(key, profile));
        let layers = matching.map(|rule| &rule.layer).chain([&self.defaults, &self.built_in]).collect();
        let mut picker = Picker::new(layers, &profile.annotations);
        let mut policy = picker.policy(&self.base);
        let no_label = (!is_dns_label(key.name())).then_some(&HandsOff::NoLabel);
        if let Some(hands_off) = no_label.or(profile.hands_off.as_deref()) {
            picker.keep_off(hands_off, &mut policy);
        }
        Resolved { policy, provenance: picker.provenance, problems: picker.problems }
    }
}

/// Goes through the keys of one agent.
struct Picker<'a> {
    annotations: Option<&'a Texts>,
    layers: Vec<&'a Layer>,
    provenance: Vec<KeyOrigin>,
    problems: Vec<String>,
}

impl<'a> Picker<'a> {
    fn new(layers: Vec<&'a Layer>, annotations: &'a Texts) -> Self {
        let permission = layers.iter().find_map(|layer| layer.allow_annotations);
        let allowed = permission.unwrap_or(false);
        Self {
            annotations: allowed.then_some(annotations),
            layers,
            provenance: Vec::with_capacity(Keys::NAMES.len()),
            problems: annotations.names().filter_map(|name| complaint(name, allowed)).collect(),
        }
    }

    /// Every key in turn. What no layer says stays as in `base`.
    fn policy(&mut self, base: &Policy) -> Policy {
        let mut policy = base.clone();
        self.pick("route", |keys| &keys.route, |value| policy.route = value);
        self.pick("manage", |keys| &keys.manage, |value| policy.manage = value);
        self.pick("idle_timeout", |keys| &keys.idle_timeout, |value| policy.idle_timeout = value.get());
        self.pick("min_running", |keys| &keys.min_running, |value| policy.min_running = value.get());
        self.pick("hold_timeout", |keys| &keys.hold_timeout, |value| policy.hold_timeout = value.get());
        self.pick(
            "resume_deadline",
            |keys| &keys.resume_deadline,
            |value| policy.resume_deadline = value.get(),
        );
        self.pick("max_held", |keys| &keys.max_held, |value| policy.max_held = value.get());
        self.pick("max_in_flight", |keys| &keys.max_in_flight, |value| policy.max_in_flight = value.limit());
        self.pick("port", |keys| &keys.port, |value| policy.port = Some(value.get()));
        self.pick("protocol", |keys| &keys.protocol, |value| policy.protocol = value);
        self.pick(
            "must_not_wake",
            |keys| &keys.must_not_wake,
            |value| policy.must_not_wake = value.to_strings(),
        );
        self.pick("open_connections", |keys| &keys.open_connections, |value| policy.open_connections = value);
        self.pick(
            "resume_user_suspended",
            |keys| &keys.resume_user_suspended,
            |value| policy.resume_user_suspended = value,
        );
        self.pick("dry_run", |keys| &keys.dry_run, |value| policy.dry_run = value);
        self.pick("ready", |keys| &keys.ready, |value| policy.ready = value);
        self.pick("busy_cap", |keys| &keys.busy_cap, |value| policy.busy_cap = value.get());
        self.pick("keep_awake", |keys| &keys.keep_awake, |value| policy.keep_awake = value);
        self.pick("ping", |keys| &keys.ping, |value| policy.ping = value);
        policy.messages = self.messages().into();
        policy
    }

    fn messages(&mut self) -> Messages {
        let mut messages = Messages::default();
        self.pick("messages", |keys| &keys.messages, |value| messages.preset = value);
        let subject = self.annotation_if("subject", SubjectTemplate::check_own);
        self.choose("subject", subject, |keys| &keys.subject, |value| messages.subject = Some(value));
        self.pick("queue", |keys| &keys.queue, |value| messages.queue = Some(value));
        self.pick("redeliver", |keys| &keys.redeliver, |value| messages.redeliver = value);
        self.pick("max_messages", |keys| &keys.max_messages, |value| messages.max_held = value.get());
        messages
    }

    fn keep_off(&mut self, hands_off: &HandsOff, policy: &mut Policy) {
        if (policy.route || policy.manage) && *hands_off == HandsOff::NoLabel {
            // A rule wants what cannot be: whoever wrote it is told.
            self.problems.push(hands_off.reason());
            policy.obstacle = Some(hands_off.reason().into());
        }
        match hands_off {
            HandsOff::NoLabel | HandsOff::PoolMember => {
                (policy.route, policy.manage) = (false, false);
                let overruled = |origin: &&mut KeyOrigin| matches!(origin.key, "route" | "manage");
                for origin in self.provenance.iter_mut().filter(overruled) {
                    (origin.value, origin.from) = (false.to_string(), hands_off.reason());
                }
            }
            HandsOff::ClaimExpires { .. } => policy.obstacle = Some(hands_off.reason().into()),
        }
    }

    fn pick<T: Written + Clone>(
        &mut self,
        key: &'static str,
        of: impl Fn(&Keys) -> &Option<T>,
        set: impl FnOnce(T),
    ) {
        let annotation = self.annotation_if(key, |_| Ok(()));
        self.choose(key, annotation, of, set);
    }

    fn choose<T: Written + Clone>(
        &mut self,
        key: &'static str,
        annotation: Option<(T, String)>,
        of: impl Fn(&Keys) -> &Option<T>,
        set: impl FnOnce(T),
    ) {
        let in_layers = || {
            let said = |layer: &&Layer| of(&layer.keys).clone().map(|value| (value, layer.from.clone()));
            self.layers.iter().find_map(said)
        };
        let (value, from) = match annotation.or_else(in_layers) {
            Some((value, from)) => (Some(value), from),
            None => (None, self.layers.last().map(|layer| layer.from.clone()).unwrap_or_default()),
        };
        let text = value.as_ref().map_or_else(|| "none".to_owned(), T::to_string);
        self.provenance.push(KeyOrigin { key, value: text, from });
        if let Some(value) = value {
            set(value);
        }
    }

    /// What an annotation says, if it is good, and the agent may say so.
    fn annotation_if<T: Written>(
        &mut self,
        key: &str,
        check: impl FnOnce(&T) -> Result<(), String>,
    ) -> Option<(T, String)> {
        let name = key.replace('_', "-");
        let from = format!("annotation {ANNOTATION_PREFIX}{name}");
        let read = T::read(self.annotations?.get(&name)?.trim());
        match read.and_then(|value| check(&value).map(|()| value)) {
            Ok(value) => Some((value, from)),
            Err(message) => {
                self.problems.push(format!("{from} is ignored: {message}"));
                None
            }
        }
    }
}

/// What is wrong with an annotation of this name, if anything.
fn complaint(name: &str, allowed: bool) -> Option<String> {
    if MARKS.contains(&name) {
        return None;
    }
    let annotation = format!("annotation {ANNOTATION_PREFIX}{name}");
    let names = Keys::NAMES.map(|key| key.replace('_', "-"));
    if !names.iter().any(|known| known == name) {
        let advice = match nearest(name, names.iter().map(String::as_str)) {
            Some(meant) => format!("write {ANNOTATION_PREFIX}{meant}"),
            None => format!("write one of {}", names.join(", ")),
        };
        return Some(format!("{annotation} is not known; {advice}"));
    }
    (!allowed).then(|| {
        format!(
            "{annotation} is ignored; write allow_annotations: true into the rule of this agent to allow it"
        )
    })
}

#[cfg(test)]
mod tests;
