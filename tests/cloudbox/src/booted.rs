//! AWS, Azure and GCP at once, for a whole engine, whose machines all boot. What the engine asks goes over the wire to the
//! strict clouds of `isobar-tests-clouds`; this only boots what they run, and says what that is.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use isobar_engine_model::id::{MachineId, ResourceHandle};
use isobar_tests_clouds::world::{Cloud, Pages, World};
use serde::Serialize;

use crate::{Cloudbox, Images, Running};

/// A machine that a cloud has now.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Whose it is, by the name of its provider.
    pub cloud: &'static str,
    /// The engine's name for it; absent: it is no engine's.
    pub machine: Option<MachineId>,
    /// What its cloud's books call it.
    pub handle: ResourceHandle,
    /// Its guest; absent: it does not run now.
    #[serde(flatten)]
    pub guest: Option<Running>,
}

/// Three clouds whose machines boot, for as long as this lives. Needs a runtime to be dropped in.
pub struct Booted {
    // Before the world: no guest outlives its cloud.
    boxes: BTreeMap<Cloud, Cloudbox>,
    /// What answers the engine.
    pub world: World,
}

impl Booted {
    /// Opens all three, which never fail by themselves. Consoles and data disks are kept in `folder`, in a folder a cloud.
    pub async fn open(images: &Images, folder: &Path) -> io::Result<Self> {
        let world = World::serve(folder, Pages::Small, |_, config| config).await?;
        let mut boxes = BTreeMap::new();
        for cloud in Cloud::ALL {
            let consoles = folder.join(cloud.name());
            std::fs::create_dir_all(&consoles)?;
            let machines = world.machines(cloud);
            let opened = Cloudbox::open(world.cloud(cloud).clone(), machines, images.clone(), &consoles);
            boxes.insert(cloud, opened);
        }
        Ok(Self { boxes, world })
    }

    /// Every machine of a cloud that is not gone, with its guest.
    pub fn machines(&self, cloud: Cloud) -> Vec<Machine> {
        let guests = self.boxes[&cloud].guests();
        let machines = self.world.cloud(cloud).machines().into_iter();
        let machine = |machine: isobar_providers_sim::SimMachine| Machine {
            cloud: cloud.name(),
            machine: machine.tags().map(|tags| tags.machine.clone()),
            guest: guests.get(&machine.handle).copied(),
            handle: machine.handle,
        };
        machines.map(machine).collect()
    }

    /// What a machine's serial console has printed.
    pub fn console(&self, cloud: Cloud, machine: &ResourceHandle) -> io::Result<String> {
        self.boxes[&cloud].console(machine)
    }
}
