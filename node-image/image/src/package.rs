//! Gets Debian's cloud kernel: downloads its package into a cache folder and unpacks it there. Never installs it. Runs
//! `apt-cache`, `apt-get download` and `dpkg-deb`, which every Debian has. Called by `assemble`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};

/// Depends on the newest kernel of its kind.
const META_PACKAGE: &str = "linux-image-cloud-amd64";
const KERNEL_PREFIX: &str = "linux-image-";
/// So much of a failed program's words is shown, in bytes.
const MESSAGE_MAX_BYTES: usize = 2000;
/// Marks a folder whose package is unpacked to the end.
const UNPACKED: &str = "unpacked";

/// Which kernel package to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageSource {
    /// The newest that the machine's package index knows, kept in the cache.
    Newest,
    /// This `.deb` file.
    File(PathBuf),
}

/// A kernel package, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelPackage {
    /// File name of the package: name, version and architecture.
    pub package: String,
    /// The kernel's release, as `uname -r` prints it.
    pub release: String,
    /// The packed kernel.
    pub vmlinuz: PathBuf,
    /// `lib/modules/<release>`.
    pub modules: PathBuf,
}

/// Gets the package and unpacks it under `cache`; what is there already is used.
pub fn obtain(source: &PackageSource, cache: &Path) -> Result<KernelPackage> {
    fs::create_dir_all(cache).map_err(Error::file("create", cache))?;
    let deb = match source {
        PackageSource::Newest => newest(cache)?,
        PackageSource::File(path) => path.clone(),
    };
    let package = deb
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let folder = cache.join(package.trim_end_matches(".deb"));
    if !folder.join(UNPACKED).exists() {
        unpack(&deb, &folder)?;
    }
    let boot = folder.join("boot");
    let release = names(&boot)?
        .into_iter()
        .find_map(|n| Some(n.strip_prefix("vmlinuz-")?.to_owned()));
    let Some(release) = release else {
        return Err(Error::Kernel {
            path: deb,
            message: "the package has no boot/vmlinuz-*".to_owned(),
        });
    };
    // Packages of merged-usr releases put the modules under usr/.
    let modules = ["lib/modules", "usr/lib/modules"].map(|l| folder.join(l).join(&release));
    let Some(modules) = modules.into_iter().find(|m| m.is_dir()) else {
        return Err(Error::Kernel {
            path: deb,
            message: format!("the package has no modules of {release}"),
        });
    };
    Ok(KernelPackage {
        package,
        vmlinuz: boot.join(format!("vmlinuz-{release}")),
        release,
        modules,
    })
}

/// The newest package, downloaded unless the cache has it.
fn newest(cache: &Path) -> Result<PathBuf> {
    let name = newest_name()?;
    if let Some(path) = cached(cache, &name)? {
        return Ok(path);
    }
    let hint = "run `apt-get update`, or give a package with --kernel-package";
    run(
        Command::new("apt-get")
            .args(["download", "-q"])
            .arg(&name)
            .current_dir(cache),
        "apt",
        hint,
    )?;
    cached(cache, &name)?.ok_or_else(|| Error::Program {
        command: format!("apt-get download {name}"),
        message: format!("it left no package in {}", cache.display()),
        hint,
    })
}

fn newest_name() -> Result<String> {
    let hint = "run `apt-get update`, or give a package with --kernel-package";
    let listing = run(Command::new("apt-cache").args(["depends", META_PACKAGE]), "apt", hint)?;
    first_kernel(&listing).map(str::to_owned).ok_or_else(|| Error::Program {
        command: format!("apt-cache depends {META_PACKAGE}"),
        message: "it names no kernel package".to_owned(),
        hint,
    })
}

/// The kernel package that `apt-cache depends` names.
fn first_kernel(listing: &str) -> Option<&str> {
    listing.lines().find_map(|line| {
        line.trim()
            .strip_prefix("Depends: ")
            .filter(|n| n.starts_with(KERNEL_PREFIX))
    })
}

fn cached(cache: &Path, name: &str) -> Result<Option<PathBuf>> {
    let prefix = format!("{name}_");
    let mut found: Vec<String> = names(cache)?
        .into_iter()
        .filter(|n| n.starts_with(&prefix) && n.ends_with(".deb"))
        .collect();
    found.sort();
    Ok(found.pop().map(|n| cache.join(n)))
}

fn unpack(deb: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(Error::file("remove", folder))?;
    }
    let hint = "remove the package from the cache folder and build again";
    run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(folder), "dpkg", hint)?;
    let mark = folder.join(UNPACKED);
    fs::write(&mark, "").map_err(Error::file("write", &mark))
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(Error::file("list", folder))?;
    Ok(entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect())
}

/// Runs a program to its end and gives what it printed.
fn run(command: &mut Command, package: &'static str, hint: &'static str) -> Result<String> {
    let line = |command: &Command| {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words
            .map(|w| w.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let output = command.env("LC_ALL", "C").output().map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            let program = if package == "dpkg" { "dpkg-deb" } else { "apt-get" };
            Error::NoProgram { program, package }
        } else {
            Error::File {
                action: "run",
                path: PathBuf::from(command.get_program()),
                source,
            }
        }
    })?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let message = words.trim().chars().take(MESSAGE_MAX_BYTES).collect();
        return Err(Error::Program {
            command: line(command),
            message,
            hint,
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_package_is_found_among_the_dependencies() {
        let listing = "linux-image-cloud-amd64\n  Depends: linux-base\n  Depends: linux-image-6.1.0-9-cloud-amd64\n";
        assert_eq!(first_kernel(listing), Some("linux-image-6.1.0-9-cloud-amd64"));
        assert_eq!(first_kernel("linux-image-cloud-amd64\n"), None);
    }

    #[test]
    fn a_package_in_the_cache_is_taken_by_its_whole_name() {
        let cache = tempfile::tempdir().unwrap();
        for name in [
            "linux-image-6_1_amd64.deb",
            "linux-image-60_1_amd64.deb",
            "linux-image-6_1_amd64.txt",
        ] {
            fs::write(cache.path().join(name), "").unwrap();
        }
        let found = cached(cache.path(), "linux-image-6").unwrap();
        assert_eq!(found, Some(cache.path().join("linux-image-6_1_amd64.deb")));
        assert_eq!(cached(cache.path(), "linux-image-7").unwrap(), None);
    }
}
