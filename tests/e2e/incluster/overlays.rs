//! The other installations: in the place of agent-sandbox's router, without a `ClusterRole`, and with three replicas.

use super::http::Call;
use super::installation::Installation;
use super::kubectl::{eventually, get, try_kubectl};
use super::sandbox::{Namespace, Sandbox};

#[test]
fn in_the_place_of_the_router_a_call_by_its_headers_wakes_the_agent() {
    let space = Namespace::new("router");
    let drowse = Installation::as_sandbox_router();
    assert_eq!(
        drowse.pods()[0]["metadata"]["labels"]["app"],
        "sandbox-router",
        "NetworkPolicies look for it"
    );
    let agent = space.agent("routed");
    agent.wait_until_asleep();
    let headers = [
        ("Host", "sandbox-router-svc.agent-sandbox-system.svc.cluster.local:8080"),
        ("X-Sandbox-ID", &agent.name),
        ("X-Sandbox-Namespace", &agent.namespace),
        ("X-Sandbox-Port", "8080"),
    ];
    let answer = Call::new(drowse.address(), "/", &headers).answer();
    assert_eq!((answer.status, answer.header("drowse-start")), (200, "cold"), "{answer:?}");
    assert_eq!(answer.json()["agent"], agent.key());
    drowse.assert_well();
}

#[test]
fn roles_in_its_namespaces_suffice() {
    let (one, two, other) = (Namespace::new("one"), Namespace::new("two"), Namespace::new("other"));
    let drowse = Installation::of("namespaced");
    assert_eq!(get("default", "clusterrole/drowse"), None);
    let agents = [one.agent("first"), two.agent("second")];
    agents.iter().for_each(Sandbox::wait_until_asleep);
    for agent in &agents {
        assert_eq!(drowse.get(agent, "/").header("drowse-start"), "cold");
        eventually("it may write events", || (agent.events() == ["Suspended", "Resumed"]).then_some(()));
    }
    let stranger = other.agent("third");
    assert_eq!(drowse.call(&stranger, "/").answer().status, 404);
    let may = |verb: &str, namespace: &str| {
        let account = "--as=system:serviceaccount:drowse-system:drowse";
        let resource = "sandboxes.agents.x-k8s.io";
        try_kubectl(&["auth", "can-i", verb, resource, "-n", namespace, account]).is_ok()
    };
    assert!(may("patch", &one.name) && !may("patch", &other.name) && !may("delete", &one.name));
    drowse.assert_well();
}

#[test]
fn three_replicas_that_cannot_ask_each_other_wake_agents_and_suspend_none() {
    let space = Namespace::new("replicas");
    let drowse = Installation::of("ha");
    assert_eq!(drowse.pods().len(), 3);
    let agent = space.agent("watched");
    let names = |drowse: &Installation| -> Vec<_> {
        drowse.pods().iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let why = "other replicas of Drowse, which cannot be asked without NATS";
    for name in names(&drowse) {
        let explain = ["exec", &name, "--", "/drowse", "explain", &agent.key()];
        eventually("every replica says why", || drowse.drowse(&explain).contains(why).then_some(()));
    }

    scale(&drowse, 1);
    agent.wait_until_asleep();
    scale(&drowse, 3);
    assert_eq!(drowse.get(&agent, "/").header("drowse-start"), "cold");
    for name in names(&drowse) {
        let explain = ["exec", &name, "--", "/drowse", "explain", &agent.key()];
        eventually("every replica says why", || drowse.drowse(&explain).contains(why).then_some(()));
    }
    assert_eq!(agent.object()["spec"]["operatingMode"], "Running");
    drowse.assert_well();
}

fn scale(drowse: &Installation, replicas: u32) {
    drowse.drowse(&["scale", "deployment/drowse", &format!("--replicas={replicas}")]);
    drowse.wait_until_rolled_out();
}
