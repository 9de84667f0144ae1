//! Conformance suites of the field, run through the front door: against an agent that is up, and against one that sleeps at the
//! first call.

mod autobahn;

use crate::support::Drowse;

/// How the agent is when a suite begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Warm,
    Asleep,
}

/// A suite that is about to begin.
struct Begun {
    start: Start,
    resumes: f64,
}

impl Start {
    /// Brings the agent there. It was up before in any case, so that the suite finds the same agent.
    async fn begin(self, drowse: &Drowse, agent: &str) -> Begun {
        let name = format!("default/{agent}");
        let (text, code) = drowse.command(&["resume", &name]).await;
        assert_eq!(code, 0, "{text}");
        drowse.wait_for_phase(agent, "Running").await;
        if self == Self::Asleep {
            let (text, code) = drowse.command(&["suspend", &name]).await;
            assert_eq!(code, 0, "{text}");
            drowse.wait_for_phase(agent, "Suspended").await;
        }
        Begun { start: self, resumes: resumes(drowse).await }
    }
}

impl Begun {
    /// What the suite cost: one resume if the agent slept, and none if it was up.
    async fn cost(&self, drowse: &Drowse) {
        let cost = resumes(drowse).await - self.resumes;
        let expected = if self.start == Start::Asleep { 1.0 } else { 0.0 };
        assert!((cost - expected).abs() < 0.5, "{cost} resumes, and not {expected}");
    }
}

async fn resumes(drowse: &Drowse) -> f64 {
    drowse.metric("drowse_resumes_total", "").await
}
