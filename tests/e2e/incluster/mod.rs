//! Drowse as it is installed: as pods, from `deploy/`, in its own image, with the permissions that it is given there.
//!
//! `tests/e2e/deploy` has the overlays of `deploy/` with rules for the namespaces of these tests. An installation has the
//! cluster for itself, since all of them would manage the same Sandboxes; so these tests run one after the other.

mod chaos;
mod http;
mod installation;
mod kubectl;
mod messages;
mod nats;
mod overlays;
mod replicas;
mod sandbox;
mod single;
