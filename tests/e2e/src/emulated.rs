//! Clouds on this computer, as the command finds real ones: over the wire, by its environment and its spec's sites. For
//! each machine that one of them runs there is a node ([`crate::simulated`]).

use std::collections::BTreeMap;

use isobar_engine_model::id::ResourceHandle;
use isobar_providers_sim::{MachineChange, SimCloud, SimConfig};
use isobar_tests_clouds::world::{Cloud, Pages, World};
use serde_json::{Map, Value};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::engine::{Engine, Setup};
use crate::{shop, simulated};

/// AWS, Azure and GCP with nodes on their machines, for as long as this lives.
pub struct Emulated {
    /// What answers.
    pub world: World,
    // Before the folder, which they write to.
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Emulated {
    /// Opens all three, which never fail by themselves, but for what `change` changes.
    ///
    /// # Panics
    ///
    /// When loopback has no free ports.
    pub fn open(pages: Pages, change: impl Fn(Cloud, SimConfig) -> SimConfig) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let world = runtime
            .block_on(World::serve(folder.path(), pages, change))
            .expect("loopback has free ports");
        for cloud in Cloud::ALL {
            runtime.spawn(populate(world.cloud(cloud).clone()));
        }
        Self {
            world,
            _runtime: runtime,
            _folder: folder,
        }
    }

    /// Opens all three as they are, and an engine that knows them.
    ///
    /// # Panics
    ///
    /// When loopback has no free ports, or the engine does not come up.
    pub fn with_engine() -> (Self, Engine) {
        let clouds = Self::open(Pages::Small, |_, config| config);
        let engine = Setup::without_machines().clouds(&clouds.world).start();
        (clouds, engine)
    }

    /// The sites of a spec, one a cloud.
    pub fn sites(&self) -> Map<String, Value> {
        let sites = self.world.sites().into_iter();
        sites.map(|(name, site)| (name.to_owned(), site)).collect()
    }

    /// How many machines there really are in each cloud.
    pub fn machines(&self) -> [usize; 3] {
        Cloud::ALL.map(|cloud| self.world.cloud(cloud).machines().len())
    }

    /// How many healthy replicas each cloud has.
    pub fn healthy(&self, engine: &Engine) -> [usize; 3] {
        let healthy = shop::healthy(engine);
        Cloud::ALL.map(|cloud| healthy.get(cloud.name()).copied().unwrap_or(0))
    }

    /// Nothing is left anywhere: no machine, no disk, no card, no address, no network.
    ///
    /// # Panics
    ///
    /// When something is.
    #[track_caller]
    pub fn are_empty(&self) {
        for cloud in Cloud::ALL {
            assert!(self.world.cloud(cloud).parts().is_empty(), "{cloud:?}");
            assert!(self.world.cloud(cloud).networks().is_empty(), "{cloud:?}");
        }
        assert_eq!(self.machines(), [0, 0, 0]);
    }
}

/// Runs a node for each machine of a cloud.
async fn populate(cloud: SimCloud) {
    let mut events = cloud.events();
    let mut nodes: BTreeMap<ResourceHandle, JoinHandle<()>> = BTreeMap::new();
    loop {
        let event = events.next().await;
        match event.change {
            MachineChange::Made => {}
            MachineChange::Running => {
                // Absent: it was not made by an engine.
                let machine = cloud.machine(&event.handle);
                if let Some(node) = machine.and_then(|machine| simulated::node(&machine.identity.0)) {
                    let (cloud, handle) = (cloud.clone(), event.handle.clone());
                    let life = async move {
                        node.live().await;
                        cloud.power_off(&handle);
                    };
                    nodes.insert(event.handle, tokio::spawn(life));
                }
            }
            MachineChange::Stopped | MachineChange::Gone => {
                if let Some(life) = nodes.remove(&event.handle) {
                    life.abort();
                }
            }
        }
    }
}
