//! `bench containers`: create, start, wait and delete of the same bundle (busybox's `true`, the node's seccomp profile)
//! with the node's runtime, crun and runc, in turns, on this computer under one private cgroup2.
//!
//! A sample is the whole life of one container as its manager sees it. The others are three processes each: create,
//! start, delete. Ours is one, `isobar-node ctr bench`: the agent re-executes itself once for a container.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::figure::{Figure, Peer, Target, median};
use crate::output::say;

/// The profile of every container of a node.
const SECCOMP: &str = include_str!("../../../node-image/agent/src/container/seccomp.json");
/// Where busybox is, static.
const BUSYBOX: &str = "/bin/busybox";
/// Where every runtime looks for cgroups.
const CGROUPS: &str = "/sys/fs/cgroup";
/// A container's process ends within this, or the measurement fails.
const LIFE_MAX: Duration = Duration::from_secs(10);
/// Between two looks at a process that should end.
const LOOK_PAUSE: Duration = Duration::from_micros(200);
/// Says to ourselves that the private cgroup2 is mounted.
const INSIDE: &str = "ISOBAR_BENCH_INSIDE";

/// What `bench containers` is told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Containers of each runtime; figures are medians.
    #[arg(long, default_value_t = 60)]
    rounds: u32,
    /// Containers of each before the first that counts.
    #[arg(long, default_value_t = 5)]
    warm_up: u32,
    /// The node's agent, as it is in the image.
    #[arg(long, env = "ISOBAR_NODE")]
    agent: PathBuf,
}

/// What makes containers.
enum Runtime {
    /// Ours.
    Agent(PathBuf),
    /// A command line as the OCI runtime tools have it.
    Tool(&'static str),
}

/// A runtime's samples, or why it has none.
struct Runner {
    runtime: Runtime,
    name: String,
    samples_ms: Vec<f64>,
    absent: Option<String>,
}

/// Measures, and says what came out of each runtime.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Figure>> {
    enter_cgroup2()?;
    let folder = tempfile::tempdir()?;
    let bundle = folder.path().join("bundle");
    make_bundle(&bundle)?;
    let mut runners = [
        Runner::ours(&options.agent)?,
        Runner::peer("crun"),
        Runner::peer("runc"),
    ];
    for round in 0..options.warm_up + options.rounds {
        for runner in runners.iter_mut().filter(|runner| runner.absent.is_none()) {
            let state = folder.path().join(&runner.name);
            let took = runner.runtime.live(&bundle, &state, &format!("bench-{round}"));
            match (took, &runner.runtime) {
                (Ok(took), _) if round >= options.warm_up => runner.samples_ms.push(took.as_secs_f64() * 1000.0),
                (Ok(_), _) => {}
                (Err(error), Runtime::Agent(_)) => return Err(error.context("the agent")),
                (Err(error), Runtime::Tool(_)) => runner.absent = Some(format!("{error:#}")),
            }
        }
    }
    for runner in &runners {
        say(&runner.in_words());
    }
    let [ours, crun, runc] = &runners;
    let ours_ms = median(&ours.samples_ms).context("no round was asked for")?;
    let figure = |name: &str, peer: &Runner, target| Figure {
        name: name.to_owned(),
        unit: "ms",
        ours: ours_ms,
        peer_name: peer.name.clone(),
        peer: peer.value(),
        target,
    };
    Ok(vec![
        figure("container_create_start_delete", crun, Some(Target::TimesPeer(1.0))),
        figure("container_create_start_delete_beside_runc", runc, None),
    ])
}

/// A mount namespace of our own in which `/sys/fs/cgroup` is cgroup2, whatever this computer has there: crun refuses
/// anything else. By starting ourselves again, once.
fn enter_cgroup2() -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        ensure!(
            Path::new(CGROUPS).join("cgroup.procs").exists(),
            "{CGROUPS} is not cgroup2"
        );
        return Ok(());
    }
    let ourselves = std::env::current_exe()?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg(format!("mount -t cgroup2 none {CGROUPS} && exec \"$0\" \"$@\""))
        .arg(ourselves)
        .args(arguments)
        .env(INSIDE, "1")
        .exec();
    Err(error).context("start again in a mount namespace with `unshare`; needs root")
}

/// A root folder with busybox and a configuration: `runc spec`'s own, less its limits (the same for all), with our
/// seccomp profile.
fn make_bundle(bundle: &Path) -> anyhow::Result<()> {
    let root = bundle.join("rootfs");
    for folder in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    std::fs::copy(BUSYBOX, root.join("bin/busybox")).context("copy busybox (Debian: busybox-static)")?;
    std::os::unix::fs::symlink("busybox", root.join("bin/true"))?;
    let seccomp: Value = serde_json::from_str(SECCOMP)?;
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind }));
    let configuration = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": false },
        "hostname": "bench",
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "linux": {
            "namespaces": namespaces,
            "seccomp": seccomp,
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    std::fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(&configuration)?)?;
    Ok(())
}

impl Runner {
    fn ours(agent: &Path) -> anyhow::Result<Self> {
        ensure!(agent.exists(), "there is no agent at {}", agent.display());
        Ok(Self {
            runtime: Runtime::Agent(agent.to_owned()),
            name: "isobar-node".into(),
            samples_ms: Vec::new(),
            absent: None,
        })
    }

    fn peer(program: &'static str) -> Self {
        let version = Command::new(program).arg("--version").stderr(Stdio::null()).output();
        let (name, absent) = match version {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout);
                let version = text.lines().next().and_then(|line| line.split(' ').next_back());
                (format!("{program} {}", version.unwrap_or_default()), None)
            }
            Err(error) => (program.to_owned(), Some(error.to_string())),
        };
        Self {
            runtime: Runtime::Tool(program),
            name,
            samples_ms: Vec::new(),
            absent,
        }
    }

    fn value(&self) -> Peer {
        match (&self.absent, median(&self.samples_ms)) {
            (Some(why), _) => Peer::Absent(why.clone()),
            (None, Some(median)) => Peer::Measured(median),
            (None, None) => Peer::Absent("not asked for".into()),
        }
    }

    fn in_words(&self) -> String {
        let least = self.samples_ms.iter().copied().fold(f64::INFINITY, f64::min);
        let processes = match self.runtime {
            Runtime::Agent(_) => "one process a container",
            Runtime::Tool(_) => "create, start and delete as three processes",
        };
        match self.value() {
            Peer::Measured(median) => format!(
                "{}: median {median:.1} ms, least {least:.1} ms of {} ({processes})",
                self.name,
                self.samples_ms.len()
            ),
            Peer::Absent(why) => format!("{}: absent ({why})", self.name),
        }
    }
}

impl Runtime {
    /// One container's whole life.
    fn live(&self, bundle: &Path, state: &Path, id: &str) -> anyhow::Result<Duration> {
        std::fs::create_dir_all(state)?;
        let started = Instant::now();
        match self {
            Self::Agent(agent) => {
                let mut command = Command::new(agent);
                command.args(["ctr", "bench"]).arg(bundle).arg(state).arg(id);
                run(&mut command)?;
            }
            Self::Tool(program) => {
                let tool = || {
                    let mut command = Command::new(program);
                    command.arg("--root").arg(state);
                    command
                };
                let pid_file = state.join(format!("{id}.pid"));
                let mut create = tool();
                create
                    .args(["create", "--bundle"])
                    .arg(bundle)
                    .arg("--pid-file")
                    .arg(&pid_file)
                    .arg(id);
                run(&mut create)?;
                let pid: u32 = std::fs::read_to_string(&pid_file)?.trim().parse()?;
                run(tool().args(["start", id]))?;
                wait_for_end(pid)?;
                run(tool().args(["delete", id]))?;
            }
        }
        Ok(started.elapsed())
    }
}

/// Output to nowhere: a pipe that a container inherits would stay open.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("start {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

/// Returns when a process is gone or only waits for whoever reaps it.
fn wait_for_end(pid: u32) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < LIFE_MAX {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            return Ok(());
        };
        // `PID (NAME) STATE ...`; a name may hold anything, a closing parenthesis too.
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')) {
            return Ok(());
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    bail!("process {pid} did not end within {} s", LIFE_MAX.as_secs())
}
