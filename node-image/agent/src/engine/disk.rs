//! Which disk an engine keeps its data on: the one that an engine's agent has made a file system on, else the only one that
//! is blank. A disk with anything else on it is never touched.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::init::modules;

/// What the file system of an engine is called.
pub const LABEL: &str = "isobar-data";

/// The modules that disks need, a set of the image.
const DISK_SET: &str = "disk";
/// A disk shows within so long.
const SHOWN_MAX: Duration = Duration::from_secs(60);
/// Disks come one after another: a blank one is taken once no other has come for so long, or the engine's own may be late.
const SETTLED: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Disks of other kinds than a machine's: in memory, of files, put together.
const NOT_DISKS: [&str; 8] = ["loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd"];
/// Disks of the host that a machine runs on, by their NVMe model: AWS's instance store
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/nvme-ebs-volumes.html>), Google's local SSD
/// (<https://cloud.google.com/compute/docs/disks/local-ssd>), Azure's local disks
/// (<https://learn.microsoft.com/azure/virtual-machines/enable-nvme-temp-faqs>).
const LOST_AT_A_STOP: [&str; 3] = [
    "Amazon EC2 NVMe Instance Storage",
    "nvme_card",
    "Microsoft NVMe Direct Disk",
];
/// A disk is blank if so much of its beginning and of its end is zero: every partition table and file system is there.
const LOOKED_AT_BYTES: u64 = 1024 * 1024;
/// Of an ext4 file system's superblock: <https://docs.kernel.org/filesystems/ext4/globals.html>.
const SUPERBLOCK_AT: usize = 1024;
const MAGIC_AT: usize = SUPERBLOCK_AT + 0x38;
const MAGIC: [u8; 2] = [0x53, 0xef];
const LABEL_AT: usize = SUPERBLOCK_AT + 0x78;
const LABEL_BYTES: usize = 16;

/// Why there is no disk.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DiskError {
    /// None is there.
    #[error("there is no disk to keep an engine's data on")]
    None,
    /// None may be used.
    #[error("no disk is blank or an engine's: {0} have something else on them, which stays as it is")]
    Foreign(String),
    /// It is not clear which one is meant.
    #[error("{0} could each be the engine's disk: leave one")]
    Several(String),
}

/// The disk to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// It has an engine's file system.
    Ours(PathBuf),
    /// It has nothing.
    Blank(PathBuf),
}

impl Use {
    /// Its device.
    pub fn device(&self) -> &Path {
        match self {
            Self::Ours(device) | Self::Blank(device) => device,
        }
    }
}

/// What is on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Ours,
    Blank,
    Foreign,
}

/// Loads what disks need, and waits for one.
pub async fn found() -> Result<Use, DiskError> {
    if let Err(error) = modules::load(Path::new(modules::MODULES_FOLDER), DISK_SET) {
        tracing::warn!(error = %crate::chain(&error), "a set of kernel modules is not complete");
    }
    waited_for(|| disks(Path::new("/sys/block"), Path::new("/dev"))).await
}

/// Looks until it is clear which disk it is.
async fn waited_for(look: impl Fn() -> Vec<(PathBuf, Content)>) -> Result<Use, DiskError> {
    let begun = Instant::now();
    let (mut seen, mut since) = (Vec::new(), begun);
    loop {
        let disks = look();
        if disks != seen {
            (seen, since) = (disks, Instant::now());
        }
        let is_over = begun.elapsed() >= SHOWN_MAX;
        match choose(&seen) {
            Ok(ours @ Use::Ours(_)) => return Ok(ours),
            // Others come late, and one that is not ours may not be the only one.
            Err(DiskError::None | DiskError::Foreign(_)) if !is_over => {}
            other if is_over || since.elapsed() >= SETTLED => return other,
            Ok(_) | Err(_) => {}
        }
        sleep(LOOK_EVERY).await;
    }
}

/// One that is ours goes before one that is blank.
fn choose(disks: &[(PathBuf, Content)]) -> Result<Use, DiskError> {
    let with = |wanted: Content| -> Vec<&Path> {
        let fitting = disks.iter().filter(|(_, content)| *content == wanted);
        fitting.map(|(device, _)| device.as_path()).collect()
    };
    let named = |devices: &[&Path]| {
        let names: Vec<String> = devices.iter().map(|device| device.display().to_string()).collect();
        names.join(", ")
    };
    match (
        &with(Content::Ours)[..],
        &with(Content::Blank)[..],
        &with(Content::Foreign)[..],
    ) {
        ([ours], _, _) => Ok(Use::Ours(ours.to_path_buf())),
        ([], [blank], _) => Ok(Use::Blank(blank.to_path_buf())),
        ([], [], []) => Err(DiskError::None),
        ([], [], foreign) => Err(DiskError::Foreign(named(foreign))),
        ([], several, _) | (several, _, _) => Err(DiskError::Several(named(several))),
    }
}

/// Every whole disk with what is on it. One that cannot be read is left alone, and one that its machine loses when it stops is
/// none to keep anything on.
fn disks(sys: &Path, dev: &Path) -> Vec<(PathBuf, Content)> {
    let entries = fs::read_dir(sys).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !NOT_DISKS.iter().any(|other| name.starts_with(other)))
        .filter(|name| !is_lost_at_a_stop(&sys.join(name)))
        .collect();
    names.sort();
    let look = |name: String| {
        let device = dev.join(&name);
        let content = match has_partitions(&sys.join(&name), &name) {
            true => Content::Foreign,
            false => content(&device).unwrap_or(Content::Foreign),
        };
        (device, content)
    };
    names.into_iter().map(look).collect()
}

fn is_lost_at_a_stop(disk: &Path) -> bool {
    let model = fs::read_to_string(disk.join("device/model")).unwrap_or_default();
    LOST_AT_A_STOP.contains(&model.trim())
}

fn has_partitions(disk: &Path, name: &str) -> bool {
    let entries = fs::read_dir(disk).into_iter().flatten().flatten();
    let mut inside = entries.filter_map(|entry| entry.file_name().into_string().ok());
    inside.any(|inside| inside.starts_with(name))
}

fn content(device: &Path) -> io::Result<Content> {
    let mut disk = File::open(device)?;
    let length = disk.seek(SeekFrom::End(0))?;
    let mut part = |from: u64| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        disk.seek(SeekFrom::Start(from))?;
        (&disk).take(LOOKED_AT_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let begins = part(0)?;
    if begins.get(MAGIC_AT..MAGIC_AT + MAGIC.len()) == Some(MAGIC.as_slice()) {
        let label = begins.get(LABEL_AT..LABEL_AT + LABEL_BYTES).unwrap_or_default();
        let label = label.split(|byte| *byte == 0).next().unwrap_or_default();
        return Ok(match label == LABEL.as_bytes() {
            true => Content::Ours,
            false => Content::Foreign,
        });
    }
    let ends = part(length.saturating_sub(LOOKED_AT_BYTES))?;
    let is_blank = length > 0 && begins.iter().chain(&ends).all(|byte| *byte == 0);
    Ok(match is_blank {
        true => Content::Blank,
        false => Content::Foreign,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// A disk of three MiB with this on it.
    fn disk(folder: &Path, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = vec![0; 3 * MIB];
        write(&mut bytes);
        fs::write(folder.join("dev").join(name), bytes).unwrap();
        fs::create_dir_all(folder.join("sys").join(name)).unwrap();
    }

    fn ext4(bytes: &mut [u8], label: &str) {
        bytes[MAGIC_AT..MAGIC_AT + 2].copy_from_slice(&MAGIC);
        bytes[LABEL_AT..LABEL_AT + label.len()].copy_from_slice(label.as_bytes());
    }

    fn machine() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("dev")).unwrap();
        fs::create_dir(folder.path().join("sys")).unwrap();
        folder
    }

    fn chosen(folder: &tempfile::TempDir) -> Result<String, DiskError> {
        let dev = folder.path().join("dev");
        let chosen = choose(&disks(&folder.path().join("sys"), &dev));
        let name = |device: &Path| device.strip_prefix(&dev).unwrap().display().to_string();
        Ok(match chosen? {
            Use::Ours(device) => format!("ours {}", name(&device)),
            Use::Blank(device) => format!("blank {}", name(&device)),
        })
    }

    #[test]
    fn a_blank_disk_is_taken_and_from_then_on_the_one_that_was() {
        let machine = machine();
        assert_eq!(chosen(&machine), Err(DiskError::None));
        disk(machine.path(), "vdb", |_| {});
        assert_eq!(chosen(&machine).unwrap(), "blank vdb");
        disk(machine.path(), "nvme1n1", |bytes| ext4(bytes, LABEL));
        assert_eq!(chosen(&machine).unwrap(), "ours nvme1n1");
    }

    #[test]
    fn what_has_anything_on_it_is_never_taken() {
        let machine = machine();
        disk(machine.path(), "sda", |bytes| bytes[510] = 0x55);
        disk(machine.path(), "sdb", |bytes| ext4(bytes, "somebody-s"));
        // The copy of a partition table.
        disk(machine.path(), "sdc", |bytes| bytes[3 * MIB - 512] = b'E');
        disk(machine.path(), "sdd", |_| {});
        fs::create_dir(machine.path().join("sys/sdd/sdd1")).unwrap();
        disk(machine.path(), "loop0", |_| {});
        let refused = chosen(&machine).unwrap_err();
        let DiskError::Foreign(named) = &refused else {
            panic!("{refused}");
        };
        assert!(
            ["sda", "sdb", "sdc", "sdd"].iter().all(|name| named.contains(name)),
            "{named}"
        );
        disk(machine.path(), "sde", |_| {});
        assert_eq!(chosen(&machine).unwrap(), "blank sde");
    }

    #[tokio::test(start_paused = true)]
    async fn the_engine_s_own_disk_may_come_after_a_blank_one() {
        let (blank, ours) = (PathBuf::from("/dev/vda"), PathBuf::from("/dev/vdb"));
        let begun = Instant::now();
        let look = || {
            let mut disks = vec![(blank.clone(), Content::Blank)];
            if begun.elapsed() >= SETTLED / 2 {
                disks.push((ours.clone(), Content::Ours));
            }
            disks
        };
        assert_eq!(waited_for(look).await, Ok(Use::Ours(ours.clone())));
        // Alone, it is taken once it is clear that no other comes.
        let begun = Instant::now();
        let alone = waited_for(|| vec![(blank.clone(), Content::Blank)]).await;
        assert_eq!(alone, Ok(Use::Blank(blank.clone())));
        assert!(begun.elapsed() >= SETTLED);
        assert_eq!(waited_for(Vec::new).await, Err(DiskError::None));
    }

    #[test]
    fn what_a_machine_loses_when_it_stops_is_not_taken() {
        let machine = machine();
        disk(machine.path(), "nvme1n1", |_| {});
        let device = machine.path().join("sys/nvme1n1/device");
        fs::create_dir(&device).unwrap();
        fs::write(device.join("model"), "Amazon EC2 NVMe Instance Storage        \n").unwrap();
        assert_eq!(chosen(&machine), Err(DiskError::None));
        fs::write(device.join("model"), "Amazon Elastic Block Store              \n").unwrap();
        assert_eq!(chosen(&machine).unwrap(), "blank nvme1n1");
    }

    #[test]
    fn which_of_two_is_meant_is_not_guessed() {
        let machine = machine();
        disk(machine.path(), "sda", |_| {});
        disk(machine.path(), "sdb", |_| {});
        assert!(matches!(chosen(&machine), Err(DiskError::Several(_))));
        disk(machine.path(), "sda", |bytes| ext4(bytes, LABEL));
        assert_eq!(chosen(&machine).unwrap(), "ours sda");
        disk(machine.path(), "sdb", |bytes| ext4(bytes, LABEL));
        assert!(matches!(chosen(&machine), Err(DiskError::Several(_))));
    }
}
