//! Building one part with the Go toolchain. It is made under a temporary name and renamed, so that an interrupted build
//! leaves nothing half-made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::{Part, cache};
use crate::command;
use crate::wait::Stopwatch;

/// Builds `part` from the Go module in `source` into the folder `place`.
pub(super) fn build(part: &Part, place: &Path, source: &Path, count: &str) -> Result<()> {
    ensure!(
        command::find("go").is_some(),
        "go is missing, which builds {}; install Go 1.26 or newer (go.dev/doc/install)",
        part.name
    );
    let version = cache::version(&part.module, source)?;
    eprintln!("building {} {version} ({count}); this takes minutes, once ...", part.name);
    let watch = Stopwatch::start();
    let unfinished = with_suffix(place, ".unfinished")?;
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)
            .with_context(|| format!("failed to remove {}", unfinished.display()))?;
    }
    fs::create_dir_all(&unfinished).with_context(|| format!("failed to make {}", unfinished.display()))?;
    go_build(part, source, &version, &unfinished.join(part.name))?;
    copy_companions(part, source, &unfinished)?;
    fs::rename(&unfinished, place).with_context(|| format!("failed to make {}", place.display()))?;
    eprintln!("built {} in {:.0} s", part.name, watch.seconds());
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> Result<PathBuf> {
    let name = path.file_name().context("a part's place has a name")?.to_string_lossy();
    Ok(path.with_file_name(format!("{name}{suffix}")))
}

fn go_build(part: &Part, source: &Path, version: &str, program: &Path) -> Result<()> {
    let linked = part.module.linked.replace("{version}", version);
    let status = Command::new("go")
        .args(["build", "-mod=readonly", "-trimpath", "-tags", part.module.tags])
        .args(["-ldflags", &format!("-s -w {linked}"), "-o"])
        .arg(program)
        .arg(part.package)
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .status()
        .context("failed to run go")?;
    if !status.success() {
        bail!(
            "failed to build {} (go build: {status}); what go says stands above. If it cannot reach its module \
             proxy, see `go help goproxy`",
            part.name
        );
    }
    Ok(())
}

/// Copies what the module of a part brings that the program itself does not have.
fn copy_companions(part: &Part, source: &Path, place: &Path) -> Result<()> {
    match part.name {
        // The custom resource definitions and the controller's rights.
        "agent-sandbox-controller" => {
            let from = folder_of("sigs.k8s.io/agent-sandbox", source)?.join("k8s");
            copy_yaml(&from.join("crds"), &place.join("k8s"), |_| true)?;
            copy_yaml(&from, &place.join("k8s"), |name| name.ends_with("rbac.generated.yaml"))
        }
        // How a node and a pod that do not exist behave.
        "kwok" => {
            let from = folder_of("sigs.k8s.io/kwok", source)?.join("kustomize/stage");
            ["node/fast", "node/heartbeat-with-lease", "pod/fast"].into_iter().try_for_each(|stages| {
                copy_yaml(&from.join(stages), &place.join("stages"), |name| name != "kustomization.yaml")
            })
        }
        _ => Ok(()),
    }
}

fn folder_of(module: &str, source: &Path) -> Result<PathBuf> {
    let mut list = Command::new("go");
    list.args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module]).current_dir(source);
    Ok(PathBuf::from(command::finish(list)?.trim()))
}

fn copy_yaml(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("failed to make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("failed to read {}", from.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().extension().is_some_and(|extension| extension == "yaml") && wanted(&name) {
            let text = fs::read(entry.path())?;
            fs::write(to.join(&name), text).with_context(|| format!("failed to write {name}"))?;
        }
    }
    Ok(())
}
