//! Keys whose changes wait for a restart: sockets that are bound, folders that are in use.

use crate::config::{Backend, Config};

/// Gives these keys the values that are in force, and says which of them the file would change.
pub(super) fn keep(running: &Config, new: &mut Config) -> Vec<&'static str> {
    let mut changed = Vec::new();
    let mut hold = |key, differs| {
        if differs {
            changed.push(key);
        }
    };
    hold("front_door.listen", keep_value(&running.front_door.listen, &mut new.front_door.listen));
    hold("front_door.tls", keep_value(&running.front_door.tls, &mut new.front_door.tls));
    hold("front_door.auth", keep_value(&running.front_door.auth, &mut new.front_door.auth));
    let review = keep_value(&running.front_door.token_review, &mut new.front_door.token_review);
    hold("front_door.token_review", review);
    hold("health.listen", keep_value(&running.health.listen, &mut new.health.listen));
    hold("admin.listen", keep_value(&running.admin.listen, &mut new.admin.listen));
    hold("admin.token_file", keep_value(&running.admin.token_file, &mut new.admin.token_file));
    hold("nats", keep_value(&running.nats, &mut new.nats));
    hold("telemetry.log.format", keep_value(&running.log.format, &mut new.log.format));
    // The other replicas rely on it.
    let trust = keep_value(&running.limits.trust_stale_for, &mut new.limits.trust_stale_for);
    let (old, new) = match (&running.backend, &mut new.backend) {
        (Backend::Process(old), Backend::Process(new)) => (old, new),
        (Backend::Kubernetes(old), Backend::Kubernetes(new)) => {
            hold("backend.kubernetes.namespaces", keep_value(&old.namespaces, &mut new.namespaces));
            hold("backend.kubernetes.kubeconfig", keep_value(&old.kubeconfig, &mut new.kubeconfig));
            hold("backend.kubernetes.context", keep_value(&old.context, &mut new.context));
            hold("backend.kubernetes.trust_stale_for", trust);
            return changed;
        }
        (old, new) => {
            hold("backend", keep_value(old, new));
            return changed;
        }
    };
    let moved = std::mem::replace(&mut new.state_dir, old.state_dir.clone());
    hold("backend.process.state_dir", moved != old.state_dir);
    for agent in &mut new.agents {
        // Working directories below the folder stay below the one that is in use.
        if let Ok(rest) = agent.working_dir.strip_prefix(&moved) {
            agent.working_dir = old.state_dir.join(rest);
        }
    }
    changed
}

/// Whether the new value differed.
fn keep_value<T: Clone + PartialEq>(running: &T, new: &mut T) -> bool {
    let differs = running != new;
    if differs {
        new.clone_from(running);
    }
    differs
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Config {
        crate::config::parse(text, Path::new("/etc/drowse.yaml")).unwrap()
    }

    #[test]
    fn bound_sockets_and_folders_in_use_stay_and_the_rest_changes() {
        let running = parse("backend: {process: {}}\n");
        let mut new = parse(
            "backend: {process: {state_dir: other, agents: [{name: a, command: [x], port: 4}]}}\nfront_door: {listen: 127.0.0.1:1, domain: other}\n\
             health: {listen: 127.0.0.1:2}\nadmin: {listen: 127.0.0.1:3, token_file: t}\ntelemetry: {log: {format: json}}\n",
        );
        let keys = keep(&running, &mut new);
        assert_eq!(
            keys,
            [
                "front_door.listen",
                "health.listen",
                "admin.listen",
                "admin.token_file",
                "telemetry.log.format",
                "backend.process.state_dir",
            ]
        );
        assert_eq!(new.front_door.domain, "other");
        let Backend::Process(process) = &new.backend else { panic!() };
        assert_eq!(process.state_dir, Path::new("/etc/.drowse"));
        assert_eq!(process.agents[0].working_dir, Path::new("/etc/.drowse/default/a"));
        assert_eq!(
            (&new.admin, &new.health, new.front_door.listen, new.log.format),
            (&running.admin, &running.health, running.front_door.listen, running.log.format)
        );
    }

    #[test]
    fn whom_the_front_door_lets_in_and_how_tokens_are_checked_stays() {
        let file = |door: &str| format!("backend: {{kubernetes: {{}}}}\nfront_door: {{{door}}}\n");
        let running = parse(&file("auth: none"));
        let mut new = parse(&file("auth: token_review, token_review: {audiences: [drowse]}"));
        assert_eq!(keep(&running, &mut new), ["front_door.auth", "front_door.token_review"]);
        assert_eq!(new.front_door, running.front_door);
    }

    #[test]
    fn the_message_door_stays_as_it_was_opened_or_closed() {
        let file = |nats: &str| format!("backend: {{process: {{}}}}\n{nats}");
        let with = parse(&file("nats: {servers: [nats://127.0.0.1:4222]}\n"));
        for other in ["", "nats: {servers: [nats://127.0.0.2:4222]}\n"] {
            let other = parse(&file(other));
            for (running, mut new) in [(&with, other.clone()), (&other, with.clone())] {
                assert_eq!(keep(running, &mut new), ["nats"]);
                assert_eq!(new.nats, running.nats);
            }
        }
    }

    #[test]
    fn what_the_other_replicas_rely_on_stays() {
        let file = |span: &str| {
            format!("backend: {{kubernetes: {{trust_stale_for: {span}}}}}\nfront_door: {{auth: none}}\n")
        };
        let (running, mut new) = (parse(&file("10m")), parse(&file("1m")));
        assert_eq!(keep(&running, &mut new), ["backend.kubernetes.trust_stale_for"]);
        assert_eq!(new.limits, running.limits);
    }

    #[test]
    fn nothing_waits_when_nothing_of_it_changed() {
        let running = parse("backend: {process: {}}\n");
        let mut new = parse("backend: {process: {stop_grace: 1s}}\nsuspend: off\n");
        let wanted = new.clone();
        assert_eq!(keep(&running, &mut new), [""; 0]);
        assert_eq!(new, wanted);
    }
}
