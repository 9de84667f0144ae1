//! Events on the Sandboxes, for `kubectl describe` and `kubectl get events`. Best effort: nothing waits for them.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tokio::sync::mpsc;

use super::sandbox::Sandbox;
use crate::agent::{AgentKey, AgentUid};
use crate::lifecycle::{Abandoned, SuspendedBy, Transition};
use crate::policy::ping::Said;

/// Events that may wait to be written. In a storm the rest is dropped: the log and the metrics have all of them.
const MAX_WAITING: usize = 256;
/// How long one may take to be written.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// The API takes a note of this many bytes.
const MAX_NOTE_BYTES: usize = 1024;

/// What an event says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Note {
    warning: bool,
    reason: &'static str,
    action: &'static str,
    text: String,
}

/// Takes events to be written.
pub(super) struct Announcer {
    waiting: mpsc::Sender<(ObjectReference, Note)>,
}

/// Where events go in, and where they come out.
pub(super) fn channel() -> (Announcer, mpsc::Receiver<(ObjectReference, Note)>) {
    let (waiting, receiver) = mpsc::channel(MAX_WAITING);
    (Announcer { waiting }, receiver)
}

impl Announcer {
    /// Has an event written, if there is room.
    pub(super) fn announce(&self, key: &AgentKey, uid: &AgentUid, note: Note) {
        let about = ObjectReference {
            api_version: Some(Sandbox::api_version(&()).into_owned()),
            kind: Some(Sandbox::kind(&()).into_owned()),
            namespace: Some(key.namespace().to_owned()),
            name: Some(key.name().to_owned()),
            uid: Some(uid.0.to_string()),
            ..ObjectReference::default()
        };
        if self.waiting.try_send((about, note)).is_err() {
            tracing::debug!(agent = %key, "an event was dropped: too many wait to be written");
        }
    }
}

/// What of a transition is worth an event.
pub(super) fn note(transition: &Transition) -> Option<Note> {
    let note = |warning, reason, action, text| Some(Note { warning, reason, action, text });
    match transition {
        Transition::Suspended(SuspendedBy::Idle) => {
            note(false, "Suspended", "Suspend", "idle; the next request resumes it".to_owned())
        }
        Transition::Suspended(SuspendedBy::Person) => {
            let text = "by `drowse suspend --stay`; requests do not resume it";
            note(false, "Suspended", "Suspend", text.to_owned())
        }
        Transition::Clearing => note(
            false,
            "PodReplaced",
            "Resume",
            "suspended and resumed, to have its dead pod replaced".to_owned(),
        ),
        Transition::Resumed(start) if start.cold => {
            let text = format!("answers {:?} after it was wanted", start.resume + start.probe);
            note(false, "Resumed", "Resume", text)
        }
        Transition::Failed { failure, retry_in, .. } => {
            let text =
                format!("{}: {}; next attempt in {retry_in:?}", failure.class.as_str(), failure.detail);
            note(true, "ResumeFailed", "Resume", text)
        }
        Transition::SuspendAbandoned(Abandoned::Refused) => note(
            true,
            "SuspendRefused",
            "Suspend",
            "the API server refused the write; see the log of Drowse".to_owned(),
        ),
        Transition::Obstructed(why) => note(true, "NotSuspended", "Suspend", why.to_string()),
        Transition::PingFailed(fault) => {
            note(true, "PingFailed", "Ping", format!("idle, but stays up until busy_cap is over: {fault}"))
        }
        Transition::PingOverruled(Said::Busy) => note(
            true,
            "BusyCapReached",
            "Suspend",
            "suspended although it says HealthyBusy: it has said so for busy_cap".to_owned(),
        ),
        Transition::PingOverruled(Said::Nothing(fault)) => note(
            true,
            "BusyCapReached",
            "Suspend",
            format!("suspended although its ping fails: it has failed for busy_cap: {fault}"),
        ),
        Transition::Resumed(_)
        | Transition::SuspendAbandoned(_)
        | Transition::WouldSuspend
        | Transition::Phase { .. } => None,
    }
}

/// Writes events one after the other, until nobody can announce any more. Each is one of its own, and there are no more of them than
/// an agent's starts, suspensions and failures, with their pauses.
pub(super) async fn publish(
    client: Client,
    instance: Option<String>,
    mut waiting: mpsc::Receiver<(ObjectReference, Note)>,
) {
    let reporter = Reporter { controller: "drowse".to_owned(), instance };
    while let Some((about, note)) = waiting.recv().await {
        let event = Event {
            type_: if note.warning { EventType::Warning } else { EventType::Normal },
            reason: note.reason.to_owned(),
            action: note.action.to_owned(),
            note: Some(shortened(note.text)),
            secondary: None,
        };
        // One that remembers events counts another of the same reason as the one before, whatever either says.
        let recorder = Recorder::new(client.clone(), reporter.clone());
        match tokio::time::timeout(WRITE_LIMIT, recorder.publish(&event, &about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an event could not be written"),
            Err(_) => tracing::debug!("an event took too long to be written"),
        }
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_NOTE_BYTES {
        let end = (0..=MAX_NOTE_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::lifecycle::{Failure, FailureClass, Start};

    #[test]
    fn a_failure_is_a_warning_that_says_why_and_when_it_is_tried_again() {
        let failure = Failure::new(FailureClass::Image, "no such image");
        let transition = Transition::Failed { failure, retry_in: Duration::from_secs(2), took: None };
        let note = note(&transition).unwrap();
        assert!(note.warning);
        assert_eq!(note.text, "image: no such image; next attempt in 2s");
    }

    #[test]
    fn a_look_at_a_running_agent_is_no_event() {
        assert_eq!(note(&Transition::Resumed(Start::default())), None);
        let cold = Start { cold: true, ..Start::default() };
        assert!(note(&Transition::Resumed(cold)).is_some());
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let text = shortened("ä".repeat(1000));
        assert!(text.len() <= MAX_NOTE_BYTES && text.chars().all(|c| c == 'ä'), "{}", text.len());
    }

    #[tokio::test]
    async fn a_second_failure_is_told_as_what_it_is() {
        let (client, asked) = testing::api(|asked| (201, asked.body.clone())).await;
        let (announcer, waiting) = channel();
        let key = AgentKey::new("default", "echo");
        for detail in ["no such image", "no node has room"] {
            let failure = Failure::new(FailureClass::Image, detail);
            let transition = Transition::Failed { failure, retry_in: Duration::from_secs(2), took: None };
            announcer.announce(&key, &AgentUid("1".into()), note(&transition).unwrap());
        }
        drop(announcer);
        publish(client, None, waiting).await;
        let asked = asked.lock();
        let notes: Vec<_> = asked.iter().map(|asked| (&*asked.method, asked.body["note"].as_str())).collect();
        let [first, second] =
            ["no such image", "no node has room"].map(|it| format!("image: {it}; next attempt in 2s"));
        assert_eq!(notes, [("POST", Some(&*first)), ("POST", Some(&*second))]);
    }
}
