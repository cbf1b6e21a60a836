//! The helper: this same binary, re-executed for one request (`isobar-node ctr`). It has one thread, which is what
//! libcontainer's forks need and the agent cannot give. It trusts its standard input, a socket from the agent, keeps
//! no state and never outlives its request; the container's first process does.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MemFdCreateFlag, memfd_create};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use oci_spec::runtime::{LinuxSeccomp, Process, Spec};

use super::init::{FilteredExecutor, InitExecutor};
use super::wire::{self, ExecRequest, Failure, Go, Overlay, Reply, Request, StartRequest};
use super::{bench, net, sys};
use crate::oci::unpack;
use crate::runtime::Exit;

/// Why a request was not done.
pub(crate) struct Refused {
    pub(crate) kind: Failure,
    pub(crate) message: String,
}

impl Refused {
    fn other(context: &str, error: impl std::error::Error) -> Self {
        Self {
            kind: Failure::Other,
            message: format!("{context}: {}", crate::chain(&error)),
        }
    }
}

/// Runs `isobar-node ctr ARGS`: the agent's request on standard input, or `bench`. Gives the process's exit code.
/// To be called before anything has started a thread.
pub fn main(args: &[String]) -> i32 {
    match args.first().map(String::as_str) {
        None => serve(),
        Some("bench") => bench::main(&args[1..]),
        Some(_) => 2,
    }
}

fn serve() -> i32 {
    let Ok(socket) = take_stdin() else { return 1 };
    let done = match wire::receive::<Request>(&socket) {
        Ok((Request::Start(request), _)) => start(&socket, &request),
        Ok((Request::Exec(request), _)) => exec(&request),
        Ok((Request::Unpack(request), blobs)) => unpack::in_helper(&request, blobs),
        Err(error) => Err(Refused::other("read request", error)),
    };
    let (reply, code) = match done {
        Ok(reply) => (reply, 0),
        Err(Refused { kind, message }) => (Reply::Failed { kind, message }, 1),
    };
    match wire::send(&socket, &reply, &[]) {
        Ok(()) => code,
        Err(_) => 1,
    }
}

/// Moves the agent's socket away from descriptor 0, which the container inherits, and puts /dev/null there.
fn take_stdin() -> io::Result<OwnedFd> {
    let socket = sys::duplicate(io::stdin())?;
    let null = File::open("/dev/null")?;
    nix::unistd::dup2(null.as_raw_fd(), 0)?;
    Ok(socket)
}

fn start(socket: &OwnedFd, request: &StartRequest) -> Result<Reply, Refused> {
    mount_root(&request.overlay).map_err(|error| Refused::other("mount root", error))?;
    let (status_read, status_write) =
        nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|error| Refused::other("make pipe", error))?;
    let mut container = ContainerBuilder::new(request.id.clone(), SyscallType::default())
        .with_executor(InitExecutor {
            status: status_write.as_raw_fd(),
        })
        .with_root_path(&request.state_root)
        .and_then(ContainerBuilder::validate_id)
        .and_then(|builder| {
            builder
                .as_init(&request.bundle)
                .with_systemd(false)
                .with_detach(true)
                .build()
        })
        .map_err(|error| cannot_start(&error))?;
    let pid = container
        .pid()
        .ok_or_else(|| Refused {
            kind: Failure::Other,
            message: "container has no process".into(),
        })?
        .as_raw();
    let pidfd = sys::pidfd_open(pid).map_err(|error| Refused::other("open pidfd", error))?;
    if let Some(link) = &request.link {
        net::link::attach(link, pid, pidfd.as_fd()).map_err(|error| Refused::other("set up network", error))?;
    }
    wire::send(
        socket,
        &Reply::Created { pid },
        &[pidfd.as_raw_fd(), status_read.as_raw_fd()],
    )
    .and_then(|()| wire::receive::<Go>(socket))
    .map_err(|error| Refused::other("wait for the agent", error))?;
    container.start().map_err(|error| cannot_start(&error))?;
    Ok(Reply::Started)
}

/// In a mount namespace of the helper's own, which the container's is copied from: nothing is left to unmount.
fn mount_root(overlay: &Overlay) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    nix::unistd::chdir(&overlay.layers)?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        overlay.lower.join(":"),
        overlay.upper.display(),
        overlay.work.display()
    );
    mount(
        Some("overlay"),
        &overlay.target,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )?;
    nix::unistd::chdir("/")?;
    Ok(())
}

fn exec(request: &ExecRequest) -> Result<Reply, Refused> {
    let process = process_file(&request.process).map_err(|error| Refused::other("hand over command", error))?;
    let seccomp = seccomp_of(&request.bundle).map_err(|error| Refused::other("read bundle", error))?;
    let started = Instant::now();
    let pid = ContainerBuilder::new(request.id.clone(), SyscallType::default())
        .with_executor(FilteredExecutor { seccomp })
        .with_root_path(&request.state_root)
        .and_then(ContainerBuilder::validate_id)
        .and_then(|builder| {
            let path = format!("/proc/self/fd/{}", process.as_raw_fd());
            builder.as_tenant().with_detach(true).with_process(Some(path)).build()
        })
        .map_err(|error| cannot_start(&error))?;
    let limit = Duration::from_millis(request.timeout_ms).saturating_sub(started.elapsed());
    wait_bounded(pid, limit).map_err(|error| Refused::other("wait for command", error))
}

/// libcontainer takes the command as a file.
fn process_file(process: &Process) -> io::Result<OwnedFd> {
    let file = memfd_create(c"process", MemFdCreateFlag::MFD_CLOEXEC)?;
    let mut writer = File::from(sys::duplicate(&file)?);
    serde_json::to_writer(&mut writer, process)?;
    Ok(file)
}

fn wait_bounded(pid: Pid, limit: Duration) -> io::Result<Reply> {
    let pidfd = sys::pidfd_open(pid.as_raw())?;
    let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let timed_out = poll(&mut polled, timeout)? == 0;
    if timed_out {
        sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL)?;
    }
    let code = match sys::ending(waitpid(pid, None)?) {
        Some(Exit::Code(code)) => code,
        Some(Exit::Signal(signal)) => 128 + signal,
        Some(Exit::OutOfMemory) | None => return Err(io::Error::other("command is told of, and has not ended")),
    };
    Ok(if timed_out {
        Reply::TimedOut
    } else {
        Reply::Exited { code }
    })
}

fn seccomp_of(bundle: &Path) -> io::Result<Option<LinuxSeccomp>> {
    let spec: Spec = serde_json::from_reader(BufReader::new(File::open(bundle.join("config.json"))?))?;
    Ok(spec.linux().as_ref().and_then(|linux| linux.seccomp().clone()))
}

/// Whatever libcontainer refuses is the container's own fault, except for a node without room.
fn cannot_start(error: &LibcontainerError) -> Refused {
    let message = crate::chain(error);
    let full = message.contains("ENOSPC") || message.contains("No space left");
    Refused {
        kind: if full { Failure::Full } else { Failure::CannotStart },
        message: readable(&message).to_owned(),
    }
}

/// The part of libcontainer's message that says something to the container's owner.
fn readable(message: &str) -> &str {
    // What follows is about groups that `remove` deletes later.
    let message = message.split(". error during cleanup: ").next().unwrap_or(message);
    let layers = [
        "failed to create container: ",
        "exec process failed with error ",
        "error in executing process : ",
    ];
    layers
        .iter()
        .fold(message, |rest, layer| rest.strip_prefix(layer).unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_concern_the_containers_owner_is_left_out() {
        let missing = "failed to create container: exec process failed with error error in executing process : \
                       executable '/no/such' not found in $PATH. error during cleanup: failed to cleanup container: x";
        assert_eq!(readable(missing), "executable '/no/such' not found in $PATH");
        assert_eq!(readable("something else"), "something else");
    }
}
