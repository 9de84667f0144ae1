//! What a caller is told whom the engine did not let through.

use std::time::Duration;

use http::StatusCode;

use crate::lifecycle::Refusal;

use super::Shape;

pub(super) fn shape(refusal: &Refusal) -> Shape {
    let soon = Some(Duration::from_secs(1));
    let shape = |status, slug, title, retry_after| Shape { status, slug, title, retry_after };
    match refusal {
        Refusal::SuspendedByPerson => {
            shape(StatusCode::CONFLICT, "suspended-by-person", "A person suspended the agent", None)
        }
        Refusal::NotManaged => shape(
            StatusCode::CONFLICT,
            "not-managed",
            "The agent is suspended, and Drowse does not manage it",
            None,
        ),
        Refusal::Asleep => shape(
            StatusCode::SERVICE_UNAVAILABLE,
            "asleep",
            "The agent sleeps, and this does not wake it",
            None,
        ),
        Refusal::QueueFull { .. } => {
            shape(StatusCode::TOO_MANY_REQUESTS, "queue-full", "Too many callers wait for the agent", soon)
        }
        Refusal::Overloaded => {
            shape(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many callers wait in all", soon)
        }
        Refusal::ResumeFailed { retry_after, .. } => shape(
            StatusCode::SERVICE_UNAVAILABLE,
            "resume-failed",
            "The agent could not be resumed",
            Some(*retry_after),
        ),
        Refusal::HoldTimedOut { .. } => {
            shape(StatusCode::GATEWAY_TIMEOUT, "hold-timed-out", "The agent was not up in time", soon)
        }
        Refusal::Gone => shape(StatusCode::NOT_FOUND, "unknown-agent", "There is no such agent", None),
        Refusal::ShuttingDown => {
            shape(StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "Drowse is shutting down", soon)
        }
    }
}

/// What is wrong and what to do, for people.
pub(super) fn detail(refusal: &Refusal, name: &str) -> String {
    match refusal {
        Refusal::SuspendedByPerson => format!(
            "requests do not resume what a person suspended; run `drowse resume {name}`, or set \
             resume_user_suspended in its rule"
        ),
        Refusal::NotManaged => format!(
            "no rule has manage: true for {name}, so Drowse does not resume it; write one, or let whoever suspended it resume it"
        ),
        Refusal::Asleep => "its path is listed in must_not_wake".to_owned(),
        Refusal::QueueFull { max_held } => {
            format!("{max_held} callers wait for {name} already (max_held); `drowse explain {name}` says why")
        }
        Refusal::Overloaded => {
            "as many callers wait for agents as may in all (limits.held); `drowse status` lists whom for"
                .to_owned()
        }
        Refusal::ResumeFailed { failure, .. } => {
            format!("{}: {}; `drowse explain {name}` has more", failure.class.as_str(), failure.detail)
        }
        Refusal::HoldTimedOut { waiting_for } => {
            format!(
                "still {waiting_for} when the time to hold a caller was up; `drowse explain {name}` has more"
            )
        }
        Refusal::Gone => format!("{name} was deleted while the request waited"),
        Refusal::ShuttingDown => {
            "send the request again: another replica, or the next one, takes it".to_owned()
        }
    }
}
