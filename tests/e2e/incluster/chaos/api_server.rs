//! The API server and what it needs, killed and frozen, and the return of all that needs it.

use drowse_cluster::Cluster;

use super::agents::cluster_folder;
use crate::incluster::kubectl::{apply, eventually, get, is, kubectl};
use crate::support::Agent;

/// What starts pods and leads to them. After an outage each of these lets up to half a minute go by before it asks again, unless it is started anew.
const NEED_IT: [&str; 6] = [
    "kube-controller-manager",
    "kube-scheduler",
    "agent-sandbox-controller",
    "kubelet",
    "kube-proxy",
    "coredns",
];

/// An API server that cannot be used. Until it is told to come back, or dropped.
pub(super) struct Outage {
    cluster: Cluster,
    component: &'static str,
    frozen: bool,
}

impl Outage {
    /// Its process is gone.
    pub(super) fn kill() -> Self {
        let outage = Self::of("kube-apiserver", false);
        outage.cluster.component(outage.component).and_then(|it| it.kill()).expect("it runs");
        outage
    }

    /// It, or etcd, stands still: connections stay, and nothing answers.
    pub(super) fn freeze(component: &'static str) -> Self {
        let outage = Self::of(component, true);
        outage.cluster.component(outage.component).and_then(|it| it.pause()).expect("it runs");
        outage
    }

    fn of(component: &'static str, frozen: bool) -> Self {
        Self { cluster: Cluster::attach(&cluster_folder()).expect("the cluster"), component, frozen }
    }

    /// Ends it, and waits until the cluster starts pods again, by itself: a Sandbox that Drowse has no rule for shows it.
    pub(super) fn end(self) {
        self.give_back();
        let component = |name: &str| self.cluster.component(name).expect("a component");
        component("kube-apiserver").wait_ready().expect("it is back");
        for name in NEED_IT {
            component(name).restart().expect("it starts again");
        }
        apply(&Agent::new("canary").json());
        eventually("the cluster starts a pod", || {
            get("default", "pod/canary").filter(|pod| is(pod, "ContainersReady"))
        });
        kubectl(&["delete", "sandbox/canary"]);
        eventually("the cluster ends a pod", || get("default", "pod/canary").is_none().then_some(()));
    }

    fn give_back(&self) {
        let component = self.cluster.component(self.component).expect("a component");
        if self.frozen { component.resume() } else { component.start() }.expect("it goes on");
    }
}

impl Drop for Outage {
    /// What runs already is not started again, and what goes on is not held up.
    fn drop(&mut self) {
        self.give_back();
    }
}
