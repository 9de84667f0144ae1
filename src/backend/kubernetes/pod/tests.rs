//! What is made of a pod as the API server sends it.

use serde_json::{Value, json};

use super::*;
use crate::backend::kubernetes::facts;
use crate::backend::kubernetes::index::Object;

#[expect(clippy::needless_pass_by_value, reason = "it reads better")]
fn pod(spec: Value, status: Value) -> Pod {
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": "team-a", "name": "echo", "uid": "p1", "resourceVersion": "20",
            "ownerReferences": [
                {"apiVersion": "x/v1", "kind": "Other", "name": "o", "uid": "o1"},
                {"apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "name": "echo", "uid": "u1", "controller": true},
            ],
        },
        "spec": spec,
        "status": status,
    }))
    .unwrap()
}

fn with_status(status: Value) -> PodSeen {
    seen(&pod(json!({"containers": []}), status), AgentUid("u1".into())).unwrap()
}

fn waiting(reason: &str) -> Value {
    let state = json!({"waiting": {"reason": reason, "message": "as the test wants"}});
    json!({"phase": "Pending", "containerStatuses": [container(state, json!({}))]})
}

#[expect(clippy::needless_pass_by_value, reason = "it reads better")]
fn container(state: Value, last: Value) -> Value {
    json!({"name": "a", "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state, "lastState": last})
}

fn failure(seen: &PodSeen) -> &Failure {
    match &seen.state {
        PodState::Failed(failure) => failure,
        state => panic!("{state:?}"),
    }
}

#[test]
fn a_pod_belongs_to_the_sandbox_that_controls_it_and_to_nobody_by_a_label() {
    let mut pod = pod(json!({}), json!({}));
    let (key, uid) = owner(&pod).unwrap();
    assert_eq!((key.to_string().as_str(), &*uid.0), ("team-a/echo", "u1"));
    pod.metadata.owner_references.as_mut().unwrap()[1].controller = Some(false);
    assert_eq!(owner(&pod), None);
    pod.metadata.labels = Some([(SELECTOR.to_owned(), "abc".to_owned())].into());
    assert_eq!(owner(&pod), None);
    // It may have been an agent's until now.
    assert_eq!(facts::pod(&pod), Some(Object::Stray(PodUid("p1".into()), Revision(20))));
}

#[test]
fn a_pod_is_up_as_soon_as_its_status_shows_an_address() {
    assert_eq!(with_status(json!({"phase": "Pending"})).state, PodState::Starting);
    let up = with_status(json!({"phase": "Running", "podIP": "10.0.0.7"}));
    assert_eq!(up.state, PodState::Up("10.0.0.7".parse().unwrap()));
    assert!(!up.ready);
    let ready = json!([{"type": "Ready", "status": "True"}]);
    assert!(with_status(json!({"phase": "Running", "podIP": "10.0.0.7", "conditions": ready})).ready);
    let six = with_status(json!({"phase": "Pending", "podIP": "fd00::7"}));
    assert_eq!(six.state, PodState::Up("fd00::7".parse().unwrap()));
}

#[test]
fn a_pod_that_has_ended_says_why() {
    let evicted = with_status(json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}));
    assert_eq!(&*failure(&evicted).detail, "its pod has failed: Evicted: low on memory");
    let ended = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    let killed = with_status(json!({
        "phase": "Failed", "podIP": "10.0.0.7", "containerStatuses": [container(ended, json!({}))],
    }));
    assert_eq!(&*failure(&killed).detail, "its pod has failed: OOMKilled, exit code 137");
    assert_eq!(failure(&with_status(json!({"phase": "Succeeded"}))).class, FailureClass::Crash);
}

#[test]
fn an_image_that_cannot_be_had_is_a_failure_at_once_and_a_first_error_is_not() {
    for reason in ["ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"] {
        let seen = with_status(waiting(reason));
        assert_eq!(failure(&seen).class, FailureClass::Image, "{reason}");
        assert!(failure(&seen).detail.contains(reason));
    }
    let mut serving = waiting("ImagePullBackOff");
    serving["phase"] = json!("Running");
    serving["podIP"] = json!("10.0.0.7");
    assert!(matches!(with_status(serving).state, PodState::Up(_)), "a container beside the one that serves");
    let first = with_status(waiting("ErrImagePull"));
    assert_eq!(first.state, PodState::Starting);
    assert_eq!(first.hindrance.unwrap().class, FailureClass::Image);
    assert_eq!(with_status(waiting("ContainerCreating")).hindrance, None);
}

#[test]
fn what_holds_a_pod_up_is_told_though_it_may_pass() {
    let unscheduled = |message: &str| {
        let condition =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
        with_status(json!({"phase": "Pending", "conditions": [condition]})).hindrance.unwrap().class
    };
    assert_eq!(unscheduled("0/3 nodes are available: insufficient memory"), FailureClass::Scheduling);
    assert_eq!(unscheduled("persistentvolumeclaim \"x\" not found"), FailureClass::Volume);

    let last = json!({"terminated": {"exitCode": 3, "reason": "Error", "message": "no config\n"}});
    let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let crashing = with_status(
        json!({"phase": "Running", "podIP": "10.0.0.7", "containerStatuses": [container(state, last)]}),
    );
    assert!(matches!(crashing.state, PodState::Up(_)), "it may come up yet");
    let hindrance = crashing.hindrance.unwrap();
    assert_eq!(&*hindrance.detail, "container a crashes: Error, exit code 3: no config");
    assert_eq!(hindrance.class, FailureClass::Crash);
}

#[test]
fn a_pod_is_asked_by_its_own_probe_if_that_goes_over_the_network() {
    let readiness = |probe: Value| {
        let container =
            json!({"name": "a", "ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": probe});
        let sidecar = json!({"name": "b", "readinessProbe": {"tcpSocket": {"port": 1}}});
        let pod = pod(json!({"containers": [sidecar, container]}), json!({}));
        seen(&pod, AgentUid("u1".into())).unwrap().readiness.map(|readiness| (*readiness).clone())
    };
    let headers = json!([{"name": "Host", "value": "agent"}]);
    assert_eq!(
        readiness(json!({"httpGet": {"path": "/ready", "port": "http", "httpHeaders": headers}})),
        Some(Readiness::Http {
            port: 8080,
            path: "/ready".into(),
            headers: vec![("Host".into(), "agent".into())]
        })
    );
    assert_eq!(
        readiness(json!({"httpGet": {"port": 81}})),
        Some(Readiness::Http { port: 81, path: "/".into(), headers: Vec::new() })
    );
    assert_eq!(
        readiness(json!({"httpGet": {"port": 443, "scheme": "HTTPS"}})),
        Some(Readiness::Tcp { port: 443 }),
        "whose certificate the kubelet would not check either"
    );
    assert_eq!(readiness(json!({"tcpSocket": {"port": 82}})), Some(Readiness::Tcp { port: 82 }));
    assert_eq!(
        readiness(json!({"grpc": {"port": 83, "service": "s"}})),
        Some(Readiness::Grpc { port: 83, service: "s".into() })
    );
    assert_eq!(readiness(json!({"exec": {"command": ["true"]}})), None);
    assert_eq!(
        readiness(Value::Null),
        Some(Readiness::Tcp { port: 1 }),
        "else the first container that has one"
    );
}

#[test]
fn most_of_a_pod_is_not_looked_at() {
    let odd =
        json!({"containers": [{"name": "a", "ports": [], "env": 7, "volumeMounts": "x"}], "volumes": 3});
    assert_eq!(
        seen(&pod(odd, json!({"hostIPs": 4})), AgentUid("u1".into())).unwrap().state,
        PodState::Starting
    );
}
