//! What other replicas say is in the view of this one: how an agent is used there, and the leases that they gave. The others are
//! played.

use std::sync::Arc;
use std::time::Duration;

use drowse::agent::{AgentKey, Revision};
use drowse::engine::{
    Engine, LeaseAction, LeaseFault, LeaseOrder, LeaseReport, News, Other, Peers, Report, Seen,
};
use drowse::lifecycle::{DrainQuestion, PhaseName};
use drowse::policy::Policy;
use drowse::time::Moment;
use parking_lot::Mutex;

use super::world::{Start, Toy, World, key, until};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
const IDLE: Duration = Duration::from_millis(300);

/// How often this replica has asked.
#[derive(Default)]
struct Asked(Mutex<Vec<Revision>>);

impl Peers for Asked {
    fn ask(&self, _: &AgentKey, question: DrainQuestion) {
        self.0.lock().push(question.revision);
    }
}

/// Another replica, which says what the test wants.
struct Played {
    engine: Arc<Engine>,
    id: &'static str,
    number: Mutex<u64>,
}

impl Played {
    fn says(&self, news: News) -> bool {
        let mut number = self.number.lock();
        let news = News { run: "run".to_owned(), number: *number, ..news };
        *number += 1;
        self.engine.heard_from(self.id, &news)
    }

    fn uses(&self, report: Report) {
        let report = Report { agent: key().to_string(), ..report };
        assert!(!self.says(News { agents: vec![report], ..News::default() }), "nothing was missed");
    }

    fn leases(&self, lease: LeaseReport) {
        assert!(!self.says(News { leases: vec![lease], ..News::default() }), "nothing was missed");
    }
}

/// A replica whose agent is up and idle, with two others, of which one is played.
async fn world(leads: bool, idle_timeout: Duration) -> (World, Arc<Asked>, Played) {
    let policy =
        Policy { route: true, manage: true, idle_timeout, min_running: Duration::ZERO, ..Policy::default() };
    let port = Toy::answering(OK).await;
    let world = World::start(port, Start { policy, asleep: true, ..Start::default() }).await;
    let asked = Arc::new(Asked::default());
    world.engine.set_peers(Arc::clone(&asked) as _);
    world.engine.set_takes_part();
    world.engine.tell_leases_as("me".into());
    take_part(&world.engine, &["b", "c"]);
    if leads {
        world.engine.set_leads_until(Moment::from_micros(u64::MAX));
    }
    let answer =
        world.ask("GET / HTTP/1.1\nHost: echo.default.agents.localhost\nConnection: close\n\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
    let played = Played { engine: Arc::clone(&world.engine), id: "b", number: Mutex::default() };
    (world, asked, played)
}

fn take_part(engine: &Arc<Engine>, others: &[&str]) {
    let other = |id: &&str| Other { id: Arc::from(*id), pod: format!("drowse-{id}").into() };
    engine.note_replicas(Seen { others: others.iter().map(other).collect(), ..Seen::default() });
}

#[tokio::test]
async fn a_call_by_way_of_another_replica_keeps_the_leader_from_asking_until_it_ends() {
    let (world, asked, played) = world(true, IDLE).await;
    let told = world.engine.clock().now();
    played.uses(Report { in_flight: 2, held: 1, connections: 3, ..Report::default() });
    let view = world.view();
    assert_eq!((view.in_flight, view.held, view.idle_deadline), (2, 1, None));
    assert_eq!(view.reason, "2 requests in flight, 1 waiting at drowse-b");
    let detail = world.engine.detail(&key()).unwrap();
    assert_eq!((detail.open_connections, detail.elsewhere.len()), (3, 1));
    assert_eq!((detail.elsewhere[0].replica.as_str(), detail.elsewhere[0].in_flight), ("drowse-b", 2));
    let overview = world.engine.overview(&drowse::engine::overview::Query::default());
    assert_eq!((overview.in_flight, overview.held, overview.agents[0].agent.in_flight), (2, 1, 2));
    // The idle timeout is over since its own last request, and twice.
    until(|| world.engine.clock().now() >= told + IDLE * 3).await;
    assert!(asked.0.lock().is_empty(), "it is in use, as far as is known");

    played.uses(Report { active_ago: Some(0), source: "requests".to_owned(), ..Report::default() });
    let ended = world.engine.clock().now();
    assert!(world.view().reason.starts_with("used by way of another replica"), "{}", world.view().reason);
    until(|| !asked.0.lock().is_empty()).await;
    assert!(world.engine.clock().now() >= ended + IDLE / 2, "the idle timeout runs from there");
}

#[tokio::test]
async fn the_last_activity_is_that_of_all_also_from_before_this_replica_started() {
    let (world, _asked, played) = world(false, Duration::from_hours(1)).await;
    let own = world.view().last_activity.unwrap();
    played.uses(Report { active_ago: Some(0), source: "messages".to_owned(), ..Report::default() });
    let theirs = world.view().last_activity.unwrap();
    assert!(theirs > own);
    let detail = world.engine.detail(&key()).unwrap();
    assert_eq!(detail.elsewhere[0].source.as_deref(), Some("messages"));

    let hours = 3_600_000 * 2;
    played.uses(Report {
        active_ago: Some(hours),
        source: "a word of later".to_owned(),
        ..Report::default()
    });
    let share = world.engine.detail(&key()).unwrap().elsewhere[0].clone();
    assert!(own.duration_since(share.last_activity.unwrap()).as_hours() >= 1, "{share:?}");
    assert_eq!(share.source.as_deref(), Some("activity"));
}

#[tokio::test]
async fn what_was_in_flight_at_a_replica_that_is_gone_is_over_and_the_idle_timeout_runs_from_there() {
    let (world, asked, played) = world(true, IDLE).await;
    played.uses(Report { in_flight: 1, ..Report::default() });
    assert_eq!(world.view().in_flight, 1);
    let in_use = || {
        let signals = world.engine.detail(&key()).unwrap().signals;
        signals.iter().any(|signal| signal.says == "in use by way of another replica")
    };
    assert!(in_use());
    take_part(&world.engine, &["c"]);
    assert_eq!((world.view().in_flight, in_use()), (0, false), "and is not waited for");
    until(|| !asked.0.lock().is_empty()).await;
}

#[tokio::test]
async fn strangers_and_unknown_agents_are_ignored_and_counted() {
    let (world, _asked, played) = world(false, IDLE).await;
    let stranger = Played { engine: Arc::clone(&world.engine), id: "x", number: Mutex::default() };
    stranger.uses(Report { in_flight: 1, ..Report::default() });
    let of = |agent: &str| Report { agent: agent.to_owned(), in_flight: 1, ..Report::default() };
    played.says(News {
        agents: vec![of("default/other"), of("no name"), of("default/echo")],
        ..News::default()
    });
    assert_eq!(world.view().in_flight, 1);
    let metrics = world.metrics.render();
    for outcome in ["stranger", "unknown_agent", "malformed", "heard"] {
        let line = format!("drowse_replica_reports_total{{outcome=\"{outcome}\"}} 1");
        assert!(metrics.contains(&line), "{outcome}");
    }
}

fn order(action: LeaseAction, id: &str) -> LeaseOrder {
    let json = r#"{"ttl": "1h", "reason": "mine"}"#;
    LeaseOrder { action, id: Some(id.to_owned()), ..LeaseOrder::read(json.as_bytes()).unwrap() }
}

fn lease(id: &str, number: u64) -> LeaseReport {
    LeaseReport {
        agent: key().to_string(),
        id: id.to_owned(),
        reason: "theirs".to_owned(),
        age: 60_000,
        left: 60_000,
        ended: false,
        number,
        by: "b".to_owned(),
    }
}

#[tokio::test]
async fn a_lease_of_another_replica_is_listed_renewed_and_ended_here_and_the_others_are_told() {
    let (world, asked, played) = world(true, IDLE).await;
    let (engine, now) = (&world.engine, world.engine.clock().now());
    played.leases(lease("job", 5));
    let listed = engine.lease(&key(), &order(LeaseAction::List, "job")).unwrap().leases;
    assert_eq!((listed[0].id.as_str(), listed[0].reason.as_str()), ("job", "theirs"));
    assert_eq!(engine.lease_reports(false, 10), [], "there is no need to tell what was told");
    until(|| engine.clock().now() >= now + IDLE * 3).await;
    assert!(asked.0.lock().is_empty(), "it keeps the agent up, and nobody is asked");

    let renewed = engine.lease(&key(), &order(LeaseAction::Renew, "job")).unwrap().leases;
    assert!(renewed[0].until > listed[0].until && renewed[0].since == listed[0].since);
    let told = engine.lease_reports(false, 10);
    assert_eq!((told.len(), told[0].by.as_str(), told[0].number > 5), (1, "me", true), "{told:?}");
    // What the other said before it heard of that is no news.
    played.leases(LeaseReport { ended: true, ..lease("job", 6) });
    assert_eq!(engine.lease(&key(), &order(LeaseAction::List, "job")).unwrap().leases, renewed);

    engine.lease(&key(), &order(LeaseAction::End, "job")).unwrap();
    let ended = &engine.lease_reports(false, 10)[0];
    assert!(ended.ended && ended.number > told[0].number, "{ended:?}");
    let again = engine.lease(&key(), &order(LeaseAction::Renew, "job"));
    assert!(matches!(again, Err(LeaseFault::Refused(_))), "{again:?}");
    until(|| !asked.0.lock().is_empty()).await;
}

#[tokio::test]
async fn a_lease_that_is_taken_while_the_others_are_asked_keeps_its_agent_up_whoever_gives_it() {
    let (world, asked, played) = world(true, IDLE).await;
    until(|| asked.0.lock().len() == 1).await;
    assert_eq!(world.view().phase, PhaseName::Draining);
    let taken = world.engine.lease(&key(), &order(LeaseAction::Take, "job")).unwrap();
    assert_eq!(taken.phase, PhaseName::Running);
    world.engine.lease(&key(), &order(LeaseAction::End, "job")).unwrap();

    until(|| asked.0.lock().len() == 2).await;
    assert_eq!(world.view().phase, PhaseName::Draining);
    played.leases(lease("theirs", 5));
    assert_eq!(world.view().phase, PhaseName::Running);
}

#[tokio::test]
async fn a_lease_that_another_replica_ends_keeps_nothing_up_here() {
    let (world, asked, played) = world(true, IDLE).await;
    world.engine.lease(&key(), &order(LeaseAction::Take, "job")).unwrap();
    let own = world.engine.lease_reports(false, 10).remove(0);
    assert_eq!((own.ended, own.reason.as_str()), (false, "mine"));
    played.leases(LeaseReport { ended: true, number: own.number + 1, by: "b".to_owned(), ..own });
    assert_eq!(world.engine.lease(&key(), &order(LeaseAction::List, "job")).unwrap().leases, []);
    until(|| !asked.0.lock().is_empty()).await;
    assert_eq!(world.view().phase, PhaseName::Draining);
}

#[tokio::test]
async fn whoever_knows_nothing_is_told_of_every_lease_also_of_those_of_others() {
    let (world, _asked, played) = world(false, IDLE).await;
    world.engine.lease(&key(), &order(LeaseAction::Take, "mine")).unwrap();
    played.leases(lease("theirs", 5));
    let told = |whole, limit| {
        let told = world.engine.lease_reports(whole, limit);
        told.into_iter().map(|lease| lease.id).collect::<Vec<_>>()
    };
    assert_eq!(told(true, 1), ["mine"], "no more at once than may be");
    assert_eq!(told(false, 10), ["theirs"], "and the others after them");
    assert_eq!(told(false, 10), [""; 0]);
    let given = |order: &str| {
        let order = LeaseOrder::read(order.as_bytes()).unwrap();
        world.engine.lease(&key(), &order).unwrap().leases[0].id.clone()
    };
    assert_ne!(given("{}"), given("{}"), "no two replicas give the same id");
    played.leases(LeaseReport { id: String::new(), ..lease("x", 1) });
    played.leases(LeaseReport { agent: "default/other".to_owned(), ..lease("x", 1) });
    let metrics = world.metrics.render();
    for outcome in ["malformed", "unknown_agent", "heard"] {
        let line = format!("drowse_replica_reports_total{{outcome=\"{outcome}\"}} 1");
        assert!(metrics.contains(&line), "{outcome}");
    }
}

#[tokio::test]
async fn leases_of_which_nobody_can_hear_do_not_pile_up_and_are_told_to_whoever_hears_next() {
    let (world, _asked, _played) = world(false, IDLE).await;
    for n in 0..200 {
        let id = n.to_string();
        world.engine.lease(&key(), &order(LeaseAction::Take, &id)).unwrap();
        if n > 0 {
            world.engine.lease(&key(), &order(LeaseAction::End, &id)).unwrap();
        }
    }
    world.engine.tells_nobody();
    assert_eq!(world.engine.lease_reports(false, 1000), []);
    let told = world.engine.lease_reports(true, 1000);
    assert!(told.iter().any(|lease| lease.id == "0" && !lease.ended), "{told:?}");
}
