//! The message door at work: one task that owns everything that is known of messages, and never waits for anybody.
//!
//! What takes time (waking an agent, storing a message, sending many) is done by tasks of its own, which report back.

mod activity;
mod agents;
mod api;
mod descriptions;
mod discovery;
mod ending;
mod holding;
mod interest;
mod keeping;
mod looking;
mod news;
mod outbox;
mod presence;
mod redelivery;
mod self_check;
mod sending;
mod store;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::agent::{AgentKey, Life};
use crate::engine::{Engine, Permit, Slot};
use crate::lifecycle::{Activity, PhaseName};
use crate::metrics::Metrics;
use crate::time::Moment;

use super::client;
use super::directory::{Change, Directory, Inbox, registration};
use super::leaf::link::{self, LinkEvent};
use super::leaf::login::Identity;
use super::leaf::session::Endpoint;
use super::leaf::wanted::{Registration, Version, Wanted};
use super::mailbox::{Bounds, Mailbox};
use super::requests::Requests;
use super::settings::Settings;
use super::thread::Thread;
use super::tls;
use super::wakes::Wakes;

pub use ending::MessageDoorHandle;

use descriptions::Descriptions;
use discovery::Discovery;
use ending::Orders;
use holding::Untold;
use looking::{Listener, Looker};
use news::{Changes, News};
use outbox::Outbox;
use sending::Route;
use store::Store;

/// How often waiting messages are looked at.
const TICK: Duration = Duration::from_millis(250);
/// Reports of our own tasks that wait to be read.
const NEWS: usize = 4096;
/// Reasons for a link that does not stand that are told at most, until it stands.
const MAX_REASONS: usize = 16;
/// The cluster that all replicas say they are: a server does not tell leaves of one cluster of each other.
const CLUSTER: &str = "drowse";

/// Starts the message door.
pub async fn start(
    settings: Settings,
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
) -> Result<MessageDoorHandle, String> {
    let tls = tls::client_config(&settings.tls)?;
    // Read once now, so that a wrong path is told at once and not only in the log.
    settings.client.load().map_err(|error| error.to_string())?;
    settings.leaf.load().map_err(|error| error.to_string())?;
    let cancel = CancellationToken::new();
    let replica = nuid::next().to_string();
    let name = format!("{}{replica}", client::NAME);
    let endpoint = Endpoint {
        addresses: settings.leaf_servers.clone(),
        credentials: settings.leaf.clone(),
        tls: Arc::new(tls.clone()),
        identity: Identity { id: name.clone(), name: name.clone(), cluster: CLUSTER.to_owned() },
    };
    let (news, reports) = mpsc::channel(NEWS);
    let (ailing, health) = watch::channel(client::Health::default());
    let refused = Arc::new(client::Refused::default());
    let thread = Thread::start().map_err(|error| format!("no thread for NATS: {error}"))?;
    let library = thread.runtime().clone();
    let connecting = client::connect(settings.clone(), tls, name, ailing, Arc::clone(&refused));
    let client = library.spawn(connecting).await.map_err(|error| error.to_string())??;
    let (handle, orders) = MessageDoorHandle::new(client.clone(), thread, cancel.clone());
    let changes = Arc::new(Changes::default());
    engine.set_message_door(Arc::clone(&changes) as _);
    let wanted = Arc::new(Wanted::default());
    let marks: Box<str> = format!("drowse.mark.{replica}").into();
    wanted.add(Registration { subject: marks.clone(), queue: None });
    let link = link::start(endpoint, Arc::clone(&wanted), cancel.clone());
    let echoes = sending::start_echoes(&client, &library, &news, &cancel);
    let outbox = Outbox::start(client.clone(), marks.to_string(), echoes, cancel.clone());
    let services = Arc::new(Notify::new());
    let (looker, listeners) = Looker::new(
        client.clone(),
        news.clone(),
        engine.clock(),
        settings.poll_every,
        wanted.confirmed(),
        Arc::clone(&services),
    );
    let discovery = Discovery::start(&client, &cancel);
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
        refused,
        listeners,
        services,
        cancel: cancel.clone(),
        replica,
        marks,
        directory: Directory::default(),
        requests: Requests::default(),
        wakes,
        inboxes: HashMap::new(),
        agents: HashMap::new(),
        waiting: HashSet::new(),
        store: None,
        descriptions: None,
        discovery,
        is_store_opening: false,
        held_bytes: 0,
        untold: Untold::default(),
        last_id: 0,
        last_mark: 0,
        last_wake: 0,
        led: false,
        told_left_out: false,
        is_open: false,
        is_up: false,
        is_routed: false,
        route: None,
        is_leaving: false,
        takes: Arc::default(),
        told_down: HashSet::new(),
        health: client::Health::default(),
        connection: health,
        check: None,
    };
    api::start(&door.client, &door.engine, &cancel);
    presence::start(&door.client, &door.replica, &door.takes, &cancel);
    tokio::spawn(until(cancel.clone(), looker.run()));
    tokio::spawn(until(cancel, door.run(link, reports, orders)));
    Ok(handle)
}

async fn until(cancel: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = work => {}
    }
}

/// What is known of an agent that messages wake.
struct Agent {
    slot: Arc<Slot>,
    mailbox: Mailbox,
    /// Keeps it up while messages wait for it, or are on their way.
    permit: Option<Permit>,
    /// It is being woken.
    waking: Option<agents::Waking>,
    /// A mark is under way.
    mark: Option<outbox::Mark>,
    /// The last in the hold stream that has ended. What came before it may wait yet.
    ended_up_to: u64,
    /// What is not needed in the hold stream any more, and was said so.
    forgotten_up_to: u64,
    /// Where signs of its activity are noted.
    activity: Arc<Activity>,
    watch: activity::Watch,
    /// When the server has taken note of how its messages are asked for.
    registered: Version,
    /// Since when it subscribes, if it does.
    subscribed_at: Option<Moment>,
    /// The life that was up last.
    life: Option<Life>,
    /// When that was seen to be over.
    life_ended: Option<Moment>,
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
    refused: Arc<client::Refused>,
    listeners: mpsc::UnboundedSender<Listener>,
    /// Told when agents have come up that may be services.
    services: Arc<Notify>,
    cancel: CancellationToken,
    replica: String,
    /// The subject of marks.
    marks: Box<str>,
    directory: Directory,
    requests: Requests,
    wakes: Wakes,
    /// Inboxes whose replies are watched, and what ends that.
    inboxes: HashMap<Box<str>, CancellationToken>,
    agents: HashMap<AgentKey, Agent>,
    /// Those for which messages wait, or are on their way.
    waiting: HashSet<AgentKey>,
    /// The hold stream, if there is one.
    store: Option<Store>,
    /// How services have described themselves, beyond the end of this process.
    descriptions: Option<Descriptions>,
    discovery: Discovery,
    is_store_opening: bool,
    held_bytes: u64,
    untold: Untold,
    last_id: u64,
    last_mark: u64,
    last_wake: u64,
    /// This replica led when that was looked at last.
    led: bool,
    /// It was told already that not all subscriptions are remembered.
    told_left_out: bool,
    /// The server was checked, so agents are registered.
    is_open: bool,
    /// The link stands.
    is_up: bool,
    /// Why it does not, as far as that was said already.
    told_down: HashSet<Box<str>>,
    /// What is sent over the ordinary connection comes back over the link, if nobody takes it.
    is_routed: bool,
    /// The mark that is to show it.
    route: Option<Route>,
    /// Nothing new is taken any more.
    is_leaving: bool,
    /// What other replicas are told about that.
    takes: Arc<AtomicBool>,
    /// How the ordinary connection was.
    health: client::Health,
    /// How it is now.
    connection: watch::Receiver<client::Health>,
    check: Option<self_check::Check>,
}

impl Door {
    async fn run(
        mut self,
        mut link: mpsc::Receiver<LinkEvent>,
        mut reports: mpsc::Receiver<News>,
        mut orders: Orders,
    ) {
        let mut health = self.connection.clone();
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
                Ok(()) = health.changed() => {
                    let now = *health.borrow_and_update();
                    self.ailing(now);
                }
                () = changes.wait() => self.take_changes(),
                _ = ticks.tick() => self.tick(),
                () = orders.leaving.cancelled(), if !self.is_leaving => self.leave(),
                Some(ended) = orders.ending.recv() => {
                    self.end(&mut link, &mut reports).await;
                    let _nobody_may_wait = ended.send(());
                    return;
                }
            }
        }
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Message(message, _room) => self.message(&message),
            LinkEvent::Interest(interest, present) => self.interest(&interest, present),
            LinkEvent::Up(server) => {
                tracing::info!(
                    server = server.server_name,
                    version = server.version,
                    "the leaf-node link is up"
                );
                self.is_up = true;
                self.told_down.clear();
                self.metrics.messages().link(true);
                self.find_route();
                self.note_presence();
                self.all_interest_told();
                if !self.is_open {
                    self.begin_check();
                }
            }
            LinkEvent::Down(reason) => self.link_is_down(&reason),
        }
    }

    fn link_is_down(&mut self, reason: &str) {
        // Every attempt ends here; one line for each reason is enough, whichever server it is.
        self.is_up = false;
        let why = reason.split_once(": ").map_or(reason, |(_server, why)| why);
        if self.told_down.len() < MAX_REASONS && self.told_down.insert(why.into()) {
            let what = "no leaf-node link: until there is one, messages for sleeping agents do not come here";
            tracing::warn!(reason, "{what}");
        } else {
            tracing::debug!(reason, "no leaf-node link yet");
        }
        self.metrics.messages().link(false);
        self.directory.forget_interest();
        self.broken();
        self.note_presence();
        for key in self.agents.keys().cloned().collect::<Vec<_>>() {
            // What came to it meanwhile was not seen.
            self.agents.get_mut(&key).into_iter().for_each(|agent| agent.watch.lose_sight());
            self.interest_changed(&key);
        }
    }

    /// Whether this replica takes messages, as others ask it.
    fn note_presence(&self) {
        self.takes.store(self.is_open && self.is_up && !self.is_leaving, Ordering::Release);
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

fn register_none(wanted: &Wanted, inbox: &Inbox) {
    for subject in &inbox.subjects {
        wanted.remove(&registration(subject, &inbox.queue));
    }
}
