//! The machines that were bought for engines at a cloud on this computer, without the boot: for each one that runs, the
//! program that its agent would start, on a data disk that goes with it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use isobar_engine_model::id::ResourceHandle;
use isobar_node_image_protocol::identity::Birth;
use isobar_providers_sim::SimCloud;

use crate::command::command;

/// Between two looks at the cloud.
const PAUSE: Duration = Duration::from_millis(50);

/// What makes them run, for as long as it lives.
pub struct EngineMachines {
    stop: Arc<AtomicBool>,
    looking: Option<JoinHandle<()>>,
}

/// One of them.
struct Running {
    engine: Child,
    disk: PathBuf,
}

impl EngineMachines {
    /// Of this cloud; what is on them is in the folder, and programs on them find clouds by this environment.
    pub fn of(cloud: SimCloud, folder: PathBuf, environment: BTreeMap<&'static str, String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = stop.clone();
        let looking = thread::spawn(move || {
            let mut running = BTreeMap::new();
            while !is_over.load(Ordering::SeqCst) {
                look(&cloud, &mut running, (&folder, &environment));
                thread::sleep(PAUSE);
            }
            running.into_values().for_each(Running::end);
        });
        Self {
            stop,
            looking: Some(looking),
        }
    }
}

impl Drop for EngineMachines {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(looking) = self.looking.take() {
            let _panicked = looking.join();
        }
    }
}

impl Running {
    fn start(folder: &Path, birth: &[u8], environment: &BTreeMap<&'static str, String>) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let (identity, disk) = (folder.join("identity"), folder.join("disk"));
        fs::create_dir_all(&disk).expect("a folder");
        fs::write(&identity, birth).expect("a file");
        fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).expect("its mode");
        let log = fs::File::create(folder.join("log")).expect("a file");
        let args = ["born", "--identity", &identity.display().to_string()].map(str::to_owned);
        let engine = command(&disk, args)
            .envs(environment)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self {
            engine: engine.expect("the command can be run"),
            disk,
        }
    }

    /// As when a machine and its disk are gone.
    fn end(mut self) {
        let _ended = self.engine.kill().and_then(|()| self.engine.wait());
        let _gone = fs::remove_dir_all(self.disk);
    }
}

fn look(
    cloud: &SimCloud,
    running: &mut BTreeMap<ResourceHandle, Running>,
    (folder, environment): (&Path, &BTreeMap<&'static str, String>),
) {
    let machines = cloud.machines();
    let engines: BTreeMap<_, _> = machines
        .iter()
        .filter(|machine| matches!(Birth::parse(&machine.identity.0), Ok(Birth::Engine(_))))
        .filter(|machine| !machine.state.endpoints.is_empty())
        .map(|machine| (machine.handle.clone(), machine))
        .collect();
    let gone: Vec<ResourceHandle> = running
        .keys()
        .filter(|handle| !engines.contains_key(handle))
        .cloned()
        .collect();
    for handle in gone {
        running.remove(&handle).into_iter().for_each(Running::end);
    }
    for (handle, machine) in engines {
        running.entry(handle.clone()).or_insert_with(|| {
            let folder = folder.join(handle.to_string());
            Running::start(&folder, &machine.identity.0, environment)
        });
    }
}
