//! Asking the other replicas, and being asked: request and reply over NATS, one subject for each replica.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client as Nats;
use async_nats::connection::State;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client as Kube};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::{AgentKey, AgentUid, Revision};
use crate::engine::{Engine, Other, Word};
use crate::lifecycle::DrainQuestion;

use super::membership;
use super::record::{Me, ReplicaId};
use super::silence::{Silence, TELL_AFTER};

/// How long the others may take, all together: less than the core waits.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);

/// Where a replica is asked. Below `drowse.replica`, so that the permissions of `deploy/nats` hold.
fn subject(replica: &ReplicaId) -> String {
    format!("drowse.replica.drain.{replica}")
}

/// Is nothing in flight, and may it be suspended?
#[derive(Serialize, Deserialize)]
struct Question {
    agent: String,
    uid: String,
    revision: u64,
    /// Older replicas do not know it, and answer as if it were not ordered.
    #[serde(default)]
    ordered: bool,
}

impl Question {
    /// Replicas of every version say no to it, and do nothing: no agent has this uid.
    fn about_nobody() -> Self {
        Self { agent: "drowse/none".to_owned(), uid: String::new(), revision: 0, ordered: false }
    }
}

#[derive(Serialize, Deserialize)]
struct Answer {
    agreed: bool,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    active_ago: Option<u64>,
}

impl From<Word> for Answer {
    fn from(word: Word) -> Self {
        match word {
            Word::Agreed => Self { agreed: true, active_ago: None },
            Word::Vetoed { active_ago } => {
                let ago = active_ago.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
                Self { agreed: false, active_ago: ago }
            }
        }
    }
}

impl From<Answer> for Word {
    fn from(answer: Answer) -> Self {
        if answer.agreed {
            Self::Agreed
        } else {
            Self::Vetoed { active_ago: answer.active_ago.map(Duration::from_millis) }
        }
    }
}

/// Asks all others.
pub(super) struct Asker {
    leases: Api<Lease>,
    me: watch::Receiver<Option<Me>>,
    nats: Option<Nats>,
    engine: Arc<Engine>,
    silence: Mutex<Silence>,
}

impl Asker {
    pub(super) fn new(
        kube: Kube,
        namespace: &str,
        me: watch::Receiver<Option<Me>>,
        nats: Option<Nats>,
        engine: Arc<Engine>,
    ) -> Self {
        let leases = Api::namespaced(kube, namespace);
        Self { leases, me, nats, engine, silence: Mutex::default() }
    }

    /// Why these others cannot be asked, so that nobody is suspended.
    pub(super) async fn hindrance(&self, others: &[Other]) -> Option<Arc<str>> {
        if others.is_empty() {
            return None;
        }
        match self.nats.as_ref().map(Nats::connection_state) {
            None => Some(
                "there are other replicas of Drowse, which cannot be asked without NATS (section nats)"
                    .into(),
            ),
            Some(State::Connected) => self.silent(others).await,
            Some(_) => {
                self.silence.lock().forget();
                Some("there are other replicas of Drowse, which cannot be asked while NATS is away".into())
            }
        }
    }

    /// Who of these has answered nothing for long. Nobody is asked about agents meanwhile, so whoever owes an answer is asked
    /// here again.
    async fn silent(&self, others: &[Other]) -> Option<Arc<str>> {
        let clock = self.engine.clock();
        self.silence.lock().keep(others);
        let owing = self.silence.lock().owing(ANSWER_WITHIN, clock.now());
        let question = Question::about_nobody();
        let asked = owing.iter().map(|id| self.word_of(id, &question));
        let _words = tokio::time::timeout(ANSWER_WITHIN, join_all(asked)).await;
        let silent = self.silence.lock().owing(TELL_AFTER, clock.now());
        let silent = others.iter().filter(|other| silent.iter().any(|id| id.0 == other.id));
        let pods: Vec<_> = silent.map(|other| &*other.pod).collect();
        let names = pods.join(", ");
        (!pods.is_empty())
            .then(|| format!("no answer from {names}: before a suspension every replica is asked").into())
    }

    /// Asks, and tells the engine what came of it.
    pub(super) async fn ask(&self, key: &AgentKey, question: DrainQuestion) {
        let silence = Word::Vetoed { active_ago: None };
        let revision = question.revision;
        let word = tokio::time::timeout(ANSWER_WITHIN, self.word_of_all(key, question)).await;
        self.engine.peers_said(key, revision, word.unwrap_or(silence));
    }

    /// All must agree. Of several that object, the one counts where the agent was active last.
    async fn word_of_all(&self, key: &AgentKey, question: DrainQuestion) -> Word {
        let silence = Word::Vetoed { active_ago: None };
        let Some(me) = self.me.borrow().clone() else { return silence };
        let Ok(Some(record)) = membership::read(&self.leases).await else { return silence };
        // A Lease that nobody has led yet is new: not all who stood in the one before may stand in it.
        if record.transitions == 0 || !record.members.contains_key(&me.id) {
            return silence;
        }
        let others: Vec<_> = record.members.into_keys().filter(|id| *id != me.id).collect();
        let DrainQuestion { uid, revision, ordered } = question;
        let question =
            Question { agent: key.to_string(), uid: uid.0.to_string(), revision: revision.0, ordered };
        let asked = others.iter().map(|other| self.word_of(other, &question));
        let words = join_all(asked).await;
        let vetoes = words.into_iter().filter_map(|word| match word {
            Word::Agreed => None,
            Word::Vetoed { active_ago } => Some(active_ago),
        });
        // Any time ago is later than none at all.
        vetoes
            .reduce(|a, b| a.into_iter().chain(b).min())
            .map_or(Word::Agreed, |active_ago| Word::Vetoed { active_ago })
    }

    async fn word_of(&self, other: &ReplicaId, question: &Question) -> Word {
        let silence = Word::Vetoed { active_ago: None };
        let (Some(nats), Ok(question)) = (&self.nats, serde_json::to_vec(question)) else { return silence };
        self.silence.lock().asked(other, self.engine.clock().now());
        match nats.request(subject(other), question.into()).await {
            Ok(answer) => match serde_json::from_slice::<Answer>(&answer.payload) {
                Ok(answer) => {
                    self.silence.lock().answered(other);
                    Word::from(answer)
                }
                Err(_) => silence,
            },
            Err(error) => {
                tracing::debug!(replica = %other, %error, "a replica does not answer");
                silence
            }
        }
    }
}

/// Answers the others, until the end.
pub(super) async fn answer(
    nats: Nats,
    mut me: watch::Receiver<Option<Me>>,
    engine: Arc<Engine>,
    leaving: CancellationToken,
) {
    let Ok(me) = me.wait_for(Option::is_some).await.map(|me| me.clone()) else { return };
    let Some(me) = me else { return };
    let mut questions = match nats.subscribe(subject(&me.id)).await {
        Ok(questions) => questions,
        Err(error) => {
            tracing::error!(%error, "failed to subscribe to the questions of other replicas: nobody is suspended");
            return;
        }
    };
    loop {
        let question = tokio::select! {
            () = leaving.cancelled() => return,
            question = questions.next() => question,
        };
        let Some(question) = question else { return };
        // A sender chooses the subject, and must not make us say something to an agent.
        let reply = question.reply.filter(|reply| reply.as_str().starts_with("_INBOX"));
        if let (Some(reply), Some(word)) = (reply, word_on(&engine, &question.payload)) {
            let answer = serde_json::to_vec(&Answer::from(word)).unwrap_or_default();
            let _silence_is_a_no = nats.publish(reply, Bytes::from(answer)).await;
        }
    }
}

fn word_on(engine: &Arc<Engine>, question: &[u8]) -> Option<Word> {
    let Question { agent, uid, revision, ordered } = serde_json::from_slice(question).ok()?;
    let key: AgentKey = agent.parse().ok()?;
    let question = DrainQuestion { uid: AgentUid(uid.into()), revision: Revision(revision), ordered };
    Some(engine.asked_by_peer(&key, question))
}
