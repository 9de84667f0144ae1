//! Whose messages are whose, and what subscriptions change about that.

use super::*;

fn key(name: &str) -> AgentKey {
    AgentKey::new("default", name)
}

fn inbox(subjects: &[&str]) -> Inbox {
    Inbox {
        subjects: subjects.iter().map(|subject| Pattern::new(subject).unwrap()).collect(),
        heartbeat: Some(Pattern::new(&format!("hb.{}", subjects[0])).unwrap()),
        queue: "q".into(),
        learns_queue: true,
    }
}

fn interest(subject: &str, queue: Option<&str>) -> Interest {
    Interest { subject: subject.to_owned().into(), queue: queue.map(|queue| queue.to_owned().into()) }
}

fn directory() -> Directory {
    let mut directory = Directory::default();
    directory.set(&key("a"), Some(inbox(&["agents.a.>"])));
    directory.set(&key("b"), Some(inbox(&["b.in", "b.other"])));
    directory.set(&key("c"), Some(inbox(&["prompt.*.c"])));
    directory
}

#[test]
fn every_message_has_at_most_one_owner() {
    let directory = directory();
    for (subject, owner) in [
        ("agents.a.x", Some("a")),
        ("agents.a.x.y", Some("a")),
        ("agents.a", None),
        ("agents.aa.x", None),
        ("b.in", Some("b")),
        ("b.in.x", None),
        ("prompt.any.c", Some("c")),
        ("prompt.c", None),
        ("else", None),
    ] {
        assert_eq!(directory.owner(subject), owner.map(key).as_ref(), "{subject}");
    }
}

#[test]
fn a_change_registers_what_is_new_and_keeps_what_stays() {
    let mut directory = directory();
    assert_eq!(directory.set(&key("b"), Some(inbox(&["b.in", "b.other"]))), Change::default());
    let change = directory.set(&key("b"), Some(inbox(&["b.in", "b.more"])));
    let name = |registrations: &[Registration]| {
        registrations.iter().map(|registration| registration.subject.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        (name(&change.add), name(&change.remove)),
        (vec!["b.more".to_owned()], vec!["b.other".to_owned()])
    );
    assert_eq!(name(&directory.set(&key("b"), None).remove), ["b.in", "b.more"]);
    assert_eq!((directory.owner("b.in"), directory.inbox(&key("b"))), (None, None));
}

#[test]
fn a_subject_that_another_agent_has_stays_with_that_one() {
    let mut directory = directory();
    for subject in ["agents.a.>", "b.in", "prompt.*.c"] {
        let change = directory.set(&key("d"), Some(inbox(&[subject, "d.in"])));
        assert_eq!(change.taken.len(), 1, "{subject}");
        assert_ne!(change.taken[0].1, key("d"));
        assert_eq!(directory.owner("d.in"), Some(&key("d")));
        directory.set(&key("d"), None);
    }
    assert_eq!(directory.owner("b.in"), Some(&key("b")), "and is not lost with the other");
}

#[test]
fn a_subject_that_is_given_back_goes_to_whoever_wants_it() {
    let mut directory = directory();
    let wanted = inbox(&["b.in", "d.in"]);
    directory.set(&key("d"), Some(wanted.clone()));
    assert_eq!(directory.set(&key("d"), Some(wanted.clone())), Change::default(), "nothing is new");
    assert_eq!(directory.set(&key("b"), None).freed, [key("d")]);
    let change = directory.set(&key("d"), Some(wanted.clone()));
    assert_eq!(change.add.iter().map(|added| &*added.subject).collect::<Vec<_>>(), ["b.in"]);
    assert_eq!(directory.owner("b.in"), Some(&key("d")));
    assert!(directory.set(&key("c"), None).freed.is_empty(), "nobody waits any more");
}

#[test]
fn a_heartbeat_is_its_agents_until_that_is_gone() {
    let mut directory = directory();
    assert_eq!(directory.beats("hb.b.in"), Some(&key("b")));
    directory.set(&key("d"), Some(inbox(&["b.in"])));
    directory.set(&key("d"), None);
    assert_eq!(directory.beats("hb.b.in"), Some(&key("b")), "it is not the other's");
    directory.set(&key("b"), None);
    assert_eq!(directory.beats("hb.b.in"), None);
}

#[test]
fn interest_counts_if_it_is_the_agents_own() {
    let mut directory = directory();
    for (subject, queue, subscribed, reaches) in [
        ("agents.a.>", Some("q"), true, true),
        ("agents.a.x", Some("q"), true, true),
        ("agents.a.y", Some("q"), true, false),
        // Somebody who listens to everybody, and a group of somebody else.
        ("agents.>", None, false, false),
        ("agents.a.>", Some("audit"), false, false),
        // Somebody who looks on, or an agent without its queue group: what comes here comes here all the same.
        ("agents.a.x", None, false, false),
        ("agents.>", Some("q"), true, true),
    ] {
        let interest = interest(subject, queue);
        assert_eq!(directory.note_interest(&interest, true), [key("a")], "{subject}");
        assert_eq!(directory.is_subscribed(&key("a")), subscribed, "{subject} {queue:?}");
        assert_eq!(directory.reaches(&key("a"), "agents.a.x"), reaches, "{subject} {queue:?}");
        assert_eq!(directory.note_interest(&interest, false), [key("a")]);
        assert!(!directory.is_subscribed(&key("a")), "{subject}");
    }
    assert!(directory.note_interest(&interest("else.>", Some("q")), true).is_empty());
    directory.note_interest(&interest("b.in", Some("q")), true);
    directory.forget_interest();
    assert!(!directory.is_subscribed(&key("b")));
}

#[test]
fn the_queue_group_that_an_agent_uses_is_learned_unless_a_rule_names_one() {
    let mut directory = directory();
    directory.note_interest(&interest("agents.a.>", Some("workers")), true);
    assert_eq!(directory.learned_queue(&key("a"), true).as_deref(), Some("workers"));
    assert_eq!(directory.takers("agents.a.>", "workers"), [], "it is not known to be its own yet");
    directory.set(&key("a"), Some(Inbox { queue: "workers".into(), ..inbox(&["agents.a.>"]) }));
    assert_eq!(directory.learned_queue(&key("a"), true), None);
    assert!(directory.is_subscribed(&key("a")), "what was seen before counts");
    assert_eq!(directory.takers("agents.a.>", "workers"), [key("a")]);
    let is_copy = |queue: &'static str| directory.is_copy(&key("a"), "agents.a.x", &[queue.into()]);
    assert!(is_copy("q") && !is_copy("workers"), "what comes by the old registration it has got");
    assert_eq!(directory.takers("agents.a.x", ""), [key("a")], "an agent without a queue group");
    assert_eq!(directory.takers("agents.>", ""), [], "somebody who listens to everybody");

    directory.set(&key("b"), Some(Inbox { learns_queue: false, ..inbox(&["b.in"]) }));
    directory.note_interest(&interest("b.in", Some("workers")), true);
    assert_eq!(directory.learned_queue(&key("b"), true), None);
}

#[test]
fn what_was_told_before_an_agent_is_known_counts_when_it_is() {
    let mut directory = Directory::default();
    for (subject, queue) in [("agents.a.x", "workers"), ("b.*", "q")] {
        assert!(directory.note_interest(&interest(subject, Some(queue)), true).is_empty());
    }
    directory.set(&key("a"), Some(inbox(&["agents.a.>"])));
    directory.set(&key("b"), Some(inbox(&["b.in"])));
    assert_eq!(directory.learned_queue(&key("a"), true).as_deref(), Some("workers"));
    assert!(directory.is_subscribed(&key("b")) && directory.reaches(&key("b"), "b.in"));
    // A rule that gives it another subject.
    directory.set(&key("b"), Some(inbox(&["else"])));
    assert!(!directory.is_subscribed(&key("b")));
    directory.note_interest(&interest("b.*", Some("q")), false);
    directory.set(&key("b"), Some(inbox(&["b.in"])));
    assert!(!directory.is_subscribed(&key("b")), "it is over");
}

#[test]
fn a_queue_group_of_others_does_not_take_the_agents_place() {
    let mut directory = directory();
    let (own, audit) = (interest("agents.a.>", Some("q")), interest("agents.a.>", Some("audit")));
    directory.note_interest(&audit, true);
    // While the agent sleeps, and when its own is missing for a moment.
    assert_eq!(directory.learned_queue(&key("a"), false), None);
    assert_eq!(directory.learned_queue(&key("a"), true), None);
    directory.note_interest(&audit, false);
    for other in [&own, &audit] {
        directory.note_interest(other, true);
        assert_eq!(directory.learned_queue(&key("a"), true), None);
    }
    // A server starts anew, and the other is the first to be back.
    directory.forget_interest();
    directory.note_interest(&audit, true);
    assert_eq!(directory.learned_queue(&key("a"), true), None);
    // It has gone: what comes now under its name is the agent.
    directory.note_interest(&audit, false);
    directory.note_interest(&audit, true);
    assert_eq!(directory.learned_queue(&key("a"), true).as_deref(), Some("audit"));
}
