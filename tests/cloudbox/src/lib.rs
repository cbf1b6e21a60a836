//! A cloud whose machines really boot: for each machine that an emulated cloud runs, a QEMU guest with the node image,
//! with that cloud's firmware strings, and with that cloud's metadata service at 169.254.169.254, which serves the user
//! data of the very call that made the machine.
//!
//! The guest knows nothing of the test: its agent finds out by itself on which cloud it is. A machine that the cloud
//! deletes takes its guest with it; a guest that powers off stops its machine. Never used by the product.

mod guest;
mod image;
mod metadata;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use isobar_engine_model::id::ResourceHandle;
use isobar_providers_sim::{MachineChange, SimCloud};
use tokio::task::{JoinHandle, JoinSet};

use crate::guest::Guest;
pub use crate::image::Image;

/// How a guest reaches the computer that it runs on.
pub const HOST_SEEN_BY_GUESTS: &str = "169.254.169.2";

/// Whose firmware and metadata service a guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon EC2, version 2 of the metadata service alone.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Compute Engine.
    Gcp,
}

/// The process of each machine's guest.
type Guests = Arc<Mutex<BTreeMap<ResourceHandle, u32>>>;

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

    /// The machines whose guests run now, with their process ids.
    pub fn guests(&self) -> BTreeMap<ResourceHandle, u32> {
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
                        let guest = self.boot(&event.handle).await;
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

    async fn boot(&self, machine: &ResourceHandle) -> Guest {
        let user_data = self.cloud.machine(machine).map(|machine| machine.identity.0);
        let born = metadata::Born {
            kind: self.kind,
            user_data: user_data.unwrap_or_default(),
        };
        let guest = Guest::boot(&self.image, born, &self.folder, machine).await;
        let guest = guest.unwrap_or_else(|error| panic!("boot {machine}: {error}"));
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.insert(machine.clone(), guest.pid());
        guest
    }

    fn forget(&self, machine: &ResourceHandle) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.remove(machine);
    }
}
