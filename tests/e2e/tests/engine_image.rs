//! The engine image, booted: its agent makes a file system on a blank disk, keeps what is on it, leaves other disks alone,
//! and runs the engine that waits to be claimed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![cfg(feature = "vm")]

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use isobar_mcp::claim::owner::Owner;
use isobar_mcp::claim::{Claim, Derived, Standing, StoreKey};
use isobar_mcp::folder::Token;
use isobar_node_image_protocol::identity::{Birth, ENGINE_MCP_PORT, EngineIdentity, FW_CFG_NAME};
use isobar_tests_cloudbox::Image;
use isobar_tests_e2e::image;
use isobar_tests_e2e::wait::{BOOT, within};
use tokio::runtime::{Builder, Runtime};

/// Its disk, in bytes.
const DISK_BYTES: u64 = 1024 * 1024 * 1024;

/// A machine that boots the engine image, with a disk.
struct Machine {
    folder: tempfile::TempDir,
    token: Token,
    port: u16,
    qemu: Option<Child>,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::random();
        let derived = Derived::from(&token);
        let birth = Birth::Engine(EngineIdentity {
            machine: "engine-1".to_owned(),
            claim_hash_hex: derived.hash_hex(),
            proof_key_hex: derived.proof_key_hex(),
            insecure_registries: Vec::new(),
            allowed_endpoints: Vec::new(),
        });
        fs::write(folder.path().join("identity"), birth.to_json()).unwrap();
        let disk = File::create(folder.path().join("disk")).unwrap();
        disk.set_len(DISK_BYTES).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            port: free.local_addr().unwrap().port(),
            folder,
            token,
            qemu: None,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn boot(&mut self) {
        let image = Image::of(&image::engine()).expect("a whole engine image");
        let forward = format!("user,id=net,hostfwd=tcp:127.0.0.1:{}-:{ENGINE_MCP_PORT}", self.port);
        let qemu = Command::new("qemu-system-x86_64")
            .args(image.arguments())
            .args([
                "-accel",
                "tcg",
                "-machine",
                "q35,sata=off,smbus=off",
                "-cpu",
                "max",
                "-m",
                "1024M",
            ])
            .arg("-fw_cfg")
            .arg(format!("name={FW_CFG_NAME},file={}", self.file("identity").display()))
            .args(["-netdev", &forward, "-device", "virtio-net-pci,romfile=,netdev=net"])
            .arg("-drive")
            .arg(format!(
                "if=none,id=data,format=raw,file={}",
                self.file("disk").display()
            ))
            .args(["-device", "virtio-blk-pci,drive=data", "-device", "virtio-rng-pci"])
            .arg("-serial")
            .arg(format!("file:{}", self.file("console").display()))
            .args(["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot"])
            .stdin(Stdio::null())
            .spawn();
        self.qemu = Some(qemu.expect("qemu is there"));
    }

    /// As when its power fails.
    fn cut(&mut self) {
        let mut qemu = self.qemu.take().expect("it runs");
        qemu.kill().unwrap();
        qemu.wait().unwrap();
    }

    fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("console")).unwrap_or_default()).into_owned()
    }

    fn owner(&self) -> Owner {
        Owner::new(format!("127.0.0.1:{}", self.port), self.token.clone())
    }

    /// How far its engine is, once it answers.
    fn standing(&self, runtime: &Runtime) -> Standing {
        within(BOOT, "the engine answers", || {
            let asked = runtime.block_on(self.owner().standing());
            asked.map(|(standing, _)| standing).map_err(|error| {
                let console = self.console();
                format!("{error}: {}", console.lines().last().unwrap_or_default())
            })
        })
    }
}

impl Drop for Machine {
    #[expect(clippy::print_stderr, reason = "a failed test shows what happened")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.console());
        }
        if self.qemu.is_some() {
            self.cut();
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_blank_disk_is_made_the_engine_s_and_keeps_what_it_is_told() {
    let runtime = runtime();
    let mut machine = Machine::new();
    machine.boot();
    assert_eq!(machine.standing(&runtime), Standing::Waiting);
    assert!(machine.console().contains("makes a file system on a blank disk"));
    let claimed = runtime.block_on(async {
        let owner = machine.owner();
        let (_, known) = owner.standing().await.unwrap();
        let claim = Claim {
            hosts: vec!["127.0.0.1".to_owned()],
            nodes: vec!["127.0.0.1:7421".to_owned()],
            key: StoreKey("00".repeat(32)),
            restore: false,
        };
        owner.claim(&known, &claim).await
    });
    claimed.expect("it is its owner");
    let serves = within(BOOT, "it serves", || match machine.standing(&runtime) {
        Standing::Waiting => Err("it waits".to_owned()),
        serves @ Standing::Serves(_) => Ok(serves),
    });

    // Its power fails: the same engine is there again, with the same store.
    machine.cut();
    machine.boot();
    assert_eq!(machine.standing(&runtime), serves);
    assert!(
        !machine.console().contains("makes a file system"),
        "{}",
        machine.console()
    );
}

#[test]
fn a_disk_with_anything_else_on_it_is_left_as_it_is() {
    let mut machine = Machine::new();
    let words = b"somebody's photographs";
    let mut disk = File::options().write(true).open(machine.file("disk")).unwrap();
    disk.seek(SeekFrom::Start(4096)).unwrap();
    disk.write_all(words).unwrap();
    machine.boot();
    let mut qemu = machine.qemu.take().unwrap();
    within(BOOT, "it powers off", || match qemu.try_wait() {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let console = machine.console();
    assert!(
        console.contains("no disk is blank or an engine's: /dev/vda"),
        "{console}"
    );
    let mut begins = vec![0; 8192];
    File::open(machine.file("disk"))
        .unwrap()
        .read_exact(&mut begins)
        .unwrap();
    assert_eq!(&begins[4096..4096 + words.len()], words);
    begins[4096..4096 + words.len()].fill(0);
    assert!(begins.iter().all(|byte| *byte == 0), "nothing was written beside it");
}
