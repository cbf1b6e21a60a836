//! The VMs that really run of a data folder: found by the folder in their command lines, whatever any journal says.
//! Signals go through pidfds, so that a reused pid is never touched. Starts nothing.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A killed VM is gone within this time.
const END_MAX: Duration = Duration::from_secs(10);

/// A VM that ran when it was looked for.
#[derive(Debug)]
pub struct Vm {
    /// Its process id.
    pub pid: i32,
    /// Its own folder, which is named after the machine's attempt.
    pub folder: PathBuf,
    pidfd: OwnedFd,
}

impl Vm {
    /// Ends it as a power failure would, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When it does not go.
    pub fn kill(&self) {
        // Gone already is as good.
        let _gone = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let bound = Timespec::try_from(END_MAX).expect("a few seconds");
        let ended = poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&bound));
        assert!(ended.is_ok_and(|ended| ended > 0), "the VM {} does not end", self.pid);
    }

    /// Its name, as the provider was given it.
    pub fn name(&self) -> String {
        self.folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    fn of(pid: i32, data: &Path) -> Option<Self> {
        // The pidfd first: the process that is checked is the one that is signalled.
        let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments: Vec<&str> = command_line
            .split(|byte| *byte == 0)
            .filter_map(|one| std::str::from_utf8(one).ok())
            .collect();
        let at = arguments.iter().position(|argument| *argument == "-pidfile")?;
        let pid_file = Path::new(arguments.get(at + 1)?);
        pid_file
            .starts_with(data)
            .then(|| pid_file.parent().map(Path::to_owned))
            .flatten()
            .map(|folder| Self { pid, folder, pidfd })
    }
}

/// Every VM of a data folder, by name.
///
/// # Panics
///
/// Where there is no `/proc`.
pub fn of(data: &Path) -> Vec<Vm> {
    let entries = fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut vms: Vec<Vm> = pids.filter_map(|pid| Vm::of(pid, data)).collect();
    vms.sort_by(|a, b| a.folder.cmp(&b.folder));
    vms
}

/// Ends every VM of a data folder.
pub fn kill_all(data: &Path) {
    // A machine that was being started while the others were killed is in the second look.
    for _ in 0..2 {
        of(data).iter().for_each(Vm::kill);
    }
}
