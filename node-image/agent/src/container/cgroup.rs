//! A container's control group, as files: what it uses, whether it was killed for its memory, killing all of it,
//! removing it. libcontainer makes a container's group and sets its limits; nothing here does.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::runtime::Usage;

/// Where the second version of control groups is mounted.
const MOUNT: &str = "/sys/fs/cgroup";
/// How long killed processes may take to go, in ms.
const EMPTY_MS_MAX: u16 = 5_000;
/// How long to let the kernel let go of an empty group, and how often.
const REMOVE_PAUSE: Duration = Duration::from_millis(2);
const REMOVE_TRIES: u32 = 500;

/// A control group.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// The group of a container.
    pub(crate) fn of(parent: &str, id: &str) -> Self {
        Self::at(&Path::new(parent).join(id))
    }

    /// The group at a path from the mount's top.
    pub(crate) fn at(path: &Path) -> Self {
        Self(Path::new(MOUNT).join(path.strip_prefix("/").unwrap_or(path)))
    }

    /// What it uses. Zero for what the kernel does not count here.
    pub(crate) fn usage(&self) -> Usage {
        let memory_bytes = self
            .read("memory.current")
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        let cpu_us = self.entry("cpu.stat", "usage_usec").unwrap_or(0);
        Usage {
            memory_bytes,
            cpu_ms: cpu_us / 1000,
        }
    }

    /// Whether a process in it was killed because the group was over its memory limit.
    pub(crate) fn was_out_of_memory(&self) -> bool {
        self.entry("memory.events", "oom_kill").unwrap_or(0) > 0
    }

    /// Kills every process in it and removes it. Blocks for at most some seconds; fine if there is none.
    pub(crate) fn destroy(&self) -> io::Result<()> {
        match fs::write(self.0.join("cgroup.kill"), "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            done => done?,
        }
        self.wait_empty()?;
        let mut tries = 0;
        loop {
            match fs::remove_dir(&self.0) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) && tries < REMOVE_TRIES => tries += 1,
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => return Ok(()),
            }
            std::thread::sleep(REMOVE_PAUSE);
        }
    }

    fn wait_empty(&self) -> io::Result<()> {
        let events = File::open(self.0.join("cgroup.events"))?;
        let mut text = [0; 256];
        loop {
            // Reading through this very descriptor is what arms the poll for the next change.
            let length = events.read_at(&mut text, 0)?;
            let populated = std::str::from_utf8(&text[..length])
                .ok()
                .and_then(|text| flat_entry(text, "populated"));
            if populated != Some(1) {
                return Ok(());
            }
            let mut polled = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            if poll(&mut polled, PollTimeout::from(EMPTY_MS_MAX))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn entry(&self, file: &str, key: &str) -> Option<u64> {
        flat_entry(&self.read(file)?, key)
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.0.join(file)).ok()
    }
}

/// The controllers that groups below the top can have.
pub(crate) fn controllers() -> Vec<String> {
    let text = fs::read_to_string(Path::new(MOUNT).join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The containers' groups that a runtime before this one left behind.
pub(crate) fn left_behind(parent: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(Path::new(MOUNT).join(parent)) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Makes the group that the containers' groups are made in. libcontainer would, too, but two first containers at once
/// get in each other's way there.
pub(crate) fn make_parent(parent: &str) -> io::Result<()> {
    fs::create_dir_all(Path::new(MOUNT).join(parent))
}

fn flat_entry(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_their_whole_key() {
        let text = "low 0\noom_kill_local 3\noom_kill 1\n";
        assert_eq!(flat_entry(text, "oom_kill"), Some(1));
        assert_eq!(flat_entry(text, "oom"), None);
    }
}
