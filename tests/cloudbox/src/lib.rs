//! A cloud whose machines really boot: for each machine that an emulated cloud runs, a QEMU guest with the node image,
//! with that cloud's firmware strings, and with that cloud's metadata service at 169.254.169.254, which serves the user
//! data of the very call that made the machine.
//!
//! The guest knows nothing of the test: its agent finds out by itself on which cloud it is. A machine that the cloud
//! deletes takes its guest with it; a guest that powers off stops its machine. [`booted`] is AWS, Azure and GCP at once, for
//! a whole engine; the program `isobar-cloudbox` opens it for others. Never used by the product.

pub mod booted;
mod guest;
mod image;
mod metadata;
mod network;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use isobar_engine_model::id::ResourceHandle;
use isobar_providers_sim::{MachineChange, SimCloud};
use isobar_tests_clouds::world::Cloud;
use tokio::task::{JoinHandle, JoinSet};

use crate::guest::Guest;
pub use crate::image::Image;
pub use crate::network::HOST_SEEN_BY_GUESTS;

/// A guest that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
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
    /// Boots every machine that `cloud` comes to run. Consoles are kept in `folder`, a file a machine.
    pub fn open(cloud: SimCloud, kind: Cloud, image: Image, folder: &Path) -> Self {
        let guests = Guests::default();
        let keeper = Keeper {
            cloud,
            kind,
            image,
            folder: folder.to_owned(),
            guests: guests.clone(),
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
    kind: Cloud,
    image: Image,
    folder: PathBuf,
    guests: Guests,
}

impl Keeper {
    /// Boots and ends guests as the cloud's machines come and go.
    async fn keep(self) {
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
                    MachineChange::Made => {}
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
                    }
                },
            }
        }
    }

    /// Absent: the machine is gone already.
    async fn boot(&self, machine: &ResourceHandle) -> Option<Guest> {
        let born = self.cloud.machine(machine)?;
        let guest = Guest::boot(&self.image, self.kind, &born, &self.folder).await;
        let guest = guest.unwrap_or_else(|error| panic!("boot {machine}: {error}"));
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.insert(machine.clone(), guest.running());
        Some(guest)
    }

    fn forget(&self, machine: &ResourceHandle) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.remove(machine);
    }
}
