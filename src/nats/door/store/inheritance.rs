//! What replicas that are gone have left in the hold stream is taken over by whoever is left.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, ErrorCode, stream};
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::agent::AgentKey;
use crate::nats::door::news::News;
use crate::nats::stored;

use super::{Context, there};

/// How often the stream is searched for messages of replicas that are not there any more.
const SEARCH_EVERY: Duration = Duration::from_secs(2);
/// How many searches in a row a replica must be missing: its connection may only be made anew.
const MISSING: u32 = 6;
/// How long a replica may take to say that it is there.
const THERE_WITHIN: Duration = Duration::from_secs(1);
/// Bytes of a replica's name at most.
const MAX_NAME: usize = 64;

impl Context {
    /// Takes over what replicas have left behind.
    pub(super) async fn search(&self, mut leaving: async_nats::Subscriber) {
        let mut missing: HashMap<String, u32> = HashMap::new();
        let mut taken = HashSet::new();
        loop {
            let pause = tokio::time::sleep(SEARCH_EVERY);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    Some(gone) = leaving.next() => {
                        // It is asked all the same.
                        let replica = String::from_utf8_lossy(&gone.payload);
                        if replica.len() <= MAX_NAME {
                            missing.insert(replica.into_owned(), MISSING);
                        }
                    }
                }
            }
            if let Some(why) = self.lost().await {
                let _ = self.news.send(News::StoreLost(why)).await;
                return;
            }
            // Before all agents are known, theirs would look like messages for nobody.
            if !self.engine.is_ready() {
                continue;
            }
            let others = self.others().await.unwrap_or_default();
            missing.retain(|replica, _| others.contains(replica));
            let mut is_whole = true;
            for replica in others {
                let asked = self.client.request(there(&replica), "".into());
                let there = tokio::time::timeout(THERE_WITHIN, asked).await;
                // Only that nobody listens counts: one that is slow may be at work.
                let gone = matches!(
                    &there,
                    Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders
                );
                let count = missing.entry(replica.clone()).or_default();
                *count = if gone { *count + 1 } else { 0 };
                if *count >= MISSING
                    && let Err(error) = self.take_over(&replica, &mut taken).await
                {
                    is_whole = false;
                    tracing::warn!(
                        replica,
                        error,
                        "the messages of a replica that is gone cannot be taken over yet"
                    );
                }
            }
            if is_whole {
                // What was taken is gone from its old place, so it is not found again.
                taken.clear();
            }
        }
    }

    /// Why the stream is not the one any more that was opened, if it is not: its places are not those that were told.
    async fn lost(&self) -> Option<&'static str> {
        let opened = self.stream.cached_info();
        match self.jetstream.get_stream(&opened.config.name).await {
            Ok(found) if found.cached_info().created == opened.created => None,
            Ok(_) => Some("it was deleted and made anew"),
            // Anything else may pass by itself.
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    Some("it was deleted")
                }
                _ => None,
            },
        }
    }

    /// Replicas of which there are messages.
    async fn others(&self) -> Result<Vec<String>, String> {
        let subjects = self.stream.info_with_subjects(format!("{}.>", self.prefix)).await;
        let subjects = subjects.map_err(|error| error.to_string())?;
        let all: Vec<(String, usize)> = subjects.try_collect().await.map_err(|error| error.to_string())?;
        let replica = |subject: &str| {
            let rest = subject.strip_prefix(&self.prefix)?.strip_prefix('.')?;
            Some(rest.split('.').next()?.to_owned())
        };
        let mut replicas: Vec<_> = all.iter().filter_map(|(subject, _)| replica(subject)).collect();
        replicas.sort();
        replicas.dedup();
        replicas.retain(|replica| *replica != self.replica);
        Ok(replicas)
    }

    async fn take_over(&self, replica: &str, taken: &mut HashSet<u64>) -> Result<(), String> {
        let filter = format!("{}.{replica}.>", self.prefix);
        let (mut next, mut count) = (1, 0);
        loop {
            let found = self.stream.direct_get_next_for_subject(filter.clone(), Some(next)).await;
            let found = match found {
                Ok(found) => found,
                Err(error) if error.kind() == stream::DirectGetErrorKind::NotFound => break,
                Err(error) => return Err(error.to_string()),
            };
            next = found.sequence + 1;
            if self.take(&found, taken).await? {
                count += 1;
            }
        }
        if count > 0 {
            tracing::info!(replica, count, "took over the messages of a replica that is gone");
        }
        Ok(())
    }

    /// Takes one message over, unless another replica was faster. `taken` has the places of those that were before.
    async fn take(
        &self,
        found: &jetstream::message::StreamMessage,
        taken: &mut HashSet<u64>,
    ) -> Result<bool, String> {
        let mut tokens = found.subject.rsplitn(3, '.');
        let read = stored::read(&found.headers, found.payload.clone());
        let (Some(name), Some(namespace), Some((message, arrived))) = (tokens.next(), tokens.next(), read)
        else {
            tracing::warn!(place = found.sequence, "the hold stream has something that is no held message");
            return Ok(false);
        };
        let key = AgentKey::new(namespace, name);
        let mut headers = found.headers.clone();
        headers.insert("Nats-Msg-Id", format!("take.{}", found.sequence));
        let copy =
            self.jetstream.publish_with_headers(self.subject(&key), headers, found.payload.clone()).await;
        let ack = copy.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())?;
        // The copy that there is already may be our own, if its confirmation was lost.
        let ours = !ack.duplicate || self.is_ours(ack.sequence).await?;
        if ours && taken.insert(ack.sequence) {
            let inherited = News::Inherited { key, message, arrived, place: ack.sequence };
            let _ = self.news.send(inherited).await;
        }
        self.stream.delete_message(found.sequence).await.map_err(|error| error.to_string())?;
        Ok(ours)
    }

    async fn is_ours(&self, place: u64) -> Result<bool, String> {
        match self.stream.direct_get(place).await {
            Ok(copy) => Ok(copy.subject.starts_with(&format!("{}.{}.", self.prefix, self.replica))),
            Err(error) if error.kind() == stream::DirectGetErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}
