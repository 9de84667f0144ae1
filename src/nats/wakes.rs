//! Pure: how often one sender may wake agents. A sender is known by the inbox that it wants replies in; all those who want no
//! reply are one.

use std::collections::HashMap;
use std::time::Duration;

use crate::time::Moment;

use super::leaf::codec::Message;

/// The time in which is counted.
const WINDOW: Duration = Duration::from_mins(1);
/// Senders that are told apart at once; all others are one.
const MAX_SENDERS: usize = 10_000;

/// Counts what senders wake.
#[derive(Debug)]
pub struct Wakes {
    per_window: u32,
    /// When each sender's window began, and what it woke since.
    senders: HashMap<Box<[u8]>, (Moment, u32)>,
}

impl Wakes {
    /// Each sender may wake so many agents in a minute.
    pub fn new(per_minute: u32) -> Self {
        Self { per_window: per_minute, senders: HashMap::new() }
    }

    /// A message would wake an agent. `Err`: not before this, if its sender is to wake no more than it may.
    pub fn allow(&mut self, message: &Message, now: Moment) -> Result<(), Moment> {
        let mut sender = sender(message);
        if self.senders.len() >= MAX_SENDERS && !self.senders.contains_key(sender) {
            self.senders.retain(|_, (began, _)| *began + WINDOW > now);
            if self.senders.len() >= MAX_SENDERS {
                sender = b"";
            }
        }
        let (began, count) = self.senders.entry(sender.into()).or_insert((now, 0));
        if *began + WINDOW <= now {
            (*began, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        let windows = (*count - 1) / self.per_window.max(1);
        if *count <= self.per_window { Ok(()) } else { Err(*began + WINDOW * windows.max(1)) }
    }
}

/// `_INBOX.<client>` of `_INBOX.<client>.<request>`. An inbox that is made for one request is a sender of its own.
fn sender(message: &Message) -> &[u8] {
    let Some(reply) = &message.reply else { return b"" };
    let is_shared = reply.starts_with(b"_INBOX.agents.") || reply.split(|byte| *byte == b'.').count() < 3;
    match reply.iter().rposition(|byte| *byte == b'.') {
        Some(end) if !is_shared => &reply[..end],
        _ => reply,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn from(reply: Option<String>) -> Message {
        Message {
            subject: "s".into(),
            reply: reply.map(Bytes::from),
            queues: Vec::new(),
            headers: None,
            payload: Bytes::new(),
        }
    }

    #[test]
    fn each_sender_has_its_own_count_and_a_new_one_each_minute() {
        let mut wakes = Wakes::new(2);
        let at = |seconds| Moment::START + Duration::from_secs(seconds);
        for n in 0..4 {
            let allowed = wakes.allow(&from(Some(format!("_INBOX.a.{n}"))), at(0));
            assert_eq!(allowed, if n < 2 { Ok(()) } else { Err(at(60)) });
        }
        assert_eq!(wakes.allow(&from(Some("_INBOX.b.1".to_owned())), at(0)), Ok(()));
        assert_eq!(wakes.allow(&from(None), at(0)), Ok(()));
        for n in 0..4 {
            let allowed = wakes.allow(&from(Some(format!("_INBOX.{n}"))), at(0));
            assert_eq!(allowed, Ok(()), "each is another one");
        }
        assert_eq!(wakes.allow(&from(Some("_INBOX.a.9".to_owned())), at(60)), Ok(()));
    }

    #[test]
    fn who_wakes_more_than_it_may_is_put_off_to_the_minutes_after() {
        let mut wakes = Wakes::new(2);
        let at = |seconds| Moment::START + Duration::from_secs(seconds);
        let all: Vec<_> = (0..6).map(|_| wakes.allow(&from(None), at(0)).err()).collect();
        assert_eq!(all, [None, None, Some(at(60)), Some(at(60)), Some(at(120)), Some(at(120))]);
    }

    #[test]
    fn who_takes_a_new_name_each_time_is_bounded_with_all_the_others() {
        let mut wakes = Wakes::new(1);
        let allowed = (0..2 * MAX_SENDERS)
            .filter(|n| wakes.allow(&from(Some(format!("_INBOX.{n}.1"))), Moment::START).is_ok())
            .count();
        assert_eq!(allowed, MAX_SENDERS + 1);
    }
}
