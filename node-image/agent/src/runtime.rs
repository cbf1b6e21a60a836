//! What the agent asks of whatever runs containers: libcontainer in a re-executed helper on a real node, a simulated
//! one in tests. The supervisor above decides when; a runtime decides nothing and retries nothing.

use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;

/// What the runtime needs to know of a replica; who supervises it knows the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// The replica's id: the container's name and host name.
    pub id: String,
    /// `registry[:port]/repository[:tag|@digest]`.
    pub image: String,
    /// Replaces the image's entry point and command unless empty.
    pub command: Vec<String>,
    /// Over those of the image.
    pub env: Vec<(String, String)>,
    /// Thousandths of a CPU.
    pub cpu_milli: u32,
    /// Over it the container is killed.
    pub memory_mib: u32,
    /// Container port and node port of each published port.
    pub published: Vec<(u16, u16)>,
}

/// A pulled and checked image, ready to start containers from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledImage {
    /// Digest of its manifest: `sha256:...`.
    pub digest: String,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Killed for being over its memory limit.
    OutOfMemory,
}

/// What a container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Processor time, in ms.
    pub cpu_ms: u64,
}

/// Why a runtime call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The registry does not answer, or answers 5xx: try again later.
    #[error("registry does not answer: {0}")]
    RegistryAway(String),
    /// The registry has no such image, or refuses it: it cannot start.
    #[error("no such image: {0}")]
    NoSuchImage(String),
    /// The image is not what its digests say, or cannot be run: it cannot start.
    #[error("image cannot be used: {0}")]
    BadImage(String),
    /// The node has no room for it: try again later.
    #[error("no room left: {0}")]
    Full(String),
    /// The container cannot be started as asked: its command does not exist, its port is taken.
    #[error("cannot start: {0}")]
    CannotStart(String),
    /// There is no such container.
    #[error("no such container")]
    NotFound,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// One line that a container wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLine {
    /// CLOCK_REALTIME, in ms.
    pub time_ms: u64,
    /// Standard error, not standard output.
    pub stderr: bool,
    /// Without its line end; cut at 8 KiB.
    pub text: String,
}

/// Runs containers. Every method is cancel-safe: a dropped future leaves a state that `remove` cleans.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Pulls an image, checks its digests, unpacks it. At once if it is there (a tag is asked for again).
    async fn pull(&self, image: &str) -> Result<PulledImage, RuntimeError>;

    /// Creates and starts a container from a pulled image, with its address and published ports.
    async fn start(&self, spec: &ContainerSpec, image: &PulledImage) -> Result<Ipv4Addr, RuntimeError>;

    /// Returns when the container's first process has ended; at once if it has.
    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError>;

    /// Sends a signal to the container's first process.
    async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError>;

    /// Runs a command in the container and gives its exit code.
    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<i32, RuntimeError>;

    /// What the container uses.
    async fn usage(&self, id: &str) -> Result<Usage, RuntimeError>;

    /// The last lines that it wrote, and the number of the line after them; from line `from` on, at most `max`.
    async fn output(&self, id: &str, from: Option<u64>, max: u32) -> Result<(Vec<OutputLine>, u64), RuntimeError>;

    /// Kills what is left of it and removes its cgroup, files, address and ports. Ok if there is none. Its output stays
    /// readable until `forget`; a later `start` of the same id adds to it.
    async fn remove(&self, id: &str) -> Result<(), RuntimeError>;

    /// Drops the output of a removed container.
    async fn forget(&self, id: &str);
}
