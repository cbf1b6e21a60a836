//! Starting the helper and waiting for processes by pidfd. The helper runs from one sealed copy of this binary in
//! memory, made once, so that nothing in a container can write to what the node runs (CVE-2019-5736). Never reaps a
//! process that it does not own.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MemFdCreateFlag, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::owned::Owned;
use super::sys;
use super::wire::{self, Reply, Request};
use crate::runtime::Exit;

/// A copy of this program that cannot be changed any more.
pub(crate) struct Program(OwnedFd);

impl Program {
    /// Copies and seals the program at `path`.
    pub(crate) fn seal(path: &Path) -> io::Result<Self> {
        let flags = MemFdCreateFlag::MFD_CLOEXEC | MemFdCreateFlag::MFD_ALLOW_SEALING;
        let copy = memfd_create(c"isobar-node", flags)?;
        let mut writer = File::from(sys::duplicate(&copy)?);
        io::copy(&mut File::open(path)?, &mut writer)?;
        let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
        fcntl(copy.as_raw_fd(), FcntlArg::F_ADD_SEALS(seals))?;
        Ok(Self(copy))
    }

    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// A helper that has its request.
pub(crate) struct Helper {
    socket: AsyncFd<OwnedFd>,
    process: Process,
}

/// What the helper's standard output and error are: the container's own.
pub(crate) struct Output {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

impl Helper {
    /// Starts a helper and hands it a request with the descriptors that belong to it.
    pub(crate) fn spawn(
        program: &Program,
        request: &Request,
        blobs: &[OwnedFd],
        output: Option<Output>,
    ) -> io::Result<Self> {
        let kind = SockType::SeqPacket;
        let (ours, theirs) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
        let (stdout, stderr) = match output {
            Some(Output { stdout, stderr }) => (stdout.into(), stderr.into()),
            None => (Stdio::null(), Stdio::null()),
        };
        let child = Command::new(program.path())
            .arg0("isobar-node")
            .arg("ctr")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(stdout)
            .stderr(stderr)
            .spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        // It reads its request first: until then it cannot have ended, so nobody can have reaped it.
        let process = Process::adopt(pid)?;
        let descriptors: Vec<_> = blobs.iter().map(AsRawFd::as_raw_fd).collect();
        wire::send(&ours, request, &descriptors)?;
        fcntl(ours.as_raw_fd(), FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        Ok(Self {
            socket: sys::readable(ours)?,
            process,
        })
    }

    /// The helper's next answer, within `limit`.
    pub(crate) async fn reply(&self, limit: Duration) -> io::Result<(Reply, Vec<OwnedFd>)> {
        tokio::time::timeout(limit, self.receive())
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Tells the helper to go on.
    pub(crate) fn go(&self) -> io::Result<()> {
        wire::send(self.socket.get_ref(), &wire::Go, &[])
    }

    /// Waits for the helper to end; kills it if it does not within `limit`.
    pub(crate) async fn end(self, limit: Duration) {
        if tokio::time::timeout(limit, self.process.wait()).await.is_err() {
            let _ = self.process.signal(libc::SIGKILL);
            let _ = self.process.wait().await;
        }
    }

    async fn receive<T: DeserializeOwned>(&self) -> io::Result<(T, Vec<OwnedFd>)> {
        self.socket
            .async_io(Interest::READABLE, |socket| wire::receive(socket))
            .await
    }
}

/// A child that is waited for by pidfd.
#[derive(Debug)]
pub(crate) struct Process {
    pidfd: AsyncFd<OwnedFd>,
    /// Until it is reaped: then its number may be another's.
    owned: Mutex<Option<Owned>>,
}

impl Process {
    /// Takes a child that cannot have ended yet.
    pub(crate) fn adopt(pid: i32) -> io::Result<Self> {
        let owned = Owned::new(pid);
        Self::with(sys::pidfd_open(pid)?, owned)
    }

    /// Takes a child by the pidfd that the helper made.
    pub(crate) fn with(pidfd: OwnedFd, owned: Owned) -> io::Result<Self> {
        Ok(Self {
            pidfd: sys::readable(pidfd)?,
            owned: Mutex::new(Some(owned)),
        })
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        sys::pidfd_signal(self.pidfd.as_fd(), signal)
    }

    /// Waits for its end and reaps it. Once: a second wait fails with ECHILD.
    pub(crate) async fn wait(&self) -> io::Result<Exit> {
        let status = self
            .pidfd
            .async_io(Interest::READABLE, |pidfd| {
                Ok(waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED)?)
            })
            .await?;
        self.owned.lock().unwrap_or_else(PoisonError::into_inner).take();
        sys::ending(status).ok_or_else(|| io::Error::other("child is told of, and has not ended"))
    }
}
