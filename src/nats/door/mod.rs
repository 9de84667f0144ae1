//! The message door at work: one task that owns everything that is known of messages, and never waits for anybody.
//!
//! What takes time (waking an agent, storing a message, sending many) is done by tasks of its own, which report back.

mod activity;
mod agents;
mod api;
mod keeping;
mod news;
mod outbox;
mod self_check;
mod store;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::agent::{AgentKey, Life};
use crate::engine::{Engine, Permit, Slot};
use crate::lifecycle::{Activity, PhaseName};
use crate::metrics::{MessageFate, Metrics};
use crate::time::Moment;

use super::client;
use super::counters::Counters;
use super::directory::{Change, Directory};
use super::headers::{self, HOLD_ID};
use super::leaf::codec::Message;
use super::leaf::link::{self, LinkEvent};
use super::leaf::login::Identity;
use super::leaf::session::Endpoint;
use super::leaf::wanted::{Registration, Wanted};
use super::mailbox::{Bounds, Effect, Ending, Held, HoldId, Incoming, Interest, Mailbox, size};
use super::requests::Requests;
use super::settings::Settings;
use super::tls;
use super::wakes::Wakes;

use news::{Changes, News};
use outbox::Outbox;
use store::Store;

/// How often waiting messages are looked at.
const TICK: Duration = Duration::from_millis(250);
/// Reports of our own tasks that wait to be read.
const NEWS: usize = 4096;
/// The cluster that all replicas say they are: a server does not tell leaves of one cluster of each other.
const CLUSTER: &str = "drowse";

/// Starts the message door. It ends with the token.
pub async fn start(
    settings: Settings,
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    cancel: CancellationToken,
) -> Result<(), String> {
    let tls = tls::client_config(&settings.tls)?;
    // Read once now, so that a wrong path is told at once and not only in the log.
    settings.client.load().map_err(|error| error.to_string())?;
    settings.leaf.load().map_err(|error| error.to_string())?;
    let replica = nuid::next().to_string();
    let name = format!("{}{replica}", client::NAME);
    let endpoint = Endpoint {
        addresses: settings.leaf_servers.clone(),
        credentials: settings.leaf.clone(),
        tls: Arc::new(tls.clone()),
        identity: Identity { id: name.clone(), name: name.clone(), cluster: CLUSTER.to_owned() },
    };
    let (news, reports) = mpsc::channel(NEWS);
    let broken = news.clone();
    // Full of other news, the door is at work; what was lost track of is noticed by its time, too.
    let client = client::connect(&settings, tls, &name, move || _ = broken.try_send(News::Broken)).await?;
    let changes = Arc::new(Changes::default());
    engine.set_message_door(Arc::clone(&changes) as _);
    let wanted = Arc::new(Wanted::default());
    let marks: Box<str> = format!("drowse.mark.{replica}").into();
    wanted.add(Registration { subject: marks.clone(), queue: None });
    let link = link::start(endpoint, Arc::clone(&wanted), cancel.clone());
    let outbox = Outbox::start(client.clone(), marks.to_string(), cancel.clone());
    let wakes = Wakes::new(settings.wakes_per_minute);
    let door = Door {
        settings,
        engine,
        metrics,
        client,
        wanted,
        changes,
        news,
        outbox,
        cancel: cancel.clone(),
        replica,
        marks,
        directory: Directory::default(),
        requests: Requests::default(),
        wakes,
        counters: Counters::default(),
        inboxes: HashMap::new(),
        agents: HashMap::new(),
        store: None,
        is_store_opening: false,
        held_bytes: 0,
        last_id: 0,
        last_mark: 0,
        is_open: false,
        is_up: false,
        is_missing_told: false,
        check: None,
    };
    api::start(&door.client, &door.engine, &cancel);
    door.start_polling(cancel.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = door.run(link, reports) => {}
        }
    });
    Ok(())
}

/// What is known of an agent that messages wake.
struct Agent {
    slot: Arc<Slot>,
    mailbox: Mailbox,
    /// Keeps it up while messages wait for it, or are on their way.
    permit: Option<Permit>,
    /// Ends the wait for it to come up.
    waking: Option<CancellationToken>,
    /// A mark is under way.
    mark: Option<outbox::Mark>,
    /// The last in the hold stream that has ended. What came before it may wait yet.
    ended_up_to: u64,
    /// What is not needed in the hold stream any more, and was said so.
    forgotten_up_to: u64,
    /// Where signs of its activity are noted.
    activity: Arc<Activity>,
    watch: activity::Watch,
    /// The life that was up last.
    life: Option<Life>,
    /// The phase that was told last.
    told: Option<PhaseName>,
}

#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Door {
    settings: Settings,
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    client: async_nats::Client,
    wanted: Arc<Wanted>,
    changes: Arc<Changes>,
    news: mpsc::Sender<News>,
    outbox: Outbox,
    cancel: CancellationToken,
    replica: String,
    /// The subject of marks.
    marks: Box<str>,
    directory: Directory,
    requests: Requests,
    wakes: Wakes,
    counters: Counters,
    /// Inboxes whose replies are watched, and what ends that.
    inboxes: HashMap<Box<str>, CancellationToken>,
    agents: HashMap<AgentKey, Agent>,
    /// The hold stream, if there is one.
    store: Option<Store>,
    is_store_opening: bool,
    held_bytes: u64,
    last_id: u64,
    last_mark: u64,
    /// The server was checked, so agents are registered.
    is_open: bool,
    /// The link stands.
    is_up: bool,
    /// That it does not was said already.
    is_missing_told: bool,
    check: Option<self_check::Check>,
}

/// What the directory says about one agent's subscriptions.
struct InterestOf<'a>(&'a Directory, &'a AgentKey);

impl Interest for InterestOf<'_> {
    fn reaches(&self, subject: &[u8]) -> bool {
        std::str::from_utf8(subject).is_ok_and(|subject| self.0.reaches(self.1, subject))
    }
}

impl Door {
    async fn run(mut self, mut link: mpsc::Receiver<LinkEvent>, mut reports: mpsc::Receiver<News>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let changes = Arc::clone(&self.changes);
        for slot in self.engine.slots() {
            changes.note(slot.key());
        }
        loop {
            tokio::select! {
                event = link.recv() => match event {
                    Some(event) => self.link_event(event),
                    None => return,
                },
                Some(report) = reports.recv() => self.report(report),
                () = changes.wait() => self.take_changes(),
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Message(message) => self.message(message),
            LinkEvent::Interest(interest, present) => {
                if let Some(check) = &self.check {
                    check.note_interest(&interest, present);
                }
                for key in self.directory.note_interest(&interest, present) {
                    self.interest_changed(&key);
                }
            }
            LinkEvent::Up(server) => {
                tracing::info!(
                    server = server.server_name,
                    version = server.version,
                    "the leaf-node link is up"
                );
                self.is_up = true;
                self.metrics.messages().link(true);
                if !self.is_open {
                    self.begin_check();
                }
            }
            LinkEvent::Down(reason) => self.link_is_down(&reason),
        }
    }

    fn link_is_down(&mut self, reason: &str) {
        // Every attempt ends here; one line is enough.
        if std::mem::replace(&mut self.is_up, false) || !std::mem::replace(&mut self.is_missing_told, true) {
            let what = "no leaf-node link: until there is one, messages for sleeping agents do not come here";
            tracing::warn!(reason, "{what}");
        } else {
            tracing::debug!(reason, "no leaf-node link yet");
        }
        self.metrics.messages().link(false);
        self.requests.lose_sight();
        self.directory.forget_interest();
        for key in self.agents.keys().cloned().collect::<Vec<_>>() {
            self.lost_track(&key);
            self.interest_changed(&key);
        }
    }

    fn message(&mut self, message: Message) {
        let Ok(subject) = std::str::from_utf8(&message.subject) else { return };
        if *subject == *self.marks {
            self.mark_came_back(&message.payload);
            return;
        }
        if self.check.as_ref().is_some_and(|check| check.note_message(subject)) {
            return;
        }
        // A copy: the agent has it.
        if message.queues.is_empty() {
            return self.overheard(&message);
        }
        let Some(key) = self.directory.owner(subject).cloned() else { return };
        let hold_id = message.headers.as_deref().and_then(|block| headers::value(block, HOLD_ID));
        match hold_id.and_then(|id| id.strip_prefix(&self.replica)?.strip_prefix('.')?.parse().ok()) {
            // What an agent sends with the headers of what it received only looks like it.
            Some(id) if self.is_under_way(&key, HoldId(id), &message) => self.came_back(&key, HoldId(id)),
            _ => self.hold(&key, message),
        }
    }

    /// A message that no subscription of its agent took.
    fn hold(&mut self, key: &AgentKey, message: Message) {
        let patience = self.settings.hold.timeout;
        self.let_wait(key, message, patience, None, false);
    }

    /// A message waits, unless too many do. One that is in the hold stream already has its place there.
    fn let_wait(
        &mut self,
        key: &AgentKey,
        message: Message,
        patience: Duration,
        stored: Option<u64>,
        redelivered: bool,
    ) {
        let streams = message.subject.starts_with(activity::PROMPT);
        let incoming = Incoming { message, patience, stored, redelivered, streams };
        let bytes = size(&incoming.message) as u64;
        if self.held_bytes + bytes > self.settings.hold.max_bytes {
            let why = "as many messages wait for agents as may in all (nats.hold.max_bytes)";
            return self.refuse(&incoming.message, 503, MessageFate::Overloaded, why);
        }
        let now = self.engine.clock().now();
        let Some(agent) = self.agents.get_mut(key) else { return };
        let wakes = agent.mailbox.is_empty() && agent.slot.phase() != PhaseName::Running;
        if wakes && !self.wakes.allow(&incoming.message, now) {
            let why = "its sender has woken as many agents in this minute as it may (nats.wakes_per_minute)";
            return self.refuse(&incoming.message, 429, MessageFate::Overloaded, why);
        }
        self.last_id += 1;
        let id = HoldId(self.last_id);
        let bounds = bounds(&agent.slot);
        let mut fx = Vec::new();
        let interest = InterestOf(&self.directory, key);
        let store = self.store.as_ref().filter(|_| incoming.stored.is_none());
        let copy = store.map(|store| (store, incoming.message.clone()));
        match agent.mailbox.hold(id, incoming, bounds, &interest, now, &mut fx) {
            Ok(()) => {
                if let Some((store, message)) = copy {
                    store.keep(key, id, message, self.engine.clock().wall(now));
                }
                self.held_bytes += bytes;
                self.metrics.messages().held();
            }
            Err(message) => {
                let why = "as many messages wait for this agent as may (max_messages)";
                self.refuse(&message, 429, MessageFate::QueueFull, why);
            }
        }
        self.run_effects(key, fx);
    }

    fn refuse(&self, message: &Message, code: u16, fate: MessageFate, why: &str) {
        self.metrics.messages().refused(fate);
        if let Some(reply) = self.reply_of(message) {
            self.outbox.error(reply, code, why.to_owned());
        }
    }

    /// Where an answer of ours goes. Not to an agent: a sender chooses the subject, and must not wake one by it in our name.
    fn reply_of(&self, message: &Message) -> Option<Bytes> {
        let reply = message.reply.as_ref()?;
        let subject = std::str::from_utf8(reply).ok()?;
        // Nor to Drowse itself or the server, who would do what we are allowed to ask of them.
        let ours = subject.starts_with('$') || subject.starts_with("drowse.");
        (!ours && self.directory.owner(subject).is_none()).then(|| reply.clone())
    }

    fn interest_changed(&mut self, key: &AgentKey) {
        if let Some(queue) = self.directory.learned_queue(key) {
            self.learn_queue(key, queue);
        }
        let subscribed = self.directory.is_subscribed(key);
        let Some(agent) = self.agents.get(key) else { return };
        self.engine.subscribed(&agent.slot, subscribed);
        self.with_mailbox(key, |mailbox, interest, now, fx| {
            mailbox.interest_changed(subscribed, interest, now, fx);
        });
    }

    fn is_under_way(&self, key: &AgentKey, id: HoldId, message: &Message) -> bool {
        let held = self.agents.get(key).and_then(|agent| agent.mailbox.get(id));
        held.is_some_and(|held| {
            held.message.subject == message.subject && held.message.reply == message.reply
        })
    }

    fn came_back(&mut self, key: &AgentKey, id: HoldId) {
        self.metrics.messages().came_back();
        self.with_mailbox(key, |mailbox, interest, now, fx| mailbox.came_back(id, interest, now, fx));
    }

    fn with_mailbox(
        &mut self,
        key: &AgentKey,
        step: impl FnOnce(&mut Mailbox, &InterestOf<'_>, Moment, &mut Vec<Effect>),
    ) {
        let now = self.engine.clock().now();
        let Some(agent) = self.agents.get_mut(key) else { return };
        let mut fx = Vec::new();
        step(&mut agent.mailbox, &InterestOf(&self.directory, key), now, &mut fx);
        self.run_effects(key, fx);
    }

    fn run_effects(&mut self, key: &AgentKey, fx: Vec<Effect>) {
        for effect in fx {
            match effect {
                Effect::Wake => self.wake(key),
                Effect::Release => self.release(key),
                Effect::Send(id) => self.send(key, id),
                Effect::Mark(send) => self.mark(key, send),
                Effect::Drop(held, ending) => self.ended(key, &held, &ending),
                Effect::KeepAlive(id) => self.keep_alive(key, id),
            }
        }
    }

    fn ended(&mut self, key: &AgentKey, held: &Held, ending: &Ending) {
        self.held_bytes = self.held_bytes.saturating_sub(size(&held.message) as u64);
        let waited = self.engine.clock().now().since(held.arrived);
        self.metrics.messages().ended(ending.fate(), waited);
        if let Some(place) = held.stored {
            self.forget_stored(key, place);
        }
        if *ending == Ending::Delivered {
            return;
        }
        let Some(reply) = self.reply_of(&held.message) else {
            tracing::warn!(agent = %key, why = ?ending, "a message was not delivered, and nobody waits for a reply");
            return;
        };
        match ending {
            Ending::Delivered | Ending::RequesterGone => {}
            Ending::NotSubscribed => self.outbox.no_responders(reply),
            Ending::TimedOut => {
                let why = format!("{key} was not there in time; `drowse explain {key}` has more");
                self.outbox.error(reply, 504, why);
            }
            Ending::Refused(refusal) => {
                let (code, why) = agents::explain(key, refusal);
                self.outbox.error(reply, code, why);
            }
        }
    }
}

/// What may wait for this agent.
fn bounds(slot: &Slot) -> Bounds {
    let policy = slot.policy();
    Bounds { messages: policy.messages.max_held as usize, keep_alive: policy.messages.keep_alive() }
}

/// Makes what has changed in the directory so on the link.
fn register(wanted: &Wanted, change: &Change) {
    for registration in &change.add {
        wanted.add(registration.clone());
    }
    for registration in &change.remove {
        wanted.remove(registration);
    }
}
