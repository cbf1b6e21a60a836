//! The rules that span fields. Pure; says everything that is wrong, never the first thing only. Called on every spec
//! that came from outside ([`super::text`]) and on every spec that an intent changed.

mod adopted;

use std::collections::{BTreeMap, BTreeSet};

use super::image;
use super::problem::Pointer;
use super::{HealthCheck, NODE_PORTS, PoolSpec, Probe, Publish, RestartPolicy, Spec, WorkloadKind, WorkloadSpec};
use crate::id::{PoolName, SiteName};

pub use super::problem::{Part, Problem};

/// Most sites of a cluster.
pub const SITES_MAX: usize = 100;
/// Most pools of a cluster.
pub const POOLS_MAX: usize = 100;
/// Most workloads of a cluster.
pub const WORKLOADS_MAX: usize = 1_000;
/// Most machines of a pool.
pub const POOL_MACHINES_MAX: u32 = 10_000;
/// Most objects that others made, of a cluster.
pub const ADOPTED_MAX: usize = 10_000;
/// Most replicas of a service.
pub const REPLICAS_MAX: u32 = 100_000;
/// Most tries of a job.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// Most ports of a workload: a node publishes no more.
pub const PORTS_MAX: usize = 32;
/// Command and environment of a workload, in bytes.
pub const ARGUMENTS_MAX_BYTES: usize = 64 * 1024;
/// Longest pause of a health check, and longest grace of a stop, in seconds.
const SECONDS_MAX: u32 = 3_600;

/// Everything that is wrong with `spec`, in its own order. Empty: it keeps every rule.
pub fn check(spec: &Spec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let root = Pointer::root();

    problems.extend(counted(spec.sites.len(), (1, SITES_MAX), "site", root.to("sites")));
    // What others made needs no machines of ours.
    let pools_min = usize::from(spec.adopted.is_empty());
    problems.extend(counted(
        spec.pools.len(),
        (pools_min, POOLS_MAX),
        "pool",
        root.to("pools"),
    ));
    problems.extend(counted(
        spec.adopted.len(),
        (0, ADOPTED_MAX),
        "adopted object",
        root.to("adopted"),
    ));
    problems.extend(counted(
        spec.workloads.len(),
        (0, WORKLOADS_MAX),
        "workload",
        root.to("workloads"),
    ));
    for (name, site) in &spec.sites {
        if site.region.trim().is_empty() {
            problems.push(Problem::value(
                root.to("sites").to(name).to("region"),
                "the region is empty",
            ));
        }
    }
    for (name, pool) in &spec.pools {
        check_pool(spec, pool, &root.to("pools").to(name), &mut problems);
    }
    for (name, workload) in &spec.workloads {
        let at = root.to("workloads").to(name);
        check_kind(workload, &at, &mut problems);
        check_process(workload, &at, &mut problems);
        check_ports(workload, &at, &mut problems);
        if let Some(health) = &workload.health {
            check_health(workload, health, &at.to("health"), &mut problems);
        }
        check_placement(spec, workload, &at.to("placement"), &mut problems);
    }
    adopted::check(spec, &mut problems);
    problems
}

fn check_pool(spec: &Spec, pool: &PoolSpec, at: &Pointer, problems: &mut Vec<Problem>) {
    let count = pool.machines;
    let machines = at.to("machines");
    if count.min > count.max {
        let message = format!("min {} is more than max {}", count.min, count.max);
        problems.push(Problem::value(machines.to("min"), message));
    }
    if count.max == 0 {
        problems.push(Problem::value(machines.to("max"), "a pool of no machine").hint("remove the pool"));
    }
    problems.extend(at_most(count.max, POOL_MACHINES_MAX, "machines", machines.to("max")));
    if let Some(sites) = &pool.sites {
        check_names(
            sites,
            spec.sites.keys().map(SiteName::as_str),
            "site",
            &at.to("sites"),
            problems,
        );
    }
    let wanted = &pool.requirements;
    let lists = [
        ("zones", wanted.zones.as_ref().map(Vec::is_empty)),
        ("offerings", wanted.offerings.as_ref().map(Vec::is_empty)),
        ("purchase", wanted.purchase.as_ref().map(Vec::is_empty)),
    ];
    for (field, _) in lists.iter().filter(|(_, empty)| *empty == Some(true)) {
        problems.push(nothing_allowed(at.to("requirements").to(field)));
    }
}

fn check_kind(workload: &WorkloadSpec, at: &Pointer, problems: &mut Vec<Problem>) {
    let kind = at.to("kind");
    match workload.kind {
        WorkloadKind::Service {
            replicas,
            min_available,
        } => {
            let at_replicas = kind.to("service").to("replicas");
            let at_available = kind.to("service").to("min_available");
            problems.extend(at_most(replicas, REPLICAS_MAX, "replicas", at_replicas.clone()));
            if let Some(min) = min_available
                && min > replicas
            {
                let message = format!("min_available {min} is more than replicas {replicas}");
                problems.push(Problem::value(at_available.clone(), message));
            }
            if workload.singleton && replicas != 1 {
                let problem = Problem::value(at_replicas, format!("a singleton asks for 1 replica, not {replicas}"));
                problems.push(problem.hint("write `replicas: 1`, or remove `singleton`"));
            }
            if workload.singleton && min_available.is_some_and(|min| min > 0) {
                let problem = Problem::value(at_available, "a singleton stops before it starts elsewhere");
                problems.push(problem.hint("remove `min_available`, or remove `singleton`"));
            }
        }
        WorkloadKind::Job { attempts } => {
            let at_attempts = kind.to("job").to("attempts");
            if attempts == 0 {
                problems
                    .push(Problem::value(at_attempts.clone(), "a job that is never tried").hint("write at least 1"));
            }
            problems.extend(at_most(attempts, ATTEMPTS_MAX, "attempts", at_attempts));
            if workload.restart == Some(RestartPolicy::Always) {
                let problem = Problem::value(
                    at.to("restart"),
                    "a job ends: it cannot be started again however it ended",
                );
                problems.push(problem.instead_of("", ["on_failure", "never"]));
            }
        }
        WorkloadKind::Daemon {} => {
            if workload.singleton {
                let problem = Problem::value(at.to("singleton"), "a daemon runs on every machine: it is no singleton");
                problems.push(problem.hint("write `kind: {service: {replicas: 1}}`, or remove `singleton`"));
            }
        }
    }
}

fn check_process(workload: &WorkloadSpec, at: &Pointer, problems: &mut Vec<Problem>) {
    if let Err((message, hint)) = image::fault(&workload.image) {
        problems.push(Problem {
            hint,
            ..Problem::value(at.to("image"), message)
        });
    }
    if workload.command.first().is_some_and(String::is_empty) {
        problems.push(Problem::value(at.to("command").to(0), "the program to run has no name"));
    }
    for (i, argument) in workload.command.iter().enumerate() {
        if argument.contains('\0') {
            problems.push(Problem::value(
                at.to("command").to(i),
                "an argument cannot hold a zero byte",
            ));
        }
    }
    for (name, value) in &workload.env {
        let here = at.to("env").to(name);
        if name.is_empty() || name.contains(['=', '\0']) {
            problems.push(Problem::name(here, "a variable's name is not empty and holds no `=`"));
        } else if value.contains('\0') {
            problems.push(Problem::value(here, "a variable cannot hold a zero byte"));
        }
    }
    let variables = workload
        .env
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum::<usize>();
    let bytes = variables
        + workload
            .command
            .iter()
            .map(|argument| argument.len() + 1)
            .sum::<usize>();
    if bytes > ARGUMENTS_MAX_BYTES {
        let message = format!("command and env have {bytes} bytes; at most {ARGUMENTS_MAX_BYTES} are allowed");
        problems.push(Problem::name(at.clone(), message));
    }
    problems.extend(at_most(
        workload.stop_grace_seconds,
        SECONDS_MAX,
        "seconds",
        at.to("stop_grace_seconds"),
    ));
}

fn check_ports(workload: &WorkloadSpec, at: &Pointer, problems: &mut Vec<Problem>) {
    let ports = at.to("ports");
    problems.extend(counted(workload.ports.len(), (0, PORTS_MAX), "port", ports.clone()));
    let mut published: BTreeMap<u16, &str> = BTreeMap::new();
    for (name, port) in &workload.ports {
        let here = ports.to(name);
        if let Err(error) = SiteName::new(name.as_str()) {
            problems.push(Problem::name(here.clone(), error.to_string()));
        }
        if port.container == 0 {
            problems.push(Problem::value(here.to("container"), "0 is not a port: 1 to 65535 are"));
        }
        let Publish::Port(number) = port.publish else { continue };
        let at_number = here.to("publish").to("port");
        let (first, last) = NODE_PORTS;
        if !(first..=last).contains(&number) {
            let message = format!("a node does not publish on {number}: only on {first} to {last}");
            problems.push(Problem::value(at_number.clone(), message));
        }
        if let Some(other) = published.insert(number, name) {
            let message = format!("port {number} of the node is taken by `{other}` of the same workload");
            problems.push(Problem::value(at_number, message));
        }
    }
}

fn check_health(workload: &WorkloadSpec, health: &HealthCheck, at: &Pointer, problems: &mut Vec<Problem>) {
    let names = || workload.ports.keys().map(String::as_str);
    let probe = at.to("probe");
    let mut needs_port = |port: &str, at: Pointer| {
        if !workload.ports.contains_key(port) {
            let problem = Problem::value(at, format!("the workload has no port `{port}`")).instead_of(port, names());
            let without = problem.allowed.is_empty();
            problems.push(if without {
                problem.hint("add it under `ports`")
            } else {
                problem
            });
        }
    };
    match &health.probe {
        Probe::Http { port, path } => {
            needs_port(port, probe.to("http").to("port"));
            if !path.starts_with('/') || path.contains(|c: char| c.is_ascii_control() || c == ' ') {
                let problem = Problem::value(probe.to("http").to("path"), format!("`{path}` is not a path"));
                problems.push(problem.hint("start it with `/`, and write no spaces"));
            }
        }
        Probe::Tcp { port } => needs_port(port, probe.to("tcp").to("port")),
        Probe::Exec { command } => {
            if command.first().is_none_or(String::is_empty) {
                problems.push(Problem::value(
                    probe.to("exec").to("command"),
                    "the program to run has no name",
                ));
            }
        }
    }
    for (field, seconds) in [
        ("interval_seconds", health.interval_seconds),
        ("timeout_seconds", health.timeout_seconds),
    ] {
        if !(1..=SECONDS_MAX).contains(&seconds) {
            problems.push(Problem::value(
                at.to(field),
                format!("{seconds} is out of range: 1 to {SECONDS_MAX} are allowed"),
            ));
        }
    }
    if health.failures == 0 {
        problems.push(Problem::value(
            at.to("failures"),
            "0 is out of range: at least 1 is allowed",
        ));
    }
}

fn check_placement(spec: &Spec, workload: &WorkloadSpec, at: &Pointer, problems: &mut Vec<Problem>) {
    let before = problems.len();
    let placement = &workload.placement;
    if let Some(sites) = &placement.sites {
        check_names(
            sites,
            spec.sites.keys().map(SiteName::as_str),
            "site",
            &at.to("sites"),
            problems,
        );
    }
    if let Some(pools) = &placement.pools {
        check_names(
            pools,
            spec.pools.keys().map(PoolName::as_str),
            "pool",
            &at.to("pools"),
            problems,
        );
    }
    let mut spread = BTreeSet::new();
    for (i, over) in placement.spread.iter().enumerate() {
        if !spread.insert(over) {
            problems.push(Problem::value(at.to("spread").to(i), "given twice").hint("remove one"));
        }
    }
    if problems.len() == before && !spec.pools.is_empty() && !somewhere(spec, workload) {
        let problem = Problem::value(at.clone(), "no allowed pool has machines in an allowed site");
        problems.push(problem.hint("allow another pool or site here, or add the site to the pool's `sites`"));
    }
}

/// Whether a pool that the workload may use may have machines in a site that it may use.
fn somewhere(spec: &Spec, workload: &WorkloadSpec) -> bool {
    let (sites, pools) = (&workload.placement.sites, &workload.placement.pools);
    spec.pools
        .iter()
        .filter(|(name, _)| pools.as_ref().is_none_or(|allowed| allowed.contains(name)))
        .any(|(_, pool)| {
            let mut places = spec
                .sites
                .keys()
                .filter(|site| pool.sites.as_ref().is_none_or(|of| of.contains(site)));
            places.any(|site| sites.as_ref().is_none_or(|allowed| allowed.contains(site)))
        })
}

/// A list of names: not empty, each known, none twice.
fn check_names<'a, N: AsRef<str>>(
    names: &[N],
    known: impl Iterator<Item = &'a str> + Clone,
    what: &str,
    at: &Pointer,
    problems: &mut Vec<Problem>,
) {
    if names.is_empty() {
        problems.push(nothing_allowed(at.clone()));
    }
    let mut seen = BTreeSet::new();
    for (i, name) in names.iter().map(AsRef::as_ref).enumerate() {
        if !known.clone().any(|k| k == name) {
            let problem = Problem::value(at.to(i), format!("the cluster has no {what} `{name}`"));
            problems.push(problem.instead_of(name, known.clone()));
        }
        if !seen.insert(name) {
            problems.push(Problem::value(at.to(i), format!("`{name}` is given twice")).hint("remove one"));
        }
    }
}

fn nothing_allowed(at: Pointer) -> Problem {
    Problem::value(at, "an empty list allows nothing").hint("remove it to allow all, or name some")
}

fn counted(count: usize, (min, max): (usize, usize), what: &str, at: Pointer) -> Option<Problem> {
    if count < min {
        return Some(Problem::value(at, format!("at least one {what} is needed")));
    }
    (count > max).then(|| Problem::name(at, format!("{count} {what}s are too many: at most {max} are allowed")))
}

fn at_most(count: u32, max: u32, what: &str, at: Pointer) -> Option<Problem> {
    (count > max).then(|| Problem::value(at, format!("{count} {what} are too many: at most {max} are allowed")))
}
