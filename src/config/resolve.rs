//! From the file as written to the configuration as used: defaults for what is left out, paths made absolute, and
//! the checks that need more than one value.

mod agents;
mod auth;
mod nats;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::decode::{Document, Step};
use super::model::{Admin, Backend, Config, FindBy, FrontDoor, FrontDoorTls, Health, Log};
use super::raw;
use crate::backend::kubernetes::Options;
use crate::engine;
use crate::policy::Policy;
use crate::policy::messages::{Preset, Ready};
use crate::policy::rules::{Layer, Match, Rule, RuleSet};

use Step::{Index, Key};

/// hyper's read buffer cannot be smaller, and a head beyond the larger one is an attack.
const MAX_HEAD_BYTES: std::ops::RangeInclusive<u64> = 8 << 10..=1 << 20;

/// For every node of a cluster to hear that a pod is leaving: mostly a second or two.
const SHUTDOWN_DELAY_ON_CLUSTER: Duration = Duration::from_secs(5);

/// Checks a file and fills in what it leaves out. What is wrong is noted in the document; then the result is not
/// to be used.
pub(super) fn resolve(file: raw::File, document: &Document<'_, '_>, path: PathBuf) -> Option<Config> {
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    check_listens(&file, document);
    check_limits(&file.limits, document);
    if file.nats.is_none() {
        check_no_messages(&file, document);
    }
    let on_cluster = file.backend.kubernetes.is_some();
    let base = built_in(on_cluster);
    // Processes of this machine are never out of sight.
    let trust_stale_for =
        file.backend.kubernetes.as_ref().map_or(Duration::MAX, |raw| raw.trust_stale_for.get());
    let backend = backend(file.backend, document, &folder);
    let rules = rules(Policy { suspend: file.suspend.0, ..base }, file.defaults, file.rules, document);
    if let Some(Backend::Process(process)) = &backend {
        agents::check_frozen(process, &rules, document);
    }
    Some(Config {
        path,
        backend: backend?,
        front_door: front_door(file.front_door, on_cluster, document, &folder),
        nats: file.nats.map(|raw| nats::resolve(raw, document, &folder)),
        health: Health { listen: file.health.listen.0 },
        admin: admin(file.admin, document, &folder),
        held_body_bytes: to_usize(file.limits.held_body.get()),
        limits: limits(&file.limits, trust_stale_for),
        suspend: file.suspend.0,
        rules,
        log: Log { level: file.telemetry.log.level.0, format: file.telemetry.log.format },
    })
}

/// Sizes are bounded far below what a 32-bit machine can address.
fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// What holds where nobody says anything. To be listed in the file is an opt-in; to exist on a cluster is none.
pub(super) fn built_in(on_cluster: bool) -> Policy {
    Policy { route: !on_cluster, manage: !on_cluster, ..Policy::default() }
}

fn backend(raw: raw::Backend, document: &Document<'_, '_>, folder: &Path) -> Option<Backend> {
    match (raw.process, raw.kubernetes) {
        (Some(process), None) => Some(Backend::Process(agents::resolve(process, document, folder))),
        (None, Some(kubernetes)) => Some(Backend::Kubernetes(cluster(kubernetes, document, folder))),
        (None, None) => {
            let advice =
                "no kind of backend is named; write process: with a list of agents below, or kubernetes: {}";
            document.report(&[Key("backend"), Key("process")], advice);
            None
        }
        (Some(_), Some(_)) => {
            let advice = "two kinds of backend are named; keep one, process: or kubernetes:";
            document.report(&[Key("backend"), Key("kubernetes")], advice);
            None
        }
    }
}

fn cluster(raw: raw::Kubernetes, document: &Document<'_, '_>, folder: &Path) -> Options {
    let at = |key| [Key("backend"), Key("kubernetes"), Key(key)];
    for (index, namespace) in raw.namespaces.iter().enumerate() {
        if raw.namespaces[..index].contains(namespace) {
            let path = [Key("backend"), Key("kubernetes"), Key("namespaces"), Index(index)];
            document.report(&path, "this namespace stands here a second time; write it once");
        }
    }
    if raw.kubeconfig.as_ref().is_some_and(String::is_empty) {
        document.report(&at("kubeconfig"), "the path is empty; write the path of a file");
    }
    Options {
        namespaces: raw.namespaces.into_iter().map(|namespace| namespace.0).collect(),
        kubeconfig: raw.kubeconfig.map(|file| folder.join(file)),
        context: raw.context,
    }
}

fn rules(
    base: Policy,
    defaults: raw::Defaults,
    rules: Vec<raw::Rule>,
    document: &Document<'_, '_>,
) -> RuleSet {
    let defaults = Layer {
        allow_annotations: defaults.allow_annotations,
        keys: defaults.into(),
        from: "defaults".to_owned(),
    };
    let rules = rules.into_iter().enumerate().map(|(index, rule)| {
        let line = document.line(&[Key("rules"), Index(index)]).unwrap_or_default();
        rule_at(rule, format!("rules[{index}] (line {line})"))
    });
    RuleSet::new(base, defaults, rules.collect())
}

fn rule_at(rule: raw::Rule, from: String) -> Rule {
    let raw::Match { namespace, name, labels } = rule.matches.clone();
    let layer = Layer { allow_annotations: rule.allow_annotations, keys: rule.into(), from };
    Rule { matches: Match { namespace, name, labels }, layer }
}

fn limits(raw: &raw::Limits, trust_stale_for: Duration) -> engine::Limits {
    engine::Limits {
        held: raw.held.get(),
        held_body_bytes: raw.held_body_total.get(),
        starts_in_flight: raw.starts_in_flight.get(),
        starts_per_namespace: raw.starts_per_namespace.get(),
        starts_per_second: raw.starts_per_second.get(),
        trust_stale_for,
    }
}

fn check_limits(limits: &raw::Limits, document: &Document<'_, '_>) {
    let (one, total) = (limits.held_body, limits.held_body_total);
    if one > total {
        let message = format!("{total} for all is less than held_body for one; write at least {one}");
        document.report(&[Key("limits"), Key("held_body_total")], message);
    }
}

/// Without the section `nats`, no message comes, and nobody would ever be seen to subscribe.
fn check_no_messages(file: &raw::File, document: &Document<'_, '_>) {
    let keys = |messages: Option<Preset>, ready: Option<Ready>| {
        let messages = messages.is_some_and(|preset| preset != Preset::Off).then_some("messages");
        let ready = (ready == Some(Ready::Messages)).then_some("ready");
        messages.into_iter().chain(ready)
    };
    let advice = "this needs the section nats; write nats: {servers: [nats://host:4222]}, or leave this out";
    for key in keys(file.defaults.messages, file.defaults.ready) {
        document.report(&[Key("defaults"), Key(key)], advice);
    }
    for (index, rule) in file.rules.iter().enumerate() {
        for key in keys(rule.messages, rule.ready) {
            document.report(&[Key("rules"), Index(index), Key(key)], advice);
        }
    }
}

fn front_door(
    raw: raw::FrontDoor,
    on_cluster: bool,
    document: &Document<'_, '_>,
    folder: &Path,
) -> FrontDoor {
    let report = |key, message: String| document.report(&[Key("front_door"), Key(key)], message);
    for (index, way) in raw.find_by.iter().enumerate() {
        if raw.find_by[..index].contains(way) {
            let message = "this way stands here a second time; write it once";
            document.report(&[Key("front_door"), Key("find_by"), Index(index)], message);
        }
    }
    if raw.find_by.is_empty() {
        report("find_by", "no agent could be found; write for example [header, host]".into());
    }
    match (&raw.path_prefix, raw.find_by.contains(&FindBy::Path)) {
        (None, true) => {
            report("find_by", "path needs a prefix; write path_prefix: /agents below front_door".into());
        }
        (Some(_), false) => report("path_prefix", "this does nothing; write path into find_by, too".into()),
        _ => {}
    }
    if !MAX_HEAD_BYTES.contains(&raw.max_head.get()) {
        report("max_head", format!("{} is out of range; write a size from 8KiB to 1MiB", raw.max_head));
    }
    FrontDoor {
        listen: raw.listen.0,
        tls: raw.tls.map(|raw| tls(raw, document, folder)),
        domain: raw.domain.0,
        auth: auth::check_auth(on_cluster, raw.auth, raw.token_review.is_some(), document),
        token_review: auth::check_token_review(raw.token_review.unwrap_or_default(), document),
        find_by: raw.find_by,
        path_prefix: raw.path_prefix.map(|prefix| prefix.0),
        cluster_domain: raw.cluster_domain.0,
        head_timeout: raw.head_timeout.get(),
        idle_connection_timeout: raw.idle_connection_timeout.get(),
        max_head_bytes: to_usize(raw.max_head.get()),
        max_connections: to_usize(raw.max_connections.get().into()),
        max_streams: raw.max_streams.get(),
        shutdown_delay: match raw.shutdown_delay {
            Some(delay) => delay.get(),
            None if on_cluster => SHUTDOWN_DELAY_ON_CLUSTER,
            None => Duration::ZERO,
        },
        drain_timeout: raw.drain_timeout.get(),
    }
}

fn tls(raw: raw::FrontDoorTls, document: &Document<'_, '_>, folder: &Path) -> FrontDoorTls {
    for (key, file) in [("cert_file", &raw.cert_file), ("key_file", &raw.key_file)] {
        if file.is_empty() {
            let place = [Key("front_door"), Key("tls"), Key(key)];
            document.report(&place, "the path is empty; write the path of a file");
        }
    }
    FrontDoorTls {
        listen: raw.listen.0,
        cert_file: folder.join(raw.cert_file),
        key_file: folder.join(raw.key_file),
    }
}

fn admin(raw: raw::Admin, document: &Document<'_, '_>, folder: &Path) -> Admin {
    let listen = raw.listen.0;
    if raw.token_file.is_none() && !listen.ip().is_loopback() {
        let message = format!(
            "{listen} can be reached from other machines; write token_file: <file with a token> below admin, or listen on \
             127.0.0.1:{}",
            listen.port()
        );
        document.report(&[Key("admin"), Key("listen")], message);
    }
    if raw.token_file.as_ref().is_some_and(String::is_empty) {
        document.report(&[Key("admin"), Key("token_file")], "the path is empty; write the path of a file");
    }
    Admin { listen, token_file: raw.token_file.map(|file| folder.join(file)) }
}

/// No two listeners, and no agent, on one port.
fn check_listens(file: &raw::File, document: &Document<'_, '_>) {
    let door = &file.front_door;
    let tls = door.tls.as_ref().map(|tls| (&["front_door", "tls"][..], tls.listen.0));
    let ours = [
        (&["front_door"][..], door.listen.0),
        (&["health"], file.health.listen.0),
        (&["admin"], file.admin.listen.0),
    ];
    let place = |section: &[&'static str]| -> Vec<_> {
        section.iter().copied().map(Key).chain([Key("listen")]).collect()
    };
    // A mistyped address must not be blamed for what its default would collide with.
    let read = |(section, _): &(&[&'static str], SocketAddr)| !document.is_spoiled(&place(section));
    let ours: Vec<_> = ours.into_iter().chain(tls).filter(read).collect();
    for (index, (section, address)) in ours.iter().enumerate() {
        if let Some((other, _)) = ours[..index].iter().find(|(_, other)| collide(*address, *other)) {
            let message = format!("{address} is taken by {}.listen; write another port", other.join("."));
            document.report(&place(section), message);
        }
    }
    let agents = file.backend.process.iter().flat_map(|process| &process.agents);
    let mut users: HashMap<u16, String> = HashMap::new();
    for (index, agent) in agents.enumerate() {
        let port = agent.port.get();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let by_us = ours.iter().find(|(_, ours)| collide(address, *ours));
        let by_us = by_us.map(|(section, _)| format!("{}.listen", section.join(".")));
        if let Some(user) = by_us.or_else(|| users.get(&port).cloned()) {
            let message = format!("port {port} is taken by {user}; write another port");
            document
                .report(&[Key("backend"), Key("process"), Key("agents"), Index(index), Key("port")], message);
        }
        users.entry(port).or_insert_with(|| format!("the agent {}/{}", agent.namespace, agent.name));
    }
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (any || a.ip() == b.ip())
}
