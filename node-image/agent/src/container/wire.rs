//! What the agent and its re-executed helper say to each other: one JSON message a packet over a seqpacket socket that
//! is the helper's standard input. The helper handles one request and ends. No other process speaks this.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;

use oci_spec::runtime::Process;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::sys;

/// Longest message, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// What the helper is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Create a container, wait for [`Go`], start it.
    Start(Box<StartRequest>),
    /// Run a command in a running container.
    Exec(Box<ExecRequest>),
    /// Unpack a layer into an empty folder. The blob's descriptor comes with the message.
    Unpack(UnpackRequest),
}

/// The container to create; its OCI spec lies in the bundle.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartRequest {
    pub(crate) id: String,
    pub(crate) state_root: PathBuf,
    pub(crate) bundle: PathBuf,
    pub(crate) overlay: Overlay,
    pub(crate) link: Option<Link>,
}

/// The layers that make a root file system, mounted in the helper's own mount namespace: it goes when the container
/// does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Overlay {
    /// The folder that `lower` is relative to: short names, since all of them share one page of mount options.
    pub(crate) layers: PathBuf,
    /// The topmost layer first.
    pub(crate) lower: Vec<String>,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) target: PathBuf,
}

/// The container's network interface: one end of a pair whose other end hangs on the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) bridge: String,
    /// The name of the node's end.
    pub(crate) outer: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) gateway: Ipv4Addr,
}

/// A command to run in a container, with its bound.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExecRequest {
    pub(crate) id: String,
    pub(crate) state_root: PathBuf,
    pub(crate) bundle: PathBuf,
    /// The command, with the rights it runs with.
    pub(crate) process: Process,
    pub(crate) timeout_ms: u64,
}

/// A layer to unpack.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UnpackRequest {
    /// An empty folder.
    pub(crate) target: PathBuf,
    pub(crate) bytes_max: u64,
    pub(crate) entries_max: u64,
}

/// What the helper answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The container's first process exists and waits. With its pidfd and the pipe that its exit status will come
    /// through.
    Created {
        /// Its process id, as the agent sees it.
        pid: i32,
    },
    /// The container runs.
    Started,
    /// The command has ended.
    Exited {
        /// Its exit code, or 128 and the signal.
        code: i32,
    },
    /// The command took longer than it may and was killed.
    TimedOut,
    /// The layer is unpacked.
    Unpacked {
        /// `sha256:...` of the uncompressed layer.
        diff_id: String,
    },
    /// It did not work.
    Failed {
        /// What the caller does next.
        kind: Failure,
        /// The chain of causes.
        message: String,
    },
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// The container cannot start as it was asked for.
    CannotStart,
    /// The image or layer is not acceptable.
    BadImage,
    /// No room.
    Full,
    /// Anything else.
    Other,
}

/// The agent knows the container's process and minds it: start it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Go;

/// Sends a message and descriptors.
pub(crate) fn send<T: Serialize>(socket: impl AsFd, message: &T, descriptors: &[RawFd]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "message longer than its bound",
        ));
    }
    sys::send_with(socket.as_fd(), &bytes, descriptors)
}

/// Receives a message and its descriptors.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let (bytes, descriptors) = sys::receive_with(socket.as_fd(), &mut buffer)?;
    if bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((serde_json::from_slice(&buffer[..bytes])?, descriptors))
}
