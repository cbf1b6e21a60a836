//! The conformance suite, and crashes, over real machines: QEMU boots the node image. Needs `--features vm`, QEMU, and
//! the image's folder in ISOBAR_IMAGE.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use isobar_engine_model::id::{ImageId, OfferingId, ProviderId, ResourceHandle, SiteName, Zone};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::conformance::{self, TestBed};
use isobar_engine_provider::{Clock, CreateResource, MachineRequest, Provider, ResourceStatus, Secret, Site, Token};
use isobar_providers_local::{LocalConfig, LocalProvider};

/// A boot in an emulator on a busy computer stays below this.
const PATIENCE: Duration = Duration::from_secs(60);

struct WallClock;

#[async_trait]
impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp(elapsed.as_millis().try_into().unwrap())
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

struct LocalBed {
    folder: tempfile::TempDir,
    image: ImageId,
    provider: Mutex<Arc<dyn Provider>>,
}

impl LocalBed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifest =
            std::fs::read(image_folder().join("manifest.json")).expect("ISOBAR_IMAGE names an image's folder");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let image = ImageId::new(manifest["id"].as_str().unwrap());
        let provider = Mutex::new(open(folder.path()));
        Self {
            folder,
            image,
            provider,
        }
    }

    fn pid(&self, handle: &ResourceHandle) -> String {
        let pid_file = self
            .folder
            .path()
            .join("machines/here")
            .join(handle.as_str())
            .join("qemu.pid");
        std::fs::read_to_string(pid_file).unwrap().trim().to_owned()
    }

    /// QEMU processes of this bed's machines.
    fn processes(&self) -> BTreeSet<String> {
        let folder = self.folder.path().canonicalize().unwrap();
        let of_the_bed = |pid: &String| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(folder.to_str().unwrap())
        };
        let names = std::fs::read_dir("/proc")
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| name.parse::<u32>().is_ok())
            .filter(of_the_bed)
            .collect()
    }

    fn request(&self, name: &str) -> CreateResource {
        let tags = serde_json::json!({
            "owner": { "store": "s", "cluster": "c" }, "machine": name, "operation": "op-1", "attempt": 1, "epoch": 1,
        });
        CreateResource {
            site: self.site(),
            name: name.to_owned(),
            token: Token(format!("token-{name}")),
            tags: serde_json::from_value(tags).unwrap(),
            spec: isobar_engine_provider::ResourceSpec::Machine(self.machine()),
        }
    }

    async fn wait_for(&self, handle: &ResourceHandle, wanted: impl Fn(&ResourceStatus) -> bool) {
        let deadline = WallClock.now().plus_ms(PATIENCE.as_millis().try_into().unwrap());
        loop {
            let state = self.provider().get(&self.site(), handle).await.unwrap();
            if wanted(&state.status) {
                return;
            }
            assert!(WallClock.now() < deadline, "{state:?}");
            WallClock.sleep(Duration::from_millis(50)).await;
        }
    }

    async fn delete(&self, handle: &ResourceHandle) {
        let token = Token(format!("delete-{handle}"));
        while self.provider().delete(&self.site(), handle, &token).await.is_ok() {}
    }
}

/// Machines outlive the provider, so a failed test ends its own.
impl Drop for LocalBed {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
    }
}

fn image_folder() -> PathBuf {
    let folder = std::env::var_os("ISOBAR_IMAGE").map(PathBuf::from);
    folder.expect("set ISOBAR_IMAGE to a node image's folder: `./dev image` builds one and prints it")
}

fn open(data: &Path) -> Arc<dyn Provider> {
    let mut config = LocalConfig::new(ProviderId::new("local").unwrap(), data.to_owned(), image_folder());
    config.shapes[0].memory.0 = 256;
    Arc::new(LocalProvider::new(config, Arc::new(WallClock)).unwrap())
}

#[async_trait]
impl TestBed for LocalBed {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider.lock().unwrap())
    }

    async fn restart(&self) {
        *self.provider.lock().unwrap() = open(self.folder.path());
    }

    async fn kill(&self, handle: &ResourceHandle) {
        let killed = Command::new("kill")
            .args(["-KILL", &self.pid(handle)])
            .status()
            .unwrap();
        assert!(killed.success());
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(WallClock)
    }

    fn site(&self) -> Site {
        Site {
            name: SiteName::new("desk").unwrap(),
            provider: ProviderId::new("local").unwrap(),
            region: "here".to_owned(),
            settings: Default::default(),
        }
    }

    fn machine(&self) -> MachineRequest {
        MachineRequest {
            zone: Zone::new("here-a"),
            offering: OfferingId::new("local.small"),
            image: self.image.clone(),
            identity: Secret(b"{}".to_vec()),
            open_ports: (30_000, 30_031),
            network: Default::default(),
        }
    }

    fn unknown_handle(&self) -> ResourceHandle {
        ResourceHandle::new("iso-never-was")
    }

    fn run_id(&self) -> String {
        format!("{:x}", std::process::id())
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conformance_over_qemu() {
    let bed = LocalBed::new();
    if let Err(failures) = conformance::run(&bed).await {
        panic!("{failures}");
    }
    assert_eq!(bed.processes(), BTreeSet::new(), "machines were left behind");
    let left = std::fs::read_dir(bed.folder.path().join("machines/here"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "folders were left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_was_cut_off_before_qemu_is_carried_on_by_the_same_token() {
    let bed = LocalBed::new();
    let request = bed.request("web-1");
    // What a crash between the promise and the start leaves: everything but the machine itself.
    let handle = bed.provider().create(&request).await.unwrap().handle;
    bed.kill(&handle).await;
    let folder = bed.folder.path().join("machines/here/web-1");
    bed.wait_for(&handle, |status| matches!(status, ResourceStatus::Stopped { .. }))
        .await;
    std::fs::remove_file(folder.join("qemu.pid")).unwrap();
    std::fs::remove_file(folder.join("console.log")).unwrap();
    bed.restart().await;
    let state = bed.provider().get(&bed.site(), &handle).await.unwrap();
    assert_eq!(state.status, ResourceStatus::Pending);

    assert_eq!(bed.provider().create(&request).await.unwrap().handle, handle);
    bed.wait_for(&handle, |status| *status == ResourceStatus::Running).await;
    assert_eq!(bed.processes().len(), 1);
    bed.delete(&handle).await;
    assert_eq!(bed.processes(), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_ended_is_not_started_again_by_its_token() {
    let bed = LocalBed::new();
    let request = bed.request("web-1");
    let handle = bed.provider().create(&request).await.unwrap().handle;
    bed.kill(&handle).await;
    let stopped = |status: &ResourceStatus| matches!(status, ResourceStatus::Stopped { .. });
    bed.wait_for(&handle, stopped).await;
    assert_eq!(bed.provider().create(&request).await.unwrap().handle, handle);
    bed.wait_for(&handle, stopped).await;
    assert_eq!(bed.processes(), BTreeSet::new());
    bed.delete(&handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_readable_by_their_owner_only_and_gone_with_the_machine() {
    use std::os::unix::fs::PermissionsExt;

    let bed = LocalBed::new();
    let handle = bed.provider().create(&bed.request("web-1")).await.unwrap().handle;
    let folder = bed.folder.path().join("machines/here/web-1");
    for file in ["identity", "request.json"] {
        let mode = std::fs::metadata(folder.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    bed.delete(&handle).await;
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_outlives_the_process_that_made_it() {
    let bed = LocalBed::new();
    let handle = bed.provider().create(&bed.request("web-1")).await.unwrap().handle;
    let pid = bed.pid(&handle);
    // A session of its own, and no file of this process but the null device.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(3)
        .unwrap()
        .to_owned();
    let mut ours = Command::new("ps");
    let ours = ours
        .args(["-o", "sid=", "-p", &std::process::id().to_string()])
        .output()
        .unwrap();
    assert_ne!(session, String::from_utf8(ours.stdout).unwrap().trim());
    for stream in 0..3 {
        let target = std::fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap();
        assert_eq!(target, Path::new("/dev/null"));
    }
    bed.delete(&handle).await;
}
