//! PID 1 of the node image: everything between the kernel's last word and the agent's first. Never runs on an ordinary
//! host; starts no thread. Called by `main` before any runtime exists.

use std::fs::OpenOptions;

use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};

pub mod modules;
pub mod mounts;
pub mod reap;

/// Why the machine cannot be set up. There is nothing to do but to power off.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A file system cannot be mounted.
    #[error("mount {target}")]
    Mount {
        /// Where.
        target: &'static str,
        /// Why.
        #[source]
        source: nix::Error,
    },
    /// The root cannot be moved to a mount of its own.
    #[error("move the root to a mount of its own")]
    Root(#[source] nix::Error),
    /// A kernel module cannot be loaded.
    #[error("load kernel module {module}")]
    Module {
        /// Which one.
        module: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Whether this process is the machine's first.
pub fn is_pid1() -> bool {
    std::process::id() == 1
}

/// Makes a bare kernel a place where the agent can run: console, mounts, a root that containers can pivot from. From
/// here on a panic powers the machine off.
pub fn set_up() -> Result<(), InitError> {
    mounts::mount_dev()?;
    open_console();
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "the agent has a bug");
        power_off();
    }));
    mounts::move_root()?;
    mounts::mount_all()?;
    if let Err(error) = set_cad_enabled(false) {
        tracing::warn!(%error, "ctrl-alt-del restarts this machine");
    }
    Ok(())
}

/// Ends the machine. Never returns.
pub fn power_off() -> ! {
    nix::unistd::sync();
    loop {
        let Err(error) = reboot(RebootMode::RB_POWER_OFF);
        tracing::error!(%error, "power off");
        std::thread::park_timeout(std::time::Duration::from_secs(1));
    }
}

/// The kernel starts PID 1 without standard streams when the initramfs has no `/dev/console`.
fn open_console() {
    use std::os::fd::AsRawFd;
    let Ok(console) = OpenOptions::new().read(true).write(true).open("/dev/console") else {
        return;
    };
    for stream in 0..=2 {
        if console.as_raw_fd() != stream && nix::unistd::dup2(console.as_raw_fd(), stream).is_err() {
            return;
        }
    }
    if console.as_raw_fd() <= 2 {
        // It is one of the three itself and stays open.
        std::mem::forget(console);
    }
}
