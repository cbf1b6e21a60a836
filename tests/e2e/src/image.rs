//! What machines boot: the real node image, or files that only look like one, for tests in which nothing boots.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Daemonizes as QEMU does, then waits for its end and does nothing.
const QEMU_THAT_BOOTS_NOTHING: &str = r#"#!/bin/sh
previous=
for argument; do
    if [ "$previous" = -pidfile ]; then pid_file=$argument; fi
    previous=$argument
done
if [ -z "$DAEMON" ]; then
    DAEMON=1 setsid "$0" "$@" </dev/null >/dev/null 2>&1 &
    until [ -s "$pid_file" ]; do sleep 0.1; done
    exit 0
fi
mkfifo "$pid_file.never"
echo $$ >"$pid_file"
read -r _ <>"$pid_file.never"
"#;

/// The real node image: `$ISOBAR_IMAGE`.
///
/// # Panics
///
/// When there is none.
pub fn real() -> PathBuf {
    let folder = std::env::var_os("ISOBAR_IMAGE").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.join("manifest.json").is_file());
    folder.expect("ISOBAR_IMAGE names no node image: run `./dev test vm`, or `./dev image` first")
}

/// The real engine image: `$ISOBAR_ENGINE_IMAGE`.
///
/// # Panics
///
/// When there is none.
pub fn engine() -> PathBuf {
    let folder = std::env::var_os("ISOBAR_ENGINE_IMAGE").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.join("manifest.json").is_file());
    folder.expect("ISOBAR_ENGINE_IMAGE names no engine image: run `./dev test vm`, or `./dev image --engine` first")
}

/// Writes what the provider takes for an image: plans can be made with it, nothing boots.
///
/// # Panics
///
/// When the folder cannot be written.
pub fn write_empty(folder: &Path) {
    fs::create_dir_all(folder).expect("the folder can be made");
    let manifest = r#"{"format":1,"id":"node-empty","command_line":"quiet",
        "kernel":{"file":"vmlinux","bytes":0},"initramfs":{"file":"initramfs","bytes":0}}"#;
    for (file, text) in [("manifest.json", manifest), ("vmlinux", ""), ("initramfs", "")] {
        fs::write(folder.join(file), text).expect("the folder can be written");
    }
}

/// Writes a QEMU that runs and boots nothing, for tests that speak for the node themselves. Returns the folder to put
/// first in `PATH`.
///
/// # Panics
///
/// When the folder cannot be written.
pub fn write_qemu_that_boots_nothing(folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).expect("the folder can be made");
    let program = folder.join("qemu-system-x86_64");
    fs::write(&program, QEMU_THAT_BOOTS_NOTHING).expect("the folder can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    folder.to_owned()
}
