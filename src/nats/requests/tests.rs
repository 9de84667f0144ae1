//! What agents owe, until when, and to whom.

use super::*;

const CAP: Duration = Duration::from_secs(100);

fn at(seconds: u64) -> Moment {
    Moment::START + Duration::from_secs(seconds)
}

const ONE: Owed = Owed { streams: false, again: true };
const STREAM: Owed = Owed { streams: true, again: true };

fn agent(name: &str) -> AgentKey {
    AgentKey::new("default", name)
}

fn request(reply: &'static str) -> Message {
    Message {
        subject: "s".into(),
        reply: Some(reply.into()),
        queues: Vec::new(),
        headers: None,
        payload: Bytes::new(),
    }
}

#[test]
fn a_request_is_owed_an_answer_until_it_comes_or_its_cap_is_over() {
    let (mut requests, echo) = (Requests::default(), agent("echo"));
    assert_eq!(requests.took(&echo, &request("_INBOX.c.1"), STREAM, at(0)).as_deref(), Some("_INBOX.c.*"));
    assert_eq!(requests.owes_until(&echo, CAP), Some(at(100)));
    assert_eq!(
        requests.replied(&"_INBOX.c.1".into(), false, at(0)),
        std::slice::from_ref(&echo),
        "a part of it"
    );
    assert!(requests.owes_until(&echo, CAP).is_some());
    assert_eq!(requests.replied(&"_INBOX.c.1".into(), true, at(0)), std::slice::from_ref(&echo));
    assert_eq!(requests.owes_until(&echo, CAP), None);
    assert_eq!(requests.took(&echo, &request("_INBOX.c.2"), ONE, at(1)), None, "it is watched already");
    requests.expire(at(101), |_| CAP, |_| true);
    assert_eq!(requests.owes_until(&echo, CAP), Some(at(101)), "which is over");
    requests.end_life(&echo, at(101), at(101));
    assert_eq!(requests.take_orphans(&echo).len(), 1, "its sender is still there");
    requests.took(&echo, &request("_INBOX.c.3"), ONE, at(102));
    requests.expire(at(5_000), |_| CAP, |_| true);
    assert_eq!(requests.owes_until(&echo, CAP), None, "it is forgotten");
}

#[test]
fn a_reply_may_overtake_the_news_of_its_request() {
    let (mut requests, echo) = (Requests::default(), agent("echo"));
    requests.took(&echo, &request("_INBOX.c.1"), ONE, at(0));
    requests.replied(&"_INBOX.c.2".into(), false, at(0));
    requests.took(&echo, &request("_INBOX.c.2"), ONE, at(0));
    requests.replied(&"_INBOX.c.3".into(), false, at(0));
    requests.took(&echo, &request("_INBOX.c.3"), STREAM, at(0));
    requests.replied(&"_INBOX.c.4".into(), true, at(0));
    requests.took(&echo, &request("_INBOX.c.4"), STREAM, at(0));
    let open = requests.remove_all(&echo, |_| true);
    assert_eq!(open.len(), 2, "the second and the fourth were answered");
}

#[test]
fn what_a_life_left_unanswered_is_for_the_next_unless_it_answers_after_all() {
    let (mut requests, echo) = (Requests::default(), agent("echo"));
    requests.took(&echo, &request("_INBOX.c.1"), ONE, at(0));
    requests.took(&echo, &request("_INBOX.c.2"), ONE, at(1));
    requests.took(&echo, &request("_INBOX.c.3"), ONE, at(2));
    requests.end_life(&echo, at(2), at(2));
    requests.replied(&"_INBOX.c.1".into(), false, at(0));
    let orphans = requests.take_orphans(&echo);
    assert_eq!(orphans.iter().map(|orphan| &*orphan.reply).collect::<Vec<_>>(), [b"_INBOX.c.2"]);
    assert_eq!(requests.remove_all(&echo, |_| true).len(), 1, "the third is the next life's");
}

#[test]
fn what_an_agent_sent_answers_only_requests_whose_answer_could_be_missed() {
    let (mut requests, echo) = (Requests::default(), agent("echo"));
    requests.took(&echo, &request("_INBOX.c.1"), ONE, at(0));
    requests.took(&echo, &request("_INBOX.c.2"), ONE, at(0));
    requests.replied(&"_INBOX.c.2".into(), true, at(0));
    requests.took(&echo, &request("_INBOX.c.3"), ONE, at(1));
    requests.presume_answered(&echo, 5, at(2));
    assert_eq!(requests.owes_until(&echo, CAP), Some(at(101)), "the third was watched");
    requests.took(&agent("other"), &request("one.shot"), ONE, at(3));
    requests.presume_answered(&agent("other"), 1, at(2));
    assert!(requests.owes_until(&agent("other"), CAP).is_some(), "it came later");
    requests.presume_answered(&agent("other"), 1, at(3));
    assert!(requests.owes_until(&agent("other"), CAP).is_none());
}

#[test]
fn of_several_agents_that_were_asked_in_one_inbox_none_is_done_before_all_are() {
    let mut requests = Requests::default();
    let both = [agent("a"), agent("b")];
    for key in &both {
        requests.took(key, &request("_INBOX.all"), ONE, at(0));
    }
    assert_eq!(requests.replied(&"_INBOX.all".into(), false, at(0)), both);
    assert!(both.iter().all(|key| requests.owes_until(key, CAP).is_some()));
    requests.replied(&"_INBOX.all".into(), false, at(0));
    assert!(both.iter().all(|key| requests.owes_until(key, CAP).is_none()));
    assert!(requests.debtors.is_empty() && requests.bytes == 0);
}

#[test]
fn of_requests_beyond_what_may_be_kept_only_the_reply_subjects_are() {
    let (mut requests, echo) = (Requests::default(), agent("echo"));
    let large = |reply| Message { payload: vec![0; MAX_BYTES / 2].into(), ..request(reply) };
    for (reply, owed) in [("_INBOX.c.1", ONE), ("_INBOX.c.2", ONE), ("_INBOX.c.3", ONE)] {
        requests.took(&echo, &large(reply), owed, at(0));
    }
    requests.took(&echo, &request("_INBOX.c.4"), Owed { again: false, ..ONE }, at(0));
    requests.end_life(&echo, at(1), at(1));
    let orphans = requests.take_orphans(&echo);
    let kept = |reply: &str| {
        orphans.iter().find(|orphan| *orphan.reply == *reply.as_bytes()).unwrap().message.is_some()
    };
    assert!(kept("_INBOX.c.1") && !kept("_INBOX.c.3") && !kept("_INBOX.c.4"));
    assert_eq!(requests.bytes, 0);
}

#[test]
fn who_answers_more_than_can_be_remembered_is_not_waited_for_without_end() {
    let (mut requests, echo) = (Requests::default(), agent("echo"));
    requests.took(&echo, &request("_INBOX.c.1"), ONE, at(0));
    requests.replied(&"_INBOX.c.1".into(), true, at(0));
    for n in 0..=MAX_EARLY {
        requests.replied(&format!("_INBOX.c.early{n}").into(), true, at(1));
    }
    // Its answer was among those that were forgotten.
    requests.took(&echo, &request("_INBOX.c.early0"), ONE, at(1));
    requests.presume_answered(&echo, 1, at(2));
    assert_eq!(requests.owes_until(&echo, CAP), None);
    requests.replied(&"_INBOX.c.more".into(), true, at(10));
    assert_eq!(requests.early.len(), 1, "those before are over");
}

#[test]
fn the_inboxes_of_those_who_ask_only_agents_that_are_not_watched_are_let_go() {
    let (mut requests, echo) = (Requests::default(), agent("echo"));
    requests.took(&echo, &request("_INBOX.c.1"), ONE, at(0));
    assert!(requests.expire(at(1), |_| CAP, |_| false).is_empty(), "an answer is still owed");
    requests.replied(&"_INBOX.c.1".into(), true, at(1));
    assert!(requests.expire(at(1), |_| CAP, |_| true).is_empty());
    assert_eq!(requests.expire(at(1), |_| CAP, |_| false), ["_INBOX.c.*".into()]);
}

#[test]
fn what_is_watched_for_good_stays() {
    let (mut requests, echo) = (Requests::default(), agent("echo"));
    assert!(requests.watch_always(SYNADIA_INBOXES) && !requests.watch_always(SYNADIA_INBOXES));
    assert_eq!(requests.took(&echo, &request("_INBOX.agents.x"), ONE, at(0)), None);
    requests.replied(&"_INBOX.agents.x".into(), true, at(0));
    assert!(requests.expire(at(100_000), |_| CAP, |_| true).is_empty());
}

#[test]
fn a_requester_that_was_there_and_is_not_any_more_is_owed_nothing() {
    let (mut requests, echo) = (Requests::default(), agent("echo"));
    requests.took(&echo, &request("_INBOX.c.1"), ONE, at(0));
    assert!(requests.look_for_requesters(|_| true, at(1)).is_empty());
    assert!(requests.look_for_requesters(|_| false, at(2)).is_empty());
    assert_eq!(requests.look_for_requesters(|_| false, at(50)), std::slice::from_ref(&echo));
    assert_eq!(requests.owes_until(&echo, CAP), None);
}

#[test]
fn after_a_broken_connection_no_answer_counts_as_unmissable() {
    let (mut requests, echo) = (Requests::default(), agent("echo"));
    requests.took(&echo, &request("_INBOX.c.1"), ONE, at(0));
    requests.replied(&"_INBOX.c.1".into(), true, at(0));
    requests.took(&echo, &request("_INBOX.c.2"), ONE, at(1));
    requests.presume_answered(&echo, 1, at(2));
    assert!(requests.owes_until(&echo, CAP).is_some(), "its answer cannot be missed");
    requests.lose_sight();
    requests.presume_answered(&echo, 1, at(2));
    assert_eq!(requests.owes_until(&echo, CAP), None);
}

#[test]
fn inboxes_that_nobody_uses_are_let_go() {
    let (mut requests, echo) = (Requests::default(), agent("echo"));
    requests.took(&echo, &request("_INBOX.c.1"), ONE, at(0));
    assert!(requests.expire(at(400), |_| CAP * 100, |_| true).is_empty(), "an answer is still owed");
    requests.replied(&"_INBOX.c.1".into(), true, at(0));
    assert_eq!(requests.expire(at(400), |_| CAP, |_| true), ["_INBOX.c.*".into()]);
    assert!(requests.expire(at(800), |_| CAP, |_| true).is_empty());
}

#[test]
fn what_another_replica_sends_again_is_owed_by_the_next_life_and_kept_until_then() {
    let (mut requests, echo) = (Requests::default(), agent("echo"));
    requests.took(&echo, &request("_INBOX.c.1"), ONE, at(0));
    requests.took(&echo, &request("_INBOX.c.2"), ONE, at(0));
    requests.end_life(&echo, at(1), at(1));
    assert_eq!(requests.owes_until(&echo, CAP), None, "the next life has not got them");
    let with_orphans = requests.agents_with_orphans();
    assert_eq!(with_orphans, std::slice::from_ref(&echo), "whoever takes over has them");
    // They come by once more, marked: not to be sent a third time.
    requests.took(&echo, &request("_INBOX.c.1"), Owed { again: false, ..ONE }, at(5));
    assert_eq!(requests.owes_until(&echo, CAP), Some(at(105)));
    let patience = Duration::from_secs(10);
    assert_eq!(requests.take_left(at(130), patience), []);
    let [(who, orphan)] = &requests.take_left(at(131), patience)[..] else {
        panic!("it is not kept for ever")
    };
    assert_eq!((who, &*orphan.reply), (&echo, &b"_INBOX.c.2"[..]));
    assert!(requests.agents_with_orphans().is_empty());
    requests.end_life(&echo, at(130), at(130));
    assert_eq!(requests.take_orphans(&echo).len(), 1, "the one that came by");
}
