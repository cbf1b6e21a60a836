//! The system calls that neither `std` nor `nix` offers safely: pidfds, descriptors sent over a socket, one extended
//! attribute, fork. The only unsafe code of the container runtime; it decides nothing and is called by its siblings.
#![expect(
    unsafe_code,
    reason = "system calls without a safe wrapper; each block says why it is sound"
)]

use std::ffi::CString;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::wait::WaitStatus;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::runtime::Exit;

/// Most descriptors that one message carries.
pub(crate) const DESCRIPTORS_MAX: usize = 4;

/// Which side of a fork this is.
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one, and the new one's id.
    Parent(i32),
}

/// A descriptor that stands for process `pid`, which must not have been reaped yet.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(fd)
}

/// Sends `signal` to the process behind a pidfd.
pub(crate) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed and the other arguments are integers.
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Forks. Only for a process with one thread: the caller is the helper, never the agent.
pub(crate) fn fork_single_threaded() -> io::Result<Forked> {
    // SAFETY: with one thread no lock can be held by a thread that the child lacks.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent(child.as_raw())),
    }
}

/// Closes every descriptor from `first` on, except `keep`.
pub(crate) fn close_from(first: u32, keep: RawFd) -> io::Result<()> {
    let keep = u32::try_from(keep).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    close_range(first, keep.saturating_sub(1))?;
    close_range(keep + 1, u32::MAX)
}

/// Sets an extended attribute on a path without following a symbolic link.
pub(crate) fn set_attribute(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let name = CString::new(name)?;
    // SAFETY: both strings end in NUL, the value's pointer and length belong together, all outlive the call.
    let done = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends one message with descriptors over a seqpacket socket.
pub(crate) fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<()> {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control: &[ControlMessage<'_>] = if descriptors.is_empty() { &[] } else { &rights };
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Receives one message and its descriptors; no bytes mean that the other side is gone.
pub(crate) fn receive_with(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            // SAFETY: the kernel has just made these descriptors for us; nobody else knows of them.
            descriptors.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "message longer than its bound",
        ));
    }
    Ok((message.bytes, descriptors))
}

/// Writes to a descriptor known only by its number: the one that outlives a fork in the container's init.
pub(crate) fn write_raw(fd: RawFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length belong together; a closed descriptor gives EBADF.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    if written >= 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Registers a descriptor with the runtime of the calling task, to wait until it is readable.
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always gives the same descriptor and closes it only when dropped.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// How a process ended, if this says that it did.
pub(crate) fn ending(status: WaitStatus) -> Option<Exit> {
    if let WaitStatus::Exited(_, code) = status {
        Some(Exit::Code(code))
    } else if let WaitStatus::Signaled(_, signal, _) = status {
        Some(Exit::Signal(signal as i32))
    } else {
        None
    }
}

/// A second descriptor for the same file, closed on exec.
pub(crate) fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: the arguments are integers. The callers hand over processes that exec or exit next, so that no Rust value
    // uses a closed descriptor afterwards.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(fd) {
        // SAFETY: the kernel returned a fresh descriptor.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}
