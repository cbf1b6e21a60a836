//! A cloud whose machines really boot: for each machine that an emulated cloud runs, a QEMU guest with the node image, or the
//! engine image where it asks for that, with that cloud's firmware strings, and with that cloud's metadata service at
//! 169.254.169.254, which serves the user data of the very call that made the machine, and credentials where it asked for an
//! identity.
//!
//! The guest knows nothing of the test: its agent finds out by itself on which cloud it is. A machine that the cloud
//! deletes takes its guest and its data disk with it; a guest that powers off stops its machine. [`booted`] is AWS, Azure and GCP at once, for
//! a whole engine; the program `isobar-cloudbox` opens it for others. Never used by the product.

pub mod booted;
mod disk;
mod guest;
mod image;
pub mod metadata;
mod network;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use isobar_engine_model::id::ResourceHandle;
use isobar_providers_sim::{MachineChange, SimCloud};
use isobar_tests_clouds::machines::Machines;
use tokio::task::{JoinHandle, JoinSet};

use crate::guest::Guest;
pub use crate::image::{Boots, Image, Images};
pub use crate::network::HOST_SEEN_BY_GUESTS;

/// A guest that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// What it boots.
    pub boots: Boots,
    /// Where this computer reaches its published ports, under their own numbers.
    pub host_address: Ipv4Addr,
}

/// Each machine's guest.
type Guests = Arc<Mutex<BTreeMap<ResourceHandle, Running>>>;

/// A cloud whose machines boot, for as long as this lives.
#[derive(Debug)]
pub struct Cloudbox {
    folder: PathBuf,
    guests: Guests,
    boots: JoinHandle<()>,
}

impl Cloudbox {
    /// Boots every machine that `cloud` comes to run, which `machines` are of. Consoles and data disks are kept in `folder`,
    /// a file a machine each.
    pub fn open(cloud: SimCloud, machines: Machines, images: Images, folder: &Path) -> Self {
        let guests = Guests::default();
        let keeper = Keeper {
            cloud,
            machines,
            images,
            folder: folder.to_owned(),
            guests: guests.clone(),
            addresses: BTreeMap::new(),
        };
        Self {
            folder: folder.to_owned(),
            guests,
            boots: tokio::spawn(keeper.keep()),
        }
    }

    /// The machines whose guests run now.
    pub fn guests(&self) -> BTreeMap<ResourceHandle, Running> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a machine's serial console has printed.
    pub fn console(&self, machine: &ResourceHandle) -> io::Result<String> {
        let bytes = std::fs::read(guest::console_of(&self.folder, machine))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Cloudbox {
    fn drop(&mut self) {
        // The guests go with it.
        self.boots.abort();
    }
}

struct Keeper {
    cloud: SimCloud,
    machines: Machines,
    images: Images,
    folder: PathBuf,
    guests: Guests,
    /// Where machines are reached, running or not.
    addresses: BTreeMap<ResourceHandle, Ipv4Addr>,
}

impl Keeper {
    /// Boots and ends guests as the cloud's machines come and go.
    async fn keep(mut self) {
        let mut events = self.cloud.events();
        let mut lives: JoinSet<ResourceHandle> = JoinSet::new();
        let mut running = BTreeMap::new();
        loop {
            tokio::select! {
                biased;
                Some(ended) = lives.join_next() => {
                    // Ended by itself: its agent has turned it off, or it could not boot.
                    if let Ok(machine) = ended
                        && running.remove(&machine).is_some()
                    {
                        self.forget(&machine);
                        self.cloud.power_off(&machine);
                    }
                }
                event = events.next() => match event.change {
                    MachineChange::Made => self.place(&event.handle),
                    MachineChange::Running => {
                        let Some(guest) = self.boot(&event.handle).await else {
                            continue;
                        };
                        let handle = event.handle.clone();
                        let life = lives.spawn(async move {
                            guest.ended().await;
                            handle
                        });
                        running.insert(event.handle, life);
                    }
                    MachineChange::Stopped | MachineChange::Gone => {
                        if let Some(life) = running.remove(&event.handle) {
                            life.abort();
                            self.forget(&event.handle);
                        }
                        if event.change == MachineChange::Gone {
                            self.clear(&event.handle);
                        }
                    }
                },
            }
        }
    }

    /// Finds where a machine is to be reached, before it runs and its cloud tells that.
    fn place(&mut self, machine: &ResourceHandle) {
        let Some(born) = self.cloud.machine(machine) else {
            return;
        };
        let address = network::free_address().unwrap_or_else(|error| panic!("place {machine}: {error}"));
        self.machines.reached_at(&born, address);
        self.addresses.insert(machine.clone(), address);
    }

    /// Absent: the machine is gone already.
    async fn boot(&self, machine: &ResourceHandle) -> Option<Guest> {
        let (born, address) = (self.cloud.machine(machine)?, *self.addresses.get(machine)?);
        let guest = Guest::boot((&self.images, &self.machines), &born, address, &self.folder).await;
        let guest = guest.unwrap_or_else(|error| panic!("boot {machine}: {error}"));
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.insert(machine.clone(), guest.running());
        Some(guest)
    }

    /// What a machine that is gone leaves here.
    fn clear(&mut self, machine: &ResourceHandle) {
        self.addresses.remove(machine);
        disk::remove(&self.folder, machine).unwrap_or_else(|error| panic!("remove the disk of {machine}: {error}"));
    }

    fn forget(&self, machine: &ResourceHandle) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.remove(machine);
    }
}
