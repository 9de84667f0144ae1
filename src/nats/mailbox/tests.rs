//! Messages wait, are sent on in order, come back, and end in exactly one way.

use bytes::Bytes;

use super::*;
use crate::lifecycle::{Failure, FailureClass};

const HOLD: Duration = Duration::from_mins(1);

/// Subjects that the agent subscribes at present.
#[derive(Default)]
struct Subscribes {
    subjects: Vec<&'static str>,
    /// Nothing can be sent at present.
    is_cut: bool,
}

impl Interest for Subscribes {
    fn takes(&self, subject: &[u8]) -> bool {
        self.subjects.iter().any(|known| known.as_bytes() == subject)
    }

    fn is_routed(&self) -> bool {
        !self.is_cut
    }
}

/// A mailbox and what it had done.
struct Bench {
    mailbox: Mailbox,
    interest: Subscribes,
    bounds: Bounds,
    now: Moment,
    next: u64,
}

impl Bench {
    fn new() -> Self {
        Self {
            mailbox: Mailbox::default(),
            interest: Subscribes::default(),
            bounds: Bounds { messages: 5, keep_alive: None },
            now: Moment::START + Duration::from_secs(1000),
            next: 0,
        }
    }

    /// What a step does, as words.
    fn step(&mut self, step: impl FnOnce(&mut Mailbox, &Subscribes, Moment, &mut Vec<Effect>)) -> String {
        let mut fx = Vec::new();
        step(&mut self.mailbox, &self.interest, self.now, &mut fx);
        let words = fx.iter().map(|effect| match effect {
            Effect::Wake => "wake".to_owned(),
            Effect::Release => "release".to_owned(),
            Effect::Send(id) => format!("send {}", id.0),
            Effect::Mark(send) => format!("mark {}", send.0),
            Effect::Drop(held, ending) => {
                format!("{} {:?}", String::from_utf8_lossy(&held.message.payload), ending.fate())
                    .to_lowercase()
            }
            Effect::KeepAlive(id) => format!("keep {} alive", id.0),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn incoming(&mut self, reply: bool) -> (HoldId, Incoming) {
        self.next += 1;
        let message = Message {
            subject: "s".into(),
            reply: reply.then(|| "r".into()),
            queues: vec!["q".into()],
            headers: None,
            payload: Bytes::from(self.next.to_string()),
        };
        (
            HoldId(self.next),
            Incoming {
                message,
                patience: HOLD,
                stored: None,
                redelivered: false,
                streams: true,
                wakes_after: None,
            },
        )
    }

    /// One whose sender has woken as many as it may for a minute.
    fn delayed(&mut self) -> String {
        let (id, mut incoming) = self.incoming(false);
        incoming.wakes_after = Some(self.now + Duration::from_secs(30));
        let bounds = self.bounds;
        self.step(|mailbox, interest, now, fx| mailbox.hold(id, incoming, bounds, interest, now, fx).unwrap())
    }

    fn message(&mut self) -> String {
        let (id, incoming) = self.incoming(false);
        let bounds = self.bounds;
        self.step(|mailbox, interest, now, fx| mailbox.hold(id, incoming, bounds, interest, now, fx).unwrap())
    }

    fn request(&mut self) -> String {
        let (id, incoming) = self.incoming(true);
        let bounds = self.bounds;
        self.step(|mailbox, interest, now, fx| mailbox.hold(id, incoming, bounds, interest, now, fx).unwrap())
    }

    fn woken(&mut self) -> String {
        self.step(Mailbox::woken)
    }

    fn subscribes(&mut self, subjects: &[&'static str]) -> String {
        self.interest.subjects = subjects.to_vec();
        let any = !subjects.is_empty();
        self.step(|mailbox, interest, now, fx| mailbox.interest_changed(any, interest, now, fx))
    }

    fn marked(&mut self, send: u64) -> String {
        self.step(|mailbox, _, _, fx| mailbox.marked(Sending(send), fx))
    }

    fn came_back(&mut self, id: u64) -> String {
        self.step(|mailbox, _, _, _| mailbox.came_back(HoldId(id), false))
    }

    fn after(&mut self, span: Duration) -> String {
        self.now = self.now + span;
        let bounds = self.bounds;
        self.step(|mailbox, interest, now, fx| mailbox.tick(bounds, interest, now, fx))
    }

    fn refused(&mut self, refusal: &Refusal) -> String {
        self.step(|mailbox, _, now, fx| mailbox.not_woken(refusal, now, fx))
    }
}

#[test]
fn messages_wake_once_wait_for_the_subscription_and_go_on_in_order() {
    let mut bench = Bench::new();
    assert_eq!(bench.message(), "wake");
    assert_eq!(bench.message(), "");
    assert_eq!(bench.woken(), "");
    assert_eq!(bench.subscribes(&["s"]), "send 1, send 2, mark 2");
    assert_eq!(bench.message(), "send 3, mark 3");
    assert_eq!(bench.marked(2), "1 delivered, 2 delivered");
    assert_eq!(bench.marked(3), "3 delivered, release");
    assert!(bench.mailbox.is_empty());
    assert_eq!(bench.message(), "wake", "and again");
}

#[test]
fn a_subscription_that_is_there_before_the_agent_counts_as_up_is_waited_with() {
    let mut bench = Bench::new();
    bench.message();
    assert_eq!(bench.subscribes(&["s"]), "");
    assert_eq!(bench.woken(), "send 1, mark 1");
}

#[test]
fn what_comes_back_waits_again_and_is_not_taken_as_delivered_by_an_older_mark() {
    let mut bench = Bench::new();
    bench.message();
    bench.message();
    bench.woken();
    assert_eq!(bench.subscribes(&["s"]), "send 1, send 2, mark 2");
    // The agent was gone for a moment, and is back: the first is sent again, behind the mark.
    assert_eq!(bench.came_back(1), "");
    assert_eq!(bench.after(Duration::ZERO), "send 1, mark 3");
    assert_eq!(bench.marked(2), "2 delivered");
    assert_eq!(bench.subscribes(&[]), "");
    assert_eq!(bench.came_back(1), "");
    assert_eq!(bench.marked(3), "", "it waits");
    assert_eq!(bench.subscribes(&["s"]), "send 1, mark 4");
    assert_eq!(bench.marked(4), "1 delivered, release");
}

#[test]
fn what_was_sent_over_a_connection_that_broke_is_sent_again_and_marked() {
    let mut bench = Bench::new();
    bench.message();
    bench.woken();
    bench.subscribes(&["s"]);
    let done = bench.step(Mailbox::lost_track);
    assert_eq!(done, "send 1, mark 2");
    assert!(bench.mailbox.get(HoldId(1)).unwrap().redelivered);
}

#[test]
fn no_more_wait_than_may() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.message();
    }
    let (id, incoming) = bench.incoming(true);
    let (mut fx, bounds, now) = (Vec::new(), bench.bounds, bench.now);
    let refused = bench.mailbox.hold(id, incoming, bounds, &bench.interest, now, &mut fx);
    assert_eq!((refused.unwrap_err().payload.as_ref(), fx.len()), (&b"6"[..], 0));
}

#[test]
fn who_waits_for_a_reply_learns_of_a_failed_start_and_what_needs_none_waits_for_the_next() {
    let mut bench = Bench::new();
    assert_eq!(bench.message(), "wake");
    bench.request();
    let failure = Failure::new(FailureClass::Crash, "it crashes");
    let failed = Refusal::ResumeFailed { failure, retry_after: Duration::from_secs(3) };
    assert_eq!(bench.refused(&failed), "2 refused");
    assert_eq!(bench.message(), "", "not before the next attempt is due");
    assert_eq!(bench.after(Duration::from_secs(3)), "wake");
    assert_eq!(bench.refused(&Refusal::SuspendedByPerson), "1 refused, 3 refused");
}

#[test]
fn what_comes_of_a_sender_who_wakes_too_many_waits_for_its_turn_or_for_another_sender() {
    let mut bench = Bench::new();
    assert_eq!(bench.delayed(), "");
    assert!(bench.mailbox.would_wake(), "whoever comes next is asked");
    assert_eq!(bench.delayed(), "");
    assert_eq!(bench.after(Duration::from_secs(29)), "");
    assert_eq!(bench.after(Duration::from_secs(1)), "wake");
    assert!(!bench.mailbox.would_wake());
    let mut bench = Bench::new();
    assert_eq!(bench.delayed(), "");
    assert_eq!(bench.message(), "wake");
}

#[test]
fn when_the_first_has_waited_long_enough_the_others_still_have_their_time() {
    let mut bench = Bench::new();
    bench.request();
    bench.now = bench.now + HOLD / 2;
    bench.request();
    bench.now = bench.now + HOLD / 2;
    assert_eq!(bench.refused(&Refusal::HoldTimedOut { waiting_for: "a pod".into() }), "");
    assert_eq!(bench.after(Duration::ZERO), "1 timedout, wake");
}

#[test]
fn what_the_connection_does_not_take_is_not_delivered() {
    let mut bench = Bench::new();
    bench.message();
    bench.message();
    bench.woken();
    assert_eq!(bench.subscribes(&["s"]), "send 1, send 2, mark 2");
    assert_eq!(bench.step(|mailbox, _, _, fx| mailbox.not_sent(HoldId(1), fx)), "1 invalid");
    assert_eq!(bench.marked(2), "2 delivered, release");
}

#[test]
fn what_the_server_refuses_to_take_is_not_delivered() {
    let mut bench = Bench::new();
    bench.message();
    bench.woken();
    assert_eq!(bench.subscribes(&["s"]), "send 1, mark 1");
    assert_eq!(bench.step(|mailbox, _, _, fx| mailbox.refused("other", fx)), "");
    assert_eq!(bench.step(|mailbox, _, _, fx| mailbox.refused("s", fx)), "1 invalid, release");
}

#[test]
fn what_comes_back_by_an_old_registration_is_marked_when_it_is_sent_again() {
    let mut bench = Bench::new();
    bench.message();
    bench.woken();
    bench.subscribes(&["s"]);
    bench.step(|mailbox, _, _, _| mailbox.came_back(HoldId(1), true));
    assert_eq!(bench.after(Duration::ZERO), "send 1, mark 2");
    assert!(bench.mailbox.get(HoldId(1)).unwrap().redelivered, "the agent may have got it");
}

#[test]
fn what_came_about_when_the_agent_subscribed_elsewhere_is_marked() {
    let mut bench = Bench::new();
    bench.message();
    bench.now = bench.now + Duration::from_secs(1);
    bench.message();
    let now = bench.now;
    bench.step(|mailbox, _, _, _| mailbox.may_be_copies(now));
    let marked = |id| bench.mailbox.get(HoldId(id)).unwrap().redelivered;
    assert_eq!((marked(1), marked(2)), (false, true));
}

#[test]
fn nothing_waits_for_longer_than_it_may() {
    let mut bench = Bench::new();
    bench.message();
    assert_eq!(bench.after(HOLD / 2), "");
    bench.request();
    assert_eq!(bench.after(HOLD / 2), "1 timedout");
    assert_eq!(bench.after(HOLD), "2 timedout, release");
}

#[test]
fn while_nothing_can_be_sent_nobody_is_said_not_to_subscribe() {
    let mut bench = Bench::new();
    bench.request();
    bench.woken();
    assert_eq!(bench.subscribes(&["s"]), "send 1, mark 1");
    bench.interest.is_cut = true;
    assert_eq!(bench.step(Mailbox::lost_track), "");
    assert_eq!(bench.subscribes(&["s"]), "");
    assert_eq!(bench.after(SETTLE * 2), "");
    bench.interest.is_cut = false;
    assert_eq!(bench.subscribes(&["other"]), "");
    assert_eq!(bench.after(SETTLE / 2), "", "it has its time from now on");
    assert_eq!(bench.after(SETTLE), "1 notsubscribed, release");
}

#[test]
fn what_comes_back_again_and_again_is_not_waited_for_without_end() {
    let mut bench = Bench::new();
    bench.message();
    bench.woken();
    bench.subscribes(&["s"]);
    for _ in 0..HOLD.as_secs() - 1 {
        bench.came_back(1);
        assert!(bench.after(Duration::from_secs(1)).starts_with("send 1"));
    }
    bench.came_back(1);
    assert_eq!(bench.after(Duration::from_secs(1)), "1 timedout, release");
}

#[test]
fn when_drowse_ends_nothing_is_ended_by_that() {
    let mut bench = Bench::new();
    bench.message();
    bench.request();
    assert_eq!(bench.refused(&Refusal::ShuttingDown), "");
    let left = bench.mailbox.take_all();
    assert_eq!(left.len(), 2);
}

#[test]
fn what_an_agent_that_is_up_does_not_subscribe_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.request();
    bench.woken();
    assert_eq!(bench.subscribes(&["other"]), "");
    assert_eq!(bench.after(SETTLE / 2), "", "it may be about to");
    assert_eq!(bench.after(SETTLE), "1 notsubscribed, release");
    // While it subscribes to nothing at all, it may only be reconnecting.
    bench.request();
    bench.woken();
    bench.subscribes(&[]);
    assert_eq!(bench.after(SETTLE * 2), "");
}

#[test]
fn a_life_that_ends_while_messages_wait_is_followed_by_the_next() {
    let mut bench = Bench::new();
    bench.message();
    bench.woken();
    let done = bench.step(Mailbox::went_down);
    assert_eq!(done, "wake");
}

#[test]
fn a_caller_who_knows_the_word_for_it_is_told_that_it_still_waits() {
    let mut bench = Bench::new();
    bench.bounds.keep_alive = Some(Duration::from_secs(20));
    assert_eq!(bench.request(), "keep 1 alive, wake");
    assert_eq!(bench.after(Duration::from_secs(19)), "");
    assert_eq!(bench.after(Duration::from_secs(1)), "keep 1 alive");
    assert_eq!(bench.message(), "", "nobody waits for a reply to this one");
}

#[test]
fn the_place_in_the_stream_is_kept_until_the_message_has_ended() {
    let mut bench = Bench::new();
    bench.message();
    bench.message();
    assert!(bench.mailbox.stored(HoldId(1), 7) && bench.mailbox.stored(HoldId(2), 9));
    assert_eq!(bench.mailbox.first_stored(), Some(7));
    bench.woken();
    bench.subscribes(&["s"]);
    bench.marked(2);
    assert_eq!((bench.mailbox.first_stored(), bench.mailbox.stored(HoldId(1), 7)), (None, false));
}

#[test]
fn in_a_new_stream_nothing_has_a_place_and_all_is_to_be_stored() {
    let mut bench = Bench::new();
    bench.message();
    bench.woken();
    bench.subscribes(&["s"]);
    bench.interest.is_cut = true;
    bench.message();
    assert!(bench.mailbox.stored(HoldId(1), 7) && bench.mailbox.stored(HoldId(2), 9));
    let anew = bench.mailbox.forget_places();
    assert_eq!(anew.iter().map(|(id, ..)| id.0).collect::<Vec<_>>(), [1, 2], "on its way, and waiting");
    assert_eq!(bench.mailbox.first_stored(), None);
    assert!(bench.mailbox.stored(HoldId(2), 3));
    assert_eq!(bench.mailbox.first_stored(), Some(3));
}
