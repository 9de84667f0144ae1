//! Runs what a machine has decided.
//!
//! What must be true the moment the machine's lock is released (who is released to where, that nothing new goes to
//! a dying pod) is done under it; everything else after it, in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use parking_lot::MutexGuard;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::lifecycle::{
    AgentSeen, Context, Effect, Event, Machine, Mode, Refusal, Transition, WaiterId, WriteError,
};
use crate::metrics::Bound;
use crate::policy::Policy;
use crate::policy::ping::Said;
use crate::time::Clock;

use super::hold::{Caller, Waited};
use super::permit::{Permit, Place};
use super::probing::Target;
use super::slot::Deferred;
use super::{Engine, MAX_SUSPENDING, Slot};

/// Something to do after the machine's lock is released.
enum Deed {
    Answer(Caller, Result<Permit, Refusal>),
    Effect(Effect<Caller>),
}

impl Engine {
    /// One event for one agent.
    pub(super) fn handle(self: &Arc<Self>, slot: &Arc<Slot>, event: Event<Caller>) {
        self.handle_locked(slot, slot.machine.lock(), event);
    }

    /// Gives a new caller its number in the order of arrival, in the same step in which it arrives.
    pub(super) fn next_waiter(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        arrive: impl FnOnce(WaiterId) -> Event<Caller>,
    ) -> WaiterId {
        let machine = slot.machine.lock();
        let id = WaiterId(slot.arrivals.fetch_add(1, Ordering::Relaxed));
        self.handle_locked(slot, machine, arrive(id));
        id
    }

    pub(super) fn handle_locked(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        mut machine: MutexGuard<'_, Machine<Caller>>,
        event: Event<Caller>,
    ) {
        let policy = slot.policy();
        let mut effects = Vec::new();
        machine.handle(event, self.context(&policy), &mut effects);
        self.deadlines.arm(slot, &machine);
        let deeds: Vec<Deed> =
            effects.into_iter().filter_map(|effect| self.settle_now(slot, effect)).collect();
        if deeds.is_empty() {
            return;
        }
        let _runtime = self.runtime.as_ref().map(Handle::enter);
        // Hand over hand: whoever decides next waits here until these have run.
        let order = slot.effects.lock();
        drop(machine);
        let unwanted = self.run_all(slot, order, deeds);
        // Giving back a place may decide something anew, so only now.
        drop(unwanted);
    }

    /// What a machine needs to know besides its own state, now.
    pub(super) fn context<'a>(&self, policy: &'a Policy) -> Context<'a> {
        Context {
            now: self.clock.now(),
            calendar: Clock::calendar(),
            policy,
            may_suspend: self.roles.leads(self.clock.now()),
            may_order: self.may_order(),
            alone: self.roles.alone(),
            inherits: !self.roles.alone() || self.backend.outlives_us(),
            listens: self.listens(policy),
            crowded: self.suspending.load(Ordering::Relaxed) >= MAX_SUSPENDING,
        }
    }

    /// The part of an effect that belongs under the machine's lock.
    fn settle_now(self: &Arc<Self>, slot: &Arc<Slot>, effect: Effect<Caller>) -> Option<Deed> {
        match effect {
            Effect::Retire => {
                if let Some(upstream) = slot.upstream.swap(None) {
                    upstream.retire();
                }
                None
            }
            Effect::Release { waiter, start } => {
                let Some(upstream) = slot.upstream.load_full() else {
                    // The gate is open, so this does not happen; should it, no place may be lost.
                    debug_assert!(false, "an open gate without an upstream");
                    let _ = slot.gate().leave(None);
                    return Some(Deed::Answer(waiter, Err(Refusal::Gone)));
                };
                let waited = Waited {
                    hold: self.clock.now().since(waiter.arrived),
                    resume: start.resume,
                    probe: start.probe,
                    // Of a caller that waited for no start, but for its turn, there was none.
                    attest: upstream.attest.min(start.probe),
                    cold: start.cold,
                };
                let place = Place::new(Arc::clone(slot), Arc::clone(self));
                Some(Deed::Answer(waiter, Ok(Permit::new(place, upstream, Some(waited)))))
            }
            Effect::Refuse { waiter, refusal } => {
                if matches!(refusal, Refusal::QueueFull { .. }) {
                    self.metrics.bound_hit(Bound::HeldPerAgent);
                }
                self.history.note_refusal(slot.key(), self.clock.now(), &refusal);
                Some(Deed::Answer(waiter, Err(refusal)))
            }
            other => Some(Deed::Effect(other)),
        }
    }

    /// Returns the permits of callers that have left meanwhile.
    fn run_all(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        mut order: MutexGuard<'_, Deferred>,
        deeds: Vec<Deed>,
    ) -> Vec<Permit> {
        let mut unwanted = Vec::new();
        for deed in deeds {
            match deed {
                Deed::Answer(caller, answer) => {
                    if let Err(Ok(permit)) = caller.answer.send(answer) {
                        unwanted.push(permit);
                    }
                }
                Deed::Effect(effect) => self.run_effect(slot, &mut order, effect),
            }
        }
        unwanted
    }

    /// Counts a write among those that suspensions make, for as long as it takes.
    fn counted(
        self: &Arc<Self>,
        call: BoxFuture<'static, Result<AgentSeen, WriteError>>,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        self.suspending.fetch_add(1, Ordering::Relaxed);
        let engine = Arc::clone(self);
        let place = scopeguard::guard(engine, |engine| {
            engine.suspending.fetch_sub(1, Ordering::Relaxed);
        });
        Box::pin(async move {
            let _place = place;
            call.await
        })
    }

    fn run_effect(self: &Arc<Self>, slot: &Arc<Slot>, order: &mut Deferred, effect: Effect<Caller>) {
        let key = slot.key();
        match effect {
            Effect::Suspend { id, uid, revision, by } => {
                let call = self.backend.suspend(key, &uid, revision, by);
                self.call(slot, id, self.counted(call));
            }
            Effect::Resume { id, uid, generation, from } => {
                let call = self.backend.resume(key, &uid, generation, from);
                // A mark on an agent that runs mostly comes before its suspension, or after one that was given up.
                let call = if from == Mode::Running { self.counted(call) } else { call };
                self.call(slot, id, call);
            }
            Effect::Read { id } => self.call(slot, id, self.backend.read(key)),
            Effect::RequestStart(class) => self.starts.request(key, class),
            Effect::CancelStart => self.starts.cancel(key),
            Effect::StartDone => self.starts.done(key),
            Effect::Probe { life, address, generation, readiness } => {
                let cancel = CancellationToken::new();
                if let Some(earlier) = order.probe.replace(cancel.clone()) {
                    earlier.cancel();
                }
                self.probe(slot, Target { life, address, generation, readiness }, cancel);
            }
            Effect::StopProbe => {
                if let Some(probe) = order.probe.take() {
                    probe.cancel();
                }
            }
            Effect::Record(transition) => self.record(slot, &transition),
            Effect::Listen(revision) => {
                if let Some(door) = self.message_door.get() {
                    door.listen(key, revision);
                }
            }
            Effect::Ping { id, life, target } => self.ping(slot, id, &life, target),
            Effect::AskPeers(question) => {
                // Until [`Engine::peers_said`].
                self.suspending.fetch_add(1, Ordering::Relaxed);
                self.roles.ask(key, question);
            }
            Effect::Acknowledge(revision) => self.roles.decided(key, revision, true),
            Effect::Veto(revision) => self.roles.decided(key, revision, false),
            // Done under the machine's lock.
            Effect::Retire | Effect::Release { .. } | Effect::Refuse { .. } => {}
        }
    }

    /// The one place that turns transitions into logs, metrics and history.
    fn record(&self, slot: &Arc<Slot>, transition: &Transition) {
        let agent = tracing::field::display(slot.key());
        self.backend.announce(slot.key(), transition);
        self.history.note(slot.key(), self.clock.now(), transition);
        match transition {
            Transition::Phase { from, to } => {
                self.metrics.phase_changed(Some(*from), Some(*to));
                if !self.roles.alone() {
                    self.elsewhere.note_phase(slot.key(), *to);
                }
                tracing::debug!(agent, from = from.as_str(), to = to.as_str(), "phase changed");
                slot.changed.notify_waiters();
                self.tell_message_door(slot.key());
            }
            Transition::Resumed(start) => {
                if start.cold {
                    self.metrics.resume_finished(Ok(()), start.resume + start.probe);
                    self.metrics.probe_finished(start.probe);
                }
                tracing::info!(agent, resume = ?start.resume, probe = ?start.probe, cold = start.cold, "agent is up");
            }
            Transition::Failed { failure, retry_in, took } => {
                if let Some(took) = took {
                    self.metrics.resume_finished(Err(failure.class), *took);
                }
                let class = failure.class.as_str();
                tracing::warn!(agent, class, detail = %failure.detail, ?retry_in, "agent failed");
            }
            Transition::Suspended(by) => {
                self.metrics.suspend_finished(Ok(()));
                tracing::info!(agent, ?by, "agent is suspended");
            }
            Transition::Clearing => {
                tracing::info!(agent, "suspending and resuming the agent, to have its dead pod replaced");
            }
            Transition::SuspendAbandoned(why) => {
                self.metrics.suspend_finished(Err(why.as_str()));
                tracing::info!(agent, why = why.as_str(), "suspension given up; the agent stays up");
            }
            Transition::WouldSuspend => {
                tracing::info!(agent, "would be suspended now, were it not for dry_run");
            }
            Transition::PingFailed(fault) => {
                tracing::warn!(agent, %fault, "idle, but its ping fails; it stays up until that is mended or busy_cap is over");
            }
            Transition::PingOverruled(said) => {
                self.metrics.pings().overruled(said);
                match said {
                    Said::Busy => {
                        tracing::warn!(
                            agent,
                            "suspended although it says HealthyBusy: it has said so for busy_cap"
                        );
                    }
                    Said::Nothing(fault) => {
                        tracing::warn!(agent, %fault, "suspended although its ping fails: it has failed for busy_cap");
                    }
                }
            }
            Transition::Obstructed(why) => tracing::warn!(agent, why = %why, "idle, but not suspended"),
        }
    }
}
