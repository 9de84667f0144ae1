//! Starts what a scenario needs: Drowse with all its agents, and a NATS server if there are messages.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::drowse::time::Clock;
use ::drowse::units::HumanDuration;
use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderValue, Method, Uri};
use tokio::process::Command;

use super::book::Book;
use super::caller::{Caller, PATIENCE, Subject, Way};
use super::file::{Agents, Kind, Part, Scenario, Start};
use super::pool::Pool;
use crate::client::Call;
use crate::drowse::{Drowse, Program, room_for};
use crate::nats::{Server, server};
use crate::open_files;

/// How long Drowse and its agents may take.
const START_LIMIT: Duration = Duration::from_mins(2);
/// Agents listen from here on, below the ports that systems give out by themselves.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Agents that are woken at once before the traffic begins.
const WOKEN_AT_ONCE: usize = 8;
/// What Drowse allows by itself: callers that wait, of one agent.
const DEFAULT_HELD: u32 = 1000;
/// Files of Drowse for each agent, generously: connections to it, and its guard.
const FILES_AN_AGENT: u64 = 8;

/// All that runs. Killed when dropped.
#[derive(Debug)]
pub(super) struct World {
    pub(super) drowse: Drowse,
    nats: Option<Server>,
    pub(super) clock: Clock,
}

impl World {
    /// Starts all of it, and wakes the agents if they are to be awake.
    pub(super) async fn start(
        program: &Program,
        scenario: &Scenario,
        nats_server: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let callers = scenario.connections();
        open_files::allow(2 * u64::from(callers) + FILES_AN_AGENT * u64::from(scenario.agents.count))?;
        let nats = if scenario.has_messages() {
            Some(Server::start(&server::find(nats_server).await?).await?)
        } else {
            None
        };
        let config = config(scenario, &ports(scenario.agents.count)?, nats.as_ref());
        let drowse = Drowse::by(Command::new(&program.0), &room_for(callers), &config, START_LIMIT).await?;
        if let Some(server) = &nats {
            let registered = server.until_registered(scenario.agents.count);
            tokio::time::timeout(START_LIMIT, registered)
                .await
                .context("not all agents are registered")??;
        }
        let world = Self { drowse, nats, clock: Clock::start() };
        if scenario.agents.start == Start::Awake {
            world.wake_all(scenario.agents.count).await.context("before the traffic")?;
        }
        Ok(world)
    }

    async fn wake_all(&self, agents: u32) -> anyhow::Result<()> {
        let wake = |number| async move {
            let call = self.call(number, Uri::from_static("/healthz"))?;
            let status = call.once().await?.status;
            ensure!(status.is_success(), "{} is not there: {status}", name(number));
            anyhow::Ok(())
        };
        let all = stream::iter(0..agents).map(wake).buffer_unordered(WOKEN_AT_ONCE).try_collect::<()>();
        tokio::time::timeout(START_LIMIT, all).await.context("not all agents start")?
    }

    fn call(&self, number: u32, path: Uri) -> anyhow::Result<Call> {
        let host = HeaderValue::try_from(format!("{}.default.agents.localhost", name(number)))?;
        Ok(Call::new(Method::GET, self.drowse.front, host, path))
    }

    /// Who makes the calls of one part.
    pub(super) async fn caller(&self, part: &Part, agents: u32) -> anyhow::Result<Arc<Caller>> {
        let takes = part.takes.get();
        let calls = |path: &str| {
            let path = Uri::try_from(path)?;
            (0..agents).map(|number| self.call(number, path.clone())).collect::<anyhow::Result<Vec<_>>>()
        };
        let pool = || Pool::new(self.drowse.front, self.clock, part.connections);
        let way = match part.kind {
            Kind::Request => Way::Request { pool: pool(), calls: calls(&request_path(takes))? },
            Kind::Stream => {
                let every = part.every.map_or(takes, HumanDuration::get);
                let events = events(takes, every);
                Way::Stream { pool: pool(), calls: calls(&stream_path(every, events))?, events }
            }
            Kind::Message => {
                let server = self.nats.as_ref().context("there is no NATS server")?;
                let subjects = (0..agents).map(|number| subject(number, takes)).collect();
                Way::Message { client: server.connect().await?, subjects }
            }
        };
        Ok(Arc::new(Caller {
            clock: self.clock,
            way,
            hang_up_after: part.hang_up.map_or(Duration::ZERO, |hang_up| hang_up.after.get()),
            patience: PATIENCE + takes,
            book: Book::new()?,
        }))
    }

    /// Ends all of it.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.drowse.end().await?;
        if let Some(server) = self.nats {
            server.end().await?;
        }
        Ok(())
    }
}

fn name(number: u32) -> String {
    format!("a{number:05}")
}

/// The agent's smallest answer, or one that ends after a time.
fn request_path(takes: Duration) -> String {
    if takes.is_zero() {
        return "/healthz".to_owned();
    }
    let millis = takes.as_millis();
    format!("/slow?for={millis}ms&every={millis}ms")
}

/// The first comes at once.
fn events(takes: Duration, every: Duration) -> u64 {
    1 + u64::try_from(takes.as_millis() / every.as_millis().max(1)).unwrap_or(u64::MAX)
}

fn stream_path(every: Duration, events: u64) -> String {
    format!("/sse?every={}ms&count={events}", every.as_millis())
}

fn subject(number: u32, takes: Duration) -> Subject {
    let name = name(number);
    let subject = format!("agents.default.{name}.work.{}ms", takes.as_millis());
    Subject { subject: subject.into(), agent: format!("default/{name}") }
}

/// Ports that nothing listens on right now.
fn ports(number: u32) -> anyhow::Result<Vec<u16>> {
    let free = PORTS.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    let ports: Vec<_> = free.take(number as usize).collect();
    ensure!(
        ports.len() == number as usize,
        "only {} ports from {} to {} are free",
        ports.len(),
        PORTS.start,
        PORTS.end
    );
    Ok(ports)
}

/// The configuration without addresses. All that is not written has the default of Drowse.
fn config(scenario: &Scenario, ports: &[u16], nats: Option<&Server>) -> String {
    let (url, section) = nats.map(|server| (server.url(), server.section())).unzip();
    text(&scenario.agents, scenario.connections(), ports, url.as_deref()) + &section.unwrap_or_default()
}

fn text(agents: &Agents, callers: u32, ports: &[u16], nats: Option<&str>) -> String {
    let Agents { start_delay, idle_timeout, max_in_flight, .. } = agents;
    let mut text = format!("defaults:\n  idle_timeout: {idle_timeout}\n  min_running: 0s\n");
    if nats.is_some() {
        text += "  messages: subject\n";
    }
    let mut line = |key: &str, value: u32| _ = writeln!(text, "  {key}: {value}");
    if let Some(number) = max_in_flight {
        line("max_in_flight", *number);
    }
    if callers > DEFAULT_HELD {
        line("max_held", callers);
        _ = writeln!(text, "limits: {{held: {}}}", callers.max(10_000));
    }
    text += "backend:\n  process:\n    state_dir: state\n    agents:\n";
    let delay = start_delay.get().as_millis();
    let nats = nats.map(|url| format!(", --nats, \"{url}\"")).unwrap_or_default();
    for (number, port) in (0..).zip(ports) {
        let name = name(number);
        _ = writeln!(
            text,
            "    - {{name: {name}, port: {port}, command: [drowse, demo-agent, --port, \"{{port}}\", --start-delay, {delay}ms{nats}]}}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents(max_in_flight: Option<u32>) -> Agents {
        Agents {
            count: 3,
            start: Start::Asleep,
            start_delay: Duration::from_millis(1500).into(),
            idle_timeout: Duration::from_millis(2500).into(),
            max_in_flight,
        }
    }

    #[test]
    fn drowse_understands_the_configuration() {
        let ports: Vec<_> = (20_000..22_000).collect();
        let nats = "nats: {servers: [\"nats://127.0.0.1:1\"]}\n";
        let texts = [
            text(&agents(None), 16, &ports, None),
            text(&agents(Some(7)), 25_000, &ports, None),
            text(&agents(None), 256, &ports, Some("nats://127.0.0.1:1")) + nats,
        ];
        for text in texts {
            let text = text + "front_door: {listen: \"127.0.0.1:0\"}\n";
            if let Err(error) = ::drowse::config::parse(&text, Path::new("drowse.yaml")) {
                panic!("{error}");
            }
        }
    }

    #[test]
    fn calls_ask_for_what_the_demo_agent_can_do() {
        let (short, long) = (Duration::from_millis(50), Duration::from_mins(1));
        assert_eq!([Duration::ZERO, short].map(request_path), ["/healthz", "/slow?for=50ms&every=50ms"]);
        let events = events(long, Duration::from_millis(500));
        assert_eq!(stream_path(Duration::from_millis(500), events), "/sse?every=500ms&count=121");
        let Subject { subject, agent } = subject(7, short);
        assert_eq!((subject.as_str(), agent.as_str()), ("agents.default.a00007.work.50ms", "default/a00007"));
    }

    #[test]
    fn agents_have_ports_of_their_own() {
        let ports = ports(20).unwrap();
        assert!(ports.len() == 20 && ports.is_sorted_by(|a, b| a < b), "{ports:?}");
    }
}
