//! One QEMU guest, by software emulation: it boots its image and is told who it is by its cloud's firmware strings and
//! metadata service alone.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use isobar_engine_model::id::ResourceHandle;
use isobar_providers_sim::SimMachine;
use isobar_tests_clouds::machines::Machines;
use isobar_tests_clouds::world::Cloud;
use tokio::process::{Child, Command};

use crate::metadata::{self, Born};
use crate::network::Network;
use crate::{Boots, Image, Images, Running, disk};

/// Memory of a node, in MiB.
const NODE_MEMORY_MIB: u32 = 512;
/// Memory of an engine's machine, whose image is larger, in MiB.
const ENGINE_MEMORY_MIB: u32 = 1024;

/// A guest that runs; ended with the value.
pub(crate) struct Guest {
    qemu: Child,
    boots: Boots,
    host_address: Ipv4Addr,
    metadata: tokio::task::JoinHandle<()>,
}

/// Where a machine's console is kept.
pub(crate) fn console_of(folder: &Path, machine: &ResourceHandle) -> PathBuf {
    folder.join(format!("{}.console", plain(machine)))
}

/// What files of a machine are called.
pub(crate) fn plain(machine: &ResourceHandle) -> String {
    let letter = |c: char| if c.is_alphanumeric() { c } else { '-' };
    machine.as_str().chars().map(letter).collect()
}

impl Guest {
    /// Boots what a machine asks for, whose published ports this computer reaches at an address of loopback.
    pub(crate) async fn boot(
        (images, machines): (&Images, &Machines),
        machine: &SimMachine,
        host_address: Ipv4Addr,
        folder: &Path,
    ) -> io::Result<Self> {
        let asked = machines.asked(machine).unwrap_or_default();
        let boots = match asked.image == machines.cloud().engine_image() {
            true => Boots::Engine,
            false => Boots::Node,
        };
        let disk = match asked.data_disk_gib {
            Some(gib) => Some(disk::made(folder, &machine.handle, gib)?),
            None => None,
        };
        let born = Born {
            user_data: machine.identity.0.clone(),
            identity: asked.identity,
            machines: machines.clone(),
        };
        let (metadata_port, serving) = metadata::serve(born).await?;
        let metadata = tokio::spawn(serving);
        let network = Network::of(machine, host_address, metadata_port);
        let console = console_of(folder, &machine.handle);
        let arguments = arguments((images.of(boots)?, boots), machines.cloud(), &network.option(boots));
        let qemu = Command::new("qemu-system-x86_64")
            .args(arguments)
            .args(disk.iter().flat_map(|disk| disk::options(disk)))
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            qemu,
            boots,
            host_address,
            metadata,
        })
    }

    /// What is known of a guest that was not waited for.
    pub(crate) fn running(&self) -> Running {
        Running {
            pid: self.qemu.id().expect("it was not waited for yet"),
            boots: self.boots,
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

fn arguments((image, boots): (&Image, Boots), kind: Cloud, network: &str) -> Vec<String> {
    let memory_mib = match boots {
        Boots::Node => NODE_MEMORY_MIB,
        Boots::Engine => ENGINE_MEMORY_MIB,
    };
    let memory = format!("{memory_mib}M");
    let mut arguments: Vec<String> = [
        ["-accel", "tcg"],
        ["-machine", "q35,sata=off,smbus=off"],
        ["-cpu", "max"],
        ["-m", &memory],
        ["-netdev", network],
        ["-device", "virtio-net-pci,romfile=,netdev=net"],
        ["-device", "virtio-rng-pci"],
        ["-display", "none"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect();
    arguments.extend(image.arguments());
    for strings in firmware(kind) {
        arguments.extend(["-smbios".to_owned(), strings.to_owned()]);
    }
    arguments.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
    arguments
}
