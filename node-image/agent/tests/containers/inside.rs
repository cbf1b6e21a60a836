//! The surroundings of one test: namespaces, a registry, a runtime.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use isobar_node_image_agent::container::{ContainerRuntime, Isolation, RuntimeConfig};
use isobar_node_image_agent::runtime::{ContainerSpec, PulledImage, Runtime};

const INSIDE: &str = "ISOBAR_TEST_INSIDE";
/// The registry's address in the namespace of each test.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";
const REGISTRY_START_MAX: Duration = Duration::from_secs(20);

/// Runs a test's body in namespaces of its own: this program again, for that test alone.
pub(crate) fn inside(name: &str, body: impl AsyncFnOnce(&Surroundings)) {
    if std::env::var_os(INSIDE).is_none() {
        assert!(
            nix::unistd::geteuid().is_root(),
            "container tests make namespaces: run them as root"
        );
        let done = Command::new("unshare")
            .args(["--mount", "--net", "--propagation", "private"])
            .arg(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .expect("unshare of util-linux runs");
        assert!(done.success(), "inside of the namespaces: {done}");
        return;
    }
    run("mount", &["-t", "cgroup2", "none", "/sys/fs/cgroup"]);
    // Where `ip netns` keeps names, among others.
    run("mount", &["-t", "tmpfs", "none", "/run"]);
    run("ip", &["link", "set", "lo", "up"]);
    let surroundings = Surroundings {
        folder: tempfile::tempdir().unwrap(),
    };
    // A file system of their own: overlayfs cannot stack on every host's.
    run(
        "mount",
        &["-t", "tmpfs", "none", surroundings.folder.path().to_str().unwrap()],
    );
    let _groups = Groups;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(body(&surroundings));
    runtime.shutdown_timeout(Duration::from_secs(5));
    run("umount", &["-l", surroundings.folder.path().to_str().unwrap()]);
}

pub(crate) struct Surroundings {
    folder: tempfile::TempDir,
}

/// A registry that ends with the test.
pub(crate) struct Registry(Child);

impl Surroundings {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> RuntimeConfig {
        RuntimeConfig {
            state_dir: self.path("state"),
            images_dir: self.path("images"),
            cgroup_parent: cgroup_parent(),
            insecure_registries: vec![REGISTRY.into()],
            reserved_ports: vec![22],
            helper: env!("CARGO_BIN_EXE_isobar-node").into(),
            isolation: Isolation::WhereAvailable {
                devices: devices_can_be_restricted(),
            },
            ..RuntimeConfig::node()
        }
    }

    pub(crate) fn runtime(&self) -> ContainerRuntime {
        ContainerRuntime::new(self.config()).unwrap()
    }

    /// Debian's registry on this namespace's loopback.
    pub(crate) fn registry(&self) -> Registry {
        let config = self.path("registry.yml");
        let storage = self.path("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {REGISTRY}}}\n",
            storage.display()
        );
        fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry of Debian's package of that name runs");
        let begun = Instant::now();
        while TcpStream::connect(REGISTRY).is_err() {
            assert!(begun.elapsed() < REGISTRY_START_MAX, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Registry(child)
    }

    /// Copies an image layout to the registry.
    pub(crate) fn push(&self, layout: &Path, name: &str) {
        let from = format!("oci:{}", layout.display());
        let to = format!("docker://{REGISTRY}/{name}");
        run(
            "skopeo",
            &[
                "--insecure-policy",
                "copy",
                "--quiet",
                "--preserve-digests",
                "--dest-tls-verify=false",
                &from,
                &to,
            ],
        );
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A container of this image that runs a shell's commands.
pub(crate) fn shell(id: &str, commands: &str) -> ContainerSpec {
    ContainerSpec {
        id: id.into(),
        image: format!("{REGISTRY}/box:1"),
        command: vec!["/bin/sh".into(), "-c".into(), commands.into()],
        env: Vec::new(),
        cpu_milli: 1000,
        memory_mib: 64,
        published: Vec::new(),
    }
}

pub(crate) async fn start(runtime: &ContainerRuntime, spec: &ContainerSpec) -> Ipv4Addr {
    let image: PulledImage = runtime.pull(&spec.image).await.unwrap();
    runtime.start(spec, &image).await.unwrap()
}

/// Everything a container wrote, `o` or `e` and the line.
pub(crate) async fn output(runtime: &ContainerRuntime, id: &str) -> Vec<String> {
    let (lines, _) = runtime.output(id, Some(0), 10_000).await.unwrap();
    lines
        .into_iter()
        .map(|line| format!("{} {}", if line.stderr { 'e' } else { 'o' }, line.text))
        .collect()
}

pub(crate) fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        done.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// The mount is the test's own, the groups in it are the host's: each test has one at the top.
fn cgroup_parent() -> String {
    format!("isobar-test-{}", std::process::id())
}

/// The groups and processes of the containers that a test has left, also one that failed: they would outlive it.
struct Groups;

impl Drop for Groups {
    fn drop(&mut self) {
        let parent = Path::new("/sys/fs/cgroup").join(cgroup_parent());
        let Ok(groups) = fs::read_dir(&parent) else { return };
        for group in groups.flatten().filter(|entry| entry.path().is_dir()) {
            let _ = fs::write(group.path().join("cgroup.kill"), "1");
            while fs::remove_dir(group.path()).is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = fs::remove_dir(parent);
    }
}

/// Loading such a program wants a privilege that a confined host may lack.
fn devices_can_be_restricted() -> bool {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() & CAP_SYS_RESOURCE != 0
}
