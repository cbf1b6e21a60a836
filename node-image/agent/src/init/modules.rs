//! Kernel modules, loaded in the order that the image's build wrote down: `/modules/<set>.list` names one module a
//! line, dependencies first. Nothing is resolved here.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use super::InitError;

/// Where the image keeps its modules.
pub const MODULES_FOLDER: &str = "/modules";

/// The set that reaches home: network and identity.
pub const NET_SET: &str = "net";

/// A list longer than this is not ours, in modules.
const LIST_MAX_MODULES: usize = 256;

/// Loads one set. A set that the image does not have is empty.
pub fn load(folder: &Path, set: &str) -> Result<(), InitError> {
    for module in read_list(&folder.join(format!("{set}.list"))) {
        let load = || -> Result<(), io::Error> {
            let file = File::open(folder.join(format!("{module}.ko")))?;
            match finit_module(&file, c"", ModuleInitFlags::empty()) {
                // Built in or loaded before; for a device that this machine lacks; or it builds on one that is.
                Ok(()) | Err(Errno::EEXIST | Errno::ENODEV | Errno::ENOENT) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        load().map_err(|source| InitError::Module {
            module: module.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Loads every other set that the image has, in name order; what cannot be loaded is said and skipped.
pub fn load_others(folder: &Path) {
    for set in other_sets(folder) {
        if let Err(error) = load(folder, &set) {
            tracing::warn!(set, error = %crate::chain(&error), "a set of kernel modules is not complete");
        }
    }
}

fn other_sets(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    let mut sets: Vec<String> = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "list"))
        .filter_map(|path| path.file_stem()?.to_str())
        .filter(|set| *set != NET_SET)
        .map(str::to_owned)
        .collect();
    sets.sort();
    sets
}

fn read_list(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter(|name| is_module_name(name))
        .take(LIST_MAX_MODULES)
        .map(str::to_owned)
        .collect()
}

fn is_module_name(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_order_and_names_only_modules() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.list");
        std::fs::write(&path, "virtio\nvirtio_net\n../etc/x\n").unwrap();
        assert_eq!(read_list(&path), ["virtio", "virtio_net"]);
        assert!(read_list(&folder.path().join("none.list")).is_empty());
    }

    #[test]
    fn other_sets_are_all_but_net_in_name_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["net.list", "overlay.list", "container.list", "overlay.ko"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(other_sets(folder.path()), ["container", "overlay"]);
    }
}
