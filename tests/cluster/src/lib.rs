//! A real Kubernetes cluster with Agent Sandboxes on this machine, for tests and for trying Drowse: its parts are built
//! from pinned Go modules and cached; no container engine, image registry or virtual machine is needed.
//!
//! A cluster is a folder ([`Options::dir`]). With a node it lives in a network namespace of its own, so that several
//! clusters stand beside each other; the machine has a route into it, hence pods and Services answer at their
//! addresses, and pods reach the machine at `HOST_ADDRESS`. There is no route from a pod to anywhere else.
//!
//! What a test can count on, beyond a usual cluster:
//!
//! - **Images** come from archives ([`Cluster::load_image`], [`Image`]); pods say `imagePullPolicy: Never`.
//! - **Volumes** of the storage class `local`, the default, are made with [`Cluster::create_volumes`].
//! - **Runtime classes** `runc-too` (the same runtime by another name) and `one-address`. All pods of `one-address` have
//!   the same address, one pod at a time: the next one gets the address of the one before as soon as that is gone.
//! - **Components** can be stopped, killed, frozen and started again ([`Cluster::component`]); `pids/NAME` in the folder
//!   holds each one's pid and start time, `logs/NAME.log` its words.
//! - **Fake nodes** for large numbers of pods ([`Cluster::create_fake_nodes`]): labelled `type=kwok`, and tainted
//!   `kwok.x-k8s.io/node=fake:NoSchedule`.

mod certificates;
mod cleanup;
mod cluster;
mod command;
mod component;
mod components;
mod containers;
mod debian;
mod hex;
mod image;
mod interrupt;
mod kernel;
mod kubectl;
mod launch;
mod network;
mod objects;
mod options;
mod parts;
mod pause;
mod ports;
mod process;
mod spawn;
mod state;
mod wait;

pub use cluster::Cluster;
pub use component::Component;
pub use image::Image;
pub use interrupt::{asked as asked_to_end, ignore as ignore_signals, listen as listen_for_signals};
pub use options::Options;
pub use parts::program;
pub use process::Process;
pub use runner::run;

mod runner;
