//! The mounts of the node image. Each is there once, with the least that it needs.

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::InitError;

/// What may be taken of the machine's memory: by what containers write, by images' layers, by the rest.
const RUN_SIZE: &str = "size=50%";
const IMAGES_SIZE: &str = "size=50%";
const TMP_SIZE: &str = "size=16m";

struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: MsFlags,
    data: &'static str,
}

const NO_SUID: MsFlags = MsFlags::MS_NOSUID;
const PLAIN: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

const DEV: Mount = Mount {
    kind: "devtmpfs",
    target: "/dev",
    flags: NO_SUID,
    data: "mode=755",
};

const ALL: [Mount; 9] = [
    DEV,
    Mount {
        kind: "proc",
        target: "/proc",
        flags: PLAIN,
        data: "",
    },
    Mount {
        kind: "sysfs",
        target: "/sys",
        flags: PLAIN,
        data: "",
    },
    // Containers' root file systems are below: programs run from it, with the device nodes that they are given.
    Mount {
        kind: "tmpfs",
        target: "/run",
        flags: MsFlags::empty(),
        data: RUN_SIZE,
    },
    Mount {
        kind: "tmpfs",
        target: "/run/isobar/images",
        flags: MsFlags::empty(),
        data: IMAGES_SIZE,
    },
    Mount {
        kind: "tmpfs",
        target: "/tmp",
        flags: PLAIN,
        data: TMP_SIZE,
    },
    Mount {
        kind: "devpts",
        target: "/dev/pts",
        flags: NO_SUID.union(MsFlags::MS_NOEXEC),
        data: "mode=620,ptmxmode=666",
    },
    Mount {
        kind: "tmpfs",
        target: "/dev/shm",
        flags: PLAIN,
        data: TMP_SIZE,
    },
    Mount {
        kind: "cgroup2",
        target: "/sys/fs/cgroup",
        flags: PLAIN,
        data: "nsdelegate,memory_recursiveprot",
    },
];

/// The device nodes alone, so that there is a console.
pub(super) fn mount_dev() -> Result<(), InitError> {
    DEV.mount()
}

/// Puts the root file system onto a mount of its own: the kernel's first one cannot be pivoted from. Nothing is copied.
pub(super) fn move_root() -> Result<(), InitError> {
    umount2(DEV.target, MntFlags::MNT_DETACH).map_err(InitError::Root)?;
    let none = None::<&str>;
    let moved = || -> nix::Result<()> {
        create_folder("/newroot");
        mount(Some("/"), "/newroot", none, MsFlags::MS_BIND, none)?;
        nix::unistd::chdir("/newroot")?;
        mount(Some("."), "/", none, MsFlags::MS_MOVE, none)?;
        nix::unistd::chroot(".")?;
        nix::unistd::chdir("/")
    };
    moved().map_err(InitError::Root)
}

/// Everything else.
pub(super) fn mount_all() -> Result<(), InitError> {
    ALL.iter().try_for_each(Mount::mount)
}

impl Mount {
    fn mount(&self) -> Result<(), InitError> {
        create_folder(self.target);
        mount(
            Some(self.kind),
            self.target,
            Some(self.kind),
            self.flags,
            Some(self.data),
        )
        .map_err(|source| InitError::Mount {
            target: self.target,
            source,
        })
    }
}

/// The mount that follows says what is wrong if this fails.
fn create_folder(path: &str) {
    let _ = std::fs::create_dir_all(path);
}
