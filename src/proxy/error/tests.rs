//! Every answer of ours in both forms, and the fields that go with it.

use serde_json::Value;

use super::*;
use crate::engine::LeaseFault;
use crate::lifecycle::{Failure, FailureClass};
use crate::policy::lease::LeaseError;

fn agent() -> AgentKey {
    AgentKey::new("default", "echo")
}

fn body_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn refusals() -> Vec<Refusal> {
    let failure = Failure::new(FailureClass::Image, "no such image");
    vec![
        Refusal::SuspendedByPerson,
        Refusal::Asleep,
        Refusal::NotManaged,
        Refusal::QueueFull { max_held: 7 },
        Refusal::Overloaded,
        Refusal::ResumeFailed { failure, retry_after: Duration::from_millis(1500) },
        Refusal::HoldTimedOut { waiting_for: "waiting for the pod to start".into() },
        Refusal::Gone,
        Refusal::ShuttingDown,
    ]
}

#[test]
fn each_refusal_has_its_status_and_says_when_to_come_back() {
    let seen: Vec<_> = refusals()
        .into_iter()
        .map(|refusal| {
            let response = Fault::Refused(refusal).answer(Form::Problem, Some(&agent()));
            let after = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
            (response.status().as_u16(), after)
        })
        .collect();
    let after = |seconds: &str| Some(seconds.to_owned());
    assert_eq!(
        seen,
        [
            (409, None),
            (503, None),
            (409, None),
            (429, after("1")),
            (503, after("1")),
            (503, after("2")),
            (504, after("1")),
            (404, None),
            (503, after("1")),
        ]
    );
}

#[test]
fn a_problem_names_its_type_its_agent_and_what_to_do() {
    for refusal in refusals() {
        let fault = Fault::Refused(refusal);
        let response = fault.answer(Form::Problem, Some(&agent()));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let problem = body_of(&response);
        let kind = problem["type"].as_str().unwrap();
        assert!(kind.starts_with("https://drowse.dev/problems/"), "{problem}");
        assert_eq!(problem["status"], response.status().as_u16());
        assert_eq!(problem["agent"], "default/echo");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()));
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
    let failed = Fault::Refused(refusals().remove(5)).answer(Form::Problem, Some(&agent()));
    assert_eq!(body_of(&failed)["detail"], "image: no such image; `drowse explain default/echo` has more");
}

#[test]
fn each_denial_of_a_lease_has_its_status_and_says_what_to_do() {
    let refused = |error| LeaseDenial::Order(LeaseFault::Refused(error));
    for (denial, status) in [
        (LeaseDenial::NoResource, 404),
        (LeaseDenial::Method, 405),
        (LeaseDenial::NotLocal, 403),
        (LeaseDenial::NotBound, 403),
        (LeaseDenial::NotTheAgent, 403),
        (LeaseDenial::Unsure, 503),
        (LeaseDenial::MediaType, 415),
        (LeaseDenial::TooLarge, 413),
        (LeaseDenial::SlowBody, 408),
        (LeaseDenial::NoAgent, 400),
        (LeaseDenial::Order(LeaseFault::Bad("no".to_owned())), 400),
        (LeaseDenial::Order(LeaseFault::UnknownAgent), 404),
        (refused(LeaseError::Unknown), 404),
        (refused(LeaseError::Capped), 409),
        (refused(LeaseError::TooMany), 429),
    ] {
        let response = Fault::from(denial.clone()).answer(Form::Problem, Some(&agent()));
        let problem = body_of(&response);
        assert_eq!((response.status().as_u16(), &problem["status"]), (status, &status.into()), "{denial:?}");
        assert_eq!(problem["agent"], "default/echo");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        let (headers, soon) = (response.headers(), denial == LeaseDenial::Unsure);
        assert_eq!(headers.contains_key(RETRY_AFTER), soon, "{denial:?}");
        assert_eq!(headers.contains_key(ALLOW), denial == LeaseDenial::Method, "{denial:?}");
        if let LeaseDenial::Order(fault) = &denial {
            assert_eq!(fault.code(), status, "the same as over NATS");
        }
    }
}

#[test]
fn a_header_routed_caller_gets_the_codes_and_words_of_the_router_where_it_has_some() {
    let could_not = r#"{"detail":"Could not connect to the backend sandbox: echo"}"#;
    let timed_out = r#"{"detail":"Timed out waiting for the backend sandbox: echo"}"#;
    let unreachable = Fault::Unreachable { port: 1, error: "refused".to_owned() };
    let broken = Fault::Broken { error: "reset".to_owned() };
    let bad_answer = Fault::BadAnswer { error: "not HTTP/1.1".to_owned() };
    let waiting_for = "waiting for the pod to start".into();
    for (fault, status, body) in [
        (Fault::UnknownAgent, 502, could_not),
        (Fault::AnotherUid, 502, could_not),
        (Fault::Refused(Refusal::Gone), 502, could_not),
        (unreachable, 502, could_not),
        (broken, 502, could_not),
        (bad_answer, 502, could_not),
        (Fault::Refused(Refusal::HoldTimedOut { waiting_for }), 504, timed_out),
        (Fault::Bad("Invalid port format.".to_owned()), 400, r#"{"detail":"Invalid port format."}"#),
    ] {
        let response = fault.answer(Form::Detail, Some(&agent()));
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(response.body(), &format!("{body}\n"));
    }
    let full = Fault::Refused(Refusal::QueueFull { max_held: 7 }).answer(Form::Detail, Some(&agent()));
    assert_eq!(full.status().as_u16(), 429);
    assert!(body_of(&full)["detail"].as_str().unwrap().contains("max_held"));
}

#[test]
fn after_a_malformed_request_the_connection_closes() {
    for fault in [Fault::Bad("x".to_owned()), Fault::SlowHead] {
        assert_eq!(fault.answer(Form::Problem, None).headers()[CONNECTION], "close");
    }
    assert!(!Fault::UnknownAgent.answer(Form::Problem, None).headers().contains_key(CONNECTION));
}

#[test]
fn nothing_of_ours_is_cached() {
    let no_route = Fault::NoRoute { domain: "agents.localhost".to_owned() };
    let response = no_route.answer(Form::Problem, None);
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    assert!(body_of(&response)["agent"].is_null());
}

#[test]
fn what_a_caller_sent_cannot_break_out_of_the_answer() {
    let response = Fault::Bad("\"}\r\n\r\n<script>\u{0}".to_owned()).answer(Form::Problem, None);
    assert_eq!(body_of(&response)["detail"], "\"}\r\n\r\n<script>\u{0}");
}
