//! Starts QEMU for one machine and says why it would not start. QEMU daemonizes into a session of its own: it outlives
//! the engine and inherits nothing from it. The one place that runs another program.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::image::Image;
use crate::ports::{self, Forwards};
use crate::process::{NETWORK_OPTION, PID_FILE_OPTION, in_option};

/// Under this name the guest finds its identity, below `/sys/firmware/qemu_fw_cfg/by_name/`.
const IDENTITY_NAME: &str = "opt/isobar/identity";
/// The kernel's word for not checking that its timer works.
const NO_TIMER_CHECK: &str = "no_timer_check";
/// QEMU has its devices ready within this time or not at all.
const START_MAX: Duration = Duration::from_secs(30);
/// Between two looks at a starting QEMU.
const START_POLL: Duration = Duration::from_millis(5);
/// So much of QEMU's complaint is shown, in characters.
const COMPLAINT_MAX_CHARS: usize = 500;

/// A machine to start.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) qemu: &'a Path,
    pub(crate) processor: Processor,
    pub(crate) board: Board,
    pub(crate) name: &'a str,
    pub(crate) image: &'a Image,
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u32,
    pub(crate) forwards: &'a Forwards,
    pub(crate) identity: PathBuf,
    pub(crate) console: PathBuf,
    pub(crate) pid_file: PathBuf,
}

/// Who executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processor {
    /// QEMU's emulator.
    Emulated,
    /// The host's processor.
    Host,
}

/// What the guest's processor is plugged into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Board {
    /// A PC with a PCI bus.
    Q35,
    /// Only what a guest of Linux needs, found without scanning a bus.
    Micro {
        /// The frequency of the guest's time stamp counter, which is the host's.
        tsc_khz: u64,
    },
}

/// Why QEMU did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// It is not installed.
    #[error("`{}` is not installed\nhint: run `apt-get install qemu-system-x86`", .0.display())]
    NotInstalled(PathBuf),
    /// One of the ports was taken since it was picked.
    #[error("a port was taken by someone else")]
    PortTaken,
    /// Another process started this machine at the same time.
    #[error("the machine is running already")]
    Running,
    /// The host has not enough memory.
    #[error("the host has no memory left: {0}")]
    NoMemory(String),
    /// It neither started nor failed; it was ended.
    #[error("qemu was not ready within {START_MAX:?}")]
    Silent,
    /// It failed otherwise.
    #[error("qemu does not start: {0}")]
    Refused(String),
    /// It could not be run.
    #[error("run qemu")]
    Run(#[from] io::Error),
}

/// Starts the machine and returns once its devices are ready and its pid file is written.
pub(crate) fn start(machine: &Start<'_>) -> Result<(), StartError> {
    let mut command = Command::new(machine.qemu);
    command
        .args(arguments(machine))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            StartError::NotInstalled(machine.qemu.to_owned())
        } else {
            StartError::Run(error)
        }
    })?;
    if !ends_within(&mut child, START_MAX)? {
        child.kill()?;
        child.wait()?;
        return Err(StartError::Silent);
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    let mut complaint = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut complaint)?;
    }
    Err(classify(&complaint, status))
}

/// Whether the child ends in time.
pub(crate) fn ends_within(child: &mut Child, bound: Duration) -> io::Result<bool> {
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > bound {
            return Ok(false);
        }
        std::thread::sleep(START_POLL);
    }
    Ok(true)
}

fn classify(complaint: &str, status: ExitStatus) -> StartError {
    let shown = || complaint.trim().chars().take(COMPLAINT_MAX_CHARS).collect::<String>();
    if complaint.contains("Could not set up host forwarding rule") {
        StartError::PortTaken
    } else if complaint.contains("lock pid file") || complaint.contains("cannot create PID file") {
        StartError::Running
    } else if complaint.contains("Cannot allocate memory") || complaint.contains("cannot set up guest memory") {
        StartError::NoMemory(shown())
    } else {
        StartError::Refused(format!("{} ({status})", shown()))
    }
}

/// QEMU's command line. Nothing secret stands in it: every process of the host can read it.
fn arguments(machine: &Start<'_>) -> Vec<OsString> {
    let (accelerator, cpu) = match machine.processor {
        // `max` has RDRAND: without it the guest's first random numbers are a long wait.
        Processor::Emulated => ("tcg", "max"),
        Processor::Host => ("kvm", "host"),
    };
    let (board, network, random, clock) = match machine.board {
        // The check of the timer counts ticks, which a busy host delivers late: then the kernel gives up.
        Board::Q35 => (
            "q35,sata=off,smbus=off",
            "virtio-net-pci,romfile=",
            "virtio-rng-pci",
            NO_TIMER_CHECK.to_owned(),
        ),
        // Reliable: else the counter is compared with late ticks too, and given up for a clock of 4 ms.
        Board::Micro { tsc_khz } => (
            "microvm,rtc=on",
            "virtio-net-device",
            "virtio-rng-device",
            format!("{NO_TIMER_CHECK} tsc_early_khz={tsc_khz} tsc=reliable"),
        ),
    };
    let file = |prefix: &str, path: &Path| {
        let mut value = OsString::from(prefix);
        value.push(in_option(path));
        value
    };
    let mut arguments: Vec<OsString> = Vec::new();
    let mut option = |name: &str, value: OsString| arguments.extend([OsString::from(name), value]);
    option("-name", machine.name.into());
    option("-accel", accelerator.into());
    option("-machine", board.into());
    option("-cpu", cpu.into());
    option("-smp", machine.cpus.to_string().into());
    option("-m", format!("{}M", machine.memory_mib).into());
    option("-kernel", machine.image.kernel.clone().into());
    option("-initrd", machine.image.initramfs.clone().into());
    option("-append", format!("{} {clock}", machine.image.command_line).into());
    option("-chardev", file("file,id=console,append=on,path=", &machine.console));
    option("-serial", "chardev:console".into());
    option(NETWORK_OPTION, ports::netdev(machine.forwards).into());
    option("-device", format!("{network},netdev=net").into());
    option("-device", random.into());
    option(
        "-fw_cfg",
        file(&format!("name={IDENTITY_NAME},file="), &machine.identity),
    );
    option("-display", "none".into());
    // Not `spawn=deny`: it would end QEMU at its own daemonizing.
    option("-sandbox", "on,obsolete=deny".into());
    option(PID_FILE_OPTION, machine.pid_file.clone().into());
    arguments.extend(["-nodefaults", "-no-user-config", "-no-reboot", "-daemonize"].map(OsString::from));
    arguments
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use isobar_engine_model::id::ImageId;

    use super::*;

    /// Starts a shell script in QEMU's place.
    fn start_script(script: &str) -> Result<(), StartError> {
        let folder = tempfile::tempdir().unwrap();
        let qemu = folder.path().join("qemu");
        std::fs::write(&qemu, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&qemu, PermissionsExt::from_mode(0o755)).unwrap();
        start_program(&qemu)
    }

    fn start_program(qemu: &Path) -> Result<(), StartError> {
        let image = Image {
            id: ImageId::new("node-1"),
            kernel: "/k".into(),
            initramfs: "/i".into(),
            command_line: "quiet".into(),
        };
        start(&Start {
            qemu,
            processor: Processor::Emulated,
            board: Board::Q35,
            name: "web-1",
            image: &image,
            cpus: 1,
            memory_mib: 512,
            forwards: &Forwards::from([(30_000, 40_000)]),
            identity: "/machines/a,b/identity".into(),
            console: "/machines/a,b/console.log".into(),
            pid_file: "/machines/a,b/qemu.pid".into(),
        })
    }

    #[test]
    fn qemus_complaints_are_told_apart() {
        let complain = |text: &str| start_script(&format!("echo \"qemu: {text}\" >&2; exit 1"));
        assert!(matches!(
            complain("Could not set up host forwarding rule 'x'"),
            Err(StartError::PortTaken)
        ));
        assert!(matches!(
            complain("cannot create PID file: Cannot lock pid file"),
            Err(StartError::Running)
        ));
        assert!(matches!(
            complain("cannot set up guest memory 'pc.ram'"),
            Err(StartError::NoMemory(_))
        ));
        let refused = complain("unsupported machine type").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "qemu does not start: qemu: unsupported machine type (exit status: 1)"
        );
    }

    #[test]
    fn a_missing_qemu_is_named_with_its_package() {
        let message = start_program(Path::new("/no/such/qemu")).unwrap_err().to_string();
        assert_eq!(
            message,
            "`/no/such/qemu` is not installed\nhint: run `apt-get install qemu-system-x86`"
        );
    }

    #[test]
    fn options_hold_paths_with_commas_and_no_secret() {
        let checks = [
            r#"case "$*" in *"name=opt/isobar/identity,file=/machines/a,,b/identity"*) ;; *) exit 1;; esac"#,
            r#"case "$*" in *"-pidfile /machines/a,b/qemu.pid"*) ;; *) exit 1;; esac"#,
            r#"case "$*" in *"user,id=net,hostfwd=tcp:127.0.0.1:40000-:30000"*) ;; *) exit 1;; esac"#,
        ];
        start_script(&checks.join("\n")).unwrap();
    }
}
