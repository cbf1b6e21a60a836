//! `isobar-node`: PID 1 of the node image, a daemon on an ordinary host, or the helper that this very program runs for
//! each container operation. Decides which, wires the parts and prints the last error; everything else is the library's.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use isobar_node_image_agent::chain;
use isobar_node_image_agent::clock::{BootClock, Clock};
use isobar_node_image_agent::container::{ContainerRuntime, RuntimeConfig, helper, owned};
use isobar_node_image_agent::credentials::NodeKey;
use isobar_node_image_agent::engine;
use isobar_node_image_agent::heap;
use isobar_node_image_agent::identity::{Born, Home, Source};
use isobar_node_image_agent::init::{self, modules, reap};
use isobar_node_image_agent::metrics::machine_usage;
use isobar_node_image_agent::network::Network;
use isobar_node_image_agent::node::{Ended, Node};
use isobar_node_image_agent::prepared::{Preparation, preparing};
use isobar_node_image_agent::runtime::{Runtime, RuntimeError};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::signal::unix::{SignalKind, signal};

/// Threads that run the agent. More would only cost memory: it waits most of the time.
const WORKER_THREADS: usize = 2;

/// Threads for what blocks: files, unpacking.
const BLOCKING_THREADS_MAX: usize = 8;

/// Stack of each thread, in bytes.
const STACK_BYTES: usize = 512 * 1024;

/// In the folder of a daemon's state.
const KEY_FILE: &str = "node.key";

const USAGE: &str = "usage: isobar-node daemon --identity FILE --state FOLDER";

enum Role {
    Init,
    Daemon { identity: PathBuf, state: PathBuf },
    ContainerHelper { arguments: Vec<String> },
    Unknown,
}

fn main() -> ExitCode {
    heap::limit();
    let role = role(std::env::args().skip(1).collect());
    match role {
        Role::Init => run_init(),
        Role::Daemon { identity, state } => run_daemon(identity, &state),
        // Before anything starts a thread: it forks.
        Role::ContainerHelper { arguments } => {
            ExitCode::from(u8::try_from(helper::main(&arguments)).unwrap_or(u8::MAX))
        }
        Role::Unknown => {
            complain(USAGE);
            ExitCode::from(2)
        }
    }
}

fn role(arguments: Vec<String>) -> Role {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        // The kernel passes on what it does not know from its command line.
        _ if init::is_pid1() => Role::Init,
        ["ctr", ..] => Role::ContainerHelper {
            arguments: arguments[1..].to_vec(),
        },
        ["daemon", "--identity", identity, "--state", state] => Role::Daemon {
            identity: identity.into(),
            state: state.into(),
        },
        _ => Role::Unknown,
    }
}

fn run_init() -> ExitCode {
    let set_up = init::set_up();
    start_log();
    if let Err(error) = set_up.and_then(|()| modules::load(Path::new(modules::MODULES_FOLDER), modules::NET_SET)) {
        tracing::error!(error = %chain(&error), "this machine cannot be set up");
        init::power_off();
    }
    match block_on(live_as_init()) {
        Ok(reason) => tracing::error!(reason, "powering off"),
        Err(error) => tracing::error!(%error, "the agent cannot start"),
    }
    init::power_off();
}

async fn live_as_init() -> String {
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    tokio::spawn(reap::reap_orphans(clock.clone(), owned::is_owned));
    let home = match born().await {
        Ok(Born::Node(home)) => home,
        Ok(Born::Engine(birth)) => {
            return match engine::live(&birth).await {
                Ok(()) => "its machine was stopped".to_owned(),
                Err(error) => chain(&error),
            };
        }
        Err(error) => return chain(&*error),
    };
    let config = RuntimeConfig {
        insecure_registries: home.insecure_registries.clone(),
        ..RuntimeConfig::node()
    };
    let load_modules = || modules::load_others(Path::new(modules::MODULES_FOLDER));
    match NodeKey::generate() {
        Ok(key) => chain(&live((home, key), Box::pin(pending()), (clock, config), load_modules).await),
        Err(error) => chain(&error),
    }
}

/// The network and what this machine was given at birth: read first where that needs no network.
async fn born() -> Result<Born, Box<dyn std::error::Error>> {
    let source = Source::of_this_machine()?;
    tracing::info!(?source, "knows where it was born");
    if source.needs_network() {
        tokio::spawn(Network::up().await?.keep());
        return Ok(source.read().await?);
    }
    let born = source.read().await?;
    if let Err(error) = source.seal() {
        tracing::warn!(%error, "the identity stays readable for root on this machine");
    }
    tokio::spawn(Network::up().await?.keep());
    Ok(born)
}

fn run_daemon(identity: PathBuf, state: &Path) -> ExitCode {
    start_log();
    let life = async {
        let home = match Source::File(identity).read().await.and_then(Born::node) {
            Ok(home) => home,
            Err(error) => return Err(chain(&error)),
        };
        let key = NodeKey::kept_in(&state.join(KEY_FILE)).map_err(|error| chain(&error))?;
        let clock: Arc<dyn Clock> = Arc::new(BootClock);
        tokio::spawn(reap::reap_orphans(clock.clone(), owned::is_owned));
        let config = RuntimeConfig {
            insecure_registries: home.insecure_registries.clone(),
            state_dir: state.to_owned(),
            images_dir: state.join("images"),
            ..RuntimeConfig::node()
        };
        let stopped = stop_signal().map_err(|error| error.to_string())?;
        match live((home, key), stopped, (clock, config), || {}).await {
            Ended::Released | Ended::Stopped => Ok(()),
            ended @ (Ended::Abandoned | Ended::Refused(_) | Ended::Unusable(_) | Ended::NoKey(_)) => Err(chain(&ended)),
        }
    };
    let ended = block_on(life).unwrap_or_else(|error| Err(error.to_string()));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            complain(&reason);
            ExitCode::from(1)
        }
    }
}

/// Ends when the host's service manager, or a person at the terminal, stops this process.
fn stop_signal() -> std::io::Result<Pin<Box<dyn Future<Output = ()> + Send>>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(Box::pin(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }))
}

/// Lives; containers are prepared for while the node is in its first session already.
async fn live(
    (home, key): (Home, NodeKey),
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    (clock, config): (Arc<dyn Clock>, RuntimeConfig),
    load_modules: impl FnOnce() + Send + 'static,
) -> Ended {
    tokio::spawn(heap::keep_small());
    let (runtime, preparation) = preparing();
    let prepare = move || {
        tokio::spawn(prepare(config, load_modules, preparation));
    };
    Node {
        dial: Arc::new(home.clone()),
        home,
        key,
        runtime: Arc::new(runtime),
        clock,
        stopped,
        on_joined: Box::new(prepare),
        usage: machine_usage,
        random: Box::new(random),
    }
    .live()
    .await
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness nodes come back together, which the engine can bear.
    let _ = SystemRandom::new().fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

async fn prepare(config: RuntimeConfig, load_modules: impl FnOnce() + Send + 'static, preparation: Preparation) {
    let ready = tokio::task::spawn_blocking(|| {
        load_modules();
        ContainerRuntime::new(config)
    });
    let prepared = match ready.await {
        Ok(Ok(runtime)) => Ok(Arc::new(runtime) as Arc<dyn Runtime>),
        Ok(Err(error)) => Err(error),
        Err(error) => Err(RuntimeError::Failed(error.to_string())),
    };
    match &prepared {
        Ok(_) => tracing::info!("ready for containers"),
        Err(error) => tracing::error!(error = %chain(error), "this node cannot run containers"),
    }
    preparation.done(prepared);
}

fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}

fn start_log() {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_target(false)
        .with_timer(SinceBoot)
        .init();
}

/// The console's lines begin with seconds since boot, as the kernel's do.
struct SinceBoot;

impl tracing_subscriber::fmt::time::FormatTime for SinceBoot {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        let ms = BootClock.boot_ms();
        write!(w, "[{:5}.{:03}]", ms / 1000, ms % 1000)
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the one place where the program speaks to who started it"
)]
fn complain(text: &str) {
    eprintln!("isobar-node: {text}");
}
