//! What guests boot: the folders that `./dev image` makes.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A kernel and what it starts.
#[derive(Debug, Clone)]
pub struct Image {
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) command_line: String,
}

/// What the machines of a cloud boot.
#[derive(Debug, Clone)]
pub struct Images {
    /// Every machine but engines'.
    pub node: Image,
    /// Those that ask for [`isobar_tests_clouds::world::Cloud::engine_image`]; absent: none can boot.
    pub engine: Option<Image>,
}

/// Which of the two a guest boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Boots {
    /// The node image.
    Node,
    /// The engine image.
    Engine,
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

impl Images {
    pub(crate) fn of(&self, boots: Boots) -> io::Result<&Image> {
        let no_engine = || io::Error::other("a machine asks for the engine image, which nobody has given");
        match boots {
            Boots::Node => Ok(&self.node),
            Boots::Engine => self.engine.as_ref().ok_or_else(no_engine),
        }
    }
}
