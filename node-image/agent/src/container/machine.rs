//! The machine's containers: what each operation of the runtime does, one container at a time. Everything that a
//! container has (its group, folder, address, log) derives from its id, so that what is half made can be removed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::bundle::{Bundle, recreate, remove_folder};
use super::cgroup::{self, Cgroup};
use super::config::RuntimeConfig;
use super::layers::LayerHelper;
use super::logs::Log;
use super::net::Network;
use super::owned::Owned;
use super::process::{Helper, Output, Process, Program};
use super::refusal::{helper_lost, no_network, no_room, refused};
use super::running::Running;
use super::spec;
use super::wire::{ExecRequest, Reply, Request, StartRequest};
use crate::oci::{Image, ImageStore};
use crate::runtime::{ContainerSpec, OutputLine, PulledImage, RuntimeError, Usage};

/// How long the helper may take to create a container.
const CREATE_MAX: Duration = Duration::from_secs(60);
/// How long it may take to start one, or to end after its answer.
pub(super) const HELPER_END_MAX: Duration = Duration::from_secs(10);
/// Longest name of a container: it is a host name too.
const ID_CHARS_MAX: usize = 63;

/// This machine, as far as containers go.
pub(super) struct Machine {
    config: RuntimeConfig,
    controllers: Vec<String>,
    program: Arc<Program>,
    images: ImageStore<LayerHelper>,
    network: Network,
    containers: Mutex<BTreeMap<String, Arc<Slot>>>,
}

/// All that is known of one id. Its lock makes start and remove of one container take turns.
#[derive(Default)]
struct Slot {
    turn: tokio::sync::Mutex<()>,
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    running: Option<Arc<Running>>,
    log: Option<Log>,
}

impl Machine {
    /// Removes what a runtime before this one left, and makes what all containers share.
    pub(super) fn prepare(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let failed = |what: &str, error: io::Error| RuntimeError::Failed(format!("{what}: {error}"));
        nix::sys::prctl::set_child_subreaper(true).map_err(|error| failed("become subreaper", error.into()))?;
        for id in cgroup::left_behind(&config.cgroup_parent) {
            Cgroup::of(&config.cgroup_parent, &id)
                .destroy()
                .map_err(|error| failed("end old container", error))?;
        }
        cgroup::make_parent(&config.cgroup_parent).map_err(|error| failed("make the containers' group", error))?;
        for folder in [config.containers(), config.state_root(), config.logs()] {
            recreate(&folder).map_err(|error| failed("empty the state folder", error))?;
        }
        let program = Arc::new(Program::seal(&config.helper).map_err(|error| failed("copy the helper", error))?);
        let images = ImageStore::open(
            config.images_dir.clone(),
            &config.insecure_registries,
            config.ca_file.as_deref(),
            LayerHelper::new(program.clone()),
        )?;
        let network = Network::set_up(config.subnet, config.blocked.clone(), config.reserved_ports.clone())
            .map_err(|error| RuntimeError::Failed(crate::chain(&error)))?;
        let controllers = cgroup::controllers();
        let containers = Mutex::default();
        Ok(Self {
            config,
            controllers,
            program,
            images,
            network,
            containers,
        })
    }

    /// Makes an image be here.
    pub(super) async fn pull(&self, image: &str) -> Result<PulledImage, RuntimeError> {
        let image = self.images.pull(image).await?;
        Ok(PulledImage {
            digest: image.digest.clone(),
        })
    }

    /// Creates and starts a container. What is there of it after a failure is removed.
    pub(super) async fn start(&self, spec: &ContainerSpec, digest: &str) -> Result<Ipv4Addr, RuntimeError> {
        check_id(&spec.id)?;
        let image = self
            .images
            .get(digest)
            .ok_or_else(|| RuntimeError::Failed(format!("image {digest} is not here any more: pull it again")))?;
        let slot = self.containers().entry(spec.id.clone()).or_default().clone();
        let _turn = slot.turn.lock().await;
        if slot.state().running.is_some() {
            return Err(RuntimeError::CannotStart(format!(
                "container {} is there already",
                spec.id
            )));
        }
        // One log for all starts: why the last one ended is read after the next has begun.
        let kept = slot.state().log.clone();
        let log = match kept {
            Some(log) => log,
            None => Log::create(&self.config.logs().join(&spec.id)).map_err(|error| no_room("log", &error))?,
        };
        slot.state().log = Some(log.clone());
        match self.create(spec, &image, log).await {
            Ok((running, address)) => {
                slot.state().running = Some(Arc::new(running));
                Ok(address)
            }
            Err(error) => {
                if let Err(left) = self.clean(&spec.id).await {
                    tracing::warn!(container = spec.id, error = %left, "container that did not start leaves traces");
                }
                Err(error)
            }
        }
    }

    async fn create(
        &self,
        spec: &ContainerSpec,
        image: &Arc<Image>,
        log: Log,
    ) -> Result<(Running, Ipv4Addr), RuntimeError> {
        if spec::arguments(spec, &image.config).is_empty() {
            return Err(RuntimeError::CannotStart(
                "neither the image nor the spec names a command".into(),
            ));
        }
        let link = self
            .network
            .join(&spec.id, &spec.published)
            .map_err(|error| no_network(&error))?;
        let bundle = self.bundle(&spec.id);
        let overlay = Bundle {
            folder: &bundle,
            config: &self.config,
            controllers: &self.controllers,
            layers: self.images.layers_folder(),
            address: link.address,
        }
        .write(spec, image)?;
        let address = link.address;
        let request = Request::Start(Box::new(StartRequest {
            id: spec.id.clone(),
            state_root: self.config.state_root(),
            bundle,
            overlay,
            link: Some(link),
        }));
        let failed = |error: io::Error| RuntimeError::Failed(format!("start {}: {error}", spec.id));
        let (stdout, stdout_write) = output_pipe().map_err(failed)?;
        let (stderr, stderr_write) = output_pipe().map_err(failed)?;
        let output = Output {
            stdout: stdout_write,
            stderr: stderr_write,
        };
        let helper = Helper::spawn(&self.program, &request, &[], Some(output)).map_err(failed)?;
        let drained = [
            tokio::spawn(log.clone().drain(stdout, false)),
            tokio::spawn(log.drain(stderr, true)),
        ];
        let created = self.watch(&helper).await;
        helper.end(HELPER_END_MAX).await;
        let (process, status) = created?;
        let cgroup = Cgroup::of(&self.config.cgroup_parent, &spec.id);
        Ok((Running::watch(process, status, cgroup, drained, image.clone()), address))
    }

    /// Takes the container's first process over from the helper, which starts it then.
    async fn watch(&self, helper: &Helper) -> Result<(Process, OwnedFd), RuntimeError> {
        let (pid, mut descriptors) = match helper.reply(CREATE_MAX).await.map_err(helper_lost)? {
            (Reply::Created { pid }, descriptors) => (pid, descriptors.into_iter()),
            (reply, _) => return Err(refused(reply)),
        };
        let owned = Owned::new(pid);
        let (Some(pidfd), Some(status)) = (descriptors.next(), descriptors.next()) else {
            return Err(RuntimeError::Failed("helper sent no descriptors".into()));
        };
        let process = Process::with(pidfd, owned).map_err(helper_lost)?;
        helper.go().map_err(helper_lost)?;
        match helper.reply(HELPER_END_MAX).await.map_err(helper_lost)? {
            (Reply::Started, _) => Ok((process, status)),
            (reply, _) => {
                let _ = process.signal(libc::SIGKILL);
                let _ = process.wait().await;
                Err(refused(reply))
            }
        }
    }

    /// Runs a command in a container.
    pub(super) async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<i32, RuntimeError> {
        self.running(id)?;
        let failed = |error: io::Error| RuntimeError::Failed(format!("run command in {id}: {error}"));
        let bundle = self.bundle(id);
        let spec = fs::read(bundle.join("config.json")).map_err(failed)?;
        let spec = serde_json::from_slice(&spec).map_err(|error| failed(error.into()))?;
        let process = spec::joining(&spec, command).ok_or(RuntimeError::NotFound)?;
        let request = Request::Exec(Box::new(ExecRequest {
            id: id.to_owned(),
            state_root: self.config.state_root(),
            bundle,
            process,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        }));
        let helper = Helper::spawn(&self.program, &request, &[], None).map_err(failed)?;
        let reply = helper.reply(timeout + HELPER_END_MAX).await;
        helper.end(HELPER_END_MAX).await;
        match reply.map_err(helper_lost)? {
            (Reply::Exited { code }, _) => Ok(code),
            (Reply::TimedOut, _) => Err(RuntimeError::Failed(format!(
                "no end within {} ms",
                timeout.as_millis()
            ))),
            (reply, _) => Err(refused(reply)),
        }
    }

    /// Kills and removes a container, but not its log.
    pub(super) async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        check_id(id)?;
        let Ok(slot) = self.existing(id) else { return Ok(()) };
        let _turn = slot.turn.lock().await;
        self.clean(id).await?;
        let running = slot.state().running.take();
        if let Some(running) = running {
            running.drained().await;
        }
        Ok(())
    }

    /// Kills and removes whatever there is of a container, but its log.
    async fn clean(&self, id: &str) -> Result<(), RuntimeError> {
        let cgroup = Cgroup::of(&self.config.cgroup_parent, id);
        let folders = [self.bundle(id), self.config.state_root().join(id)];
        let cleaned = tokio::task::spawn_blocking(move || {
            cgroup.destroy()?;
            folders.iter().try_for_each(|folder| remove_folder(folder))
        });
        let failed =
            |error: &dyn std::error::Error| RuntimeError::Failed(format!("remove {id}: {}", crate::chain(error)));
        cleaned
            .await
            .map_err(|error| failed(&error))?
            .map_err(|error| failed(&error))?;
        self.network.leave(id).map_err(|error| failed(&error))
    }

    /// What a container uses.
    pub(super) fn usage(&self, id: &str) -> Result<Usage, RuntimeError> {
        self.running(id)?;
        Ok(Cgroup::of(&self.config.cgroup_parent, id).usage())
    }

    /// Lines that a container wrote.
    pub(super) fn output(&self, id: &str, from: Option<u64>, max: u32) -> Result<(Vec<OutputLine>, u64), RuntimeError> {
        let log = self.existing(id)?.state().log.clone().ok_or(RuntimeError::NotFound)?;
        log.read(from, max)
            .map_err(|error| RuntimeError::Failed(format!("read output: {error}")))
    }

    /// Drops the log of a removed container.
    pub(super) async fn forget(&self, id: &str) {
        let Ok(slot) = self.existing(id) else { return };
        let _turn = slot.turn.lock().await;
        slot.state().log = None;
        // An empty log folder left behind costs nothing and goes with the next start.
        let _ = fs::remove_dir_all(self.config.logs().join(id));
        if slot.state().running.is_none() {
            self.containers().remove(id);
        }
    }

    fn bundle(&self, id: &str) -> PathBuf {
        self.config.containers().join(id)
    }

    fn existing(&self, id: &str) -> Result<Arc<Slot>, RuntimeError> {
        self.containers().get(id).cloned().ok_or(RuntimeError::NotFound)
    }

    /// A container that has been started and not removed.
    pub(super) fn running(&self, id: &str) -> Result<Arc<Running>, RuntimeError> {
        self.existing(id)?.state().running.clone().ok_or(RuntimeError::NotFound)
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names become folders, groups and host names.
fn check_id(id: &str) -> Result<(), RuntimeError> {
    let fits = !id.is_empty()
        && id.len() <= ID_CHARS_MAX
        && !id.starts_with('.')
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if fits {
        Ok(())
    } else {
        Err(RuntimeError::CannotStart(format!("`{id}` cannot name a container")))
    }
}

/// Our end does not block; the container's does, as programs expect.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(read.as_raw_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read, write))
}
