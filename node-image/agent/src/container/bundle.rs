//! A container's folder: its spec, the files that are mounted into it, its writable layer. Written before the helper
//! runs, removed with the container.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use oci_spec::runtime::Spec;

use super::config::{Isolation, RuntimeConfig};
use super::refusal::no_room;
use super::spec::{self, Surroundings};
use super::wire::Overlay;
use crate::oci::Image;
use crate::oci::config::User;
use crate::runtime::{ContainerSpec, RuntimeError};

/// Where a container's files go, and what the node adds to them.
pub(super) struct Bundle<'a> {
    pub(super) folder: &'a Path,
    pub(super) config: &'a RuntimeConfig,
    /// The controllers that groups can have here.
    pub(super) controllers: &'a [String],
    /// The folder that the image's layers are in.
    pub(super) layers: PathBuf,
    pub(super) address: Ipv4Addr,
}

impl Bundle<'_> {
    /// Writes everything, and says how the root file system is to be mounted.
    pub(super) fn write(self, asked: &ContainerSpec, image: &Image) -> Result<Overlay, RuntimeError> {
        let layers: Vec<_> = image.layers.iter().map(|name| self.layers.join(name)).collect();
        let user = User::find(&image.config.user, &layers)?;
        let node = Surroundings {
            cgroup: Path::new("/").join(&self.config.cgroup_parent).join(&asked.id),
            controllers: self.controllers,
            isolation: self.config.isolation,
            open_files_max: open_files_max(self.config.isolation),
            ipv6: Path::new("/proc/sys/net/ipv6").exists(),
            etc: self.folder,
        };
        let spec = spec::container(asked, &image.config, &user, &node)
            .map_err(|error| RuntimeError::CannotStart(crate::chain(&error)))?;
        let overlay = Overlay {
            lower: image.layers.clone(),
            upper: self.folder.join("upper"),
            work: self.folder.join("work"),
            target: self.folder.join("rootfs"),
            layers: self.layers,
        };
        write_files(self.folder, &overlay, &spec)
            .and_then(|()| write_etc(self.folder, &asked.id, self.address))
            .map_err(|error| no_room("container's folder", &error))?;
        Ok(overlay)
    }
}

/// An empty folder.
pub(super) fn recreate(folder: &Path) -> io::Result<()> {
    remove_folder(folder)?;
    fs::create_dir_all(folder)
}

/// Removes a folder, if it is there.
pub(super) fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_files(folder: &Path, overlay: &Overlay, spec: &Spec) -> io::Result<()> {
    recreate(folder)?;
    for part in [&overlay.upper, &overlay.work, &overlay.target] {
        fs::create_dir_all(part)?;
    }
    fs::write(folder.join("config.json"), serde_json::to_vec(spec)?)
}

fn write_etc(folder: &Path, id: &str, address: Ipv4Addr) -> io::Result<()> {
    fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{address} {id}\n"))?;
    fs::write(folder.join("hostname"), format!("{id}\n"))?;
    // A node without name servers has containers without.
    let name_servers = fs::read("/etc/resolv.conf").unwrap_or_default();
    fs::write(folder.join("resolv.conf"), name_servers)
}

/// A host that confines us lets nobody have more than we have.
fn open_files_max(isolation: Isolation) -> u64 {
    match isolation {
        Isolation::Required => spec::OPEN_FILES_MAX,
        Isolation::WhereAvailable { .. } => {
            getrlimit(Resource::RLIMIT_NOFILE).map_or(spec::OPEN_FILES_MAX, |(_, hard)| hard.min(spec::OPEN_FILES_MAX))
        }
    }
}
