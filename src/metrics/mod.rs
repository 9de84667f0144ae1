//! Every metric Drowse has, and the one place that writes them.
//!
//! Names are `drowse_<noun>_<verb>_<unit>`, counters end in `_total`. No label names an agent.

mod family;
mod labels;
mod messages;
mod pings;
pub mod reference;

use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

use crate::lifecycle::{FailureClass, PhaseName, Refusal};
use family::{By, Families};
pub use labels::{AuthOutcome, Bound, MessageFate, OpenKind, ReplicaWord, RequestOutcome};
use labels::{Done, HoldOutcome, Label, Start};
pub use messages::MessageMetrics;
pub use pings::PingMetrics;

/// From the answer of a warm agent on the same node to a long job.
const REQUEST_SECONDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0,
];
/// From a process that is thawed to `resume_deadline` as built in. Fine between 10 and 60 s, where image pulls
/// and the hold timeout lie.
const RESUME_SECONDS: [f64; 17] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0];
/// From the first dial that succeeds to a slow boot of the agent.
const PROBE_SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// How a suspension may end.
const SUSPEND_OUTCOMES: [&str; 7] =
    ["suspended", "not_quiet", "veto", "demand", "conflict", "refused", "no_answer"];

/// The metrics. All methods are wait-free, but for those that count refusals and suspensions, which look up a
/// label.
pub struct Metrics {
    registry: Registry,
    requests: By<RequestOutcome, By<Start, IntCounter>>,
    request_seconds: By<Start, Histogram>,
    request_refusals: IntCounterVec,
    authentications: By<AuthOutcome, IntCounter>,
    holds: By<HoldOutcome, IntCounter>,
    held_requests: IntGauge,
    held_body_bytes: IntGauge,
    hold_seconds: Histogram,
    resumes: By<Done, IntCounter>,
    resume_seconds: Histogram,
    resume_probe_seconds: Histogram,
    resume_failures: By<FailureClass, IntCounter>,
    suspends: IntCounterVec,
    pings: PingMetrics,
    agents: By<PhaseName, IntGauge>,
    bounds_hit: By<Bound, IntCounter>,
    messages: MessageMetrics,
    connections: IntGauge,
    connections_accepted: IntCounter,
    tunnels: IntGauge,
    event_streams: IntGauge,
    config_reloads: By<Done, IntCounter>,
    certificate_reloads: By<Done, IntCounter>,
    config_last_reload_successful: IntGauge,
    backend_synced: IntGauge,
    leads: IntGauge,
    agrees: IntGauge,
    replica_words: By<ReplicaWord, IntCounter>,
}

impl Metrics {
    /// Registers everything.
    #[expect(clippy::too_many_lines, reason = "a list")]
    pub fn new() -> Self {
        let registry = Registry::new();
        let to = Families { registry: &registry };
        let refusals: Vec<_> = HoldOutcome::REFUSALS.iter().map(|outcome| outcome.as_str()).collect();
        to.info(
            "drowse_build_info",
            "Always 1; the label says which Drowse this is.",
            "version",
            env!("CARGO_PKG_VERSION"),
        );
        let metrics = Self {
            requests: to.counter_by_two(
                "drowse_requests_total",
                "Requests routed to an agent, by how they ended and whether the agent had to be started.",
                ["outcome", "start"],
            ),
            request_seconds: to.histogram_by(
                "drowse_request_duration_seconds",
                "From a request's arrival to the last byte of its answer, any wait included.",
                "start",
                &REQUEST_SECONDS,
            ),
            request_refusals: to.counter_by_text(
                "drowse_request_refusals_total",
                "Requests that Drowse answered itself, by reason.",
                "reason",
                &refusals,
            ),
            authentications: to.counter_by(
                "drowse_authentications_total",
                "Callers whose token was asked for (front_door.auth, busy leases), by what was decided.",
                "outcome",
            ),
            holds: to.counter_by(
                "drowse_holds_total",
                "Callers that waited for an agent, by how their wait ended.",
                "outcome",
            ),
            messages: MessageMetrics::register(&to),
            held_requests: to.gauge("drowse_held_requests", "Callers that wait for an agent now."),
            held_body_bytes: to.gauge(
                "drowse_held_body_bytes",
                "Bytes of request bodies that were read ahead for held callers.",
            ),
            hold_seconds: to.histogram(
                "drowse_hold_duration_seconds",
                "How long callers waited for an agent.",
                &RESUME_SECONDS,
            ),
            resumes: to.counter_by(
                "drowse_resumes_total",
                "Starts of agents that ended, by outcome.",
                "outcome",
            ),
            resume_seconds: to.histogram(
                "drowse_resume_duration_seconds",
                "From the decision to start an agent to its first answer, or to the failure.",
                &RESUME_SECONDS,
            ),
            resume_probe_seconds: to.histogram(
                "drowse_resume_probe_duration_seconds",
                "The part of a start from the pod's address to the agent's first answer.",
                &PROBE_SECONDS,
            ),
            resume_failures: to.counter_by(
                "drowse_resume_failures_total",
                "Starts that failed, by class.",
                "class",
            ),
            suspends: to.counter_by_text(
                "drowse_suspends_total",
                "Suspensions that were written, and those that were begun and given up, by outcome.",
                "outcome",
                &SUSPEND_OUTCOMES,
            ),
            pings: PingMetrics::register(&to),
            agents: to.gauge_by("drowse_agents", "Agents known, by phase.", "phase"),
            bounds_hit: to.counter_by("drowse_bounds_hit_total", "How often a limit was hit.", "bound"),
            connections: to.gauge("drowse_connections", "Connections of callers that are open now."),
            connections_accepted: to
                .counter("drowse_connections_total", "Connections of callers that were accepted."),
            tunnels: to.gauge(
                "drowse_tunnels",
                "Connections of callers that were upgraded, to WebSocket for example, and are open now.",
            ),
            event_streams: to
                .gauge("drowse_event_streams", "Streams of server-sent events that are open now."),
            certificate_reloads: to.counter_by(
                "drowse_certificate_reloads_total",
                "New certificates of front_door.tls that were taken, or could not be used, by outcome.",
                "outcome",
            ),
            config_reloads: to.counter_by(
                "drowse_config_reloads_total",
                "Changes of the configuration file that were seen, by whether they were applied.",
                "outcome",
            ),
            leads: to.gauge(
                "drowse_leader",
                "1 on the replica that decides who is suspended. Always 1 where there can be no other.",
            ),
            agrees: to.gauge(
                "drowse_replicas_can_agree",
                "1 while this replica takes part in suspensions, and all others can be asked and answer; otherwise it suspends nobody. \
                 Always 1 where there can be no others.",
            ),
            replica_words: to.counter_by(
                "drowse_replica_reports_total",
                "What other replicas told of agents and leases, by what became of it (of a stranger's, messages).",
                "outcome",
            ),
            backend_synced: to.gauge(
                "drowse_backend_synced",
                "1 while all that happens to agents is seen. Otherwise nobody is suspended; agents that are up are served, and woken is \
                 who can be.",
            ),
            config_last_reload_successful: to.gauge(
                "drowse_config_last_reload_successful",
                "1 while the file in force is the file on disk, 0 while the file on disk is refused.",
            ),
            registry,
        };
        metrics.config_last_reload_successful.set(1);
        metrics.leads(true);
        metrics.replicas_can_agree(true);
        metrics.watch_process();
        metrics
    }

    /// The text exposition format, for `/metrics`.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "failed to render the metrics");
            String::new()
        })
    }

    /// A request ended. `cold`: the agent had to be resumed for it.
    pub fn request_finished(&self, outcome: RequestOutcome, cold: bool, took: Duration) {
        let start = if cold { Start::Cold } else { Start::Warm };
        self.requests.get(outcome).get(start).inc();
        self.request_seconds.get(start).observe(took.as_secs_f64());
    }

    /// The front door answered with one of its own refusals (`reason` is [`Refusal::as_str`] or a routing error).
    pub fn request_refused(&self, reason: &'static str) {
        self.request_refusals.with_label_values(&[reason]).inc();
    }

    /// It was decided whether a caller may call.
    pub fn caller_authenticated(&self, outcome: AuthOutcome) {
        self.authentications.get(outcome).inc();
    }

    /// A caller began to wait.
    pub fn hold_started(&self) {
        self.held_requests.inc();
    }

    /// A caller stopped waiting: served (`None`), or refused, or left (`Err(())`).
    pub fn hold_finished(&self, refusal: Result<Option<&Refusal>, ()>, took: Duration) {
        let outcome = match refusal {
            Ok(None) => HoldOutcome::Served,
            Ok(Some(refusal)) => HoldOutcome::refused(refusal),
            Err(()) => HoldOutcome::Abandoned,
        };
        self.held_requests.dec();
        self.holds.get(outcome).inc();
        self.hold_seconds.observe(took.as_secs_f64());
    }

    /// The metrics of the message door.
    pub const fn messages(&self) -> &MessageMetrics {
        &self.messages
    }

    /// A start ended: the agent answers, or it failed.
    pub fn resume_finished(&self, result: Result<(), FailureClass>, took: Duration) {
        self.resumes.get(Done::of(&result)).inc();
        self.resume_seconds.observe(took.as_secs_f64());
        if let Err(class) = result {
            self.resume_failures.get(class).inc();
        }
    }

    /// The part of a start from the pod's address to its first answer.
    pub fn probe_finished(&self, took: Duration) {
        self.resume_probe_seconds.observe(took.as_secs_f64());
    }

    /// A suspension was written (`Ok`) or given up (`Err` with why: `veto`, `demand`, `conflict`, `refused`, `no_answer`).
    pub fn suspend_finished(&self, result: Result<(), &'static str>) {
        self.suspends.with_label_values(&[result.err().unwrap_or("suspended")]).inc();
    }

    /// The metrics of agents that are asked whether they are at work.
    pub const fn pings(&self) -> &PingMetrics {
        &self.pings
    }

    /// An agent went from one phase to another (`None`: it is new, or gone).
    pub fn phase_changed(&self, from: Option<PhaseName>, to: Option<PhaseName>) {
        if let Some(phase) = from {
            self.agents.get(phase).dec();
        }
        if let Some(phase) = to {
            self.agents.get(phase).inc();
        }
    }

    /// Another replica has told something.
    pub fn replica_word(&self, word: ReplicaWord) {
        self.replica_words.get(word).inc();
    }

    /// A bound was hit.
    pub fn bound_hit(&self, bound: Bound) {
        self.bounds_hit.get(bound).inc();
    }

    /// Bytes of held bodies changed.
    pub fn held_bytes(&self, now: u64) {
        self.held_body_bytes.set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// A configuration file was applied or refused.
    pub fn config_reloaded(&self, applied: bool) {
        self.config_reloads.get(if applied { Done::Ok } else { Done::Failed }).inc();
        self.config_last_reload_successful.set(i64::from(applied));
    }

    /// Whether all that happens to agents is seen.
    pub fn backend_synced(&self, synced: bool) {
        self.backend_synced.set(synced.into());
    }

    /// Whether this replica decides who is suspended.
    pub fn leads(&self, leads: bool) {
        self.leads.set(leads.into());
    }

    /// Whether it takes part, and the others can be asked and answer.
    pub fn replicas_can_agree(&self, can: bool) {
        self.agrees.set(can.into());
    }

    /// The files of a certificate have changed.
    pub fn certificate_reloaded(&self, taken: bool) {
        self.certificate_reloads.get(if taken { Done::Ok } else { Done::Failed }).inc();
    }

    /// A connection of a caller was accepted.
    pub fn connection_opened(&self) {
        self.connections.inc();
        self.connections_accepted.inc();
    }

    /// A connection of a caller ended.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// A connection stays open without a request: it was upgraded, or carries a stream of events.
    pub fn kept_open(&self, kind: OpenKind) {
        self.open_connections(kind).inc();
    }

    /// Such a connection ended.
    pub fn kept_open_no_more(&self, kind: OpenKind) {
        self.open_connections(kind).dec();
    }

    const fn open_connections(&self, kind: OpenKind) -> &IntGauge {
        match kind {
            OpenKind::Tunnel => &self.tunnels,
            OpenKind::EventStream => &self.event_streams,
        }
    }

    /// CPU, memory and file descriptors of this process, as `drowse_process_…`.
    fn watch_process(&self) {
        let Ok(pid) = i32::try_from(std::process::id()) else { return };
        if let Err(error) = self.registry.register(Box::new(ProcessCollector::new(pid, "drowse"))) {
            tracing::warn!(%error, "failed to register the metrics of the process");
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
