//! What a mailbox is given, what it has, and what it wants to have done.

use std::time::Duration;

use crate::lifecycle::Refusal;
use crate::metrics::MessageFate;
use crate::nats::leaf::codec::Message;
use crate::nats::requester::Requester;
use crate::time::Moment;

/// The number of a held message: unique in this process, in the order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HoldId(pub u64);

/// The number of a sending: the same message may be sent more than once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sending(pub u64);

/// What is known of an agent's subscriptions.
pub trait Interest {
    /// Whether the agent takes messages with this subject.
    fn takes(&self, subject: &[u8]) -> bool;

    /// Whether what is sent now arrives, or comes back here.
    fn is_routed(&self) -> bool;

    /// Whether a message with this subject would reach the agent.
    fn reaches(&self, subject: &[u8]) -> bool {
        self.is_routed() && self.takes(subject)
    }
}

/// A message that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// As it came.
    pub message: Message,
    /// When it came.
    pub arrived: Moment,
    /// How long it waits.
    pub deadline: Moment,
    /// Its place in the hold stream, if it is in there.
    pub stored: Option<u64>,
    /// It may have reached the agent before.
    pub redelivered: bool,
    pub(super) requester: Requester,
    /// The last time that it was sent.
    pub(super) send: Sending,
    /// When its sender is told next that it still waits.
    pub(super) keep_alive_at: Option<Moment>,
}

/// A message that is to wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// As it came.
    pub message: Message,
    /// How long it may wait.
    pub patience: Duration,
    /// Its place in the hold stream, if it is in there already.
    pub stored: Option<u64>,
    /// It may have reached the agent before.
    pub redelivered: bool,
    /// Its sender takes several replies, of which one that says "still waiting" may be the first.
    pub streams: bool,
    /// Its sender may not wake anybody before this.
    pub wakes_after: Option<Moment>,
}

/// What may wait for one agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Messages at most.
    pub messages: usize,
    /// Every how long a sender who waits for a reply is told that it still waits.
    pub keep_alive: Option<Duration>,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// See to it that the agent comes up and stays up.
    Wake,
    /// It need not be kept up any longer for what waited here.
    Release,
    /// Send a message again.
    Send(HoldId),
    /// Find out which of those that were sent up to here come back.
    Mark(Sending),
    /// Nothing is to be kept of this message any more.
    Drop(Box<Held>, Ending),
    /// Tell its sender that it still waits.
    KeepAlive(HoldId),
}

/// How the wait of a message ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The agent has it.
    Delivered,
    /// The agent is up and does not want messages with this subject.
    NotSubscribed,
    /// It waited for as long as it may.
    TimedOut,
    /// The agent cannot be woken.
    Refused(Refusal),
    /// Nobody waits for its reply any more.
    RequesterGone,
    /// The connection does not take it.
    NotSent,
}

impl Ending {
    /// For people.
    pub const fn why(&self) -> &'static str {
        match self {
            Self::Delivered => "it was delivered",
            Self::NotSubscribed => "the agent is up, and does not subscribe to this subject",
            Self::TimedOut => "the agent was not there in time",
            Self::Refused(_) => "the agent cannot be woken",
            Self::RequesterGone => "nobody waits for its reply any more",
            Self::NotSent => "the connection to NATS does not take it",
        }
    }

    /// The metric label.
    pub const fn fate(&self) -> MessageFate {
        match self {
            Self::Delivered => MessageFate::Delivered,
            Self::NotSubscribed => MessageFate::NotSubscribed,
            Self::TimedOut => MessageFate::TimedOut,
            Self::Refused(_) => MessageFate::Refused,
            Self::RequesterGone => MessageFate::RequesterGone,
            Self::NotSent => MessageFate::Invalid,
        }
    }
}

/// The size of a message as far as bounds are concerned.
pub fn size(message: &Message) -> usize {
    // What a place in the queue itself takes, roughly.
    const OVERHEAD: usize = 256;
    let reply = message.reply.as_ref().map_or(0, bytes::Bytes::len);
    let headers = message.headers.as_ref().map_or(0, bytes::Bytes::len);
    OVERHEAD + message.subject.len() + reply + headers + message.payload.len()
}
