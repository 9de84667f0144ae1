//! Pure: which messages of NATS are an agent's, as rules say it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::AgentKey;
use crate::units::subject::is_token;
use crate::units::{Pattern, Written, written};

/// The convention that an agent's subjects follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Preset {
    /// Messages do not wake it.
    #[default]
    Off,
    /// The subjects of the rule, and nothing else.
    Subject,
    /// A service of the NATS micro framework (ADR-32).
    Micro,
    /// The Synadia Agent Protocol for NATS, v0.3.
    Synadia,
}

/// When an agent that was started counts as up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ready {
    /// When it answers on its port.
    #[default]
    Port,
    /// When it subscribes to its subjects: for agents that listen on no port.
    Messages,
}

/// What becomes of a request that an agent got just before it fell asleep, and did not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Redeliver {
    /// It is sent again after the next start, marked `Drowse-Redelivered`: the agent may see it twice.
    #[default]
    Requests,
    /// Its sender gets an error.
    Never,
}

macro_rules! words {
    ($type:ident, $name:literal, $schema:tt, $($variant:ident = $word:literal),+) => {
        impl Written for $type {
            fn read(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("{text:?} is not one of the choices; write {}", [$($word),+].join(" or "))),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        written!($type, $name, $schema);
    };
}

pub(super) use words;

words!(Preset, "Preset", { "type": "string", "enum": ["off", "subject", "micro", "synadia"] },
    Off = "off", Subject = "subject", Micro = "micro", Synadia = "synadia");
words!(Ready, "Ready", { "type": "string", "enum": ["port", "messages"] }, Port = "port", Messages = "messages");
words!(Redeliver, "Redeliver", { "type": "string", "enum": ["requests", "never"] },
    Requests = "requests", Never = "never");

/// A subject with `{namespace}` and `{name}` in it, which stand for the agent's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubjectTemplate(Arc<str>);

/// The name of a queue group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueName(Arc<str>);

impl SubjectTemplate {
    /// Whether an agent may choose it for itself. `{namespace}.{name}` keeps apart what different tenants' agents get; without, one
    /// could take the messages of another.
    pub(super) fn check_own(&self) -> Result<(), String> {
        let tokens: Vec<_> = self.0.split('.').collect();
        if tokens.windows(2).any(|pair| pair == ["{namespace}", "{name}"]) {
            return Ok(());
        }
        Err(format!(
            "{self} has no {{namespace}}.{{name}} in it, and could take messages of other agents; write one such as \
             agents.{{namespace}}.{{name}}.>, or name this one in a rule"
        ))
    }

    /// The subject of this agent. Its namespace and name are DNS labels, so what was a subject stays one.
    fn of(&self, key: &AgentKey, before: &str) -> Option<Pattern> {
        let text = self.0.replace("{namespace}", key.namespace()).replace("{name}", key.name());
        Pattern::new(&format!("{before}{text}")).ok()
    }
}

impl Written for SubjectTemplate {
    fn read(text: &str) -> Result<Self, String> {
        let advice = "write one such as agents.{namespace}.{name}.>";
        let plain = text.replace("{namespace}", "x").replace("{name}", "x");
        if let Err(error) = Pattern::new(&plain) {
            return Err(format!("{text:?} is not a subject: {error}; {advice}"));
        }
        if plain.contains(['{', '}']) {
            return Err(format!("{text:?} has another word in braces than namespace or name; {advice}"));
        }
        if plain.starts_with('$') || plain.starts_with(['*', '>']) && !text.contains("{name}") {
            return Err(format!("{text:?} would take messages that are for others; {advice}"));
        }
        Ok(Self(text.into()))
    }
}

impl Written for QueueName {
    fn read(text: &str) -> Result<Self, String> {
        let good = is_token(text) || text.split('.').all(is_token);
        let advice = "write the one in which the agent subscribes, such as q";
        if good { Ok(Self(text.into())) } else { Err(format!("{text:?} is not a queue group; {advice}")) }
    }
}

impl fmt::Display for SubjectTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written!(SubjectTemplate, "SubjectTemplate", {
    "type": "string",
    "examples": ["agents.{namespace}.{name}.>"],
});
written!(QueueName, "QueueName", { "type": "string", "examples": ["q", "agents"] });

/// Which messages are an agent's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Messages {
    /// The convention.
    pub preset: Preset,
    /// Its subjects, if a rule says so; else the preset's.
    pub subject: Option<SubjectTemplate>,
    /// Its queue group, if a rule says so; else the preset's, or what it is seen to use.
    pub queue: Option<QueueName>,
    /// See [`Redeliver`].
    pub redeliver: Redeliver,
    /// How many wait for it at most.
    pub max_held: u32,
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            preset: Preset::Off,
            subject: None,
            queue: None,
            redeliver: Redeliver::Requests,
            max_held: 10_000,
        }
    }
}

impl Messages {
    /// The subjects of this agent whose messages wake it; none if none does.
    pub fn subjects(&self, key: &AgentKey) -> Vec<Pattern> {
        let of = |default: &str, before: &str| {
            let template = self.subject.clone().unwrap_or_else(|| SubjectTemplate(default.into()));
            template.of(key, before)
        };
        match self.preset {
            Preset::Off => Vec::new(),
            Preset::Subject | Preset::Micro => of("agents.{namespace}.{name}.>", "").into_iter().collect(),
            Preset::Synadia => ["agents.prompt.", "agents.status."]
                .into_iter()
                .filter_map(|before| of(SYNADIA, before))
                .collect(),
        }
    }

    /// Whether any messages wake it.
    pub fn wake(&self) -> bool {
        self.preset != Preset::Off
    }

    /// Whether it describes itself to whoever looks for services.
    pub fn is_service(&self) -> bool {
        matches!(self.preset, Preset::Micro | Preset::Synadia)
    }

    /// How often a caller who waits is told so, where the convention has a word for it: it gives up after a minute of silence.
    pub fn keep_alive(&self) -> Option<Duration> {
        (self.preset == Preset::Synadia).then_some(Duration::from_secs(20))
    }

    /// Where it says that it is there, if it does: not a sign that it works.
    pub fn heartbeat(&self, key: &AgentKey) -> Option<Pattern> {
        let template = self.subject.clone().unwrap_or_else(|| SubjectTemplate(SYNADIA.into()));
        (self.preset == Preset::Synadia).then(|| template.of(key, "agents.hb.")).flatten()
    }

    /// The queue group that it is thought to use.
    pub fn queue(&self) -> &str {
        match (&self.queue, self.preset) {
            (Some(queue), _) => &queue.0,
            // Required by the protocol.
            (None, Preset::Synadia) => "agents",
            // ADR-32: "q" unless the service says otherwise.
            (None, _) => "q",
        }
    }

    /// Whether what it is seen to use counts more than what is thought.
    pub const fn learns_queue(&self) -> bool {
        self.queue.is_none() && matches!(self.preset, Preset::Micro | Preset::Subject)
    }
}

/// `agents.prompt.{agent}.{owner}.{name}`: which program the agent is nobody needs to say, and the owner is the namespace.
const SYNADIA: &str = "*.{namespace}.{name}";

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(preset: Preset) -> Messages {
        Messages { preset, ..Messages::default() }
    }

    fn subjects(messages: &Messages) -> Vec<String> {
        let key = AgentKey::new("team-a", "echo");
        messages.subjects(&key).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_preset_has_its_subjects_and_its_queue() {
        assert!(subjects(&messages(Preset::Off)).is_empty());
        assert_eq!(subjects(&messages(Preset::Subject)), ["agents.team-a.echo.>"]);
        let synadia = messages(Preset::Synadia);
        assert_eq!(subjects(&synadia), ["agents.prompt.*.team-a.echo", "agents.status.*.team-a.echo"]);
        assert_eq!(synadia.queue(), "agents");
        let hb = synadia.heartbeat(&AgentKey::new("team-a", "echo")).unwrap();
        assert_eq!(hb.as_str(), "agents.hb.*.team-a.echo");
        assert_eq!((messages(Preset::Micro).queue(), messages(Preset::Micro).learns_queue()), ("q", true));
    }

    #[test]
    fn a_rule_may_say_where() {
        let rule = Messages {
            preset: Preset::Subject,
            subject: Some(SubjectTemplate::read("{name}.in").unwrap()),
            queue: Some(QueueName::read("workers").unwrap()),
            ..Messages::default()
        };
        assert_eq!(
            (subjects(&rule), rule.queue(), rule.learns_queue()),
            (vec!["echo.in".to_owned()], "workers", false)
        );
    }

    #[test]
    fn what_cannot_work_is_refused_with_advice() {
        for bad in ["", "a..b", "a b", "a.{host}", "$SRV.>", ">", "*.x", "a.>.b"] {
            assert!(SubjectTemplate::read(bad).unwrap_err().contains("; write "), "{bad}");
        }
        assert!(QueueName::read("a b").unwrap_err().contains("; write "));
        assert!(Preset::read("subjects").unwrap_err().contains("off or subject or micro or synadia"));
    }
}
