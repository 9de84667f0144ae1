//! The sections `defaults` and `rules` as they are written.
//!
//! The rule keys stand beside the other keys of a rule. serde's `flatten` would lose the places of mistakes, so a
//! macro writes them into both structs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::glob::Glob;
use crate::policy::messages::{Preset, QueueName, Ready, Redeliver, SubjectTemplate};
use crate::policy::rules::Keys;
use crate::policy::{OpenConnections, Protocol};
use crate::units::{Count, HumanDuration, InFlight, PathPatterns, Ping, Port, Timeout, Windows};

macro_rules! with_rule_keys {
    ($(#[$meta:meta])* struct $name:ident { $($(#[$own_meta:meta])* $own:ident: $own_type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$own_meta])* pub(crate) $own: $own_type,)*
            /// Agents may override rule keys by annotations `drowse.dev/<key-with-dashes>`. If nothing says so: false.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) allow_annotations: Option<bool>,
            /// The front door routes to the agent. If nothing says so: true with `backend.process`, false with
            /// `backend.kubernetes`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) route: Option<bool>,
            /// Drowse suspends the agent when it is idle and resumes it on demand. Otherwise it only watches. If nothing says
            /// so: true with `backend.process`, false with `backend.kubernetes`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) manage: Option<bool>,
            /// How long nothing must happen before the agent is suspended.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) idle_timeout: Option<Timeout>,
            /// How long the agent stays up after a resume, whatever happens.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) min_running: Option<HumanDuration>,
            /// How long one caller waits for the agent before it gets 504.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) hold_timeout: Option<Timeout>,
            /// How long a resume may take before it counts as failed.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) resume_deadline: Option<Timeout>,
            /// Callers that wait for the agent at most; the next one gets 429.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) max_held: Option<Count>,
            /// Requests that the agent gets at once at most; more wait. A number, or `unlimited`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) max_in_flight: Option<InFlight>,
            /// The agent's port when a request names none; if left out, the one that the agent declares, else 8080, or 8888 for
            /// a request that names the agent by `X-Sandbox-ID`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) port: Option<Port>,
            /// The version of HTTP that the agent gets its requests in: `http1`, which is HTTP/1.1, and HTTP/2 for gRPC; or `h2c`,
            /// which is HTTP/2 without TLS for all but upgrades.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) protocol: Option<Protocol>,
            /// Paths whose requests neither wake the agent nor keep it up. A `*` at the end stands for any rest.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) must_not_wake: Option<PathPatterns>,
            /// What an open WebSocket, or another connection that was upgraded, or a stream of server-sent events means for
            /// the agent: `traffic`, it keeps it up while data moves (WebSocket pings and comments in a stream are no data);
            /// `keep`, for as long as it is open, and without data for `busy_cap` at most; `ignore`, not at all.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) open_connections: Option<OpenConnections>,
            /// Traffic also resumes the agent when a person suspended it.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) resume_user_suspended: Option<bool>,
            /// Say what would be suspended, and suspend nothing.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) dry_run: Option<bool>,
            /// When an agent that was started counts as up: `port`, when it answers there; or `messages`, when it subscribes
            /// to its subjects, for one that listens on no port. That needs the section `nats`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) ready: Option<Ready>,
            /// How long one busy signal keeps the agent up at most: a busy lease, a message that it has not answered yet, its own
            /// word (`ping`), a connection without data (`open_connections: keep`), or a request in flight on which no byte moves,
            /// which is then given up: its caller gets 504, or, if the answer has begun, the rest of it never comes.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) busy_cap: Option<Timeout>,
            /// Windows in which the agent is not suspended for being idle; they do not wake it. Each is five fields of cron
            /// (minute, hour, day of the month, month, day of the week), for how long, and the time zone whose clock counts.
            /// At most 16, each for at most 31d. An annotation separates them by semicolons.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) keep_awake: Option<Windows>,
            /// Where an idle agent is asked by `GET` whether it is at work, before it is suspended: a path, with a port before
            /// it if it is not the agent's own (`:9000/ping`), or `off`. It answers `{"status": "Healthy"}`, and may be
            /// suspended; or `{"status": "HealthyBusy"}`, and is asked again after another `idle_timeout`. One whose answer
            /// cannot be used stays up, too. Both end at `busy_cap`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) ping: Option<Ping>,
            /// Which messages of NATS wake the agent, by the convention that it follows: `off`, `subject`, `micro` (a service
            /// of the micro framework) or `synadia` (the Synadia Agent Protocol). Needs the section `nats`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) messages: Option<Preset>,
            /// The subject of the agent's messages. `{namespace}` and `{name}` stand for the agent's. If left out:
            /// `agents.{namespace}.{name}.>`; with `messages: synadia`, what follows `agents.prompt.`: `*.{namespace}.{name}`.
            /// An annotation must have `{namespace}.{name}` in it.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) subject: Option<SubjectTemplate>,
            /// The queue group in which the agent subscribes. If left out: `agents` with `messages: synadia`, else `q`, or
            /// what the agent is seen to use.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) queue: Option<QueueName>,
            /// What becomes of a request that the agent got just before it fell asleep and did not answer: `requests`,
            /// it is sent again after the next start, marked `Drowse-Redelivered`; `never`, its sender gets an error.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) redeliver: Option<Redeliver>,
            /// Messages that wait for the agent at most; who sends the next one and waits for a reply gets an error.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) max_messages: Option<Count>,
        }

        impl From<$name> for Keys {
            fn from(raw: $name) -> Self {
                Self {
                    route: raw.route,
                    manage: raw.manage,
                    idle_timeout: raw.idle_timeout,
                    min_running: raw.min_running,
                    hold_timeout: raw.hold_timeout,
                    resume_deadline: raw.resume_deadline,
                    max_held: raw.max_held,
                    max_in_flight: raw.max_in_flight,
                    port: raw.port,
                    protocol: raw.protocol,
                    must_not_wake: raw.must_not_wake,
                    open_connections: raw.open_connections,
                    resume_user_suspended: raw.resume_user_suspended,
                    dry_run: raw.dry_run,
                    ready: raw.ready,
                    busy_cap: raw.busy_cap,
                    keep_awake: raw.keep_awake,
                    ping: raw.ping,
                    messages: raw.messages,
                    subject: raw.subject,
                    queue: raw.queue,
                    redeliver: raw.redeliver,
                    max_messages: raw.max_messages,
                }
            }
        }
    };
}

/// A layer as it would be written, for the schema to show what is built in.
impl From<Keys> for Defaults {
    fn from(keys: Keys) -> Self {
        Self {
            allow_annotations: Some(false),
            route: keys.route,
            manage: keys.manage,
            idle_timeout: keys.idle_timeout,
            min_running: keys.min_running,
            hold_timeout: keys.hold_timeout,
            resume_deadline: keys.resume_deadline,
            max_held: keys.max_held,
            max_in_flight: keys.max_in_flight,
            port: keys.port,
            protocol: keys.protocol,
            must_not_wake: keys.must_not_wake,
            open_connections: keys.open_connections,
            resume_user_suspended: keys.resume_user_suspended,
            dry_run: keys.dry_run,
            ready: keys.ready,
            busy_cap: keys.busy_cap,
            keep_awake: keys.keep_awake,
            ping: keys.ping,
            messages: keys.messages,
            subject: keys.subject,
            queue: keys.queue,
            redeliver: keys.redeliver,
            max_messages: keys.max_messages,
        }
    }
}

with_rule_keys! {
    /// What holds for every agent, unless a rule says otherwise.
    struct Defaults {}
}

with_rule_keys! {
    /// What holds for some agents.
    struct Rule {
        /// Which agents it is for; if left out, all.
        #[serde(rename = "match")]
        matches: Match,
    }
}

/// Which agents a rule is for: those that fit everything named here.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Match {
    /// The namespace. `*` stands for any run of characters; quote what begins with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<Glob>,
    /// The name, of the same form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<Glob>,
    /// Labels that the agent has, with exactly these values.
    pub(crate) labels: BTreeMap<String, String>,
}
