//! `bench node`: boots machines of the local provider (QEMU with software emulation) through the real command and engine,
//! and reads what their nodes report: guest time from the kernel's start to having joined, and the agent's resident
//! memory while its containers idle.
//!
//! There is no honest peer: nobody else boots this image. Speaks to the engine only through the `isobar` command.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use isobar_engine_control::api::QueryAnswer;
use isobar_engine_model::observed::NodeReport;

use crate::figure::{Figure, Peer, Target, median};
use crate::output::say;

/// The issue's: from the kernel's start to having joined, in guest time.
const TARGET_JOIN_MS: f64 = 2_000.0;
/// The issue's: resident memory of the agent with idle containers.
const TARGET_AGENT_MB: f64 = 15.0;
/// The engine answers within this, or the measurement fails.
const ENGINE_START_MAX: Duration = Duration::from_secs(30);
/// Between two looks at an engine that starts.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// The containers idle for so long before the agent's memory counts: its start is over, its reports are fresh.
const SETTLE: Duration = Duration::from_secs(20);
/// Between two samples of memory: longer than between two reports.
const SAMPLE_PAUSE: Duration = Duration::from_secs(5);
/// Samples of memory.
const SAMPLES: u32 = 5;

/// What `bench node` is told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Machines booted one after the other; the figure is the median.
    #[arg(long, default_value_t = 7)]
    boots: u32,
    /// Containers on the machine whose agent is weighed.
    #[arg(long, default_value_t = 10)]
    containers: u32,
    /// What they run: an image that idles.
    #[arg(long, default_value = "10.0.2.2:5000/shop/web:1")]
    container_image: String,
    /// The command.
    #[arg(long, env = "ISOBAR")]
    isobar: PathBuf,
    /// The folder of the node image.
    #[arg(long, env = "ISOBAR_IMAGE")]
    image: PathBuf,
}

/// An engine of our own, ended when dropped.
struct Engine<'a> {
    isobar: &'a Path,
    data: tempfile::TempDir,
    process: Child,
}

/// Measures, and says so boot by boot.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let engine = Engine::start(options)?;
    let mut joined_ms = Vec::new();
    for boot in 1..=options.boots {
        let report = engine.boot()?;
        say(&format!(
            "boot {boot}: joined after {} ms of guest time",
            report.joined_after_ms
        ));
        joined_ms.push(f64::from(u32::try_from(report.joined_after_ms)?));
    }
    let agent_mb = engine.weigh(options)?;
    let alone = |why: &str| (String::new(), Peer::Absent(why.to_owned()));
    let (no_name, no_peer) = alone("guest time under software emulation; nobody else boots this image");
    let (no_name_either, no_peer_either) = alone("no other agent does the same work");
    Ok(vec![
        Figure {
            name: "node_kernel_start_to_joined".into(),
            unit: "ms",
            ours: median(&joined_ms).context("no boot was asked for")?,
            peer_name: no_name,
            peer: no_peer,
            target: Some(Target::AtMost(TARGET_JOIN_MS)),
        },
        Figure {
            name: format!("agent_resident_with_{}_containers", options.containers),
            unit: "MB",
            ours: agent_mb,
            peer_name: no_name_either,
            peer: no_peer_either,
            target: Some(Target::AtMost(TARGET_AGENT_MB)),
        },
    ])
}

impl<'a> Engine<'a> {
    fn start(options: &'a Options) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let log = std::fs::File::create(data.path().join("engine.log"))?;
        let registry = options.container_image.split('/').next().unwrap_or_default();
        let process = Command::new(&options.isobar)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--node-listen",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(data.path())
            .arg("--image")
            .arg(&options.image)
            .args(["--insecure-registry", registry])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", options.isobar.display()))?;
        let engine = Self {
            isobar: &options.isobar,
            data,
            process,
        };
        let started = Instant::now();
        while engine.isobar(&["status"]).is_err() {
            ensure!(
                started.elapsed() < ENGINE_START_MAX,
                "the engine does not answer: {}",
                std::fs::read_to_string(engine.data.path().join("engine.log")).unwrap_or_default()
            );
            std::thread::sleep(LOOK_PAUSE);
        }
        Ok(engine)
    }

    /// Boots one machine, reads its node's report, gives it back.
    fn boot(&self) -> anyhow::Result<NodeReport> {
        self.apply("boot", "")?;
        let report = self.report("boot")?;
        self.destroy("boot")?;
        Ok(report)
    }

    /// The agent's resident memory, in MB, while so many containers idle.
    fn weigh(&self, options: &Options) -> anyhow::Result<f64> {
        let workload = format!(
            "workloads:\n  idle:\n    kind: {{ service: {{ replicas: {} }} }}\n    image: {}\n    resources: {{ cpu: 10m, memory: 16MiB }}\n",
            options.containers, options.container_image
        );
        self.apply("weigh", &workload)?;
        std::thread::sleep(SETTLE);
        let mut samples_mb = Vec::new();
        for _ in 0..SAMPLES {
            std::thread::sleep(SAMPLE_PAUSE);
            let rss_kib = self.report("weigh")?.agent_rss_kib;
            samples_mb.push(f64::from(u32::try_from(rss_kib)?) * 1024.0 / 1_000_000.0);
        }
        say(&format!(
            "agent with {} containers: {samples_mb:.1?} MB",
            options.containers
        ));
        self.destroy("weigh")?;
        median(&samples_mb).context("at least one sample")
    }

    /// A cluster of one machine.
    fn apply(&self, cluster: &str, workloads: &str) -> anyhow::Result<()> {
        let spec = format!(
            "cluster: {cluster}\nsites:\n  here: {{ provider: local, region: here }}\npools:\n  one:\n    machines: {{ min: 1, max: 1 }}\n{workloads}"
        );
        let file = self.data.path().join(format!("{cluster}.yaml"));
        std::fs::write(&file, spec)?;
        let file = file.to_str().context("temporary folders have names in UTF-8")?;
        self.isobar(&["apply", file, "--yes"])?;
        Ok(())
    }

    fn destroy(&self, cluster: &str) -> anyhow::Result<()> {
        self.isobar(&["destroy", cluster, "--yes"])?;
        Ok(())
    }

    fn report(&self, cluster: &str) -> anyhow::Result<NodeReport> {
        let json = self.isobar(&["query", "machines", "--cluster", cluster])?;
        let answer: QueryAnswer = serde_json::from_slice(&json)?;
        let mut machines = answer.machines.unwrap_or_default().into_iter();
        match (machines.next(), machines.next()) {
            (Some(machine), None) => machine.node.context("its node has not reported"),
            _ => bail!("{cluster} does not have one machine"),
        }
    }

    /// Runs the command; gives what it prints.
    fn isobar(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let output = Command::new(self.isobar)
            .args(arguments)
            .args(["--output", "json", "--data"])
            .arg(self.data.path())
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "`isobar {}`: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output.stdout)
    }
}

impl Drop for Engine<'_> {
    /// Machines go first, whatever happened: nothing else would stop them.
    fn drop(&mut self) {
        for cluster in ["boot", "weigh"] {
            // There may be none.
            let _ = self.destroy(cluster);
        }
        // It holds nothing that a kill could lose any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
