//! Phases and effects in a few words each, as the tests compare them.

use crate::lifecycle::phase::{Phase, ResumeStep};
use crate::lifecycle::{Class, Effect, Mode, SuspendedBy, Transition};

/// A phase in a few words, with its step, and the pod where there is one.
pub(super) fn show(phase: &Phase) -> String {
    match phase {
        Phase::Running { life } => format!("Running {}", life.pod.0),
        Phase::Draining(drain) => format!("Draining {:?}", drain.step),
        Phase::Resuming(resume) => match &resume.step {
            ResumeStep::Probing(life) => format!("Resuming Probing {}", life.pod.0),
            ResumeStep::RetryingAt(_) => "Resuming Retrying".into(),
            step => format!("Resuming {step:?}"),
        },
        Phase::Failed { failure, .. } => format!("Failed {}", failure.class.as_str()),
        other => other.name().as_str().into(),
    }
}

/// An effect in a few words; nothing for a record, but the one that has no other effect beside it.
pub(super) fn shown(effect: &Effect<u32>) -> Option<String> {
    Some(match effect {
        Effect::Suspend { by: SuspendedBy::Idle, .. } => "suspend".into(),
        Effect::Suspend { by: SuspendedBy::Person, .. } => "suspend and stay".into(),
        Effect::Resume { from: Mode::Suspended, .. } => "resume".into(),
        Effect::Resume { from: Mode::Running, .. } => "mark wanted".into(),
        Effect::Read { .. } => "read".into(),
        Effect::RequestStart(Class::Interactive) => "ask for a turn".into(),
        Effect::RequestStart(Class::Background) => "ask for a late turn".into(),
        Effect::CancelStart => "cancel turn".into(),
        Effect::StartDone => "end turn".into(),
        Effect::Probe { life, .. } => format!("probe {}", life.pod.0),
        Effect::StopProbe => "stop probe".into(),
        Effect::Retire => "retire".into(),
        Effect::Release { waiter, .. } => format!("release {waiter}"),
        Effect::Refuse { waiter, refusal } => format!("refuse {waiter} {}", refusal.as_str()),
        Effect::Listen(_) => "listen".into(),
        Effect::Ping { life, .. } => format!("ping {}", life.pod.0),
        Effect::AskPeers(question) if question.ordered => "ask peers to obey".into(),
        Effect::AskPeers(_) => "ask peers".into(),
        Effect::Acknowledge(_) => "acknowledge".into(),
        Effect::Veto(_) => "veto".into(),
        Effect::Record(Transition::WouldSuspend) => "would suspend".into(),
        Effect::Record(_) => return None,
    })
}
