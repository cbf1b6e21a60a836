//! Finds out how machines are best emulated, once. Whether they can run on the host's own processor: `/dev/kvm` can exist and hang whoever uses it (in
//! a container, in a nested machine), so the only proof is a kernel that really comes up, within a bound.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::config::Acceleration;
use crate::image::Image;
use crate::qemu::{Board, Processor, ends_within};
use crate::tsc;

/// A kernel without a root panics, and its machine ends, well within this time on a real processor.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// The answers, once they are known.
#[derive(Debug, Default)]
pub(crate) struct ProcessorProbe {
    processor: OnceLock<Processor>,
    board: OnceLock<Board>,
}

impl ProcessorProbe {
    /// Which processor to use. The first call may take up to the probe's bound.
    pub(crate) fn processor(&self, wanted: Acceleration, qemu: &Path, image: &Image) -> Processor {
        match wanted {
            Acceleration::Software => Processor::Emulated,
            Acceleration::HostIfItWorks => *self.processor.get_or_init(|| match kernel_comes_up(qemu, image) {
                Ok(true) => Processor::Host,
                Ok(false) => Processor::Emulated,
                Err(error) => {
                    tracing::warn!(%error, "could not try the host's processor: emulating");
                    Processor::Emulated
                }
            }),
        }
    }

    /// Which board to use: the small one boots a third faster, and needs to be told its clock's frequency.
    pub(crate) fn board(&self) -> Board {
        *self
            .board
            .get_or_init(|| tsc::khz().map_or(Board::Q35, |tsc_khz| Board::Micro { tsc_khz }))
    }
}

/// Boots the kernel with nothing to run, which ends in a panic that it prints, and so ends QEMU.
fn kernel_comes_up(qemu: &Path, image: &Image) -> io::Result<bool> {
    if fs::metadata("/dev/kvm").is_err() {
        return Ok(false);
    }
    probe(qemu, image)
}

fn probe(qemu: &Path, image: &Image) -> io::Result<bool> {
    let mut child = Command::new(qemu)
        .args([
            "-accel",
            "kvm",
            "-machine",
            "q35",
            "-cpu",
            "host",
            "-m",
            "256M",
            "-nodefaults",
            "-no-user-config",
        ])
        .args([
            "-display",
            "none",
            "-no-reboot",
            "-serial",
            "none",
            "-append",
            "panic=-1 quiet",
        ])
        .arg("-kernel")
        .arg(&image.kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if ends_within(&mut child, PROBE_MAX)? {
        return Ok(child.wait()?.success());
    }
    child.kill()?;
    // A process that hangs inside the host's kernel cannot be waited for: it is left to init.
    let _ended = ends_within(&mut child, PROBE_MAX)?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use isobar_engine_model::id::ImageId;

    use super::*;

    fn probe_script(script: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let (text, qemu) = (folder.path().join("text"), folder.path().join("qemu"));
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        // By another process: a program that this one wrote may still be open in a child that another test forks now.
        let mut install = Command::new("install");
        assert!(install.arg("-m755").args([&text, &qemu]).status().unwrap().success());
        let image = Image {
            id: ImageId::new("node-1"),
            kernel: "/k".into(),
            initramfs: "/i".into(),
            command_line: String::new(),
        };
        probe(&qemu, &image).unwrap()
    }

    #[test]
    fn only_a_machine_that_ends_well_and_in_time_proves_the_processor() {
        assert!(probe_script("exit 0"));
        assert!(!probe_script("echo 'failed to initialize kvm' >&2; exit 1"));
        assert!(!probe_script("exec sleep 1000"));
    }
}
