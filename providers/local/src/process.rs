//! The QEMU process of a machine: found by its pid file, believed only if its command line names that very file, and
//! signalled through a pidfd, so that a reused pid is never touched. Starts nothing.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::ports::{self, Forwards};

/// The option whose value ties a process to its machine.
pub(crate) const PID_FILE_OPTION: &str = "-pidfile";
/// The option that names a machine's forwarded ports.
pub(crate) const NETWORK_OPTION: &str = "-netdev";

/// A machine's process, alive when it was looked for.
#[derive(Debug)]
pub(crate) struct Process {
    pidfd: OwnedFd,
    arguments: Vec<OsString>,
}

impl Process {
    /// The process that holds this pid file, if it lives.
    pub(crate) fn find(pid_file: &Path) -> Option<Self> {
        Self::of(fs::read_to_string(pid_file).ok()?.trim().parse().ok()?, pid_file)
    }

    /// Every process that was started for this pid file, also one that has not written it yet. Looks at all of the
    /// host's processes: for starts and deletions, where an overlooked one would be a second machine or a leak.
    pub(crate) fn search(pid_file: &Path) -> io::Result<Vec<Self>> {
        let entries = fs::read_dir("/proc")?.collect::<io::Result<Vec<_>>>()?;
        let pids = entries
            .iter()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(pids.filter_map(|pid| Self::of(pid, pid_file)).collect())
    }

    fn of(pid: i32, pid_file: &Path) -> Option<Self> {
        // The pidfd comes first: whatever the pid is reused for later, it stays the process that was checked.
        let id = (pid > 0).then(|| Pid::from_raw(pid)).flatten()?;
        let pidfd = pidfd_open(id, PidfdFlags::empty()).ok()?;
        let process = Self {
            pidfd,
            arguments: arguments(pid)?,
        };
        let named = process.value_of(PID_FILE_OPTION).map(PathBuf::from);
        (named.as_deref() == Some(pid_file)).then_some(process)
    }

    /// Host ports by guest port.
    pub(crate) fn forwards(&self) -> Forwards {
        let network = self.value_of(NETWORK_OPTION).map(|v| v.to_string_lossy().into_owned());
        ports::parse_netdev(&network.unwrap_or_default())
    }

    /// Kills it and waits up to `patience` for its end. Returns whether it has ended.
    pub(crate) fn kill(&self, patience: Duration) -> io::Result<bool> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let bound = Timespec::try_from(patience).map_err(io::Error::other)?;
        Ok(poll(&mut ended, Some(&bound))? > 0)
    }

    fn value_of(&self, option: &str) -> Option<&OsStr> {
        let at = self.arguments.iter().position(|argument| argument == option)?;
        self.arguments.get(at + 1).map(OsString::as_os_str)
    }
}

/// A process' command line; `None` once it has ended.
fn arguments(pid: i32) -> Option<Vec<OsString>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<_> = bytes
        .split(|b| *b == 0)
        .map(|a| OsString::from_vec(a.to_vec()))
        .collect();
    (!bytes.is_empty()).then_some(arguments)
}

/// A path as part of a QEMU option, where a comma ends the value unless doubled.
pub(crate) fn in_option(path: &Path) -> OsString {
    let doubled = path
        .as_os_str()
        .as_bytes()
        .iter()
        .flat_map(|b| std::iter::repeat_n(*b, 1 + usize::from(*b == b',')));
    OsString::from_vec(doubled.collect())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that looks like a machine's, and its pid file.
    fn stand_in(folder: &Path, named: &Path) -> (Child, PathBuf) {
        // It reads from a pipe that nobody writes to, and leaves no child behind.
        let mut program = Command::new("sh");
        program.args(["-c", "read line", "qemu", PID_FILE_OPTION]).arg(named);
        let child = program.stdin(Stdio::piped()).spawn().unwrap();
        let pid_file = folder.join("qemu.pid");
        fs::write(&pid_file, format!("{}\n", child.id())).unwrap();
        // Until the child has executed `sh`, its command line is this test's.
        let cmdline = format!("/proc/{}/cmdline", child.id());
        while !fs::read(&cmdline).unwrap().starts_with(b"sh\0") {
            std::thread::yield_now();
        }
        (child, pid_file)
    }

    #[test]
    fn a_process_that_names_the_pid_file_is_found_and_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, pid_file) = stand_in(folder.path(), &folder.path().join("qemu.pid"));
        let process = Process::find(&pid_file).expect("it runs");
        assert!(process.kill(Duration::from_secs(10)).unwrap());
        child.wait().unwrap();
        assert!(Process::find(&pid_file).is_none());
    }

    #[test]
    fn a_reused_pid_is_not_taken_for_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, pid_file) = stand_in(folder.path(), Path::new("/another/machine/qemu.pid"));
        assert!(Process::find(&pid_file).is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_damaged_pid_file_names_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("qemu.pid");
        for text in ["", "0", "-1", "x", "99999999999"] {
            fs::write(&pid_file, text).unwrap();
            assert!(Process::find(&pid_file).is_none(), "{text:?}");
        }
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        assert_eq!(in_option(Path::new("/a,b/c")), OsString::from("/a,,b/c"));
    }
}
