//! Pure: what NATS servers count of their clients' traffic (`CONNZ` with subscriptions in detail), and what follows from two
//! looks at it.
//!
//! The counters are the server's own: no agent can forge them, and they cost the traffic nothing.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

use crate::time::Moment;
use crate::units::{Pattern, SubjectMap};

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

/// One look at all servers.
#[derive(Debug)]
pub struct Look {
    /// Of each connection that was seen.
    pub traffic: Vec<Traffic>,
    /// All subjects that they subscribe.
    pub subscribed: SubjectMap<()>,
    /// Every server that was there has answered. If not, who is not seen may be there all the same.
    pub is_complete: bool,
}

/// A server that has not answered for so long, and for so many looks, is not there any more.
const GONE_AFTER: Duration = Duration::from_secs(10);
const GONE_LOOKS: u32 = 2;

/// Compares one look with the next.
#[derive(Debug, Default)]
pub struct Counters {
    /// By their ids; a server that is started anew has a new one.
    servers: HashMap<String, Counted>,
}

#[derive(Debug)]
struct Counted {
    at: Moment,
    missed: u32,
    connections: HashMap<u64, ConnectionCount>,
}

#[derive(Debug, Default)]
struct ConnectionCount {
    sent: u64,
    /// By the number of the subscription.
    received: HashMap<String, u64>,
}

impl Counters {
    /// Takes one whole look, and tells what is new. Of a connection that was not known before, everything is.
    ///
    /// Connections whose names begin with `own` are left out. Servers count leaf nodes as well.
    pub fn look(&mut self, answers: Vec<Answer>, own: &str, now: Moment) -> Look {
        let mut traffic = Vec::new();
        let mut subscribed = SubjectMap::default();
        let mut servers: HashMap<String, Counted> = HashMap::new();
        for answer in answers {
            let before = self.servers.get(&answer.server.id);
            let counted = servers.entry(answer.server.id).or_insert_with(|| Counted {
                at: now,
                missed: 0,
                connections: HashMap::new(),
            });
            let all = answer.data.into_iter().flat_map(|data| data.all);
            for connection in all.filter(|connection| !connection.name.starts_with(own)) {
                let before = before.and_then(|before| before.connections.get(&connection.cid));
                let (cid, seen, count) = compare(connection, before);
                for (subject, _) in &seen.subscribes {
                    if let Ok(pattern) = Pattern::new(subject) {
                        *subscribed.entry(&pattern) = Some(());
                    }
                }
                traffic.push(seen);
                counted.connections.insert(cid, count);
            }
        }
        let mut is_complete = true;
        for (id, counted) in std::mem::take(&mut self.servers) {
            let missed = counted.missed + 1;
            let is_gone = missed >= GONE_LOOKS && counted.at + GONE_AFTER <= now;
            if !servers.contains_key(&id) && !is_gone {
                is_complete = false;
                servers.insert(id, Counted { missed, ..counted });
            }
        }
        self.servers = servers;
        Look { traffic, subscribed, is_complete }
    }

    /// Whether there are servers of which none of these answers is.
    pub fn misses(&self, answers: &[Answer]) -> bool {
        self.servers.keys().any(|id| !answers.iter().any(|answer| answer.server.id == *id))
    }

    /// Whether no server has ever answered.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }
}

fn compare(connection: Connection, before: Option<&ConnectionCount>) -> (u64, Traffic, ConnectionCount) {
    let mut seen = Traffic {
        sent: connection.in_msgs.saturating_sub(before.map_or(0, |before| before.sent)),
        name: connection.name,
        is_behind: connection.pending_bytes > 0,
        ..Traffic::default()
    };
    let mut count = ConnectionCount { sent: connection.in_msgs, received: HashMap::new() };
    for subscription in connection.subscriptions_list_detail {
        let Subscription { subject, qgroup, sid, msgs } = subscription;
        let was = before.and_then(|before| before.received.get(&sid)).copied().unwrap_or(0);
        let new = msgs.saturating_sub(was);
        if new > 0 {
            seen.received.push((subject.clone(), qgroup.clone(), new));
        }
        seen.subscribes.push((subject, qgroup));
        count.received.insert(sid, msgs);
    }
    (connection.cid, seen, count)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(server: &str, sent: u64, received: u64) -> Answer {
        let text = json!({
            "server": {"id": server, "name": "n", "ver": "2.15.2"},
            "data": {"total": 1, "offset": 0, "limit": 1024, "connections": [{
                "cid": 5, "in_msgs": sent, "out_msgs": 9, "pending_bytes": 0, "ip": "127.0.0.1",
                "subscriptions_list_detail": [{"subject": "a.>", "qgroup": "q", "sid": "1", "msgs": received, "cid": 5}],
            }]},
        });
        Answer::parse(text.to_string().as_bytes()).unwrap()
    }

    fn answer(sent: u64, received: u64) -> Answer {
        of("S1", sent, received)
    }

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    fn only(look: Look) -> Traffic {
        assert!(look.is_complete);
        assert_eq!(look.traffic.len(), 1);
        look.traffic.into_iter().next().unwrap()
    }

    #[test]
    fn what_is_new_between_two_looks_is_told() {
        let mut counters = Counters::default();
        let mut look = |sent, received| only(counters.look(vec![answer(sent, received)], "drowse-", at(0)));
        assert_eq!(look(2, 3).received, [("a.>".into(), "q".into(), 3)]);
        let quiet = look(2, 3);
        assert!(quiet.received.is_empty() && quiet.sent == 0);
        assert_eq!(quiet.subscribes, [("a.>".into(), "q".into())]);
        assert_eq!(look(4, 5).received, [("a.>".into(), "q".into(), 2)]);
    }

    #[test]
    fn a_server_that_is_late_is_waited_for_and_what_it_has_counted_is_not_new() {
        let mut counters = Counters::default();
        counters.look(vec![of("S1", 1, 1), of("S2", 7, 7)], "drowse-", at(0));
        assert!(counters.misses(&[of("S1", 1, 1)]) && !counters.misses(&[of("S2", 0, 0), of("S1", 0, 0)]));
        assert!(!counters.look(vec![of("S1", 1, 1)], "drowse-", at(1)).is_complete);
        let both = counters.look(vec![of("S1", 1, 1), of("S2", 7, 7)], "drowse-", at(2));
        assert!(
            both.is_complete && both.traffic.iter().all(|seen| seen.sent == 0 && seen.received.is_empty())
        );
        // It is gone for good.
        assert!(!counters.look(vec![of("S1", 1, 1)], "drowse-", at(60)).is_complete, "one look says nothing");
        assert!(counters.look(vec![of("S1", 1, 1)], "drowse-", at(61)).is_complete);
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
