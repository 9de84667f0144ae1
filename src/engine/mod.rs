//! The shell around `lifecycle`: holds every agent's machine, runs its effects, and lets requests in.
//!
//! Lock order: an agent's machine, then its effects. Effects run after the machine's lock is released, but in the
//! order in which they were decided.

#[doc(hidden)]
pub mod bare;
pub mod budget;
mod calls;
mod command;
mod deadlines;
mod dialling;
mod door;
mod effects;
mod elsewhere;
mod history;
mod hold;
mod lease_order;
mod leases;
mod limits;
mod open_connection;
pub mod overview;
mod permit;
mod pinging;
mod policies;
mod probing;
mod roles;
mod slot;
pub mod snapshot;
mod starts;
mod table;
mod trust;
mod view;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::AgentKey;
use crate::backend::{Backend, BackendEvent, Profile};
use crate::lifecycle::{Event, PhaseName};
use crate::metrics::Metrics;
use crate::policy::rules::RuleSet;
use crate::time::Clock;

pub use command::CommandError;
pub use dialling::DialError;
pub use door::MessageDoor;
pub use elsewhere::{BELIEVED_FOR, LeaseReport, News, Other, Report};
pub use hold::{Hold, Ticket, Waited};
pub use lease_order::{LeaseAction, LeaseFault, LeaseOrder};
pub use limits::Limits;
pub use open_connection::OpenConnection;
pub use permit::{Outcome, Permit};
pub use roles::{Peers, Seen, Word};
pub use slot::Slot;

use budget::Budget;
use deadlines::Deadlines;
use elsewhere::Elsewhere;
use history::History;
use leases::LeaseDesk;
use policies::Policies;
use roles::Roles;
use starts::Starts;
use table::Table;
use trust::Trust;

/// Suspensions that are asked about or written at once at most. An API server takes about a hundred patches in a second; more at once
/// would only wait, each with its gate closed.
const MAX_SUSPENDING: usize = 32;

/// Everything Drowse knows about all agents, and the only one who changes it.
pub struct Engine {
    table: Table,
    rules: ArcSwap<RuleSet>,
    /// Held while policies are made from rules, so that an agent is not left with those of older rules.
    policies: Mutex<Policies>,
    backend: Arc<dyn Backend>,
    clock: Clock,
    metrics: Arc<Metrics>,
    deadlines: Deadlines,
    starts: Starts,
    held: Arc<Budget>,
    held_bytes: Arc<Budget>,
    /// Everything that exists was reported, and the watch stands.
    synced: AtomicBool,
    /// What this replica is among the others.
    roles: Roles,
    message_door: OnceLock<Arc<dyn MessageDoor>>,
    leases: LeaseDesk,
    /// What the other replicas say.
    elsewhere: Elsewhere,
    history: History,
    /// Suspensions that the others are asked about, or that are being written.
    suspending: AtomicUsize,
    /// Turns to ask an agent whether it is at work.
    pings: Semaphore,
    /// Everything that exists was reported once: from then on Drowse serves, whatever becomes of the watch.
    was_synced: AtomicBool,
    /// Since when the watch is broken, and how long it is trusted all the same.
    trust: Trust,
    /// Drowse is about to end: nobody is suspended.
    ending: AtomicBool,
    /// And whoever would have to wait is refused.
    refusing: AtomicBool,
    tasks: TaskTracker,
    /// Where they run, whoever gives the reason for one: a worker of the front door ends before the engine.
    runtime: Option<Handle>,
    ended: CancellationToken,
}

impl Engine {
    /// An engine that knows no agent yet; [`Engine::run`] makes it live. What it does runs in the runtime in which it was made.
    pub fn new(
        backend: Arc<dyn Backend>,
        rules: RuleSet,
        limits: &Limits,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(Self {
            table: Table::default(),
            rules: ArcSwap::from_pointee(rules),
            policies: Mutex::default(),
            backend,
            clock,
            metrics,
            deadlines: Deadlines::default(),
            starts: Starts::new(limits),
            held: Budget::new(limits.held.into()),
            held_bytes: Budget::new(limits.held_body_bytes),
            synced: AtomicBool::new(false),
            roles: Roles::default(),
            message_door: OnceLock::new(),
            leases: LeaseDesk::default(),
            elsewhere: Elsewhere::default(),
            history: History::default(),
            suspending: AtomicUsize::new(0),
            pings: Semaphore::new(pinging::MAX_PINGS),
            was_synced: AtomicBool::new(false),
            trust: Trust::new(limits.trust_stale_for),
            ending: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            runtime: Handle::try_current().ok(),
            ended: CancellationToken::new(),
        })
    }

    /// Watches the backend, and fires deadlines, until [`Engine::shutdown`].
    pub async fn run(self: Arc<Self>) {
        let events = self.backend.watch();
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = self.watch(events) => {}
            () = self.fire_deadlines() => {}
            () = self.grant_starts() => {}
        }
    }

    /// Drowse is about to end: from here on nobody is suspended, and it is not ready any more. Callers are served as ever, also
    /// those who have to wait, until [`Self::refuse_held`].
    pub fn begin_shutdown(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Ends [`Engine::run`] and everything that it began, and lets go of the agents.
    pub async fn shutdown(&self) {
        self.begin_shutdown();
        self.refusing.store(true, Ordering::Release);
        self.ended.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.backend.shutdown().await;
    }

    /// Sends away everybody who still waits, and whoever would have to from here on, since Drowse ends.
    pub fn refuse_held(self: &Arc<Self>) {
        self.refusing.store(true, Ordering::Release);
        for slot in self.table.all() {
            self.handle(&slot, Event::Ending);
        }
    }

    /// The agent of this name, if there is one.
    pub fn slot(&self, key: &AgentKey) -> Option<Arc<Slot>> {
        self.table.get(key)
    }

    /// The clock that everything here uses.
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// The metrics.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The budget for bodies of held requests, in bytes.
    pub const fn held_bytes(&self) -> &Arc<Budget> {
        &self.held_bytes
    }

    /// Whether everything that exists was known once, so that Drowse is ready to serve. An outage of the API server is
    /// no reason to send callers of warm agents away.
    pub fn is_ready(&self) -> bool {
        self.was_synced.load(Ordering::Acquire)
    }

    /// Whether everything that exists is known, and the watch stands.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Whether a suspension may be written at all: what is known is complete and fresh, and the others know of us.
    pub(super) fn may_order(&self) -> bool {
        self.is_synced() && !self.is_ending() && self.roles.takes_part() && self.roles.can_ask()
    }

    /// Whether nobody may wait any more, since Drowse ends.
    fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Acquire)
    }

    /// Whether Drowse is about to end.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// New rules and limits: every agent's policy changes now, and its running deadlines with it.
    pub fn reconfigure(self: &Arc<Self>, rules: RuleSet, limits: &Limits) {
        let mut policies = self.policies.lock();
        self.rules.store(Arc::new(rules));
        self.held.resize(limits.held.into());
        self.held_bytes.resize(limits.held_body_bytes);
        self.starts.set_limits(limits);
        self.trust.set_limit(limits.trust_stale_for);
        for slot in self.table.all() {
            let policy = self.resolve(slot.key(), &slot.profile()).policy;
            slot.set_policy(policies.share(policy));
            self.tell_message_door(slot.key());
        }
        drop(policies);
        self.tick_all();
    }

    async fn watch(self: &Arc<Self>, mut events: mpsc::Receiver<BackendEvent>) {
        while let Some(event) = events.recv().await {
            self.observe(event);
        }
        // A backend that reports nothing any more: fail awake.
        self.set_synced(false);
        std::future::pending::<()>().await;
    }

    /// One report of the backend.
    fn observe(self: &Arc<Self>, event: BackendEvent) {
        match event {
            BackendEvent::Agent { key, seen, profile } => {
                let slot = self.slot_for(&key, &profile);
                self.handle(&slot, Event::Agent(seen));
            }
            BackendEvent::Profile { key, profile } => {
                if self.table.get(&key).is_some() {
                    self.slot_for(&key, &profile);
                }
            }
            BackendEvent::AgentGone { key, uid } => {
                if let Some(slot) = self.table.get(&key) {
                    self.handle(&slot, Event::AgentGone(uid));
                    self.forget_if_gone(&slot);
                }
            }
            // Of an agent that is not (yet, or any more) there: it is reported again with the agent.
            BackendEvent::Pod { key, seen } => {
                if let Some(slot) = self.table.get(&key) {
                    self.handle(&slot, Event::Pod(seen));
                }
            }
            BackendEvent::PodGone { key, pod, revision } => {
                if let Some(slot) = self.table.get(&key) {
                    self.handle(&slot, Event::PodGone { pod, revision });
                }
            }
            BackendEvent::Synced => self.set_synced(true),
            BackendEvent::Stale => self.set_synced(false),
        }
    }

    fn set_synced(self: &Arc<Self>, synced: bool) {
        self.trust.note(synced, self.clock.now());
        self.metrics.backend_synced(synced);
        if synced {
            self.was_synced.store(true, Ordering::Release);
        }
        if self.synced.swap(synced, Ordering::AcqRel) != synced && synced {
            self.tick_all();
        }
    }

    fn tick_all(self: &Arc<Self>) {
        for slot in self.table.all() {
            self.handle(&slot, Event::Tick);
        }
    }

    /// The agent's slot, made if it is new, with its policy up to date.
    fn slot_for(self: &Arc<Self>, key: &AgentKey, profile: &Arc<Profile>) -> Arc<Slot> {
        let known = self.table.get(key);
        if let Some(slot) = &known
            && *slot.profile() == **profile
        {
            return Arc::clone(slot);
        }
        let mut policies = self.policies.lock();
        let resolved = self.resolve(key, profile);
        for problem in &resolved.problems {
            tracing::warn!(agent = %key, "{problem}");
        }
        let policy = policies.share(resolved.policy);
        let Some(slot) = known else {
            self.metrics.phase_changed(None, Some(PhaseName::Unknown));
            let slot = Slot::new(key.clone(), Arc::clone(profile), policy, self.clock.now());
            let slot = self.table.insert(slot);
            self.tell_message_door(key);
            return slot;
        };
        slot.set_profile(Arc::clone(profile));
        slot.set_policy(policy);
        drop(policies);
        // Deadlines that are running are those of the policy before.
        self.handle(&slot, Event::Tick);
        self.tell_message_door(key);
        slot
    }

    fn forget_if_gone(&self, slot: &Arc<Slot>) {
        let machine = slot.machine.lock();
        if machine.is_gone() {
            self.metrics.phase_changed(Some(machine.phase().name()), None);
            self.deadlines.disarm(slot, &machine);
            self.table.remove(slot.key());
            self.forget_leases(slot.key());
            self.elsewhere.forget(slot.key());
            self.history.forget(slot.key());
            self.tell_message_door(slot.key());
        }
    }
}
