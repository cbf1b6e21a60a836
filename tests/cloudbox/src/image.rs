//! The node image as a guest boots it: the folder that `./dev image` makes.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A node image.
#[derive(Debug, Clone)]
pub struct Image {
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) command_line: String,
}

#[derive(Deserialize)]
struct Manifest {
    command_line: String,
    kernel: Part,
    initramfs: Part,
}

#[derive(Deserialize)]
struct Part {
    file: String,
}

impl Image {
    /// The image in a folder.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let manifest = std::fs::read(folder.join("manifest.json"))?;
        let manifest: Manifest = serde_json::from_slice(&manifest)?;
        Ok(Self {
            kernel: folder.join(manifest.kernel.file),
            initramfs: folder.join(manifest.initramfs.file),
            command_line: manifest.command_line,
        })
    }

    /// What QEMU is told to boot it.
    pub fn arguments(&self) -> [String; 6] {
        // Its clock is an emulator's, whose interrupts come when they come.
        let command_line = format!("{} no_timer_check", self.command_line);
        let [kernel, initramfs] = [&self.kernel, &self.initramfs].map(|file| file.display().to_string());
        ["-kernel", &kernel, "-initrd", &initramfs, "-append", &command_line].map(str::to_owned)
    }
}
