//! One QEMU guest, by software emulation: it boots the node image and is told who it is by its cloud's firmware strings
//! and metadata service alone.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use isobar_engine_model::id::ResourceHandle;
use isobar_providers_sim::SimMachine;
use isobar_tests_clouds::world::Cloud;
use tokio::process::{Child, Command};

use crate::metadata::{self, Born};
use crate::network::Network;
use crate::{Image, Running};

/// Memory of every guest, in MiB.
const MEMORY_MIB: u32 = 512;

/// A guest that runs; ended with the value.
pub(crate) struct Guest {
    qemu: Child,
    host_address: Ipv4Addr,
    metadata: tokio::task::JoinHandle<()>,
}

/// Where a machine's console is kept.
pub(crate) fn console_of(folder: &Path, machine: &ResourceHandle) -> PathBuf {
    let name: String = machine
        .as_str()
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    folder.join(format!("{name}.console"))
}

impl Guest {
    pub(crate) async fn boot(image: &Image, kind: Cloud, machine: &SimMachine, folder: &Path) -> io::Result<Self> {
        let born = Born {
            kind,
            user_data: machine.identity.0.clone(),
        };
        let (metadata_port, serving) = metadata::serve(born).await?;
        let metadata = tokio::spawn(serving);
        let network = Network::of(machine, metadata_port)?;
        let console = console_of(folder, &machine.handle);
        let qemu = Command::new("qemu-system-x86_64")
            .args(arguments(image, kind, &network.option()))
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            qemu,
            host_address: network.host_address(),
            metadata,
        })
    }

    /// What is known of a guest that was not waited for.
    pub(crate) fn running(&self) -> Running {
        Running {
            pid: self.qemu.id().expect("it was not waited for yet"),
            host_address: self.host_address,
        }
    }

    /// Returns when it has powered off, or never ran.
    pub(crate) async fn ended(mut self) {
        let _status = self.qemu.wait().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.metadata.abort();
    }
}

/// What the firmware says of its maker: see `identity::metadata` of the agent for what it looks for.
fn firmware(kind: Cloud) -> Vec<&'static str> {
    match kind {
        Cloud::Aws => vec!["type=1,manufacturer=Amazon EC2,product=m7i.large"],
        Cloud::Azure => vec![
            "type=1,manufacturer=Microsoft Corporation,product=Virtual Machine",
            "type=3,asset=7783-7084-3265-9085-8269-3286-77",
        ],
        Cloud::Gcp => vec!["type=1,manufacturer=Google,product=Google Compute Engine"],
    }
}

fn arguments(image: &Image, kind: Cloud, network: &str) -> Vec<String> {
    let memory = format!("{MEMORY_MIB}M");
    let command_line = format!("{} no_timer_check", image.command_line);
    let mut arguments: Vec<String> = [
        ["-accel", "tcg"],
        ["-machine", "q35,sata=off,smbus=off"],
        ["-cpu", "max"],
        ["-m", &memory],
        ["-kernel", &image.kernel.display().to_string()],
        ["-initrd", &image.initramfs.display().to_string()],
        ["-append", &command_line],
        ["-netdev", network],
        ["-device", "virtio-net-pci,romfile=,netdev=net"],
        ["-device", "virtio-rng-pci"],
        ["-display", "none"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect();
    for strings in firmware(kind) {
        arguments.extend(["-smbios".to_owned(), strings.to_owned()]);
    }
    arguments.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
    arguments
}
