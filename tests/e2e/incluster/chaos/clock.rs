//! Replicas whose clocks are an hour fast and an hour slow agree with the others as ever: nothing is decided by what another's
//! clock says.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::agents::Agents;
use super::fleet::{Replica, leader};
use crate::incluster::http::Call;
use crate::incluster::installation::Installation;
use crate::incluster::kubectl::{apply, eventually, get, is, kubectl};
use crate::incluster::nats::Nats;

const HOUR_SECS: i64 = 3600;

/// Pods beside those of the Deployment. Gone when dropped.
struct Skewed([&'static str; 2]);

impl Skewed {
    /// A replica that is an hour fast, and one that is an hour slow.
    fn create() -> Self {
        let pods = [("drowse-fast", HOUR_SECS), ("drowse-slow", -HOUR_SECS)];
        let template = get("drowse-system", "deployment/drowse").expect("it")["spec"]["template"].clone();
        for (name, offset) in pods {
            apply(&pod(name, offset, template.clone()));
        }
        let skewed = Self(pods.map(|(name, _)| name));
        for name in skewed.0 {
            eventually("it is ready", || {
                get("drowse-system", &format!("pod/{name}")).filter(|pod| is(pod, "Ready"))
            });
        }
        skewed
    }
}

impl Drop for Skewed {
    fn drop(&mut self) {
        kubectl(&["-n", "drowse-system", "delete", "pod", self.0[0], self.0[1], "--ignore-not-found"]);
    }
}

fn pod(name: &str, offset_secs: i64, mut template: Value) -> Value {
    let variables = template["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    variables.push(json!({"name": "DROWSE_CLOCK_OFFSET_SECS", "value": offset_secs.to_string()}));
    template["apiVersion"] = json!("v1");
    template["kind"] = json!("Pod");
    template["metadata"]["name"] = json!(name);
    template["metadata"]["namespace"] = json!("drowse-system");
    template
}

#[test]
fn replicas_whose_clocks_are_an_hour_off_lead_follow_and_agree_as_ever() {
    tokio::runtime::Runtime::new().unwrap().block_on(Nats::start());
    let drowse = Installation::of("chaos");
    // One of three has the right time.
    drowse.drowse(&["scale", "deployment/drowse", "--replicas=1"]);
    drowse.wait_until_rolled_out();
    let skewed = Skewed::create();
    let replicas: [Replica; 3] =
        Replica::all(&drowse).try_into().unwrap_or_else(|_| panic!("three replicas"));
    let agents = Agents::create("clock", 3);
    agents.wait_until_asleep();
    let mut since = replicas.each_ref().map(|replica| asleep_since(&drowse, replica, &agents));
    since.sort();
    let apart = since.windows(2).all(|pair| (pair[1] - pair[0]).get_seconds() > HOUR_SECS / 2);
    assert!(apart, "the image has debug assertions, so that its clock can be wrong: {since:?}");

    let first = agrees_as_ever(&replicas, &agents);
    let frozen = replicas.iter().find(|replica| replica.pod == first).expect("a replica leads").freeze();
    eventually("another leads", || leader().filter(|now| *now != first));
    drop(frozen);
    // Of two leaders at least one is an hour off, and so are followers of each.
    assert_ne!(agrees_as_ever(&replicas, &agents), first);
    drop(skewed);
    drowse.drowse(&["scale", "deployment/drowse", "--replicas=3"]);
    drowse.wait_until_rolled_out();
    drowse.keep();
}

/// A long request by way of each replica, of which the others do not know: no agent is suspended under it, and all are afterwards;
/// and one replica leads all the while. Tells which.
fn agrees_as_ever(replicas: &[Replica; 3], agents: &Agents) -> String {
    let term = term();
    let mut calls = [0, 1, 2].map(|nth| {
        let host = agents.host(nth);
        Call::new(replicas[nth].address, "/slow?for=5s&every=100ms", &[("Host", &host)])
    });
    for call in &mut calls {
        call.until("line 1");
    }
    let before = agents.generations();
    // Three times the idle timeout, and more than the others take to look at the Lease.
    for call in &mut calls {
        call.until("line 40");
    }
    assert_eq!(agents.generations(), before, "somebody was suspended at work");
    for call in calls {
        assert_eq!(call.answer().status, 200);
    }
    agents.wait_until_asleep();
    assert_eq!(self::term(), term, "nobody took over from a leader who is there");
    leader().expect("a replica leads")
}

/// Since when the agent sleeps, by the clock of a replica.
fn asleep_since(drowse: &Installation, replica: &Replica, agents: &Agents) -> Timestamp {
    let explained = drowse.drowse(&["exec", &replica.pod, "--", "/drowse", "explain", &agents.key(0)]);
    let since = explained.split_once("(since ").and_then(|(_, rest)| rest.split_once(')'));
    since.and_then(|(since, _)| since.parse().ok()).unwrap_or_else(|| panic!("no time: {explained}"))
}

/// Who leads, and how often that has changed.
fn term() -> Value {
    let lease = get("drowse-system", "lease/drowse").expect("the Lease");
    json!([lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]])
}
