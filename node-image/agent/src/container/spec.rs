//! From an image's configuration and what the supervisor asked for to the OCI runtime spec of one container: pure. The
//! rules of isolation stand here and nowhere else: own namespaces, limits, Docker's default capabilities and system
//! calls, no new privileges, masked paths, no devices but the harmless ones.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capability, LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxCpuBuilder, LinuxDeviceCgroupBuilder,
    LinuxMemoryBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxPidsBuilder, LinuxResources,
    LinuxResourcesBuilder, LinuxSeccomp, Mount, MountBuilder, PosixRlimitBuilder, PosixRlimitType, Process,
    ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};

use super::config::Isolation;
use crate::oci::config::{ImageConfig, User};
use crate::runtime::ContainerSpec;

/// Most processes and threads of one container.
const PIDS_MAX: i64 = 4096;
/// Period over which the processor limit counts, in µs.
const CPU_PERIOD_US: u64 = 100_000;
/// Least quota that the kernel takes, in µs.
const CPU_QUOTA_US_MIN: i64 = 1_000;
/// Files that a process may have open: what it may ask for, and what it gets unasked, that old programs can cope with.
pub(crate) const OPEN_FILES_MAX: u64 = 1_048_576;
const OPEN_FILES_SOFT: u64 = 65_536;
/// Rather a container dies for want of memory than the agent.
const OOM_SCORE: i32 = 500;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const SECCOMP: &str = include_str!("seccomp.json");

const CAPABILITIES: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the node adds to what was asked for.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    /// Group of the container below the mount of control groups.
    pub(crate) cgroup: PathBuf,
    /// The controllers that the node has.
    pub(crate) controllers: &'a [String],
    pub(crate) isolation: Isolation,
    /// Files that a process of the container may have open.
    pub(crate) open_files_max: u64,
    /// Whether the kernel has IPv6, which containers do not get.
    pub(crate) ipv6: bool,
    /// Folder with the container's `hosts`, `hostname` and `resolv.conf`.
    pub(crate) etc: &'a Path,
}

/// The whole spec.
pub(crate) fn container(
    asked: &ContainerSpec,
    image: &ImageConfig,
    user: &User,
    node: &Surroundings<'_>,
) -> Result<Spec, OciSpecError> {
    let mut linux = LinuxBuilder::default()
        .cgroups_path(node.cgroup.clone())
        .namespaces(namespaces()?)
        .masked_paths(MASKED.map(String::from))
        .readonly_paths(READ_ONLY.map(String::from))
        .seccomp(seccomp())
        .sysctl(sysctl(node.ipv6))
        .build()?;
    linux.set_resources(resources(asked, node)?);
    SpecBuilder::default()
        .version("1.0.2")
        .root(RootBuilder::default().path("rootfs").readonly(false).build()?)
        .hostname(asked.id.clone())
        .mounts(mounts(node.etc)?)
        .process(process(asked, image, user, node.open_files_max)?)
        .linux(linux)
        .build()
}

/// A command that joins a container later: with the rights of its first process.
pub(crate) fn joining(container: &Spec, command: &[String]) -> Option<Process> {
    let mut process = container.process().clone()?;
    process.set_args(Some(command.to_vec()));
    Some(process)
}

/// Docker's default system calls, for processes without further capabilities.
fn seccomp() -> LinuxSeccomp {
    serde_json::from_str(SECCOMP).expect("a test reads this very file")
}

/// The image's entry point and command, unless another command was asked for.
pub(crate) fn arguments(asked: &ContainerSpec, image: &ImageConfig) -> Vec<String> {
    if asked.command.is_empty() {
        image.entrypoint.iter().chain(&image.command).cloned().collect()
    } else {
        asked.command.clone()
    }
}

fn environment(asked: &ContainerSpec, image: &ImageConfig) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let own = asked.env.iter().map(|(key, value)| format!("{key}={value}"));
    let mut entries: Vec<String> = own.collect();
    for entry in image
        .env
        .iter()
        .cloned()
        .chain([PATH.to_owned(), format!("HOSTNAME={}", asked.id)])
    {
        if entries.iter().all(|present| name(present) != name(&entry)) {
            entries.push(entry);
        }
    }
    entries
}

fn process(
    asked: &ContainerSpec,
    image: &ImageConfig,
    user: &User,
    open_files_max: u64,
) -> Result<Process, OciSpecError> {
    let files = PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(OPEN_FILES_SOFT.min(open_files_max))
        .hard(open_files_max)
        .build()?;
    let user = UserBuilder::default()
        .uid(user.uid)
        .gid(user.gid)
        .additional_gids(user.groups.clone())
        .build()?;
    ProcessBuilder::default()
        .terminal(false)
        .user(user)
        .args(arguments(asked, image))
        .env(environment(asked, image))
        .cwd(image.working_dir.clone())
        .capabilities(capabilities()?)
        .rlimits(vec![files])
        .no_new_privileges(true)
        .oom_score_adj(OOM_SCORE)
        .build()
}

/// Ambient and inheritable are empty: a user other than root has none of them.
fn capabilities() -> Result<LinuxCapabilities, OciSpecError> {
    let all = HashSet::from(CAPABILITIES);
    let none = HashSet::new();
    LinuxCapabilitiesBuilder::default()
        .bounding(all.clone())
        .effective(all.clone())
        .permitted(all)
        .inheritable(none.clone())
        .ambient(none)
        .build()
}

fn namespaces() -> Result<Vec<oci_spec::runtime::LinuxNamespace>, OciSpecError> {
    [
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Cgroup,
        LinuxNamespaceType::Network,
    ]
    .into_iter()
    .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build())
    .collect()
}

fn resources(asked: &ContainerSpec, node: &Surroundings<'_>) -> Result<Option<LinuxResources>, OciSpecError> {
    let has = |name: &str| match node.isolation {
        Isolation::Required => true,
        Isolation::WhereAvailable { .. } => node.controllers.iter().any(|controller| controller == name),
    };
    if node.isolation == (Isolation::WhereAvailable { devices: false }) {
        // libcontainer applies no limit at all without restricting devices too.
        return Ok(None);
    }
    let nothing = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build()?;
    let mut resources = LinuxResourcesBuilder::default().devices(vec![nothing]).build()?;
    let mut unified = HashMap::new();
    if has("memory") {
        let limit = i64::from(asked.memory_mib) * 1024 * 1024;
        resources.set_memory(Some(LinuxMemoryBuilder::default().limit(limit).build()?));
        // Not through `memory.swap`: equal to the limit it would leave swap without a bound.
        unified.insert("memory.swap.max".to_owned(), "0".to_owned());
        // All of the container goes at once: half of one helps nobody, and its end says why.
        unified.insert("memory.oom.group".to_owned(), "1".to_owned());
    }
    if has("cpu") {
        let period = i64::try_from(CPU_PERIOD_US).expect("a constant");
        let quota = (i64::from(asked.cpu_milli) * period / 1000).max(CPU_QUOTA_US_MIN);
        resources.set_cpu(Some(
            LinuxCpuBuilder::default().quota(quota).period(CPU_PERIOD_US).build()?,
        ));
    }
    if has("pids") {
        resources.set_pids(Some(LinuxPidsBuilder::default().limit(PIDS_MAX).build()?));
    }
    resources.set_unified(Some(unified));
    Ok(Some(resources))
}

fn sysctl(ipv6: bool) -> HashMap<String, String> {
    let mut options = vec![
        // Any user of the container may use its low ports and send pings: the namespace is its own.
        ("net.ipv4.ip_unprivileged_port_start", "0"),
        ("net.ipv4.ping_group_range", "0 2147483647"),
    ];
    if ipv6 {
        // The packet rules are for IPv4: there is to be nothing else.
        options.extend([
            ("net.ipv6.conf.all.disable_ipv6", "1"),
            ("net.ipv6.conf.default.disable_ipv6", "1"),
        ]);
    }
    options
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn mounts(etc: &Path) -> Result<Vec<Mount>, OciSpecError> {
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?,
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        )?,
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        )?,
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])?,
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        )?,
    ];
    for name in ["hosts", "hostname", "resolv.conf"] {
        let source = etc.join(name);
        mounts.push(mount(
            &format!("/etc/{name}"),
            "bind",
            &source.to_string_lossy(),
            &["bind", "nosuid", "nodev", "noexec"],
        )?);
    }
    Ok(mounts)
}

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(source)
        .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
        .build()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect, expect_file};
    use serde_json::Value;

    use super::*;

    fn asked() -> ContainerSpec {
        ContainerSpec {
            id: "shop-web-0".into(),
            image: "registry.example/web:1".into(),
            command: Vec::new(),
            env: vec![("PORT".into(), "80".into())],
            cpu_milli: 250,
            memory_mib: 64,
            published: vec![(80, 8080)],
        }
    }

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: vec!["/bin/web".into()],
            command: vec!["--verbose".into()],
            env: vec!["PORT=1".into(), "LANG=C".into()],
            working_dir: "/srv".into(),
            ..ImageConfig::default()
        }
    }

    fn made(asked: &ContainerSpec, isolation: Isolation) -> Value {
        let node = Surroundings {
            cgroup: "/isobar/shop-web-0".into(),
            controllers: &["cpu".to_owned()],
            isolation,
            open_files_max: OPEN_FILES_MAX,
            ipv6: true,
            etc: Path::new("/run/isobar/containers/shop-web-0"),
        };
        let user = User {
            uid: 33,
            gid: 34,
            groups: vec![77],
        };
        let spec = container(asked, &image(), &user, &node).unwrap();
        let mut json = serde_json::to_value(spec).unwrap();
        for set in json["process"]["capabilities"].as_object_mut().unwrap().values_mut() {
            set.as_array_mut()
                .unwrap()
                .sort_by_key(|name| name.as_str().map(str::to_owned));
        }
        json
    }

    #[test]
    fn the_whole_spec_is_as_reviewed() {
        let mut json = made(&asked(), Isolation::Required);
        json["linux"]["seccomp"] = "as in seccomp.json".into();
        expect_file!["testdata/spec.json"].assert_eq(&(serde_json::to_string_pretty(&json).unwrap() + "\n"));
    }

    #[test]
    fn limits_that_the_kernel_lacks_are_left_out_only_where_that_is_allowed() {
        let check = |isolation, expected: Expect| {
            expected.assert_eq(&made(&asked(), isolation)["linux"]["resources"].to_string());
        };
        check(
            Isolation::WhereAvailable { devices: true },
            expect![[
                r#"{"cpu":{"period":100000,"quota":25000},"devices":[{"access":"rwm","allow":false}],"unified":{}}"#
            ]],
        );
        check(Isolation::WhereAvailable { devices: false }, expect!["null"]);
    }

    #[test]
    fn what_was_asked_for_goes_before_what_the_image_says() {
        let mut asked = asked();
        assert_eq!(arguments(&asked, &image()), ["/bin/web", "--verbose"]);
        asked.command = vec!["/bin/other".into()];
        assert_eq!(arguments(&asked, &image()), ["/bin/other"]);
        assert_eq!(
            environment(&asked, &image()),
            ["PORT=80", "LANG=C", PATH, "HOSTNAME=shop-web-0"]
        );
    }

    #[test]
    fn the_profile_refuses_by_default_and_lets_no_namespace_be_made() {
        let profile: Value = serde_json::from_str(SECCOMP).unwrap();
        assert_eq!(
            serde_json::to_value(seccomp()).unwrap()["defaultAction"],
            "SCMP_ACT_ERRNO"
        );
        let allowed = profile["syscalls"][0]["names"].as_array().unwrap();
        for dangerous in [
            "mount",
            "umount2",
            "unshare",
            "setns",
            "bpf",
            "init_module",
            "kexec_load",
            "keyctl",
            "clone",
            "clone3",
            "open_by_handle_at",
            "io_uring_setup",
            "userfaultfd",
            "perf_event_open",
        ] {
            assert!(!allowed.contains(&dangerous.into()), "{dangerous}");
        }
    }
}
