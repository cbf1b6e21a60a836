//! `isobar-node ctr bench BUNDLE STATE ID`: the whole life of one container of a given bundle, for the benchmark beside
//! other runtimes: created, started, waited for and removed as the agent does it, in this one process. No node runs it.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use oci_spec::runtime::Spec;

use super::cgroup::Cgroup;
use super::init::InitExecutor;
use super::sys;
use crate::runtime::Exit;

/// Gives the process's exit code: that of the container, or 1.
pub(super) fn main(arguments: &[String]) -> i32 {
    match arguments {
        [bundle, state, id] => live(Path::new(bundle), Path::new(state), id).unwrap_or(1),
        _ => 2,
    }
}

fn live(bundle: &Path, state: &Path, id: &str) -> io::Result<i32> {
    let spec = Spec::load(bundle.join("config.json")).map_err(io::Error::other)?;
    let cgroup = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone());
    let (_status, status_write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let mut container = ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_executor(InitExecutor {
            status: status_write.as_raw_fd(),
        })
        .with_root_path(state)
        .and_then(|builder| builder.as_init(bundle).with_systemd(false).with_detach(true).build())
        .map_err(io::Error::other)?;
    let pid = container.pid().ok_or(io::ErrorKind::NotFound)?.as_raw();
    container.start().map_err(io::Error::other)?;
    let Some(Exit::Code(code)) = sys::ending(waitpid(Pid::from_raw(pid), None)?) else {
        return Err(io::Error::other("ended by a signal"));
    };
    // Where the bundle names no group, libcontainer names it so.
    Cgroup::at(&cgroup.unwrap_or_else(|| format!(":youki:{id}").into())).destroy()?;
    std::fs::remove_dir_all(state.join(id))?;
    Ok(code)
}
