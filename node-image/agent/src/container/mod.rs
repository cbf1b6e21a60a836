//! Containers through libcontainer: the [`Runtime`] of real nodes. It pulls, creates, starts, watches, signals, removes,
//! and gives each container its address and log. It decides nothing and retries nothing; the supervisor does. What
//! forks is in `helper`, a process of its own; what runs inside of a container before its program is in `init`.

mod bench;
mod cgroup;
mod config;
pub mod helper;
mod init;
mod logs;
pub(crate) mod net;
pub mod owned;
mod process;
mod running;
mod spec;
pub(crate) mod sys;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit};

use self::cgroup::Cgroup;
pub use self::config::{Isolation, RuntimeConfig};
use self::logs::Log;
pub use self::net::Subnet;
use self::net::{Network, NetworkError};
use self::owned::Owned;
use self::process::{Helper, Output, Process, Program};
use self::running::Running;
use self::spec::Surroundings;
use self::wire::{ExecRequest, Failure, Overlay, Reply, Request, StartRequest, UnpackRequest};
use crate::oci::config::User;
use crate::oci::{Image, ImageStore, LAYER_BYTES_MAX, LAYER_ENTRIES_MAX, Unpack};
use crate::runtime::{ContainerSpec, Exit, OutputLine, PulledImage, Runtime, RuntimeError, Usage};

/// How long the helper may take to create a container.
const CREATE_MAX: Duration = Duration::from_secs(60);
/// How long it may take to start one, or to end after its answer.
const HELPER_END_MAX: Duration = Duration::from_secs(10);
/// How long unpacking one layer may take.
const UNPACK_MAX: Duration = Duration::from_secs(15 * 60);
/// Longest name of a container: it is a host name too.
const ID_CHARS_MAX: usize = 63;

/// Runs containers on this machine.
pub struct ContainerRuntime {
    inner: Arc<Inner>,
}

struct Inner {
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

struct LayerHelper(Arc<Program>);

impl ContainerRuntime {
    /// Prepares this machine: what a runtime before this one left is killed and removed, the bridge and the packet
    /// rules are made, the image folder emptied. Wants root, control groups of version 2 and one call a process.
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let failed = |what: &str, error: io::Error| RuntimeError::Failed(format!("{what}: {error}"));
        nix::sys::prctl::set_child_subreaper(true).map_err(|error| failed("become subreaper", error.into()))?;
        for id in cgroup::left_behind(&config.cgroup_parent) {
            Cgroup::of(&config.cgroup_parent, &id)
                .destroy()
                .map_err(|error| failed("end old container", error))?;
        }
        for folder in [config.containers(), config.state_root(), config.logs()] {
            recreate(&folder).map_err(|error| failed("empty the state folder", error))?;
        }
        let program = Arc::new(Program::seal(&config.helper).map_err(|error| failed("copy the helper", error))?);
        let images = ImageStore::open(
            config.images_dir.clone(),
            &config.insecure_registries,
            config.ca_file.as_deref(),
            LayerHelper(program.clone()),
        )?;
        let network = Network::set_up(config.subnet, config.blocked.clone(), config.reserved_ports.clone())
            .map_err(|error| RuntimeError::Failed(crate::chain(&error)))?;
        let controllers = cgroup::controllers();
        let containers = Mutex::default();
        let inner = Inner {
            config,
            controllers,
            program,
            images,
            network,
            containers,
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

#[async_trait]
impl Runtime for ContainerRuntime {
    async fn pull(&self, image: &str) -> Result<PulledImage, RuntimeError> {
        let inner = self.inner.clone();
        let named = image.to_owned();
        let image = unstoppable(async move { inner.images.pull(&named).await }).await?;
        Ok(PulledImage {
            digest: image.digest.clone(),
        })
    }

    async fn start(&self, spec: &ContainerSpec, image: &PulledImage) -> Result<Ipv4Addr, RuntimeError> {
        let (inner, spec, digest) = (self.inner.clone(), spec.clone(), image.digest.clone());
        unstoppable(async move { inner.start(&spec, &digest).await }).await
    }

    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError> {
        let running = self.inner.running(id)?;
        running.ended().await
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError> {
        self.inner.running(id)?.signal(signal)
    }

    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<i32, RuntimeError> {
        let (inner, id, command) = (self.inner.clone(), id.to_owned(), command.to_vec());
        unstoppable(async move { inner.exec(&id, &command, timeout).await }).await
    }

    async fn usage(&self, id: &str) -> Result<Usage, RuntimeError> {
        self.inner.running(id)?;
        Ok(Cgroup::of(&self.inner.config.cgroup_parent, id).usage())
    }

    async fn output(&self, id: &str, from: Option<u64>, max: u32) -> Result<(Vec<OutputLine>, u64), RuntimeError> {
        let log = self
            .inner
            .existing(id)?
            .state()
            .log
            .clone()
            .ok_or(RuntimeError::NotFound)?;
        log.read(from, max)
            .map_err(|error| RuntimeError::Failed(format!("read output: {error}")))
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let (inner, id) = (self.inner.clone(), id.to_owned());
        unstoppable(async move { inner.remove(&id).await }).await
    }

    async fn forget(&self, id: &str) {
        let Ok(slot) = self.inner.existing(id) else { return };
        let _turn = slot.turn.lock().await;
        slot.state().log = None;
        // An empty log folder left behind costs nothing and goes with the next start.
        let _ = fs::remove_dir_all(self.inner.config.logs().join(id));
        if slot.state().running.is_none() {
            self.inner.containers().remove(id);
        }
    }
}

impl Inner {
    async fn start(&self, spec: &ContainerSpec, digest: &str) -> Result<Ipv4Addr, RuntimeError> {
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
        let log = Log::create(&self.config.logs().join(&spec.id)).map_err(|error| no_room("log", &error))?;
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
        let overlay = self.write_bundle(spec, image, link.address)?;
        let address = link.address;
        let request = Request::Start(StartRequest {
            id: spec.id.clone(),
            state_root: self.config.state_root(),
            bundle,
            overlay,
            link: Some(link),
        });
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

    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<i32, RuntimeError> {
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

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
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

    /// Lays out a container's folder: spec, files that are mounted into it, and the writable layer.
    fn write_bundle(&self, spec: &ContainerSpec, image: &Image, address: Ipv4Addr) -> Result<Overlay, RuntimeError> {
        let bundle = self.bundle(&spec.id);
        let layers = self.images.layers_folder();
        let user = User::find(
            &image.config.user,
            &image.layers.iter().map(|name| layers.join(name)).collect::<Vec<_>>(),
        )?;
        let node = Surroundings {
            cgroup: Path::new("/").join(&self.config.cgroup_parent).join(&spec.id),
            controllers: &self.controllers,
            isolation: self.config.isolation,
            open_files_max: self.open_files_max(),
            ipv6: Path::new("/proc/sys/net/ipv6").exists(),
            etc: &bundle,
        };
        let oci = spec::container(spec, &image.config, &user, &node)
            .map_err(|error| RuntimeError::CannotStart(crate::chain(&error)))?;
        let overlay = Overlay {
            layers,
            lower: image.layers.clone(),
            upper: bundle.join("upper"),
            work: bundle.join("work"),
            target: bundle.join("rootfs"),
        };
        let write = || {
            remove_folder(&bundle)?;
            for folder in [&bundle, &overlay.upper, &overlay.work, &overlay.target] {
                fs::create_dir_all(folder)?;
            }
            let id = &spec.id;
            fs::write(bundle.join("hosts"), format!("127.0.0.1 localhost\n{address} {id}\n"))?;
            fs::write(bundle.join("hostname"), format!("{id}\n"))?;
            fs::write(
                bundle.join("resolv.conf"),
                fs::read("/etc/resolv.conf").unwrap_or_default(),
            )?;
            fs::write(bundle.join("config.json"), serde_json::to_vec(&oci)?)
        };
        write().map_err(|error: io::Error| no_room("container's folder", &error))?;
        Ok(overlay)
    }

    /// A host that confines us lets nobody have more than we have.
    fn open_files_max(&self) -> u64 {
        let own = getrlimit(Resource::RLIMIT_NOFILE).map_or(spec::OPEN_FILES_MAX, |(_, hard)| hard);
        match self.config.isolation {
            Isolation::Required => spec::OPEN_FILES_MAX,
            Isolation::WhereAvailable { .. } => spec::OPEN_FILES_MAX.min(own),
        }
    }

    fn bundle(&self, id: &str) -> PathBuf {
        self.config.containers().join(id)
    }

    fn existing(&self, id: &str) -> Result<Arc<Slot>, RuntimeError> {
        self.containers().get(id).cloned().ok_or(RuntimeError::NotFound)
    }

    fn running(&self, id: &str) -> Result<Arc<Running>, RuntimeError> {
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

impl Unpack for LayerHelper {
    async fn unpack(&self, blob: OwnedFd, target: &Path) -> Result<String, RuntimeError> {
        let request = Request::Unpack(UnpackRequest {
            target: target.to_owned(),
            bytes_max: LAYER_BYTES_MAX,
            entries_max: LAYER_ENTRIES_MAX,
        });
        let helper = Helper::spawn(&self.0, &request, &[blob], None).map_err(helper_lost)?;
        let reply = helper.reply(UNPACK_MAX).await;
        helper.end(HELPER_END_MAX).await;
        match reply.map_err(helper_lost)? {
            (Reply::Unpacked { diff_id }, _) => Ok(diff_id),
            (reply, _) => Err(refused(reply)),
        }
    }
}

/// Runs to its end even if the caller loses interest: a half-made container is the caller's to remove, not to lose.
async fn unstoppable<T: Send + 'static>(
    work: impl Future<Output = Result<T, RuntimeError>> + Send + 'static,
) -> Result<T, RuntimeError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => Err(RuntimeError::Failed(error.to_string())),
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

fn refused(reply: Reply) -> RuntimeError {
    match reply {
        Reply::Failed {
            kind: Failure::CannotStart,
            message,
        } => RuntimeError::CannotStart(message),
        Reply::Failed {
            kind: Failure::BadImage,
            message,
        } => RuntimeError::BadImage(message),
        Reply::Failed {
            kind: Failure::Full,
            message,
        } => RuntimeError::Full(message),
        Reply::Failed {
            kind: Failure::Other,
            message,
        } => RuntimeError::Failed(message),
        Reply::Created { .. } | Reply::Started | Reply::Exited { .. } | Reply::TimedOut | Reply::Unpacked { .. } => {
            RuntimeError::Failed("helper answered something else".into())
        }
    }
}

fn helper_lost(error: io::Error) -> RuntimeError {
    RuntimeError::Failed(format!("helper: {error}"))
}

fn no_network(error: &NetworkError) -> RuntimeError {
    let message = crate::chain(error);
    match error {
        NetworkError::NoAddress => RuntimeError::Full(message),
        NetworkError::PortTaken { .. } => RuntimeError::CannotStart(message),
        NetworkError::System { .. } => RuntimeError::Failed(message),
    }
}

fn no_room(what: &str, error: &io::Error) -> RuntimeError {
    if error.raw_os_error() == Some(libc::ENOSPC) {
        RuntimeError::Full(format!("{what}: {error}"))
    } else {
        RuntimeError::Failed(format!("{what}: {error}"))
    }
}

/// Our end does not block; the container's does, as programs expect.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    nix::fcntl::fcntl(
        std::os::fd::AsRawFd::as_raw_fd(&read),
        nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK),
    )?;
    Ok((read, write))
}

fn recreate(folder: &Path) -> io::Result<()> {
    remove_folder(folder)?;
    fs::create_dir_all(folder)
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
