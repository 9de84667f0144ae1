//! The keys and certificates of a cluster: one authority, the API server, and one identity for each client.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;

/// A client of the API server: the name of its kubeconfig, its user, and its group.
type Client = (&'static str, &'static str, &'static str);

/// The node's name.
pub(crate) const NODE: &str = "node";

const CLIENTS: [Client; 9] = [
    ("admin", "admin", "system:masters"),
    ("kube-controller-manager", "system:kube-controller-manager", "system:kube-controller-manager"),
    ("kube-scheduler", "system:kube-scheduler", "system:kube-scheduler"),
    ("kubelet", "system:node:node", "system:nodes"),
    ("kube-proxy", "system:kube-proxy", "system:kube-proxy"),
    ("coredns", "system:coredns", "system:coredns"),
    ("kwok", "kwok", "system:masters"),
    // What it is in a cluster that it runs in: the same rights, and the same share of the API server.
    (
        "agent-sandbox-controller",
        "system:serviceaccount:agent-sandbox-system:agent-sandbox-controller",
        "system:serviceaccounts",
    ),
    // The API server, when it asks the kubelet for logs or to run something.
    ("kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
];

/// Writes all of them into `folder`: `NAME.crt`, `NAME.key`, and for clients `NAME.kubeconfig`.
pub(crate) fn write(folder: &Path, server: &str, server_names: &[String]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "drowse-cluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    save(folder, "ca.crt", &params.self_signed(&key)?.pem())?;
    let authority = Issuer::new(params, key);

    issue(folder, &authority, "apiserver", ("kube-apiserver", "kubernetes"), server_names)?;
    for (name, user, group) in CLIENTS {
        issue(folder, &authority, name, (user, group), &[])?;
        save(folder, &format!("{name}.kubeconfig"), &kubeconfig(folder, server, name))?;
    }
    let accounts = KeyPair::generate()?;
    save(folder, "service-accounts.key", &accounts.serialize_pem())?;
    save(folder, "service-accounts.pub", &accounts.public_key_pem())
}

fn issue(
    folder: &Path,
    authority: &Issuer<'_, KeyPair>,
    name: &str,
    (user, group): (&str, &str),
    names: &[String],
) -> Result<()> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, user);
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    save(folder, &format!("{name}.crt"), &params.signed_by(&key, authority)?.pem())?;
    save(folder, &format!("{name}.key"), &key.serialize_pem())
}

/// JSON, which is YAML too.
fn kubeconfig(folder: &Path, server: &str, name: &str) -> String {
    let file = |name: String| folder.join(name);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "drowse",
        "clusters": [{"name": "drowse", "cluster": {
            "server": server,
            "certificate-authority": file("ca.crt".to_owned()),
        }}],
        "users": [{"name": name, "user": {
            "client-certificate": file(format!("{name}.crt")),
            "client-key": file(format!("{name}.key")),
        }}],
        "contexts": [{"name": "drowse", "context": {"cluster": "drowse", "user": name}}],
    });
    format!("{config:#}\n")
}

fn save(folder: &Path, name: &str, text: &str) -> Result<()> {
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))
}
