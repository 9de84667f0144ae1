//! The engine's agents without a world around them, for the benchmarks (`benches`): put in by hand, with no backend, no probe
//! and no task behind them. So a million of them is what the engine itself takes, and nothing else runs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::agent::{AgentKey, Life};
use crate::backend::BackendEvent;
use crate::lifecycle::{AgentSeen, Event, PodSeen, PodState};
use crate::time::Moment;
use crate::upstream::pool::Pool;
use crate::upstream::{MAX_DIALS, Upstream};

use super::{Engine, Slot};

/// An engine that nobody runs.
#[derive(Clone)]
pub struct Bare(Arc<Engine>);

impl Bare {
    /// Of this engine, [`Engine::run`] is never called.
    pub const fn new(engine: Arc<Engine>) -> Self {
        Self(engine)
    }

    /// The engine.
    pub const fn engine(&self) -> &Arc<Engine> {
        &self.0
    }

    /// One report of the backend. An agent that sleeps makes the engine do nothing.
    pub fn observe(&self, event: BackendEvent) {
        self.0.observe(event);
    }

    /// The agent is up in this pod, as if a probe had found it to answer on this port. `None` if the machine thinks otherwise.
    pub fn bring_up(&self, key: &AgentKey, agent: AgentSeen, pod: PodSeen, port: u16) -> Option<Arc<Slot>> {
        let PodState::Up(address) = pod.state else { return None };
        let slot = self.0.slot_for(key, &Arc::default());
        let life = Life { agent: agent.uid.clone(), pod: pod.uid.clone() };
        let (policy, mut machine) = (slot.policy(), slot.machine.lock());
        let ctx = self.0.context(&policy);
        // What follows of it, a probe above all, is left out.
        let mut left_out = Vec::new();
        machine.handle(Event::Agent(agent), ctx, &mut left_out);
        machine.handle(Event::Pod(pod), ctx, &mut left_out);
        slot.upstream.store(Some(Arc::new(upstream(life.clone(), address, port, ctx.now))));
        machine.handle(Event::Answers(life), ctx, &mut left_out);
        self.0.deadlines.arm(&slot, &machine);
        let is_up = machine.gate().is_open();
        drop(machine);
        is_up.then_some(slot)
    }

    /// Notes activity of an agent, as the end of a request does.
    pub fn touch(slot: &Slot, at: Moment) {
        slot.gate().touch(at);
    }

    /// Ticks the agents whose deadlines are the earliest, whenever they are; as many as these. How many there were.
    pub fn tick_earliest(&self, agents: usize) -> usize {
        let forever = Moment::START + Duration::MAX;
        let due = std::iter::from_fn(|| self.0.deadlines.pop_due(forever)).take(agents);
        due.map(|slot| self.0.handle(&slot, Event::Tick)).count()
    }
}

fn upstream(life: Life, address: IpAddr, port: u16, now: Moment) -> Upstream {
    Upstream {
        life,
        address,
        ready_port: port,
        ready_at: now,
        attest: Duration::ZERO,
        pool: Pool::default(),
        dials: Semaphore::new(MAX_DIALS),
        ended: CancellationToken::new(),
    }
}
