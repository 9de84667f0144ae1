//! Whoever looks for services (`$SRV`) finds also those that sleep: Drowse has seen how they describe themselves, and
//! answers for them.

use std::collections::{BTreeMap, HashSet};

use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::agent::AgentKey;
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

/// What is known of an agent's services.
#[derive(Debug, Default)]
pub(super) struct Described {
    /// By name; of each, the one that was there last.
    services: BTreeMap<Box<str>, Service>,
    /// Those that have been asked, by name and id: each is asked once.
    asked: HashSet<(Box<str>, Box<str>)>,
}

impl Door {
    /// Takes questions from now on.
    pub(super) fn start_discovery(&self) {
        for verb in Verb::ALL {
            for rest in ["", ".>"] {
                let subject = format!("{PREFIX}.{}{rest}", verb.token());
                let (client, news) = (self.client.clone(), self.news.clone());
                tokio::spawn(until(self.cancel.clone(), async move {
                    let Ok(mut questions) = client.queue_subscribe(subject, QUEUE.to_owned()).await else {
                        return;
                    };
                    while let Some(message) = questions.next().await {
                        let question = Question::parse(&message.subject);
                        if let (Some(question), Some(reply)) = (question, message.reply) {
                            let reply = Bytes::copy_from_slice(reply.as_bytes());
                            let _ = news.send(News::Asked(question, reply)).await;
                        }
                    }
                }));
            }
        }
    }

    /// Answers for every service that is asked and sleeps.
    pub(super) fn asked(&self, question: &Question, reply: &Bytes) {
        let Some(reply) = self.may_answer(reply).and_then(|reply| String::from_utf8(reply.into()).ok())
        else {
            return;
        };
        for (key, agent) in &self.agents {
            let mut asked =
                agent.described.services.values().filter(|service| service.is_asked(question)).peekable();
            if asked.peek().is_none() {
                continue;
            }
            let phase = agent.slot.phase();
            let sleeps = matches!(phase, PhaseName::Suspending | PhaseName::Suspended | PhaseName::Resuming);
            // Until it is gone, and once it is back, it answers itself.
            if !sleeps || self.directory.is_subscribed(key) {
                continue;
            }
            for service in asked {
                if self.outbox.room() == 0 {
                    tracing::warn!(
                        "not all services that sleep were answered for: too much waits for the connection to NATS"
                    );
                    return;
                }
                self.outbox.plain(reply.clone(), service.answer(question.verb, phase.as_str()));
            }
        }
    }

    /// Services on a connection that serves these agents: those that are new are asked what they are.
    pub(super) fn look_for_services(&mut self, connection: &Traffic, served: &[AgentKey]) {
        let questions = connection.subscribes.iter().filter_map(|(subject, _)| Question::parse(subject));
        for question in questions.filter(|question| question.verb == Verb::Info) {
            let Some((name, id)) = question.of_one() else { continue };
            let is_new =
                |key: &AgentKey| self.agents.get(key).is_some_and(|agent| agent.described.is_new(name, id));
            if !served.iter().any(is_new) {
                continue;
            }
            for key in served {
                if let Some(agent) = self.agents.get_mut(key) {
                    agent.described.note_asked(name, id);
                }
            }
            let (client, news, served) = (self.client.clone(), self.news.clone(), served.to_vec());
            let (name, id): (Box<str>, Box<str>) = (name.into(), id.into());
            tokio::spawn(until(self.cancel.clone(), async move {
                let service = describe(&client, &name, &id).await;
                let _ = news.send(News::Described { agents: served, name, id, service }).await;
            }));
        }
    }

    /// A service has said what it is, or has not.
    pub(super) fn described(
        &mut self,
        agents: &[AgentKey],
        (name, id): (&str, &str),
        service: Option<&Service>,
    ) {
        let service = service.filter(|service| (service.name(), service.id()) == (name, id));
        for key in agents {
            let Some(agent) = self.agents.get_mut(key) else { continue };
            let Some(service) = service else {
                // Asked again after the next look.
                agent.described.asked.remove(&(name.into(), id.into()));
                continue;
            };
            // Several agents may share a connection.
            let is_its_own = service.subjects().any(|subject| self.directory.has(key, subject));
            if is_its_own
                && agent.described.keep(service.clone())
                && let Some(descriptions) = &self.descriptions
            {
                descriptions.keep(key, service);
            }
        }
    }

    /// A description from an earlier run of Drowse.
    pub(super) fn remembered(&mut self, key: &AgentKey, service: Service) {
        if let Some(agent) = self.agents.get_mut(key)
            && !agent.described.services.contains_key(service.name())
        {
            agent.described.keep(service);
        }
    }

    pub(super) fn keep_descriptions(&mut self) {
        let replicas = self.settings.hold.replicas;
        let start = || Descriptions::start(self.client.clone(), replicas, self.news.clone());
        self.descriptions.get_or_insert_with(start);
    }
}

impl Described {
    fn is_new(&self, name: &str, id: &str) -> bool {
        !self.asked.contains(&(name.into(), id.into()))
            && self.services.get(name).is_none_or(|service| service.id() != id)
    }

    fn note_asked(&mut self, name: &str, id: &str) {
        // Of lives that are over, nobody asks any more.
        if self.asked.len() >= MAX_SERVICES {
            self.asked.clear();
        }
        self.asked.insert((name.into(), id.into()));
    }

    fn keep(&mut self, service: Service) -> bool {
        let fits = self.services.len() < MAX_SERVICES || self.services.contains_key(service.name());
        if fits {
            self.services.insert(service.name().into(), service);
        }
        fits
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
