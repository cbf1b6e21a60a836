//! The first process of every container: starts the image's process as its child, passes signals on, reaps what is
//! orphaned, tells the agent exactly how the child ended. It runs inside the container's namespaces, under its
//! seccomp filter and limits, and never starts anything else.
//!
//! Without it the image's process would be process 1 itself: it would ignore a SIGTERM that it does not handle, and
//! nobody would reap what it and the health checks leave behind, until the limit of processes is full.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::fd::RawFd;

use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError, default::DefaultExecutor,
};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use oci_spec::runtime::{LinuxSeccomp, Spec};

use super::sys::{self, Forked};

/// What a shell answers for a command that cannot be run.
const CANNOT_RUN: i32 = 127;

/// Runs the image's process under an init.
#[derive(Clone)]
pub(crate) struct InitExecutor {
    /// Where the child's wait status goes, as a native `i32`.
    pub(crate) status: RawFd,
}

/// Runs a command in a running container under the container's own seccomp filter, which libcontainer leaves out for
/// commands that join later.
#[derive(Clone)]
pub(crate) struct FilteredExecutor {
    pub(crate) seccomp: Option<LinuxSeccomp>,
}

impl Executor for InitExecutor {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let mut blocked = SigSet::all();
        blocked.remove(Signal::SIGSEGV);
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), Some(&mut before)).map_err(other)?;
        match sys::fork_single_threaded().map_err(other)? {
            Forked::Child => {
                sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None).map_err(other)?;
                let failed = DefaultExecutor {}.exec(spec);
                if let Err(error) = failed {
                    // The container's own standard error: its log is where its user looks.
                    let _ = writeln!(std::io::stderr(), "{error}");
                }
                std::process::exit(CANNOT_RUN)
            }
            Forked::Parent(child) => mind(Pid::from_raw(child), self.status),
        }
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        DefaultExecutor {}.validate(spec)
    }

    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        DefaultExecutor {}.setup_envs(envs)
    }
}

impl Executor for FilteredExecutor {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        if let Some(seccomp) = &self.seccomp {
            libcontainer::seccomp::initialize_seccomp(seccomp).map_err(other)?;
        }
        DefaultExecutor {}.exec(spec)
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        DefaultExecutor {}.validate(spec)
    }

    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        DefaultExecutor {}.setup_envs(envs)
    }
}

/// Passes signals to `child` and reaps until it has ended, then ends as it did.
fn mind(child: Pid, status: RawFd) -> ! {
    // So that who lists the container's processes sees what this is.
    let _ = prctl::set_name(c"isobar-init");
    // Whatever the helper had open is not the container's business.
    let _ = sys::close_from(3, status);
    let signals = SigSet::all();
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => reap(child, status),
            Ok(signal) => {
                let _ = kill(child, signal);
            }
            // A real-time signal, which nix cannot name: not passed on.
            Err(_) => {}
        }
    }
}

fn reap(child: Pid, status: RawFd) {
    loop {
        let (pid, code, raw) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code, code << 8),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32, signal as i32),
            Ok(_) | Err(_) => return,
        };
        if pid == child {
            let _ = sys::write_raw(status, &raw.to_ne_bytes());
            std::process::exit(code);
        }
    }
}

fn other(error: impl std::fmt::Display) -> ExecutorError {
    ExecutorError::Other(error.to_string())
}
