//! `deploy/` and the program are about the same things: ports, times, labels, permissions, metrics. These tests read the
//! manifests as they stand; tests/e2e applies them to a cluster.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use drowse::config::{self, Backend, Config};
use drowse::nats::credentials::CredentialsSource;
use serde_json::{Value, json};

const BASE: &str = "deploy/kustomize/base";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The objects of a manifest.
fn objects(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn object(path: &str, kind: &str) -> Value {
    let found = objects(path).into_iter().find(|object| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("{path} has no {kind}"))
}

fn deployment() -> Value {
    object(&format!("{BASE}/deployment.yaml"), "Deployment")
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// Every file of that name below a folder.
fn find(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            find(&entry.path(), name, found);
        } else if entry.file_name() == name {
            found.push(entry.path());
        }
    }
}

/// Every configuration that is installed.
fn configs() -> Vec<(PathBuf, Config)> {
    let mut paths = Vec::new();
    find(&root().join("deploy/kustomize"), "drowse.yaml", &mut paths);
    assert!(paths.len() >= 3, "base, namespaced, sandbox-router: {paths:?}");
    let parse = |path: PathBuf| match config::parse(&text(&path), &path) {
        Ok(config) => (path, config),
        Err(error) => panic!("{error}"),
    };
    paths.into_iter().map(parse).collect()
}

#[test]
fn ports_of_every_configuration_are_those_of_the_deployment_and_the_admin_api_stays_in_the_pod() {
    let deployment = deployment();
    let ports = container(&deployment)["ports"].as_array().unwrap();
    let port = |name: &str| {
        let port = ports.iter().find(|port| port["name"] == name).unwrap();
        port["containerPort"].as_u64().unwrap()
    };
    for (path, config) in configs() {
        let path = path.display();
        assert_eq!(u64::from(config.front_door.listen.port()), port("front-door"), "{path}");
        assert_eq!(u64::from(config.health.listen.port()), port("health"), "{path}");
        assert!(config.front_door.listen.ip().is_unspecified(), "{path}: callers come from other pods");
        assert!(config.health.listen.ip().is_unspecified(), "{path}: the kubelet comes from the node");
        assert!(config.admin.listen.ip().is_loopback(), "{path}");
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        assert_eq!(container(&deployment)[probe]["httpGet"]["port"], "health", "{probe}");
    }
    let service = object(&format!("{BASE}/service.yaml"), "Service");
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "front-door");
}

/// A line of configuration that is commented out. Words have one space before them.
fn commented_out(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|line| !line.starts_with(' ') || line.starts_with("  "))
}

#[test]
fn what_is_commented_out_in_the_configuration_holds_and_its_passwords_are_where_the_component_puts_them() {
    let path = format!("{BASE}/drowse.yaml");
    let written = text(&path).replace("rules: []", "rules:");
    let lines: Vec<_> = written.lines().map(|line| commented_out(line).unwrap_or(line)).collect();
    let config = config::parse(&lines.join("\n"), Path::new(&path)).unwrap_or_else(|error| panic!("{error}"));
    let nats = config.nats.expect("the section nats");
    let component = text("deploy/kustomize/components/nats/kustomization.yaml");
    let folder = component.split("mountPath: ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    assert_ne!(nats.client, nats.leaf);
    for credentials in [nats.client, nats.leaf] {
        let CredentialsSource::Password { file, .. } = credentials else { panic!("{credentials:?}") };
        assert_eq!(file.parent(), Some(Path::new(folder)));
    }
}

/// For what comes behind `drain_timeout`: last words, the messages that still wait, and what was begun.
const MARGIN: Duration = Duration::from_secs(15);

#[test]
fn the_kubelet_waits_until_everybody_who_was_sent_here_is_served() {
    let ha = object("deploy/kustomize/components/high-availability/deployment.yaml", "Deployment");
    let installed = deployment();
    for deployment in [&installed, &ha] {
        assert!(container(deployment)["lifecycle"].is_null(), "a hook would add to the time");
    }
    assert!(ha["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].is_null());
    let grace = installed["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    for (path, config) in configs() {
        let path = path.display();
        let door = &config.front_door;
        assert!(!door.shutdown_delay.is_zero(), "{path}: nodes hear of the end later than Drowse");
        assert_eq!(config.warnings(), [""; 0], "{path}: who began to wait at the last moment is served");
        assert!(Duration::from_secs(grace) >= door.shutdown_delay + door.drain_timeout + MARGIN, "{path}");
    }
}

#[test]
fn systemd_waits_until_everybody_is_served_and_the_agents_have_ended() {
    let unit = text("deploy/systemd/drowse.service");
    let seconds = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    let path = "config/drowse.yaml";
    let config = config::parse(&text(path), Path::new(path)).unwrap_or_else(|error| panic!("{error}"));
    let Backend::Process(process) = &config.backend else { panic!("{:?}", config.backend) };
    let door = &config.front_door;
    let needed = door.shutdown_delay + door.drain_timeout + process.stop_grace + MARGIN;
    assert!(Duration::from_secs(seconds.parse().unwrap()) >= needed, "{needed:?}");
}

#[test]
fn a_namespace_of_agents_gives_the_same_permissions_as_the_cluster() {
    let everywhere = object("deploy/kustomize/components/cluster-access/clusterrole.yaml", "ClusterRole");
    let one_namespace = object("deploy/kustomize/agent-namespace/role.yaml", "Role");
    assert_eq!(everywhere["rules"], one_namespace["rules"]);
    assert!(everywhere["rules"].as_array().is_some_and(|rules| !rules.is_empty()));
}

/// By these a replica knows itself among the others, and callers find it.
#[test]
fn a_pod_is_told_who_it_is_and_has_the_label_by_which_it_is_found() {
    let program = text("src/backend/kubernetes/mod.rs");
    let deployment = deployment();
    let env = container(&deployment)["env"].as_array().unwrap();
    for (variable, field) in [("POD_NAME", "metadata.name"), ("POD_NAMESPACE", "metadata.namespace")] {
        let told = env.iter().find(|told| told["name"] == variable).unwrap();
        assert_eq!(told["valueFrom"]["fieldRef"]["fieldPath"], field);
        assert!(program.contains(&format!("variable(\"{variable}\")")), "the program reads {variable}");
    }
    let label = "app.kubernetes.io/name";
    let ours = json!({label: "drowse"});
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], ours);
    let select = [
        deployment["spec"]["selector"]["matchLabels"].clone(),
        object(&format!("{BASE}/service.yaml"), "Service")["spec"]["selector"].clone(),
        object(&format!("{BASE}/networkpolicy.yaml"), "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
            .clone(),
    ];
    assert_eq!(select, [ours.clone(), ours.clone(), ours]);
}

#[test]
fn it_may_do_with_the_lease_what_it_does_and_no_more() {
    let role = object(&format!("{BASE}/role.yaml"), "Role");
    let membership = text("src/coordination/membership.rs");
    assert!(membership.contains("const NAME: &str = \"drowse\""), "the Lease of the permissions");
    let rules = role["rules"].as_array().unwrap();
    let of = |resource: &str| {
        let of = rules.iter().filter(|rule| rule["resources"] == json!([resource]));
        of.map(|rule| (rule["verbs"].clone(), rule["resourceNames"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(
        of("leases"),
        [(json!(["create"]), json!(null)), (json!(["get", "patch"]), json!(["drowse"]))]
    );
    assert_eq!(of("pods"), [(json!(["get", "list"]), json!(null))]);
}

#[test]
fn alerts_and_the_dashboard_use_metrics_that_exist() {
    let known: BTreeSet<_> = text("METRICS.md")
        .lines()
        .filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`').map(ToOwned::to_owned))
        .collect();
    assert!(known.contains("drowse_agents"), "{known:?}");
    let is_known = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        known.contains(name)
            || parts.iter().any(|part| name.strip_suffix(part).is_some_and(|name| known.contains(name)))
    };
    for path in ["alerts.yaml", "alerts.test.yaml", "dashboard.json"] {
        let text = text(Path::new("deploy/observability").join(path));
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let used: BTreeSet<_> = words.filter(|word| word.starts_with("drowse_")).collect();
        assert!(!used.is_empty(), "{path}");
        let unknown: Vec<_> = used.into_iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "{path} uses metrics that METRICS.md does not have: {unknown:?}");
    }
}

#[test]
fn prometheus_reads_the_alerts_and_each_fires_when_it_should() {
    let output = Command::new(root().join("scripts/alerts")).output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
}

#[test]
fn the_image_is_built_with_the_rust_of_the_project() {
    let version = format!("rust-version = {:?}", image_rust());
    assert!(text("Cargo.toml").contains(&version), "deploy/Dockerfile builds with another: {version}");
}

/// Cargo reads the manifest of each, whichever it builds, and beside them how jemalloc is to be built.
#[test]
fn the_image_is_built_with_all_members_of_the_workspace() {
    let manifest = text("Cargo.toml");
    let members = manifest.lines().find(|line| line.starts_with("members = ")).unwrap();
    let folders = members.split('"').skip(1).step_by(2).map(|member| member.split('/').next().unwrap());
    let (dockerfile, ignored) = (text("deploy/Dockerfile"), text("deploy/Dockerfile.dockerignore"));
    for folder in folders.filter(|folder| *folder != ".").chain(["src", ".cargo"]) {
        assert!(dockerfile.contains(&format!("\nCOPY {folder} {folder}\n")), "{folder} is not copied");
        assert!(ignored.contains(&format!("\n!{folder}\n")), "{folder} is ignored");
    }
}

fn image_rust() -> String {
    let dockerfile = text("deploy/Dockerfile");
    let tag = dockerfile.lines().find_map(|line| line.strip_prefix("FROM rust:")).unwrap();
    tag.split('-').next().unwrap().to_owned()
}
