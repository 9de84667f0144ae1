//! What the server says of Drowse, over its monitoring port: what the leaf-node link has registered, and what it was
//! given.

use std::time::Duration;

use anyhow::Context as _;
use http::{HeaderValue, Method, Uri};
use serde_json::Value;

use super::Server;
use crate::client::Call;

/// Between two looks at the link.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What the names of Drowse's connections begin with.
const DROWSE: &str = "drowse-";

/// A leaf-node link that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Another one is another connection.
    pub(crate) id: u64,
    /// Subjects that are registered on it, of whatever kind.
    pub(crate) registrations: u64,
}

/// What the server has for Drowse, on the link and on its ordinary connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// Messages so far.
    pub(crate) messages: u64,
    /// Bytes that wait in the server, because Drowse has not read what is before them.
    pub(crate) waiting_bytes: u64,
}

impl Server {
    pub(super) async fn is_healthy(&self) -> bool {
        self.ask("/healthz").await.is_ok_and(|answer| answer["status"] == "ok")
    }

    /// The link, if there is one.
    pub(crate) async fn link(&self) -> anyhow::Result<Option<Link>> {
        link(&self.ask("/leafz").await?)
    }

    /// What it has given to Drowse.
    pub(crate) async fn given(&self) -> anyhow::Result<Given> {
        Ok(given(&self.ask("/connz").await?))
    }

    /// Waits until so many agents are registered. Bounded by the caller.
    pub(crate) async fn until_registered(&self, agents: u32) -> anyhow::Result<()> {
        loop {
            let link = self.link().await?;
            // The list of all subjects is long: it is asked for when it may be complete.
            if link.is_some_and(|link| link.registrations >= u64::from(agents))
                && agents_in(&self.ask("/leafz?subs=1").await?) >= agents as usize
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn ask(&self, path: &str) -> anyhow::Result<Value> {
        let host = HeaderValue::from_static("127.0.0.1");
        let call = Call::new(Method::GET, self.monitor, host, Uri::try_from(path)?);
        Ok(call.once().await.context("nats-server does not say how it is")?.json())
    }
}

fn link(leafz: &Value) -> anyhow::Result<Option<Link>> {
    let Some(link) = leafz["leafs"].as_array().and_then(|links| links.first()) else { return Ok(None) };
    let number = |name: &str| link[name].as_u64().with_context(|| format!("a link without {name}: {link}"));
    Ok(Some(Link { id: number("id")?, registrations: number("subscriptions")? }))
}

/// The list of connections has leaf-node links, too.
fn given(connz: &Value) -> Given {
    let connections = connz["connections"].as_array().into_iter().flatten();
    let is_ours =
        |connection: &&Value| connection["name"].as_str().is_some_and(|name| name.starts_with(DROWSE));
    connections.filter(is_ours).fold(Given::default(), |sum, connection| {
        let number = |name: &str| connection[name].as_u64().unwrap_or_default();
        Given {
            messages: sum.messages + number("out_msgs"),
            waiting_bytes: sum.waiting_bytes + number("pending_bytes"),
        }
    })
}

/// Agents whose subjects are registered. A watched one has its subject twice, but then it does not sleep.
fn agents_in(leafz: &Value) -> usize {
    let links = leafz["leafs"].as_array().into_iter().flatten();
    let subjects = links.filter_map(|link| link["subscriptions_list"].as_array()).flatten();
    subjects.filter(|subject| subject.as_str().is_some_and(|text| text.starts_with("agents."))).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_link_is_read_and_none_is_none() {
        let leafz = json!({"leafnodes": 1, "leafs": [{"id": 7, "subscriptions": 3}]});
        assert_eq!(link(&leafz).unwrap(), Some(Link { id: 7, registrations: 3 }));
        assert_eq!(link(&json!({"leafnodes": 0, "leafs": []})).unwrap(), None);
        assert!(link(&json!({"leafs": [{"id": 7}]})).is_err());
    }

    #[test]
    fn only_agents_are_counted() {
        let list = ["drowse.mark.x", "agents.default.a.>", "agents.default.b.>", "$LDS.x"];
        assert_eq!(agents_in(&json!({"leafs": [{"subscriptions_list": list}]})), 2);
        assert_eq!(agents_in(&json!({"leafs": [{}]})), 0);
    }

    #[test]
    fn what_is_given_to_others_is_not_drowse_s() {
        let connections = [
            json!({"name": "drowse-x", "kind": "Leafnode", "out_msgs": 5, "pending_bytes": 4096}),
            json!({"name": "drowse-x", "kind": "Client", "out_msgs": 2, "pending_bytes": 1}),
            json!({"name": "loadtest", "kind": "Client", "out_msgs": 70, "pending_bytes": 9}),
            json!({}),
        ];
        let sum = given(&json!({"connections": connections}));
        assert_eq!(sum, Given { messages: 7, waiting_bytes: 4097 });
        assert_eq!(given(&Value::Null), Given::default());
    }
}
