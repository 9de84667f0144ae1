//! An image of one static binary, made without a container engine and without a registry: the archive that
//! `docker save` writes and `ctr image import` reads. The same binary gives the same bytes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::hex::hex;

/// Where Debian keeps the authorities that TLS trusts, and where most libraries look for them.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// What to make an image of.
#[derive(Debug, Clone)]
pub struct Image {
    /// The static binary.
    pub binary: PathBuf,
    /// The image's name and tag, as a pod says it.
    pub name: String,
    /// Where the binary is in the image; it is what a container runs.
    pub entrypoint: String,
    /// Who runs it: a number, so that `runAsNonRoot` can be checked.
    pub user: u32,
}

impl Image {
    /// Writes the archive, under a temporary name first.
    pub fn write(&self, out: &Path) -> Result<()> {
        let archive = self.archive(fs::read(Path::new("/").join(AUTHORITIES)).ok().as_deref())?;
        if let Some(folder) = out.parent() {
            fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        }
        let unfinished = out.with_extension("unfinished");
        fs::write(&unfinished, archive)
            .and_then(|()| fs::rename(&unfinished, out))
            .with_context(|| format!("failed to write {}", out.display()))
    }

    fn archive(&self, authorities: Option<&[u8]>) -> Result<Vec<u8>> {
        let layer = self.layer(authorities)?;
        let config = self.config(&digest(&layer)).to_string();
        let config_name = format!("{}.json", digest(config.as_bytes()));
        let manifest = json!([{"Config": config_name, "RepoTags": [self.name], "Layers": ["layer.tar"]}]);
        let mut archive = Builder::new(Vec::new());
        file(&mut archive, &config_name, 0o644, config.as_bytes())?;
        file(&mut archive, "layer.tar", 0o644, &layer)?;
        file(&mut archive, "manifest.json", 0o644, manifest.to_string().as_bytes())?;
        archive.into_inner().context("failed to finish the archive")
    }

    fn layer(&self, authorities: Option<&[u8]>) -> Result<Vec<u8>> {
        let place = self.entrypoint.strip_prefix('/').filter(|place| !place.is_empty());
        let place =
            place.with_context(|| format!("the entrypoint {:?} does not begin at /", self.entrypoint))?;
        let binary = fs::read(&self.binary)
            .with_context(|| format!("failed to read {}; build it first", self.binary.display()))?;
        ensure!(
            !binary.windows(INTERPRETER.len()).take(4096).any(|bytes| bytes == INTERPRETER),
            "{} needs a dynamic loader, which the image lacks; build it static (scripts/image says how)",
            self.binary.display()
        );
        let mut layer = Builder::new(Vec::new());
        folder(&mut layer, "tmp/", 0o1777)?;
        if let Some(authorities) = authorities {
            for name in ["etc/", "etc/ssl/", "etc/ssl/certs/"] {
                folder(&mut layer, name, 0o755)?;
            }
            file(&mut layer, AUTHORITIES, 0o644, authorities)?;
        }
        file(&mut layer, place, 0o755, &binary)?;
        layer.into_inner().context("failed to finish the layer")
    }

    fn config(&self, layer: &str) -> serde_json::Value {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        json!({
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Entrypoint": [self.entrypoint],
                "User": self.user.to_string(),
                "Env": ["PATH=/", "HOME=/tmp"],
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        })
    }
}

/// The path by which a dynamic binary asks for its loader; it stands in the first page or two.
const INTERPRETER: &[u8] = b"/ld-linux";

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn file(archive: &mut Builder<Vec<u8>>, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    entry(archive, name, EntryType::Regular, mode, bytes)
}

fn folder(archive: &mut Builder<Vec<u8>>, name: &str, mode: u32) -> Result<()> {
    entry(archive, name, EntryType::Directory, mode, &[])
}

fn entry(archive: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(u64::try_from(bytes.len())?);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, name, bytes).with_context(|| format!("failed to add {name}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn image(binary: &[u8]) -> (tempfile::TempDir, Image) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("binary");
        fs::write(&file, binary).unwrap();
        let image = Image {
            binary: file,
            name: "drowse:dev".to_owned(),
            entrypoint: "/drowse".to_owned(),
            user: 65532,
        };
        (folder, image)
    }

    fn read(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, entry.header().mode().unwrap(), bytes)
        });
        entries.collect()
    }

    #[test]
    fn the_same_binary_gives_the_same_bytes() {
        let (_first, first) = image(b"binary");
        let (_second, second) = image(b"binary");
        assert_eq!(first.archive(None).unwrap(), second.archive(None).unwrap());
    }

    #[test]
    fn the_archive_describes_its_layer() {
        let (_folder, image) = image(b"binary");
        let archive = read(&image.archive(Some(b"authorities")).unwrap());
        let find = |name: &str| &archive.iter().find(|(path, ..)| path == name).unwrap().2;
        let manifest: serde_json::Value = serde_json::from_slice(find("manifest.json")).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "drowse:dev");
        let config = find(manifest[0]["Config"].as_str().unwrap());
        let config: serde_json::Value = serde_json::from_slice(config).unwrap();
        let layer = find("layer.tar");
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", digest(layer)));
        assert_eq!(config["config"]["User"], "65532");
        let layer = read(layer);
        let modes: Vec<_> = layer.iter().map(|(path, mode, _)| (path.as_str(), *mode)).collect();
        assert!(modes.contains(&("tmp/", 0o1777)) && modes.contains(&("drowse", 0o755)), "{modes:?}");
        assert!(layer.iter().any(|(path, _, bytes)| path == AUTHORITIES && bytes == b"authorities"));
    }

    #[test]
    fn a_binary_that_needs_a_loader_is_refused() {
        let (_folder, image) = image(b"\x7fELF /lib64/ld-linux-x86-64.so.2");
        assert!(image.archive(None).unwrap_err().to_string().contains("dynamic loader"));
    }
}
