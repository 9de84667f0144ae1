//! The composition root: the one place that knows all parts, starts them, and ends them in order.

use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Access, Api, ConfigBoard, Fleet};
use crate::backend;
use crate::backend::kubernetes::token_review::TokenReviews;
use crate::backend::kubernetes::{self, KubernetesBackend, OwnPod};
use crate::backend::process::{AgentSpec, ProcessBackend, Suspend};
use crate::config::watch::Watch;
use crate::config::{self, Auth, Backend, Config, FindBy, Program, TokenReview};
use crate::coordination::{self, Coordination};
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::nats;
use crate::nats::door::MessageDoorHandle;
use crate::open_files;
use crate::proxy::auth::{Authenticator, Remembering};
use crate::proxy::workers::Workers;
use crate::proxy::{CertificateFiles, FrontDoor, LeaseHolders, Settings, Style};
use crate::telemetry::LogControl;
use crate::time::Clock;

/// Which part of Drowse a process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Everything.
    All,
    /// Suspends idle agents, and takes no requests.
    Controller,
    /// Takes requests and resumes agents, and never leads.
    FrontDoor,
}

/// Serves until SIGTERM or SIGINT, and for `front_door.shutdown_delay` more; then lets what is in flight end, stops the agents,
/// and returns.
pub async fn run(config: Config, role: Role, access: Access, log: LogControl) -> anyhow::Result<()> {
    // Before anything else: the first process of a container never hears of a signal that it does not ask for.
    let mut signals = Signals::listen().context("failed to listen to signals")?;
    let serving = tokio::select! {
        started = start(config, role, access, log) => started?,
        () = signals.next() => {
            tracing::info!("told to end before anything was served");
            return Ok(());
        }
    };
    signals.next().await;
    tracing::info!("ending: what comes is served until nobody sends any more; a second signal ends at once");
    tokio::spawn(async move {
        signals.next().await;
        // The guards of the agents notice, and stop them.
        std::process::exit(1);
    });
    serving.end().await?;
    tracing::info!("ended");
    Ok(())
}

/// All of it, at work.
struct Serving {
    engine: Arc<Engine>,
    messages: Option<MessageDoorHandle>,
    watch: Watch,
    coordination: Option<Coordination>,
    /// Not of a controller.
    front_door: Option<JoinHandle<()>>,
    /// Of the front door. To the end: a connection to the API server may have been made by one.
    workers: Option<Arc<Workers>>,
    /// Ends the front door.
    closing: CancellationToken,
    /// Ends the servers of health and admin.
    servers: CancellationToken,
}

async fn start(config: Config, role: Role, access: Access, log: LogControl) -> anyhow::Result<Serving> {
    raise_open_files(config.front_door.max_connections);
    warn(&config);
    let app = App::new(&config).await?;
    let health = listen(config.health.listen, "health.listen").await?;
    let admin = listen(config.admin.listen, "admin.listen").await?;
    let (door, workers) = match role {
        Role::All | Role::FrontDoor => {
            let workers = Arc::new(workers().context("failed to start the threads of the front door")?);
            let door = app.front_door(&config.front_door)?.served_by(Arc::clone(&workers));
            (Some(door), Some(workers))
        }
        Role::Controller => (None, None),
    };
    let front_door = door.as_ref().map_or_else(|| "none".to_owned(), |door| door.address().to_string());
    tracing::info!(front_door, health = %config.health.listen, admin = %config.admin.listen, "listening");

    let servers = CancellationToken::new();
    let fleet: Arc<dyn Fleet> = Arc::new(Arc::clone(&app.engine));
    let board = Arc::new(ConfigBoard::new(&config, app.clock.wall(app.clock.now())));
    let health_server = admin::Health::new(Arc::clone(&fleet), Arc::clone(&app.metrics));
    let api = Api::new(fleet, Arc::clone(&board), log.clone(), access);
    tokio::spawn(admin::serve(health, Arc::new(health_server), servers.clone()));
    tokio::spawn(admin::serve(admin, Arc::new(api), servers.clone()));
    let messages = app.message_door(config.nats.as_ref()).await?;
    let coordination = app.coordination(&config, role, messages.as_ref());
    let engine = Arc::clone(&app.engine);
    let taking_part = coordination.as_ref().map(Coordination::taking_part);
    tokio::spawn(async move {
        if let Some(taking_part) = taking_part {
            taking_part.await;
        }
        engine.run().await;
    });
    let watch = app.watch(config, board, log);

    let closing = CancellationToken::new();
    let front_door = door.map(|door| tokio::spawn(door.run(closing.clone())));
    Ok(Serving { engine: app.engine, messages, watch, coordination, front_door, workers, closing, servers })
}

impl Serving {
    /// Others get the messages at once, since a server that gives them hears of it at once. Who sends callers may take a while.
    async fn end(self) -> anyhow::Result<()> {
        self.engine.begin_shutdown();
        self.messages.iter().for_each(MessageDoorHandle::leave);
        drop(self.watch);
        self.closing.cancel();
        if let Some(front_door) = self.front_door {
            front_door.await.context("the front door ended badly")?;
        }
        if let Some(messages) = self.messages {
            messages.end().await;
        }
        // Nothing is in flight any more, and nothing will be.
        if let Some(coordination) = self.coordination {
            coordination.leave().await;
        }
        self.engine.shutdown().await;
        drop(self.workers);
        self.servers.cancel();
        Ok(())
    }
}

/// What a change of the configuration reaches.
#[derive(Clone)]
struct App {
    engine: Arc<Engine>,
    runner: Runner,
    settings: Arc<ArcSwap<Settings>>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

/// What runs the agents.
#[derive(Clone)]
enum Runner {
    Process(Arc<ProcessBackend>),
    Kubernetes(Arc<KubernetesBackend>),
}

impl Runner {
    async fn new(backend: &Backend, clock: Clock) -> anyhow::Result<Self> {
        match backend {
            Backend::Process(process) => {
                let program = std::env::current_exe().context("failed to find the path of this program")?;
                let backend = ProcessBackend::new(process.state_dir.clone(), specs(process), program, clock);
                Ok(Self::Process(Arc::new(backend)))
            }
            Backend::Kubernetes(options) => {
                let client = kubernetes::connect(options).await?;
                let backend = KubernetesBackend::new(client, options.namespaces.clone(), clock);
                Ok(Self::Kubernetes(Arc::new(backend)))
            }
        }
    }

    fn backend(&self) -> Arc<dyn backend::Backend> {
        match self {
            Self::Process(backend) => Arc::clone(backend) as _,
            Self::Kubernetes(backend) => Arc::clone(backend) as _,
        }
    }
}

impl App {
    async fn new(config: &Config) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let metrics = Arc::new(Metrics::new());
        let runner = Runner::new(&config.backend, clock).await?;
        let engine =
            Engine::new(runner.backend(), config.rules.clone(), &config.limits, Arc::clone(&metrics), clock);
        let settings = Arc::new(ArcSwap::from_pointee(settings(config)));
        Ok(Self { engine, runner, settings, metrics, clock })
    }

    fn front_door(&self, config: &config::FrontDoor) -> anyhow::Result<FrontDoor> {
        let door =
            FrontDoor::bind(Arc::clone(&self.settings), Arc::clone(&self.engine), Arc::clone(&self.metrics))?;
        let door = match &config.tls {
            Some(tls) => {
                let files = CertificateFiles { cert: tls.cert_file.clone(), key: tls.key_file.clone() };
                door.secured(tls.listen, files)?
            }
            None => door,
        };
        let backend = match (&self.runner, config.auth) {
            (Runner::Kubernetes(backend), _) => backend,
            (Runner::Process(_), Auth::None) => return Ok(door.leases_for(LeaseHolders::OnThisMachine)),
            // The configuration was checked for this; an open front door must not come of a mistake there.
            (Runner::Process(_), Auth::TokenReview) => {
                anyhow::bail!("front_door.auth: token_review needs backend.kubernetes")
            }
        };
        let TokenReview { audiences, cache_for } = &config.token_review;
        let reviews = Arc::new(TokenReviews::new(backend.client(), audiences.clone()));
        let remembering = Remembering::new(reviews, *cache_for, self.clock, Arc::clone(&self.metrics));
        let authenticator: Arc<dyn Authenticator> = Arc::new(remembering);
        let door = door.leases_for(LeaseHolders::Pods(Arc::clone(&authenticator)));
        Ok(match config.auth {
            Auth::TokenReview => door.authenticated_by(authenticator),
            Auth::None => door,
        })
    }

    /// How this replica is one of several: with the process backend and outside of a cluster it is not.
    fn coordination(
        &self,
        config: &Config,
        role: Role,
        messages: Option<&MessageDoorHandle>,
    ) -> Option<Coordination> {
        let Runner::Kubernetes(backend) = &self.runner else { return None };
        let own = OwnPod::from_env()?;
        let options = coordination::Options {
            candidate: role != Role::FrontDoor,
            fence_after: config.limits.trust_stale_for,
        };
        let nats = messages.map(MessageDoorHandle::client);
        Some(Coordination::start(&own, backend.client(), nats, &self.engine, options))
    }

    async fn message_door(
        &self,
        settings: Option<&nats::settings::Settings>,
    ) -> anyhow::Result<Option<MessageDoorHandle>> {
        let Some(settings) = settings else { return Ok(None) };
        let (engine, metrics) = (Arc::clone(&self.engine), Arc::clone(&self.metrics));
        match nats::door::start(settings.clone(), engine, metrics).await {
            Ok(door) => Ok(Some(door)),
            Err(why) => anyhow::bail!("failed to open the message door (nats): {why}"),
        }
    }

    /// Applies every good change of the file from now on, until the result is dropped.
    fn watch(&self, config: Config, board: Arc<ConfigBoard>, log: LogControl) -> Watch {
        let app = self.clone();
        Watch::start(config, move |reload| {
            let now = app.clock.wall(app.clock.now());
            app.metrics.config_reloaded(reload.is_ok());
            match reload {
                Ok(applied) => {
                    app.apply(applied.config, &log);
                    board.applied(applied.config, applied.needs_restart, now);
                }
                Err(error) => board.refused(&error.to_string(), now),
            }
        })
    }

    fn apply(&self, config: &Config, log: &LogControl) {
        if let Err(error) = log.configure(&config.log.level) {
            tracing::error!(%error, "the log level was not changed");
        }
        if let (Runner::Process(backend), Backend::Process(process)) = (&self.runner, &config.backend) {
            backend.apply(specs(process));
        }
        warn(config);
        self.settings.store(Arc::new(settings(config)));
        self.engine.reconfigure(config.rules.clone(), &config.limits);
    }
}

/// As many as the common runtime has: one for each CPU, or what `TOKIO_WORKER_THREADS` says.
fn workers() -> std::io::Result<Workers> {
    Workers::start(Handle::current().metrics().num_workers())
}

/// Two for each caller: the caller's connection and mostly one to the agent.
fn raise_open_files(max_connections: usize) {
    let needed = max_connections.saturating_mul(2) as u64;
    match open_files::raise() {
        Ok(Some(limit)) if limit < needed => tracing::warn!(
            limit,
            needed,
            "fewer files may be open than front_door.max_connections takes: raise the hard limit, or lower the key"
        ),
        Ok(limit) => tracing::info!(limit, "the limit of open files"),
        Err(error) => tracing::warn!(%error, "failed to raise the limit of open files"),
    }
}

async fn listen(address: std::net::SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address} ({key})"))
}

/// SIGTERM and SIGINT: each is a request to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn warn(config: &Config) {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
}

fn specs(process: &config::ProcessBackend) -> Vec<AgentSpec> {
    let spec = |agent: &config::ProcessAgent| AgentSpec {
        key: agent.key.clone(),
        command: std::iter::once(match &agent.program {
            // The backend knows where this program was when it started.
            Program::ThisProgram => "drowse".to_owned(),
            Program::Named(name) => name.clone(),
        })
        .chain(agent.args.iter().cloned())
        .collect(),
        port: agent.port,
        env: agent.env.clone(),
        working_dir: agent.working_dir.clone(),
        stop_grace: process.stop_grace,
        suspend: match agent.suspend {
            config::Suspend::Stop => Suspend::Stop,
            config::Suspend::Freeze => Suspend::Freeze,
        },
        probe: agent.probe.as_deref().map(Arc::from),
        profile: Arc::new(agent.profile()),
    };
    process.agents.iter().map(spec).collect()
}

fn settings(config: &Config) -> Settings {
    let door = &config.front_door;
    let style = |find_by: &FindBy| match find_by {
        FindBy::Header => Style::Header,
        FindBy::Host => Style::Host,
        FindBy::Path => Style::Path,
        FindBy::Service => Style::Service,
    };
    Settings {
        listen: door.listen,
        domain: door.domain.clone(),
        find_by: door.find_by.iter().map(style).collect(),
        path_prefix: door.path_prefix.clone(),
        loopback_pod_ip: matches!(config.backend, Backend::Process(_)),
        cluster_domain: door.cluster_domain.clone(),
        head_timeout: door.head_timeout,
        rest_after: Settings::REST_AFTER,
        idle_connection_timeout: door.idle_connection_timeout,
        max_head_bytes: door.max_head_bytes,
        max_connections: door.max_connections,
        max_streams: door.max_streams,
        shutdown_delay: door.shutdown_delay,
        drain_timeout: door.drain_timeout,
        held_body_bytes: config.held_body_bytes as u64,
    }
}
