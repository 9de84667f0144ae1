//! Pure: services of the NATS micro framework (ADR-32), as they describe themselves, and what is answered for one that
//! sleeps to whoever looks for services.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::units::subject::is_token;

/// Bytes of a description at most.
pub const MAX_DESCRIPTION: usize = 64 * 1024;
/// What the subjects of questions begin with.
pub const PREFIX: &str = "$SRV";

/// What is asked of services.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Whether it is there.
    Ping,
    /// What it is.
    Info,
    /// What it has done.
    Stats,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ping, Self::Info, Self::Stats];

    /// As a token of a subject.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Info => "INFO",
            Self::Stats => "STATS",
        }
    }
}

/// A question to services: to all, to those of one name, or to one of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// What is asked.
    pub verb: Verb,
    name: Option<Box<str>>,
    id: Option<Box<str>>,
}

impl Question {
    /// Reads `$SRV.<verb>[.<name>[.<id>]]`.
    pub fn parse(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix(PREFIX)?.strip_prefix('.')?.split('.');
        let verb = tokens.next()?;
        let verb = Verb::ALL.into_iter().find(|known| known.token() == verb)?;
        let (name, id) = (tokens.next().map(Into::into), tokens.next().map(Into::into));
        tokens.next().is_none().then_some(Self { verb, name, id })
    }

    /// The one service that is meant, if it is one.
    pub fn of_one(&self) -> Option<(&str, &str)> {
        self.name.as_deref().zip(self.id.as_deref())
    }
}

/// A service, as it has described itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Service {
    name: Box<str>,
    id: Box<str>,
    info: Map<String, Value>,
    started: Value,
}

impl Service {
    /// Reads its answers to `INFO` and to `STATS`; `None` if they are not answers of a service.
    pub fn read(info: &[u8], stats: &[u8]) -> Option<Self> {
        if info.len() > MAX_DESCRIPTION || stats.len() > MAX_DESCRIPTION {
            return None;
        }
        let stats: Value = serde_json::from_slice(stats).ok()?;
        Self::of(serde_json::from_slice(info).ok()?, stats.get("started").cloned())
    }

    fn of(info: Map<String, Value>, started: Option<Value>) -> Option<Self> {
        let text = |key: &str| info.get(key)?.as_str().filter(|text| is_token(text)).map(Into::into);
        let (name, id) = (text("name")?, text("id")?);
        let is_info = info.get("type")?.as_str()?.ends_with(".info_response");
        is_info.then(|| Self { name, id, info, started: started.unwrap_or_default() })
    }

    /// Reads what [`Service::write`] has written.
    pub fn restore(written: &[u8]) -> Option<Self> {
        let mut written: Map<String, Value> = serde_json::from_slice(written).ok()?;
        match written.remove("info")? {
            Value::Object(info) => Self::of(info, written.remove("started")),
            _ => None,
        }
    }

    /// To be kept.
    pub fn write(&self) -> Bytes {
        json!({"info": self.info, "started": self.started}).to_string().into()
    }

    /// Its name, which it may share with others.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id: a new one with each start.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same with those endpoints only for whose subjects this holds; `None` if there is none.
    pub fn with_endpoints(&self, which: impl Fn(&str) -> bool) -> Option<Self> {
        let is_one = |endpoint: &&Value| endpoint.get("subject").and_then(Value::as_str).is_some_and(&which);
        let own: Vec<_> = self.endpoints().filter(is_one).cloned().collect();
        let mut this = self.clone();
        (!own.is_empty()).then(|| {
            this.info.insert("endpoints".to_owned(), own.into());
            this
        })
    }

    fn endpoints(&self) -> impl Iterator<Item = &Value> {
        self.info.get("endpoints").and_then(Value::as_array).into_iter().flatten()
    }

    /// Whether it is one of those that are asked.
    pub fn is_asked(&self, question: &Question) -> bool {
        question.name.as_deref().is_none_or(|name| *name == *self.name)
            && question.id.as_deref().is_none_or(|id| *id == *self.id)
    }

    /// What is said for it while its agent is in this phase: what it has said itself, and in its metadata the phase.
    pub fn answer(&self, verb: Verb, phase: &str) -> Bytes {
        let mut answer = self.info.clone();
        let metadata = answer.entry("metadata").or_insert(Value::Null);
        if !metadata.is_object() {
            *metadata = json!({});
        }
        metadata["drowse.phase"] = phase.into();
        if verb != Verb::Info {
            answer.retain(|key, _| ["name", "id", "version", "metadata"].contains(&key.as_str()));
            let kind = verb.token().to_lowercase();
            answer.insert("type".to_owned(), format!("io.nats.micro.v1.{kind}_response").into());
        }
        if verb == Verb::Stats {
            answer.insert("started".to_owned(), self.started.clone());
            answer.insert("endpoints".to_owned(), self.endpoints().map(idle).collect());
        }
        Value::Object(answer).to_string().into()
    }
}

/// The counts of an endpoint begin anew with each start.
fn idle(endpoint: &Value) -> Value {
    json!({
        "name": endpoint.get("name"),
        "subject": endpoint.get("subject"),
        "queue_group": endpoint.get("queue_group"),
        "num_requests": 0,
        "num_errors": 0,
        "last_error": "",
        "processing_time": 0,
        "average_processing_time": 0,
        "data": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        let info = json!({
            "type": "io.nats.micro.v1.info_response", "name": "agents", "id": "X1", "version": "0.5.0",
            "description": "a demo", "metadata": {"owner": "default"},
            "endpoints": [{"name": "prompt", "subject": "agents.prompt.demo.default.echo", "queue_group": "agents", "metadata": null}],
        });
        let stats = json!({"type": "io.nats.micro.v1.stats_response", "started": "2026-11-24T10:00:00Z"});
        Service::read(info.to_string().as_bytes(), stats.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn questions_are_to_all_to_a_name_or_to_one() {
        let service = service();
        for (subject, asked) in [
            ("$SRV.PING", true),
            ("$SRV.INFO.agents", true),
            ("$SRV.STATS.agents.X1", true),
            ("$SRV.PING.others", false),
            ("$SRV.PING.agents.X2", false),
        ] {
            assert_eq!(service.is_asked(&Question::parse(subject).unwrap()), asked, "{subject}");
        }
        for subject in ["$SRV", "$SRV.SCHEMA", "$SRV.PING.a.b.c", "SRV.PING", ""] {
            assert_eq!(Question::parse(subject), None, "{subject}");
        }
        assert_eq!(Question::parse("$SRV.INFO.a.b").unwrap().of_one(), Some(("a", "b")));
    }

    #[test]
    fn what_is_said_for_it_is_what_it_said_and_that_it_sleeps() {
        let answer = |verb| serde_json::from_slice::<Value>(&service().answer(verb, "Suspended")).unwrap();
        let metadata = json!({"owner": "default", "drowse.phase": "Suspended"});
        let ping = json!({
            "type": "io.nats.micro.v1.ping_response", "name": "agents", "id": "X1", "version": "0.5.0", "metadata": metadata,
        });
        assert_eq!(answer(Verb::Ping), ping);
        let info = answer(Verb::Info);
        assert_eq!((&info["description"], &info["metadata"]), (&json!("a demo"), &metadata));
        assert_eq!(info["endpoints"][0]["subject"], "agents.prompt.demo.default.echo");
        let stats = answer(Verb::Stats);
        assert_eq!(
            (&stats["started"], &stats["type"]),
            (&json!("2026-11-24T10:00:00Z"), &json!("io.nats.micro.v1.stats_response"))
        );
        assert_eq!(
            (&stats["endpoints"][0]["num_requests"], &stats["description"]),
            (&json!(0), &Value::Null)
        );
    }

    #[test]
    fn nothing_is_said_of_endpoints_that_are_anothers() {
        let service = service();
        assert_eq!(service.with_endpoints(|_| false), None);
        let own = service.with_endpoints(|subject| subject == "agents.prompt.demo.default.echo");
        assert_eq!(own, Some(service));
    }

    #[test]
    fn a_description_is_kept_and_what_is_none_is_not_taken() {
        let service = service();
        assert_eq!(Service::restore(&service.write()), Some(service));
        let bad = [
            "",
            "[]",
            "{}",
            r#"{"type": "io.nats.micro.v1.info_response", "name": "a.b", "id": "x"}"#,
            r#"{"type": "io.nats.micro.v1.ping_response", "name": "a", "id": "x"}"#,
        ];
        for info in bad {
            assert_eq!(Service::read(info.as_bytes(), b"{}"), None, "{info}");
        }
        assert_eq!(Service::read(&vec![b' '; MAX_DESCRIPTION + 1], b"{}"), None);
    }
}
