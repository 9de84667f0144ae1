//! The host of one front door: the engine, the front door and the way to agents as they are in Drowse, and its part among the
//! other replicas.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::agent::AgentKey;
use crate::backend::Backend;
use crate::engine::{Engine, Limits, Peers, Word};
use crate::lifecycle::DrainQuestion;
use crate::metrics::Metrics;
use crate::net::TcpStream;
use crate::policy::rules::{Layer, RuleSet};
use crate::proxy::{FrontDoor, Settings};
use crate::time::Clock;

use super::kubernetes::sandboxes::Sandboxes;
use super::oracle::now;
use super::plan::Sabotage;
use super::wire::{self, Message};
use super::world::{API, CALLS, FRONT_DOOR, QUESTIONS, World, at, door};

/// How long the others have for their answers (`coordination::questions`).
const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);
/// How often a replica asks to lead.
const ASK_TO_LEAD_EVERY: Duration = Duration::from_millis(400);

/// How often its readiness is probed.
const LOOK_IF_READY_EVERY: Duration = Duration::from_millis(50);

pub async fn run(world: Arc<World>, number: usize) -> turmoil::Result {
    world.oracle.door_starts(now(), number);
    let clock = Clock::start();
    let sandboxes = Arc::new(Sandboxes::new(Arc::clone(&world), number));
    let metrics = Arc::new(Metrics::new());
    let rules = RuleSet::new(world.plan.policy.clone(), Layer::default(), Vec::new());
    let limits = Limits {
        held: 1_000,
        held_body_bytes: 1 << 20,
        starts_in_flight: 10,
        starts_per_namespace: 10,
        starts_per_second: 1_000,
        trust_stale_for: Duration::from_mins(10),
    };
    let backend = Arc::clone(&sandboxes) as Arc<dyn Backend>;
    let engine = Engine::new(backend, rules, &limits, Arc::clone(&metrics), clock);
    if world.plan.doors > 1 {
        let asking = Asking { world: Arc::clone(&world), number, engine: Arc::clone(&engine) };
        engine.set_peers(Arc::new(asking));
        tokio::spawn(answer_questions(Arc::clone(&world), Arc::clone(&engine), sandboxes));
        engine.set_takes_part();
        tokio::spawn(try_to_lead(Arc::clone(&world), number, Arc::clone(&engine)));
    }
    tokio::spawn(Arc::clone(&engine).run());
    tokio::spawn(tell_when_ready(Arc::clone(&world), number, Arc::clone(&engine)));
    let settings = Settings { listen: crate::net::anywhere(FRONT_DOOR), ..Settings::default() };
    let front_door = FrontDoor::bind(Arc::new(ArcSwap::from_pointee(settings)), engine, metrics)?;
    front_door.run(CancellationToken::new()).await;
    Ok(())
}

/// Nobody sends callers to a front door before it is ready.
async fn tell_when_ready(world: Arc<World>, number: usize, engine: Arc<Engine>) {
    while !engine.is_ready() {
        tokio::time::sleep(LOOK_IF_READY_EVERY).await;
    }
    world.ready[number].store(true, Ordering::Relaxed);
}

/// Asks the other replicas over the network. Who takes part is fixed here: all do.
struct Asking {
    world: Arc<World>,
    number: usize,
    engine: Arc<Engine>,
}

impl Peers for Asking {
    fn ask(&self, key: &AgentKey, question: DrainQuestion) {
        let (world, engine, number) = (Arc::clone(&self.world), Arc::clone(&self.engine), self.number);
        let (key, revision) = (key.clone(), question.revision);
        tokio::spawn(async move {
            let word = if world.has(Sabotage::NoAck) {
                Word::Agreed
            } else {
                word_of_all(&world, number, &key, &question).await
            };
            engine.peers_said(&key, revision, word);
        });
    }
}

/// All must agree. Of several that object, the one counts where the agent was active last.
async fn word_of_all(world: &World, number: usize, key: &AgentKey, question: &DrainQuestion) -> Word {
    let others = (0..world.plan.doors).filter(|other| *other != number).map(|other| async move {
        let DrainQuestion { uid, revision, ordered } = question.clone();
        let question = Message::Ask { key: key.clone(), uid, revision, ordered };
        match wire::ask(&world.said, at(&door(other), QUESTIONS), question, ANSWER_WITHIN).await {
            Ok(Message::Said(word)) => word,
            _ => Word::Vetoed { active_ago: None },
        }
    });
    let words = futures_util::future::join_all(others).await;
    if words.iter().all(|word| *word == Word::Agreed) {
        return Word::Agreed;
    }
    let ago = words.iter().filter_map(|word| match word {
        Word::Vetoed { active_ago } => *active_ago,
        Word::Agreed => None,
    });
    Word::Vetoed { active_ago: ago.min() }
}

async fn answer_questions(world: Arc<World>, engine: Arc<Engine>, sandboxes: Arc<Sandboxes>) {
    let serve = |stream| answer(Arc::clone(&world), Arc::clone(&engine), Arc::clone(&sandboxes), stream);
    let _ended = wire::serve(QUESTIONS, serve).await;
}

async fn answer(world: Arc<World>, engine: Arc<Engine>, sandboxes: Arc<Sandboxes>, mut stream: TcpStream) {
    let Ok(Message::Ask { key, uid, revision, ordered }) = wire::hear(&world.said, &mut stream).await else {
        return;
    };
    if world.strikes(world.plan.lost_questions) {
        return;
    }
    let word = engine.asked_by_peer(&key, DrainQuestion { uid, revision, ordered });
    if world.strikes(world.plan.lost_questions) {
        return;
    }
    let _gone = wire::answer(&world.said, &mut stream, Message::Said(word)).await;
    if word == Word::Agreed && world.has(Sabotage::NoFence) {
        sandboxes.make_up_news(&key, revision).await;
    }
}

/// Leads for as long as the API says, from when it was asked.
async fn try_to_lead(world: Arc<World>, number: usize, engine: Arc<Engine>) {
    loop {
        let asked = engine.clock().now();
        let said = wire::ask(&world.said, at(API, CALLS), Message::Lead(number), ASK_TO_LEAD_EVERY).await;
        if let Ok(Message::LeadsFor(Some(span))) = said {
            engine.set_leads_until(asked + span);
        }
        tokio::time::sleep(ASK_TO_LEAD_EVERY).await;
    }
}
