//! Pure: the life of one agent as a function of (state, event, now) that returns effects.
//!
//! No clock, no randomness, no input or output; the simulation runs exactly this code. The shell around it is
//! `engine`.

pub mod activity;
pub mod backoff;
pub mod effect;
pub mod event;
pub mod gate;
#[cfg(test)]
mod gate_tests;
pub mod machine;
pub mod observation;
pub mod pacing;
pub mod phase;
pub mod refusal;
pub mod waitlist;

pub use activity::Activity;
pub use effect::{Abandoned, DrainQuestion, Effect, Start, Transition};
pub use event::{Arrival, CallId, Class, Event};
pub use gate::{Entry, Gate};
pub use machine::{Context, Machine};
pub use observation::{
    AgentSeen, Failure, FailureClass, Mode, PodSeen, PodState, Readiness, SuspendedBy, WriteError,
};
pub use phase::{Drain, DrainStep, Phase, PhaseName, Resume, ResumeStep};
pub use refusal::Refusal;
pub use waitlist::WaiterId;
