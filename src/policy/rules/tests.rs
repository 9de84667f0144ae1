//! Which layer decides a key, and what is said about annotations.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn layer(from: &str, keys: Keys) -> Layer {
    Layer { keys, allow_annotations: None, from: from.into() }
}

fn idle(secs: u64) -> Keys {
    Keys { idle_timeout: Some(Timeout::from_secs(secs)), ..Keys::default() }
}

fn rule(from: &str, name: &str, keys: Keys) -> Rule {
    let matches = Match { name: Some(Glob::read(name).unwrap()), ..Match::default() };
    Rule { matches, layer: layer(from, keys) }
}

fn resolve(rules: &RuleSet, name: &str, annotations: &[(&str, &str)]) -> Resolved {
    let annotations = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    rules.resolve(&AgentKey::new("default", name), &Profile { annotations, ..Profile::default() })
}

fn from<'a>(resolved: &'a Resolved, key: &str) -> (&'a str, &'a str) {
    let origin = resolved.provenance.iter().find(|origin| origin.key == key).unwrap();
    (&origin.value, &origin.from)
}

#[test]
fn without_rules_everything_is_built_in() {
    let rules = RuleSet::new(Policy::default(), Layer::default(), Vec::new());
    let resolved = resolve(&rules, "echo", &[]);
    assert_eq!(resolved.policy, Policy::default());
    assert_eq!(resolved.provenance.iter().map(|origin| origin.key).collect::<Vec<_>>(), Keys::NAMES);
    assert!(resolved.provenance.iter().all(|origin| origin.from == "built in"));
    assert_eq!(from(&resolved, "idle_timeout").0, "15m");
    assert_eq!(from(&resolved, "max_in_flight").0, "unlimited");
    assert_eq!(from(&resolved, "port").0, "none");
    assert_eq!(from(&resolved, "must_not_wake").0, "[]");
}

#[test]
fn the_first_matching_rule_that_names_a_key_wins_key_by_key() {
    let held = Keys { max_held: Some(Count::at_least_one(7)), ..Keys::default() };
    let rules = RuleSet::new(
        Policy::default(),
        layer("defaults", Keys { dry_run: Some(true), ..idle(4) }),
        vec![
            rule("rules[0]", "other", idle(1)),
            rule("rules[1]", "e*", held),
            rule("rules[2]", "*", idle(3)),
        ],
    );
    let resolved = resolve(&rules, "echo", &[]);
    assert_eq!(from(&resolved, "max_held"), ("7", "rules[1]"));
    assert_eq!(from(&resolved, "idle_timeout"), ("3s", "rules[2]"));
    assert_eq!(from(&resolved, "dry_run"), ("true", "defaults"));
    assert_eq!(from(&resolved, "hold_timeout"), ("55s", "built in"));
    assert_eq!(resolved.policy.idle_timeout, Duration::from_secs(3));
    assert_eq!((resolved.policy.max_held, resolved.policy.dry_run), (7, true));
}

#[test]
fn a_rule_matches_on_namespace_name_and_every_label() {
    let labels = BTreeMap::from([("team".to_owned(), "a".to_owned()), ("tier".to_owned(), "1".to_owned())]);
    let matches =
        Match { namespace: Some(Glob::read("prod-*").unwrap()), name: None, labels: labels.clone() };
    let fits = |namespace, labels: &BTreeMap<_, _>| {
        let profile = Profile { labels: labels.into(), ..Profile::default() };
        matches.fits(&AgentKey::new(namespace, "x"), &profile)
    };
    assert!(fits("prod-eu", &labels));
    assert!(!fits("test", &labels));
    assert!(!fits("prod-eu", &BTreeMap::from([("team".to_owned(), "a".to_owned())])));
    let mut more = labels.clone();
    more.insert("extra".into(), "x".into());
    assert!(fits("prod-eu", &more));
    more.insert("tier".into(), "2".into());
    assert!(!fits("prod-eu", &more));
    assert!(Match::default().fits(&AgentKey::new("any", "one"), &Profile::default()));
}

fn permissive() -> RuleSet {
    let mut defaults = layer("defaults", idle(4));
    defaults.allow_annotations = Some(true);
    RuleSet::new(Policy::default(), defaults, vec![rule("rules[0]", "e*", idle(3))])
}

#[test]
fn annotations_win_where_they_are_allowed() {
    let written =
        [("idle-timeout", "9s"), ("max-in-flight", "2"), ("must-not-wake", "/a,/b/*"), ("port", "99")];
    let resolved = resolve(&permissive(), "echo", &written);
    assert_eq!(from(&resolved, "idle_timeout"), ("9s", "annotation drowse.dev/idle-timeout"));
    assert_eq!(resolved.policy.in_flight_limit(), 2);
    assert_eq!(resolved.policy.must_not_wake, ["/a", "/b/*"]);
    assert_eq!(resolved.policy.port, Some(99));
    assert_eq!(resolved.problems, Vec::<String>::new());
}

#[test]
fn annotations_without_permission_are_reported_and_ignored() {
    let mut forbidding = rule("rules[0]", "e*", idle(3));
    forbidding.layer.allow_annotations = Some(false);
    let defaults = Layer { allow_annotations: Some(true), ..Layer::default() };
    for rules in [
        RuleSet::new(Policy::default(), Layer::default(), vec![rule("rules[0]", "e*", idle(3))]),
        RuleSet::new(Policy::default(), defaults, vec![forbidding]),
    ] {
        let resolved = resolve(&rules, "echo", &[("idle-timeout", "9s")]);
        assert_eq!(from(&resolved, "idle_timeout"), ("3s", "rules[0]"));
        assert_eq!(resolved.problems.len(), 1);
        assert!(resolved.problems[0].contains("write allow_annotations: true"), "{:?}", resolved.problems);
    }
}

#[test]
fn a_bad_annotation_is_reported_and_the_next_layer_asked() {
    let resolved =
        resolve(&permissive(), "echo", &[("idle-timeout", "9"), ("manage", "maybe"), ("idle-timout", "1s")]);
    assert_eq!(from(&resolved, "idle_timeout"), ("3s", "rules[0]"));
    assert_eq!(
        resolved.problems,
        [
            "annotation drowse.dev/idle-timout is not known; write drowse.dev/idle-timeout",
            "annotation drowse.dev/manage is ignored: \"maybe\" is neither true nor false; write true or false",
            "annotation drowse.dev/idle-timeout is ignored: \"9\" has no unit; write 9s, or 9m for minutes",
        ]
    );
}

#[test]
fn the_marks_that_drowse_writes_are_no_mistake() {
    let marks = MARKS.map(|mark| (mark, "x"));
    assert_eq!(resolve(&permissive(), "echo", &marks).problems, Vec::<String>::new());
}

#[test]
fn the_global_switch_reaches_every_policy() {
    let off = Policy { suspend: false, ..Policy::default() };
    assert!(!resolve(&RuleSet::new(off, Layer::default(), Vec::new()), "echo", &[]).policy.suspend);
}

#[test]
fn a_layer_made_of_a_policy_says_all_of_it() {
    let policy = Policy {
        route: true,
        port: Some(80),
        must_not_wake: vec!["/a".into()],
        max_in_flight: std::num::NonZeroU32::new(3),
        ..Policy::default()
    };
    let rules = RuleSet::new(Policy::default(), layer("defaults", Keys::of(&policy)), Vec::new());
    assert_eq!(resolve(&rules, "echo", &[]).policy, policy);
}

proptest! {
    /// The definition: for each agent, the smallest index among the matching rules that say something.
    #[test]
    fn the_winner_is_the_first_that_fits(rules in prop::collection::vec(("[ab*]{1,3}", prop::option::of(1..99_u64)), 0..8), name in "[ab]{1,3}") {
        let set: Vec<_> = rules
            .iter()
            .enumerate()
            .map(|(i, (glob, secs))| rule(&format!("rules[{i}]"), glob, secs.map(idle).unwrap_or_default()))
            .collect();
        let expected = rules.iter().position(|(glob, secs)| {
            secs.is_some() && Glob::read(glob).unwrap().matches(&name)
        });
        let resolved = resolve(&RuleSet::new(Policy::default(), Layer::default(), set), &name, &[]);
        let from = from(&resolved, "idle_timeout").1.to_owned();
        prop_assert_eq!(from, expected.map_or("built in".to_owned(), |i| format!("rules[{i}]")));
    }
}

#[test]
fn a_member_of_a_warm_pool_is_left_alone_whatever_the_rules_say() {
    let all = Keys { route: Some(true), manage: Some(true), ..Keys::default() };
    let rules = RuleSet::new(Policy::default(), layer("defaults", all), Vec::new());
    let profile = Profile { hands_off: Some(Box::new(HandsOff::PoolMember)), ..Profile::default() };
    let resolved = rules.resolve(&AgentKey::new("default", "echo"), &profile);
    assert!(!resolved.policy.route && !resolved.policy.manage);
    let (value, reason) = from(&resolved, "manage");
    assert_eq!((value, reason.contains("warm pool")), ("false", true));
}

#[test]
fn an_agent_that_nobody_could_call_is_left_alone_and_whoever_wrote_a_rule_for_it_is_told() {
    let all = Keys { route: Some(true), manage: Some(true), ..Keys::default() };
    let rules = RuleSet::new(Policy::default(), layer("defaults", all), Vec::new());
    for name in ["my.bot", "x".repeat(64).as_str()] {
        let resolved = resolve(&rules, name, &[]);
        assert!(!resolved.policy.route && !resolved.policy.manage);
        assert!(resolved.policy.obstacle.as_deref().unwrap().contains("no DNS label"));
        assert!(from(&resolved, "manage").1.contains("no DNS label"));
        assert_eq!(resolved.problems.len(), 1, "{:?}", resolved.problems);
    }
    let unnamed = RuleSet::new(Policy::default(), Layer::default(), Vec::new());
    let resolved = resolve(&unnamed, "my.bot", &[]);
    assert_eq!((resolved.policy.obstacle, resolved.problems.len()), (None, 0), "nobody asked for it");
    assert!(resolve(&rules, "my-bot", &[]).policy.manage);
}

#[test]
fn an_agent_whose_claim_expires_is_served_and_resumed_but_not_suspended() {
    let all = Keys { route: Some(true), manage: Some(true), ..Keys::default() };
    let rules = RuleSet::new(Policy::default(), layer("defaults", all), Vec::new());
    let trap = HandsOff::ClaimExpires { claim: "c".into(), ttl_seconds: 5 };
    let profile = Profile { hands_off: Some(Box::new(trap)), ..Profile::default() };
    let policy = rules.resolve(&AgentKey::new("default", "echo"), &profile).policy;
    assert!(policy.route && policy.manage);
    let obstacle = policy.obstacle.unwrap();
    assert!(obstacle.contains("ttlSecondsAfterFinished: 5") && obstacle.contains("600"), "{obstacle}");
}

#[test]
fn an_annotation_takes_no_subject_that_could_be_of_another_agent() {
    let subject = |text| Some(SubjectTemplate::read(text).unwrap());
    let own = Keys { subject: subject("bots.{name}"), ..Keys::default() };
    let mut rules = vec![rule("rules[0]", "*", own)];
    rules[0].layer.allow_annotations = Some(true);
    let rules = RuleSet::new(Policy::default(), Layer::default(), rules);
    for others in [
        "agents.team-b.bot.ask",
        "agents.{namespace}.>",
        "{name}.>",
        "{name}.{namespace}",
        "a.{namespace}.b{name}",
    ] {
        let resolved = resolve(&rules, "echo", &[("subject", others)]);
        assert_eq!(from(&resolved, "subject"), ("bots.{name}", "rules[0]"), "{others}: a rule may say so");
        assert!(resolved.problems[0].contains("; write one such as agents."), "{:?}", resolved.problems);
    }
    for own in ["agents.{namespace}.{name}.ask", "*.{namespace}.{name}"] {
        let resolved = resolve(&rules, "echo", &[("subject", own)]);
        assert_eq!(from(&resolved, "subject"), (own, "annotation drowse.dev/subject"));
    }
}

#[test]
fn windows_are_read_from_an_annotation_and_shown_as_a_list() {
    let office = "0 8 * * mon-fri for 10h Europe/Berlin";
    let both = format!("{office}; 0 2 1,15 * * for 1h UTC");
    let resolved = resolve(&permissive(), "echo", &[("keep-awake", &both)]);
    let shown = format!("[\"{office}\", \"0 2 1,15 * * for 1h UTC\"]");
    assert_eq!(from(&resolved, "keep_awake"), (&*shown, "annotation drowse.dev/keep-awake"));
    assert_eq!(resolved.policy.keep_awake.to_string(), shown);
    let resolved = resolve(&permissive(), "echo", &[("keep-awake", "0 8 * * * for 10h Berlin")]);
    assert_eq!(
        resolved.problems,
        [
            "annotation drowse.dev/keep-awake is ignored: \"Berlin\" is not the name of a time zone; write Europe/Berlin"
        ]
    );
    assert_eq!(from(&resolved, "keep_awake"), ("[]", "built in"));
}
