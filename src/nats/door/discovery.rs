//! Whoever looks for services (`$SRV`) finds also those that sleep: Drowse has seen how they describe themselves, and
//! answers for them.
//!
//! Answers are given by a task of their own: one small question may have ten thousand of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::select_all;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::agent::AgentKey;
use crate::engine::Slot;
use crate::lifecycle::PhaseName;
use crate::nats::counters::Traffic;
use crate::nats::services::{PREFIX, Question, Service, Verb};

use super::descriptions::Descriptions;
use super::news::News;
use super::{Door, until};

/// One replica answers each question.
const QUEUE: &str = "drowse";
/// Services of one agent at most.
const MAX_SERVICES: usize = 8;
/// Descriptions of agents that are not known yet at most.
const MAX_REMEMBERED: usize = 100_000;
/// After each answer, for so long nothing is answered: whoever asks all the time gets a part of a core, and no more.
const PAUSE: Duration = Duration::from_micros(20);

/// An agent, and what is known of its services.
struct Card {
    slot: Arc<Slot>,
    /// By name, each with the life in which it was described.
    services: BTreeMap<Box<str>, (u64, Arc<Service>)>,
    life: u64,
    /// Those that have been asked in this life, by name and id: each is asked once.
    asked: HashSet<(Box<str>, Box<str>)>,
}

type Cards = Arc<Mutex<HashMap<AgentKey, Card>>>;

/// What is known of all services.
pub(super) struct Discovery {
    cards: Cards,
    /// What was said to an earlier run of Drowse, until the agent is known.
    remembered: HashMap<AgentKey, Vec<Service>>,
}

impl Discovery {
    /// Takes questions from now on.
    pub(super) fn start(client: &Client, cancel: &CancellationToken) -> Self {
        let cards = Cards::default();
        let desk = Desk { client: client.clone(), cards: Arc::clone(&cards) };
        tokio::spawn(until(cancel.clone(), async move {
            if let Err(error) = desk.serve().await {
                tracing::error!(%error, "whoever looks for services does not find those that sleep");
            }
        }));
        Self { cards, remembered: HashMap::new() }
    }

    /// The agent is there, or is another one by the same name.
    pub(super) fn set_agent(&mut self, key: &AgentKey, slot: &Arc<Slot>) {
        let remembered = self.remembered.remove(key).unwrap_or_default();
        let services = remembered.into_iter().map(|service| (service.name().into(), (0, Arc::new(service))));
        let card =
            || Card { slot: Arc::clone(slot), services: services.collect(), life: 0, asked: HashSet::new() };
        let mut cards = self.cards.lock();
        cards.entry(key.clone()).or_insert_with(card).slot = Arc::clone(slot);
    }

    pub(super) fn forget(&mut self, key: &AgentKey) {
        self.cards.lock().remove(key);
    }

    /// It has come up: its services describe themselves anew.
    pub(super) fn begin_life(&self, key: &AgentKey) {
        if let Some(card) = self.cards.lock().get_mut(key) {
            card.life += 1;
            card.asked.clear();
        }
    }

    /// What a service has said to an earlier run of Drowse.
    pub(super) fn remember(&mut self, key: AgentKey, service: Service) {
        if let Some(card) = self.cards.lock().get_mut(&key) {
            card.services.entry(service.name().into()).or_insert_with(|| (0, Arc::new(service)));
        } else if self.remembered.len() < MAX_REMEMBERED {
            self.remembered.entry(key).or_default().push(service);
        }
    }

    /// Whether it is to be asked what it is. Then it counts as asked.
    fn asks(&self, key: &AgentKey, name: &str, id: &str) -> bool {
        let mut cards = self.cards.lock();
        let Some(card) = cards.get_mut(key) else { return false };
        let known =
            card.services.get(name).is_some_and(|(life, service)| *life == card.life && service.id() == id);
        !known && card.asked.len() < MAX_SERVICES && card.asked.insert((name.into(), id.into()))
    }

    /// It has not said what it is.
    fn ask_again(&self, key: &AgentKey, name: &str, id: &str) {
        if let Some(card) = self.cards.lock().get_mut(key) {
            card.asked.remove(&(name.into(), id.into()));
        }
    }

    fn keep(&self, key: &AgentKey, service: Service) {
        if let Some(card) = self.cards.lock().get_mut(key) {
            // Those of earlier lives may have other names.
            card.services.retain(|_, (life, _)| *life == card.life);
            card.services.insert(service.name().into(), (card.life, Arc::new(service)));
        }
    }
}

/// Answers questions.
struct Desk {
    client: Client,
    cards: Cards,
}

impl Desk {
    async fn serve(&self) -> Result<(), async_nats::SubscribeError> {
        let mut all = Vec::new();
        for verb in Verb::ALL {
            for rest in ["", ".>"] {
                let subject = format!("{PREFIX}.{}{rest}", verb.token());
                all.push(self.client.queue_subscribe(subject, QUEUE.to_owned()).await?);
            }
        }
        let mut questions = select_all(all);
        while let Some(message) = questions.next().await {
            // A sender chooses the subject, and must not make us say something to an agent, or to the server.
            let reply = message.reply.filter(|reply| reply.as_str().starts_with("_INBOX"));
            if let (Some(question), Some(reply)) = (Question::parse(&message.subject), reply) {
                self.answer(&question, &reply).await;
            }
        }
        Ok(())
    }

    async fn answer(&self, question: &Question, reply: &async_nats::Subject) {
        for (slot, service) in self.asked(question) {
            let phase = slot.phase();
            // Until it is gone, and once it is back, it answers itself.
            let sleeps = matches!(phase, PhaseName::Suspending | PhaseName::Suspended | PhaseName::Resuming);
            if sleeps && !slot.activity().is_subscribed() {
                let answer = service.answer(question.verb, phase.as_str());
                let _who_asks_asks_again = self.client.publish(reply.clone(), answer).await;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn asked(&self, question: &Question) -> Vec<(Arc<Slot>, Arc<Service>)> {
        let cards = self.cards.lock();
        let of = |card: &Card| {
            let asked = card.services.values().filter(|(_, service)| service.is_asked(question));
            asked.map(|(_, service)| (Arc::clone(&card.slot), Arc::clone(service))).collect::<Vec<_>>()
        };
        cards.values().flat_map(of).collect()
    }
}

impl Door {
    /// Services on a connection that serves these agents: those that are new are asked what they are.
    pub(super) fn look_for_services(&self, connection: &Traffic, served: &[AgentKey]) {
        let questions = connection.subscribes.iter().filter_map(|(subject, _)| Question::parse(subject));
        for question in questions.filter(|question| question.verb == Verb::Info) {
            let Some((name, id)) = question.of_one() else { continue };
            let asking: Vec<_> =
                served.iter().filter(|key| self.discovery.asks(key, name, id)).cloned().collect();
            if asking.is_empty() {
                continue;
            }
            let (client, news) = (self.client.clone(), self.news.clone());
            let (name, id): (Box<str>, Box<str>) = (name.into(), id.into());
            tokio::spawn(until(self.cancel.clone(), async move {
                let service = describe(&client, &name, &id).await;
                let _ = news.send(News::Described { agents: asking, name, id, service }).await;
            }));
        }
    }

    /// A service has said what it is, or has not.
    pub(super) fn described(&self, agents: &[AgentKey], (name, id): (&str, &str), service: Option<&Service>) {
        let service = service.filter(|service| (service.name(), service.id()) == (name, id));
        for key in agents {
            let Some(service) = service else {
                // Asked again after the next look.
                self.discovery.ask_again(key, name, id);
                continue;
            };
            // Several agents may share a connection, and none may speak for another.
            let own = service.with_endpoints(|subject| self.directory.has(key, subject));
            if let Some(own) = own {
                if let Some(descriptions) = &self.descriptions {
                    descriptions.keep(key, &own);
                }
                self.discovery.keep(key, own);
            }
        }
    }

    pub(super) fn keep_descriptions(&mut self) {
        let replicas = self.settings.hold.replicas;
        let start =
            || Descriptions::start(self.client.clone(), replicas, self.news.clone(), self.cancel.clone());
        self.descriptions.get_or_insert_with(start);
    }
}

async fn describe(client: &Client, name: &str, id: &str) -> Option<Service> {
    let ask = async |verb: Verb| {
        let subject = format!("{PREFIX}.{}.{name}.{id}", verb.token());
        client.request(subject, Bytes::new()).await.ok()
    };
    let (info, stats) = (ask(Verb::Info).await?, ask(Verb::Stats).await?);
    Service::read(&info.payload, &stats.payload)
}
