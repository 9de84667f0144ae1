//! The network of a cluster with a node: a network namespace of its own, so that its bridge, its addresses and what
//! kube-proxy writes into iptables meet neither the machine's nor another cluster's, and are gone with it.

mod block;

use anyhow::{Context, Result};

pub(crate) use block::Block;

use crate::command;

/// The bridge of the pods, inside the namespace.
pub(crate) const BRIDGE: &str = "pods";

/// Whether the namespace is there.
pub(crate) fn exists(namespace: &str) -> bool {
    place(namespace).exists()
}

/// The file that stands for the namespace.
pub(crate) fn place(namespace: &str) -> std::path::PathBuf {
    std::path::Path::new("/run/netns").join(namespace)
}

/// Makes the namespace, and a route of the machine to it.
pub(crate) fn make(namespace: &str, block: Block) -> Result<()> {
    let outside = namespace;
    let (host, node, all) = (block.host(), block.node(), block.all());
    ip(&format!("netns add {namespace}"))?;
    ip(&format!("link add {outside} type veth peer name node netns {namespace}"))?;
    ip(&format!("addr add {host}/30 dev {outside}"))?;
    ip(&format!("link set {outside} up"))?;
    for inside in [
        "link set lo up",
        &format!("addr add {node}/30 dev node"),
        "link set node up",
        &format!("route add default via {host}"),
        // What nobody has would otherwise go back and forth between here and the machine.
        &format!("route add unreachable {all}"),
        // Made here and not by the plugin that connects pods, so that the address is there before the first pod.
        &format!("link add {BRIDGE} type bridge"),
        &format!("addr add {}/20 dev {BRIDGE}", block.gateway()),
        &format!("link set {BRIDGE} up"),
    ] {
        ip(&format!("-n {namespace} {inside}"))?;
    }
    ip(&format!("route add {all} via {node} dev {outside}"))?;
    // Pods reach Services by way of the node, also when both ends are on its bridge.
    for (key, value) in [("ipv4/ip_forward", 1), ("bridge/bridge-nf-call-iptables", 1)] {
        set_kernel_value(namespace, key, value)?;
    }
    Ok(())
}

/// Removes the namespace; the machine's end of the link and its route go with it.
pub(crate) fn remove(namespace: &str) -> Result<()> {
    // A namespace that something still uses outlives its name, and the link with it.
    if std::path::Path::new("/sys/class/net").join(namespace).exists() {
        ip(&format!("link delete {namespace}"))?;
    }
    if exists(namespace) {
        ip(&format!("netns delete {namespace}"))?;
    }
    Ok(())
}

fn set_kernel_value(namespace: &str, key: &str, value: u8) -> Result<()> {
    let place = place(namespace).display().to_string();
    let write = format!("echo {value} > /proc/sys/net/{key}");
    command::output("nsenter", [&format!("--net={place}"), "sh", "-c", &write])
        .map(drop)
        .with_context(|| format!("failed to set net/{key}; for bridge/, load the module br_netfilter"))
}

fn ip(args: &str) -> Result<()> {
    command::output("ip", args.split(' ')).map(drop)
}
