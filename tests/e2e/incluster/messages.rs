//! Agents that talk to each other through a sleep, by messages of NATS and by requests.

use drowse::time::Clock;
use serde_json::{Value, json};

use super::http::Call;
use super::installation::Installation;
use super::kubectl::{apply, eventually, get, is};
use super::nats::{Nats, URL};
use super::sandbox::{Namespace, Sandbox};
use crate::support::Agent;

/// A namespace, and a Drowse whose message door is open.
async fn with_messages(test: &str) -> (Namespace, Nats, Installation) {
    let (space, nats, drowse) = (Namespace::new(test), Nats::start().await, Installation::of("messages"));
    eventually("the message door is open", || {
        drowse.log().contains("the message door is open").then_some(())
    });
    (space, nats, drowse)
}

/// An agent that listens to NATS as well. Nothing says so to Drowse yet.
fn talker(name: &str) -> Agent {
    Agent::new(name).with(&["--nats", URL])
}

/// A rule names its messages, by this label.
fn by_rule(name: &str) -> Agent {
    talker(name).set("/metadata/labels", json!({"talks": "yes"}))
}

/// It says itself which messages are its own, and in which queue group it takes them.
fn by_annotation(name: &str) -> Agent {
    let annotations = json!({"drowse.dev/messages": "subject", "drowse.dev/queue": "crew"});
    talker(name).with(&["--queue", "crew"]).set("/metadata/annotations", annotations)
}

/// Changes of the spec: one for each suspension, and one for each resume.
fn changes(agent: &Sandbox) -> u64 {
    agent.object()["metadata"]["generation"].as_u64().unwrap()
}

/// Waits until it sleeps. Fails if there was more than one resume and one suspension since there were so many changes.
fn sleeps_after_one_resume(agent: &Sandbox, before: u64) {
    agent.wait_until_asleep();
    assert_eq!(changes(agent), before + 2, "{}", agent.key());
}

/// The value of a metric of Drowse's only pod, with its labels as they are printed.
fn metric(drowse: &Installation, series: &str) -> String {
    let pod = drowse.pods().remove(0);
    let address = format!("{}:8081", pod["status"]["podIP"].as_str().unwrap()).parse().unwrap();
    let text = Call::new(address, "/metrics", &[("Host", "drowse")]).answer().body;
    let value = text.lines().find_map(|line| line.strip_prefix(series));
    value.unwrap_or_else(|| panic!("no {series} in {text}")).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_talk_to_each_other_through_a_sleep_by_messages_and_by_requests() {
    let (space, nats, drowse) = with_messages("talk").await;
    let (one, two) = (space.create(&by_rule("one")), space.create(&by_annotation("two")));
    let agents = [&one, &two];
    agents.into_iter().for_each(Sandbox::wait_until_asleep);

    let before = agents.map(changes);
    let clock = Clock::start();
    let begun = clock.now();
    let mut asked = nats.ask(&one, &format!("ask.{}.{}", two.namespace, two.name)).await;
    let reply = asked.reply().await;
    println!("two agents woke over NATS, one after the other, in {:?}", clock.now().since(begun));
    let echo = &reply["asked"];
    assert_eq!((&reply["agent"], &reply["said"]), (&json!(one.key()), &json!("hello")), "{reply}");
    assert_eq!((&echo["agent"], &echo["said"]), (&json!(two.key()), &json!("hello")), "{reply}");
    agents.iter().zip(before).for_each(|(agent, before)| sleeps_after_one_resume(agent, before));
    asked.assert_no_more();
    let explained = drowse.command(&["explain", &two.key()]);
    for name in ["messages", "queue"] {
        assert!(explained.contains(&format!("annotation drowse.dev/{name}")), "{explained}");
    }

    let before = agents.map(changes);
    let begun = clock.now();
    let target = format!("http://drowse.drowse-system.svc.cluster.local:8080/agents/{}/8080/", two.key());
    let answer = drowse.get(&one, &format!("/relay?to={target}"));
    println!("two agents woke over HTTP, one after the other, in {:?}", clock.now().since(begun));
    assert_eq!((&answer.json()["agent"], answer.header("drowse-start")), (&json!(two.key()), "cold"));
    agents.iter().zip(before).for_each(|(agent, before)| sleeps_after_one_resume(agent, before));
    drowse.assert_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_a_message_at_once_resume_a_sleeping_agent_once() {
    let (space, nats, drowse) = with_messages("both").await;
    let agent = space.create(&by_rule("one"));
    agent.wait_until_asleep();
    let before = changes(&agent);
    let call = drowse.call(&agent, "/whoami");
    let mut asked = nats.ask(&agent, "echo").await;
    assert_eq!(asked.reply().await["agent"], agent.key());
    let answer = call.answer();
    assert_eq!((answer.status, answer.header("drowse-start")), (200, "cold"), "{answer:?}");
    sleeps_after_one_resume(&agent, before);
    for waited in [
        "drowse_messages_total{fate=\"delivered\"}",
        "drowse_requests_total{outcome=\"answered\",start=\"cold\"}",
    ] {
        assert_eq!(metric(&drowse, waited), "1", "both came while it slept: {waited}");
    }
    assert_eq!(metric(&drowse, "drowse_resumes_total{outcome=\"ok\"}"), "1");
    drowse.assert_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_works_in_silence_on_a_message_is_not_suspended() {
    let (space, nats, drowse) = with_messages("silence").await;
    let agent = space.create(&by_annotation("one"));
    agent.wait_until_asleep();
    let before = changes(&agent);
    // Four times its idle timeout. Had it been suspended meanwhile, the message would have come to the next pod as well.
    let mut asked = nats.ask(&agent, "work.8s").await;
    assert_eq!(asked.reply().await["agent"], agent.key());
    sleeps_after_one_resume(&agent, before);
    asked.assert_no_more();
    drowse.assert_well();
}

/// The template of `deploy/nats` in a namespace of these tests, with the demo agent for its image.
fn template(space: &Namespace) -> Value {
    let text = include_str!("../../../deploy/nats/sandbox-template.yaml");
    let mut template: Value = serde_saphyr::from_str(text).unwrap();
    template["metadata"]["namespace"] = json!(space.name);
    let container = &mut template["spec"]["podTemplate"]["spec"]["containers"][0];
    container["image"] = json!("drowse:dev");
    container["imagePullPolicy"] = json!("Never");
    let url = "nats://$(NATS_USER):$(NATS_PASSWORD)@nats.nats.svc:4222";
    container["command"] = json!([
        "/drowse",
        "demo-agent",
        "--relay",
        "--host",
        "0.0.0.0",
        "--port",
        "8080",
        "--state-file",
        "/tmp/state.json",
        "--namespace",
        "$(AGENT_NAMESPACE)",
        "--name",
        "$(AGENT_NAME)",
        "--nats",
        url,
    ]);
    template
}

/// Claims an agent of a template, by a pool. A Secret has what the template asks for.
fn claim(space: &Namespace, template: &Value) -> Sandbox {
    let of = |name: &str| json!({"name": name, "namespace": space.name});
    let kind = |kind: &str, spec: Value| json!({"apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": kind, "metadata": of("talkers"), "spec": spec});
    let user = template["spec"]["podTemplate"]["spec"]["containers"][0]["env"][2]["value"].as_str().unwrap();
    apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": of("nats"), "stringData": {user: "secretOfTalker"},
    }));
    apply(template);
    let template = json!({"name": template["metadata"]["name"]});
    apply(&kind("SandboxWarmPool", json!({"replicas": 1, "sandboxTemplateRef": template})));
    apply(&kind("SandboxClaim", json!({"warmPoolRef": {"name": "talkers"}})));
    let name = eventually("the claim has a Sandbox", || {
        let claim = get(&space.name, "sandboxclaim/talkers").unwrap();
        claim["status"]["sandbox"]["name"].as_str().map(str::to_owned)
    });
    let sandbox = Sandbox { namespace: space.name.clone(), name };
    eventually("its pod is ready", || sandbox.pod().filter(|pod| is(pod, "Ready")));
    sandbox
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_agent_of_the_template_of_deploy_finds_nats_and_is_woken_by_the_name_of_its_sandbox() {
    let (space, nats, drowse) = with_messages("claimed").await;
    let template = template(&space);
    let agent = claim(&space, &template);
    let policy = get(&space.name, "networkpolicy/talker-network-policy").expect("the policy of the template");
    for way in ["ingress", "egress"] {
        assert_eq!(policy["spec"][way], template["spec"]["networkPolicy"][way], "as it was written");
    }
    agent.wait_until_asleep();
    assert_eq!(nats.ask(&agent, "echo").await.reply().await["agent"], agent.key());
    drowse.assert_well();
}
