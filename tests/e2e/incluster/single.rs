//! The usual installation: one replica, agents in all namespaces.

use serde_json::{Value, json};

use super::installation::Installation;
use super::kubectl::{eventually, get, is, kubectl, uid};
use super::sandbox::{Namespace, Sandbox};
use crate::support::Agent;

/// Looks at what a person sees of a sleeping agent.
#[track_caller]
fn assert_told_that_it_sleeps(drowse: &Installation, agent: &Sandbox) {
    let status = drowse.command(&["status"]);
    let line = status.lines().find(|line| line.contains(&agent.name));
    assert!(line.is_some_and(|line| line.contains("Suspended")), "{status}");
    let explanation = drowse.command(&["explain", &agent.key()]);
    let first = explanation.lines().next().unwrap_or_default();
    assert!(first.starts_with(&format!("{} is Suspended", agent.key())), "{explanation}");
    let events = eventually("the event is written", || {
        let events = agent.events();
        (!events.is_empty()).then_some(events)
    });
    assert!(events.contains(&"Suspended".to_owned()), "{events:?}");
}

/// What must be the same in every life of a Sandbox.
fn identity(agent: &Sandbox) -> Value {
    let (sandbox, claim) = (agent.object(), agent.claim());
    json!({
        "uid": uid(&sandbox),
        "pod template": sandbox["spec"]["podTemplate"],
        "name in DNS": sandbox["status"]["serviceFQDN"],
        "claim": uid(&claim),
        "volume": claim["spec"]["volumeName"],
    })
}

/// The same of its pod.
fn identity_of_pod(pod: &Value) -> Value {
    let hostname = pod["spec"].get("hostname").unwrap_or(&pod["metadata"]["name"]);
    json!({
        "name": pod["metadata"]["name"],
        "hostname": hostname,
        "subdomain": pod["spec"]["subdomain"],
        "runtime class": pod["spec"]["runtimeClassName"],
    })
}

fn sleeps_and_comes_back_as_itself(drowse: &Installation, agent: &Sandbox) {
    let first = drowse.get(agent, "/").json();
    assert_eq!((&first["starts"], &first["visits"]), (&json!(1), &json!(1)));
    let mut busy = drowse.call(agent, "/slow?for=10m");
    busy.until("line 1");
    let before = (identity(agent), agent.pod().unwrap());
    assert!(
        before.0["name in DNS"].as_str().is_some_and(|name| name.starts_with(&agent.name)),
        "{}",
        before.0
    );
    drop(busy);

    agent.wait_until_asleep();
    assert_eq!(agent.claim()["status"]["phase"], "Bound");
    assert_told_that_it_sleeps(drowse, agent);

    let answer = drowse.get(agent, "/");
    let second = answer.json();
    assert_eq!((&second["starts"], &second["visits"]), (&json!(2), &json!(2)), "the data is there");
    assert_ne!(second["boot"], first["boot"]);
    assert_eq!(answer.header("drowse-start"), "cold");
    assert!(answer.header("server-timing").contains("resume;dur="), "{answer:?}");

    let mut busy = drowse.call(agent, "/slow?for=10m");
    busy.until("line 1");
    let pod = agent.pod().unwrap();
    assert_ne!(uid(&pod), uid(&before.1));
    assert_eq!(identity_of_pod(&pod), identity_of_pod(&before.1));
    eventually("it is what it was", || (identity(agent) == before.0).then_some(()));
    eventually("there is an event", || agent.events().contains(&"Resumed".to_owned()).then_some(()));
}

#[test]
fn an_agent_with_a_volume_sleeps_and_comes_back_as_itself() {
    let space = Namespace::new("volume");
    let drowse = Installation::of("single");
    let agent = space.agent_with_volume(&Agent::new("keeper"));
    sleeps_and_comes_back_as_itself(&drowse, &agent);

    // Its name leads to the new pod, also inside the cluster.
    let caller = space.agent("caller");
    let name = agent.object()["status"]["serviceFQDN"].as_str().unwrap().to_owned();
    let mut busy = drowse.call(&agent, "/slow?for=10m");
    busy.until("line 1");
    let there = eventually("the name is known", || {
        let answer = drowse.call(&caller, &format!("/relay?to=http://{name}:8080/")).answer();
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(there["agent"], agent.key());
    drowse.assert_well();
}

#[test]
fn the_runtime_class_of_an_agent_is_never_touched() {
    let space = Namespace::new("runtime");
    let drowse = Installation::of("single");
    let agent = space.agent_with_volume(&Agent::new("walled").pod("runtimeClassName", json!("runc-too")));
    sleeps_and_comes_back_as_itself(&drowse, &agent);
    assert_eq!(agent.object()["spec"]["podTemplate"]["spec"]["runtimeClassName"], "runc-too");
    drowse.assert_well();
}

#[test]
fn one_agent_wakes_another_by_the_service_name_of_the_front_door() {
    let space = Namespace::new("relay");
    let drowse = Installation::of("single");
    let (one, two) = (space.agent("one"), space.agent("two"));
    one.wait_until_asleep();
    two.wait_until_asleep();
    let target = format!("http://drowse.drowse-system.svc.cluster.local:8080/agents/{}/8080/", two.key());
    let answer = drowse.get(&one, &format!("/relay?to={target}"));
    assert_eq!((&answer.json()["agent"], answer.json()["starts"].as_u64()), (&json!(two.key()), Some(1)));
    assert_eq!(answer.header("drowse-start"), "cold");
    for agent in [&one, &two] {
        assert_eq!(agent.events(), ["Suspended", "Resumed"], "{}", agent.key());
    }
    drowse.assert_well();
}

#[test]
fn a_restart_serves_what_is_in_flight_and_leaves_agents_as_they_are() {
    let space = Namespace::new("restart");
    let drowse = Installation::of("single");
    let (sleeper, worker) = (space.agent("sleeper"), space.agent("worker"));
    let mut call = drowse.call(&worker, "/slow?for=10s");
    call.until("line 1");
    sleeper.wait_until_asleep();
    let before = (sleeper.object(), uid(&worker.pod().unwrap()), uid(&drowse.pods()[0]));
    drowse.drowse(&["rollout", "restart", "deployment/drowse"]);
    assert!(call.answer().body.contains("done"), "it was served to its end");
    assert_eq!(uid(&worker.pod().unwrap()), before.1);
    drowse.wait_until_rolled_out();
    let pods = drowse.pods();
    assert!(pods.len() == 1 && uid(&pods[0]) != before.2, "another pod of Drowse");
    assert_eq!(sleeper.object()["spec"], before.0["spec"]);
    assert_eq!(sleeper.object()["metadata"]["generation"], before.0["metadata"]["generation"]);
    assert_eq!(drowse.get(&sleeper, "/").header("drowse-start"), "cold");
    drowse.assert_well();
}

/// The steps of docs/install.md, "Uninstall".
#[test]
fn uninstalling_leaves_agents_running() {
    let space = Namespace::new("uninstall");
    let drowse = Installation::of("single");
    let agents = [space.agent("one"), space.agent("two")];
    agents.iter().for_each(Sandbox::wait_until_asleep);

    let config = drowse.drowse(&["get", "configmap/drowse", "-o", "jsonpath={.data.drowse\\.yaml}"]);
    let off = config.replace("suspend: on", "suspend: off");
    assert_ne!(off, config);
    let patch = json!({"data": {"drowse.yaml": off}}).to_string();
    drowse.drowse(&["patch", "configmap/drowse", "--type=merge", "-p", &patch]);
    // The kubelet looks at once when the pod changes, and else within a minute or two.
    let nudge = ["annotate", "pods", "-l", "app.kubernetes.io/name=drowse", "test=nudge", "--overwrite"];
    drowse.drowse(&nudge);
    eventually("the pod has the new file", || {
        drowse.log().contains("the configuration file was applied").then_some(())
    });

    drowse.command(&["resume", "--all"]);
    let pods =
        agents.each_ref().map(|agent| eventually("it is up", || agent.pod().filter(|pod| is(pod, "Ready"))));
    let explanation = drowse.command(&["explain", &agents[0].key()]);
    assert!(!explanation.contains("suspends  "), "{explanation}");
    drowse.uninstall();
    assert_eq!(get("default", "namespace/drowse-system"), None);
    for (agent, pod) in agents.iter().zip(&pods) {
        assert_eq!(agent.object()["spec"]["operatingMode"], "Running");
        assert_eq!(uid(&agent.pod().unwrap()), uid(pod));
        assert!(is(&agent.object(), "Ready"));
    }
    // Nothing of it is left in the cluster.
    let left = kubectl(&[
        "get",
        "clusterroles,clusterrolebindings",
        "-l",
        "app.kubernetes.io/name=drowse",
        "-o",
        "name",
    ]);
    assert_eq!(left, "");
}
