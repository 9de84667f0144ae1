//! What an operator asks for by hand: suspend, resume.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::AgentKey;
use crate::lifecycle::{Event, Mode, Phase, PhaseName, SuspendedBy};

use super::{Engine, Slot};

/// How long an operator's suspension may take to be written or given up.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// How often an operator's suspension is tried when others change the object at the same time.
const SUSPEND_ATTEMPTS: usize = 5;

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such agent.
    #[error("there is no agent of that name; `drowse status` lists all")]
    NotFound,
    /// No rule lets Drowse manage it.
    #[error("Drowse does not manage this agent: no rule says `manage: true` for it")]
    NotManaged,
    /// It is in use, and a working agent is never suspended.
    #[error("not suspended: {detail}")]
    Busy {
        /// What keeps it up.
        detail: String,
    },
    /// It was tried, and did not come about.
    #[error("not done: {detail}")]
    Refused {
        /// Why.
        detail: String,
    },
}

impl Engine {
    /// Suspends an agent that is not in use now, whatever its idle timeout. With `stay`, traffic does not wake it
    /// until somebody resumes it. Returns when the suspension is written.
    pub async fn suspend(self: &Arc<Self>, key: &AgentKey, stay: bool) -> Result<(), CommandError> {
        let slot = self.managed(key)?;
        let by = if stay { SuspendedBy::Person } else { SuspendedBy::Idle };
        if is_suspended(&slot, by) {
            return Ok(());
        }
        if self.is_ending() {
            return Err(CommandError::Refused { detail: "Drowse is shutting down".to_owned() });
        }
        if !self.is_synced() {
            let detail = "not all agents are known at present, and until then nobody is suspended";
            return Err(CommandError::Refused { detail: detail.to_owned() });
        }
        if !self.roles.takes_part() {
            let detail = "this replica does not take part in suspensions at present; its log says why";
            return Err(CommandError::Refused { detail: detail.to_owned() });
        }
        if let Some(hindrance) = self.roles.seen().hindrance {
            return Err(CommandError::Refused { detail: hindrance.to_string() });
        }
        if let Some(obstacle) = &slot.policy().obstacle {
            return Err(CommandError::Refused { detail: obstacle.to_string() });
        }
        let until = self.clock.instant(self.clock.now() + SETTLED_WITHIN);
        // Anybody's change of the object, and be it of its status, makes the write fail.
        for _ in 0..SUSPEND_ATTEMPTS {
            self.handle(&slot, Event::SuspendNow(by));
            if !is_draining(&slot) && !is_suspended(&slot, by) {
                let detail = self.view(&slot).reason;
                return Err(CommandError::Busy { detail });
            }
            let settled = wait_until(&slot, |slot| !is_draining(slot));
            if tokio::time::timeout_at(until, settled).await.is_err() {
                break;
            }
            if is_suspended(&slot, by) {
                return Ok(());
            }
        }
        Err(CommandError::Refused {
            detail: format!("the suspension was given up; {}", self.view(&slot).reason),
        })
    }

    /// Wants an agent up, also one that a person suspended. Returns at once; the phase tells how it goes.
    pub fn resume(self: &Arc<Self>, key: &AgentKey) -> Result<(), CommandError> {
        let slot = self.managed(key)?;
        self.handle(&slot, Event::Demand);
        Ok(())
    }

    /// Wants every managed agent up, as before an uninstall; says how many there are.
    pub fn resume_all(self: &Arc<Self>) -> usize {
        let managed = self.table.all().into_iter().filter(|slot| slot.policy().manage);
        managed.map(|slot| self.handle(&slot, Event::Demand)).count()
    }

    fn managed(&self, key: &AgentKey) -> Result<Arc<Slot>, CommandError> {
        let slot = self.slot(key).ok_or(CommandError::NotFound)?;
        if slot.policy().manage { Ok(slot) } else { Err(CommandError::NotManaged) }
    }
}

fn is_draining(slot: &Slot) -> bool {
    slot.machine.lock().phase().name() == PhaseName::Draining
}

/// Suspended with a mark at least as strong as the one asked for.
fn is_suspended(slot: &Slot, by: SuspendedBy) -> bool {
    let machine = slot.machine.lock();
    let marked = |by_now| by == SuspendedBy::Idle || by_now == SuspendedBy::Person;
    matches!(machine.phase(), Phase::Suspending | Phase::Suspended)
        && machine.agent().is_some_and(|agent| agent.mode == Mode::Suspended && marked(agent.suspended_by))
}

async fn wait_until(slot: &Slot, condition: impl Fn(&Slot) -> bool) {
    loop {
        let changed = slot.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if condition(slot) {
            return;
        }
        changed.await;
    }
}
