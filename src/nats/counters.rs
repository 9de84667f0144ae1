//! Pure: what NATS servers count of their clients' traffic (`CONNZ` with subscriptions in detail), and what follows from two
//! looks at it.
//!
//! The counters are the server's own: no agent can forge them, and they cost the traffic nothing.

use std::collections::HashMap;

use serde::Deserialize;

/// The answer of one server to `$SYS.REQ.ACCOUNT.PING.CONNZ`.
#[derive(Debug, Deserialize)]
pub struct Answer {
    server: Server,
    #[serde(default)]
    data: Option<Connections>,
    #[serde(default)]
    error: Option<ServerError>,
}

#[derive(Debug, Deserialize)]
struct Server {
    id: String,
}

#[derive(Debug, Deserialize)]
struct ServerError {
    description: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Connections {
    total: usize,
    offset: usize,
    #[serde(rename = "connections")]
    all: Vec<Connection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Connection {
    cid: u64,
    name: String,
    in_msgs: u64,
    pending_bytes: u64,
    subscriptions_list_detail: Vec<Subscription>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Subscription {
    subject: String,
    qgroup: String,
    sid: String,
    msgs: u64,
}

impl Answer {
    /// Reads an answer.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let answer: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        match &answer.error {
            Some(error) => Err(error.description.clone()),
            None => Ok(answer),
        }
    }

    /// Where the rest of this server's connections begins, if this is not all.
    pub fn rest(&self) -> Option<usize> {
        let data = self.data.as_ref()?;
        let next = data.offset + data.all.len();
        (next < data.total && !data.all.is_empty()).then_some(next)
    }
}

/// What has happened on one connection since the look before.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Messages that it has received, for each subscription with any: subject, queue group, how many.
    pub received: Vec<(String, String, u64)>,
    /// All that it subscribes: subject and queue group.
    pub subscribes: Vec<(String, String)>,
    /// Messages that it has sent.
    pub sent: u64,
    /// What it calls itself.
    pub name: String,
    /// Messages wait for it in the server.
    pub is_behind: bool,
}

/// Compares one look with the next.
#[derive(Debug, Default)]
pub struct Counters {
    received: HashMap<(String, u64, String), u64>,
    sent: HashMap<ConnectionId, u64>,
}

/// A connection: the server's id and its number there.
pub type ConnectionId = (String, u64);

impl Counters {
    /// Takes one whole look, and tells what is new. Of a connection that was not known before, everything is.
    pub fn look(&mut self, answers: &[Answer]) -> HashMap<ConnectionId, Traffic> {
        let mut traffic: HashMap<ConnectionId, Traffic> = HashMap::new();
        let before = std::mem::take(self);
        for answer in answers {
            for connection in answer.data.iter().flat_map(|data| &data.all) {
                let id = (answer.server.id.clone(), connection.cid);
                let seen = traffic.entry(id.clone()).or_default();
                let sent_before = before.sent.get(&id).copied().unwrap_or(0);
                seen.sent = connection.in_msgs.saturating_sub(sent_before);
                seen.name.clone_from(&connection.name);
                seen.is_behind = connection.pending_bytes > 0;
                self.sent.insert(id.clone(), connection.in_msgs);
                for subscription in &connection.subscriptions_list_detail {
                    let key = (id.0.clone(), id.1, subscription.sid.clone());
                    let was = before.received.get(&key).copied().unwrap_or(0);
                    let new = subscription.msgs.saturating_sub(was);
                    self.received.insert(key, subscription.msgs);
                    let (subject, queue) = (subscription.subject.clone(), subscription.qgroup.clone());
                    if new > 0 {
                        seen.received.push((subject.clone(), queue.clone(), new));
                    }
                    seen.subscribes.push((subject, queue));
                }
            }
        }
        traffic
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(sent: u64, received: u64) -> Answer {
        let text = json!({
            "server": {"id": "S1", "name": "n", "ver": "2.15.2"},
            "data": {"total": 1, "offset": 0, "limit": 1024, "connections": [{
                "cid": 5, "in_msgs": sent, "out_msgs": 9, "pending_bytes": 0, "ip": "127.0.0.1",
                "subscriptions_list_detail": [{"subject": "a.>", "qgroup": "q", "sid": "1", "msgs": received, "cid": 5}],
            }]},
        });
        Answer::parse(text.to_string().as_bytes()).unwrap()
    }

    fn only(traffic: HashMap<ConnectionId, Traffic>) -> Traffic {
        assert_eq!(traffic.len(), 1);
        traffic.into_values().next().unwrap()
    }

    #[test]
    fn what_is_new_between_two_looks_is_told() {
        let mut counters = Counters::default();
        assert_eq!(only(counters.look(&[answer(2, 3)])).received, [("a.>".into(), "q".into(), 3)]);
        let quiet = only(counters.look(&[answer(2, 3)]));
        assert!(quiet.received.is_empty() && quiet.sent == 0);
        assert_eq!(quiet.subscribes, [("a.>".into(), "q".into())]);
        assert_eq!(only(counters.look(&[answer(4, 5)])).received, [("a.>".into(), "q".into(), 2)]);
    }

    #[test]
    fn an_error_and_what_is_no_answer_are_errors_and_pages_go_on() {
        let refused = br#"{"server": {"id": "S"}, "error": {"code": 401, "description": "not authorized"}}"#;
        assert_eq!(Answer::parse(refused).unwrap_err(), "not authorized");
        assert!(Answer::parse(b"{}").is_err());
        let page =
            json!({"server": {"id": "S"}, "data": {"total": 3, "offset": 1, "connections": [{"cid": 1}]}});
        assert_eq!(Answer::parse(page.to_string().as_bytes()).unwrap().rest(), Some(2));
        assert_eq!(answer(0, 0).rest(), None);
    }
}
