//! The image of the process that holds a pod's namespaces, which every pod needs and no registry is asked for.

use anyhow::{Context, Result};

use crate::image::Image;
use crate::state::State;

/// Its name, in full: containerd takes a short one for one of a public registry.
pub(crate) const IMAGE: &str = "drowse.dev/pause:1";

/// Writes the archive into the cluster's folder, and returns where.
pub(crate) fn write(state: &State) -> Result<std::path::PathBuf> {
    let binary = state.programs.get("pause").context("the pause program is missing")?.clone();
    let out = state.file("pause.tar");
    Image { binary, name: IMAGE.to_owned(), entrypoint: "/pause".to_owned(), user: 65535 }.write(&out)?;
    Ok(out)
}
