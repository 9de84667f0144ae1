//! Pure: what an agent says of itself when it is asked (rule key `ping`), and for how long that counts.
//!
//! The question and the answers are those of the HTTP contract of Amazon Bedrock `AgentCore` Runtime, so that an agent written
//! for it needs no change. <https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/runtime-http-protocol-contract.html>

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::time::Moment;
use crate::units::PingTarget;

/// How soon an agent is asked again whose answer could not be used: what is wrong may pass, or be corrected. It has been idle
/// for its idle timeout already.
const ASK_BROKEN_AGAIN: Duration = Duration::from_mins(1);
/// What an agent says continues what it said before if that has lapsed no longer than this. An agent that was not asked for
/// longer (`suspend: off`, a keep-awake window) may long have begun with something else, and its cap begins anew.
const SAME_SPELL: Duration = Duration::from_mins(1);
/// Characters of a status that nobody knows; what is longer is cut.
const MAX_STATUS: usize = 40;

/// What came of asking an agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PingAnswer {
    /// It is not at work.
    Healthy,
    /// It is.
    Busy,
    /// It gave no answer that can be used.
    Failed(PingFault),
    /// It was not asked: too many others were being asked.
    NotAsked,
}

/// Why an answer cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PingFault {
    /// The kind of it.
    pub kind: PingFaultKind,
    /// What was seen, for people.
    pub detail: Arc<str>,
}

/// A kind of answer that cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PingFaultKind {
    /// No connection, or one that broke off.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The agent has no such path (404).
    NoSuchPath,
    /// Another status than 200.
    Status,
    /// Status 200, and then nothing of the contract.
    Invalid,
}

impl PingFaultKind {
    /// What to do about it.
    const fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => "let the agent listen there, or correct the rule key ping",
            Self::TimedOut => "let the agent answer at once, also while it works",
            Self::NoSuchPath => "correct the path in the rule key ping, or write ping: off",
            Self::Status => "let the agent answer 200, or correct the rule key ping",
            Self::Invalid => r#"let the agent answer {"status": "Healthy"} or {"status": "HealthyBusy"}"#,
        }
    }
}

impl PingFault {
    /// A failure of this kind.
    pub fn new(kind: PingFaultKind, detail: impl Into<Arc<str>>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

impl fmt::Display for PingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.detail, self.kind.advice())
    }
}

/// The part of an answer that counts. `time_of_last_update` beside it is not read: agents write it in seconds, milliseconds or
/// as a text, by their own clock.
#[derive(Deserialize)]
struct Content {
    status: String,
}

impl PingAnswer {
    /// Reads an answer: its status, and with 200, its content.
    pub fn read(status: u16, content: &[u8]) -> Self {
        let failed = |kind, detail: String| Self::Failed(PingFault::new(kind, detail));
        match status {
            200 => {}
            404 => {
                return failed(PingFaultKind::NoSuchPath, "it answers 404, as if it had no such path".into());
            }
            300..400 => {
                return failed(PingFaultKind::Status, format!("it answers {status}; that is not followed"));
            }
            _ => return failed(PingFaultKind::Status, format!("it answers {status}")),
        }
        match serde_json::from_slice::<Content>(content) {
            Ok(content) if content.status == "Healthy" => Self::Healthy,
            Ok(content) if content.status == "HealthyBusy" => Self::Busy,
            Ok(content) => {
                let status: String = content.status.chars().take(MAX_STATUS).collect();
                failed(PingFaultKind::Invalid, format!("it answers the status {status:?}"))
            }
            Err(_) => failed(PingFaultKind::Invalid, "its answer has no status".into()),
        }
    }
}

/// Why an agent stays up that was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// It says that it is at work.
    Busy,
    /// It may be at work.
    Nothing(PingFault),
}

/// What an agent has said last, of things that keep it up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// Where it was asked.
    pub target: PingTarget,
    /// What it said.
    pub said: Said,
    /// When.
    pub at: Moment,
    /// Since when it has said nothing else, without other activity.
    pub since: Moment,
}

impl Word {
    /// Until when it counts. `busy_cap` is about all that it says in one spell.
    pub fn until(&self, idle_timeout: Duration, busy_cap: Duration) -> Moment {
        let next = match self.said {
            Said::Busy => idle_timeout,
            Said::Nothing(_) => idle_timeout.min(ASK_BROKEN_AGAIN),
        };
        (self.at + next).min(self.since + busy_cap)
    }

    /// Whether it has said so for as long as it may.
    pub fn is_capped(&self, busy_cap: Duration, now: Moment) -> bool {
        self.since + busy_cap <= now
    }

    /// Whether what the agent says now goes on with this. `active` is its last activity besides.
    pub fn goes_on(&self, idle_timeout: Duration, busy_cap: Duration, active: Moment, now: Moment) -> bool {
        active <= self.since && now <= self.until(idle_timeout, busy_cap) + SAME_SPELL
    }

    /// Whether this says the same, or fails in the same way.
    pub fn is_like(&self, said: &Said) -> bool {
        match (&self.said, said) {
            (Said::Busy, Said::Busy) => true,
            (Said::Nothing(one), Said::Nothing(other)) => one.kind == other.kind,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_words_of_the_contract_are_read_whatever_stands_beside_them() {
        for (content, answer) in [
            (r#"{"status": "Healthy"}"#, PingAnswer::Healthy),
            (r#"{"status": "HealthyBusy", "time_of_last_update": 1763954400}"#, PingAnswer::Busy),
            (r#"{"time_of_last_update": "2026-11-24T03:11:14Z", "status": "HealthyBusy"}"#, PingAnswer::Busy),
        ] {
            assert_eq!(PingAnswer::read(200, content.as_bytes()), answer, "{content}");
        }
    }

    #[test]
    fn anything_else_is_a_failure_that_says_what_to_do() {
        use PingFaultKind::{Invalid, NoSuchPath, Status};
        let long = format!(r#"{{"status": "{}"}}"#, "x".repeat(1000));
        for (status, content, expected) in [
            (200, "", Invalid),
            (200, "ok", Invalid),
            (200, "[]", Invalid),
            (200, "{}", Invalid),
            (200, r#"{"status": 1}"#, Invalid),
            (200, r#"{"status": "healthybusy"}"#, Invalid),
            (200, r#"{"status": "Unhealthy"}"#, Invalid),
            (200, &long, Invalid),
            (204, "", Status),
            (302, r#"{"status": "Healthy"}"#, Status),
            (404, r#"{"status": "Healthy"}"#, NoSuchPath),
            (503, r#"{"status": "Healthy"}"#, Status),
        ] {
            match PingAnswer::read(status, content.as_bytes()) {
                PingAnswer::Failed(fault) => {
                    assert_eq!(fault.kind, expected, "{status} {content}");
                    let text = fault.to_string();
                    assert!(text.contains("; ") && text.len() < 200, "{text}");
                }
                other => panic!("{status} {content}: {other:?}"),
            }
        }
    }

    const IDLE: Duration = Duration::from_mins(15);
    const CAP: Duration = Duration::from_hours(8);

    fn at(minutes: u32) -> Moment {
        Moment::START + Duration::from_mins(1) * minutes
    }

    fn word(said: Said, since: u32, now: u32) -> Word {
        let target = PingTarget { port: None, path: "/ping".into() };
        Word { target, said, at: at(now), since: at(since) }
    }

    #[test]
    fn a_word_counts_for_an_idle_timeout_a_failure_for_a_minute_and_neither_beyond_the_cap() {
        let broken = || Said::Nothing(PingFault::new(PingFaultKind::TimedOut, "silence"));
        for (word, until, capped) in [
            (word(Said::Busy, 100, 100), 115, false),
            (word(broken(), 100, 100), 101, false),
            (word(Said::Busy, 100, 570), 580, false),
            (word(Said::Busy, 100, 580), 580, true),
            (word(broken(), 100, 600), 580, true),
        ] {
            assert_eq!(word.until(IDLE, CAP), at(until), "{word:?}");
            assert_eq!(word.is_capped(CAP, word.at), capped, "{word:?}");
        }
        assert_eq!(
            word(broken(), 100, 100).until(Duration::from_secs(1), CAP),
            at(100) + Duration::from_secs(1)
        );
    }

    #[test]
    fn a_spell_ends_with_other_activity_and_when_nobody_has_asked_for_long() {
        let word = word(Said::Busy, 100, 130);
        for (active, now, goes_on) in [(90, 145, true), (100, 146, true), (101, 145, false), (90, 147, false)]
        {
            assert_eq!(word.goes_on(IDLE, CAP, at(active), at(now)), goes_on, "{active} {now}");
        }
    }
}
