//! An order for a busy lease: whatever its body, it is an order whose lease keeps to its caps, or a problem that says what to
//! send.

#![no_main]

use std::time::Duration;

use drowse::agent::is_dns_label;
use drowse::engine::{LeaseAction, LeaseFault, LeaseOrder};
use drowse::policy::lease::{Leases, MAX_REASON};
use drowse::time::Moment;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

const CAP: Duration = Duration::from_secs(8 * 3600);

fuzz_target!(|body: &[u8]| {
    match LeaseOrder::read(body) {
        Ok(order) => {
            check(&order);
            check_again(&order);
        }
        Err(LeaseFault::Bad(problem)) => {
            assert!(problem.contains("send") || problem.contains("write") || problem.contains("has from"), "{problem}");
            assert!(problem.len() <= body.len() * 8 + 500, "{} bytes", problem.len());
        }
        Err(other) => panic!("nothing but its text was looked at: {other:?}"),
    }
});

fn check(order: &LeaseOrder) {
    let id = order.id.as_deref();
    assert!(id.is_none_or(|id| (1..=64).contains(&id.len()) && !id.contains(char::is_control)));
    assert!(id.is_some() || !matches!(order.action, LeaseAction::Renew | LeaseAction::End));
    assert!(order.agent.as_ref().is_none_or(|agent| is_dns_label(agent.namespace()) && is_dns_label(agent.name())));

    let (ttl, now) = (order.ttl.map_or(Duration::from_secs(60), |ttl| ttl.get()), Moment::START);
    assert!(!ttl.is_zero() && ttl <= Duration::from_secs(365 * 24 * 3600));
    let lease = Leases::default().take(id.unwrap_or("x"), &order.reason, ttl, CAP, now).expect("the first one");
    assert!(lease.reason.chars().count() <= MAX_REASON);
    assert!(lease.until > now && lease.until <= now + CAP);
}

/// Written out plainly it is the same order.
fn check_again(order: &LeaseOrder) {
    let action = match order.action {
        LeaseAction::Take => "take",
        LeaseAction::Renew => "renew",
        LeaseAction::End => "end",
        LeaseAction::List => "list",
    };
    let plain = json!({
        "agent": order.agent.as_ref().map(ToString::to_string),
        "action": action,
        "id": order.id,
        "reason": order.reason,
        "ttl": order.ttl.map(|ttl| ttl.to_string()),
    });
    let again = LeaseOrder::read(plain.to_string().as_bytes()).expect("it was an order");
    assert_eq!(format!("{again:?}"), format!("{order:?}"));
}
