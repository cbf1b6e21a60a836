//! A replica as the supervisor follows it: the wire's message, checked once.

use std::time::Duration;

use isobar_node_image_protocol::v1::{self, health_check};

use crate::runtime::ContainerSpec;

/// The longest grace between SIGTERM and SIGKILL.
const GRACE_MAX: Duration = Duration::from_secs(3600);

/// How to run one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) container: ContainerSpec,
    pub(super) restart: RestartRule,
    pub(super) check: Option<Check>,
    pub(super) grace: Duration,
    /// Must not run without a lease.
    pub(super) fenced: bool,
}

/// Whether it is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RestartRule {
    pub(super) when: RestartWhen,
    /// Tries in all.
    pub(super) attempts_max: Option<u32>,
}

/// After which ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RestartWhen {
    Always,
    OnFailure,
    Never,
}

/// How its health is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) probe: Probe,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    /// So many failures in a row.
    pub(super) failures_max: u32,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Probe {
    Http { port: u16, path: String },
    Tcp { port: u16 },
    Exec { command: Vec<String> },
}

impl Order {
    /// Reads a replica's message. The error says which field cannot be followed.
    pub(super) fn read(replica: v1::Replica) -> Result<Self, String> {
        let restart = RestartRule {
            when: match replica.restart() {
                v1::Restart::Always => RestartWhen::Always,
                v1::Restart::OnFailure => RestartWhen::OnFailure,
                v1::Restart::Never => RestartWhen::Never,
            },
            attempts_max: (replica.attempts > 0).then_some(replica.attempts),
        };
        let mut published = Vec::new();
        for ports in replica.ports.iter().filter(|ports| ports.node != 0) {
            published.push((port(ports.container)?, port(ports.node)?));
        }
        Ok(Self {
            restart,
            check: replica.health.map(Check::read).transpose()?,
            grace: Duration::from_secs(u64::from(replica.stop_grace_seconds)).min(GRACE_MAX),
            fenced: replica.fenced,
            container: ContainerSpec {
                id: replica.id,
                image: replica.image,
                command: replica.command,
                env: replica
                    .env
                    .into_iter()
                    .collect::<std::collections::BTreeMap<_, _>>()
                    .into_iter()
                    .collect(),
                cpu_milli: replica.cpu_milli,
                memory_mib: replica.memory_mib,
                published,
            },
        })
    }
}

impl Check {
    fn read(check: v1::HealthCheck) -> Result<Self, String> {
        let probe = match check.probe {
            Some(health_check::Probe::Http(http)) => Probe::Http {
                port: port(http.port)?,
                path: path(http.path)?,
            },
            Some(health_check::Probe::Tcp(tcp)) => Probe::Tcp { port: port(tcp.port)? },
            Some(health_check::Probe::Exec(exec)) => Probe::Exec { command: exec.command },
            None => return Err("a health check of a kind that this agent does not know".into()),
        };
        Ok(Self {
            probe,
            interval: Duration::from_secs(u64::from(check.interval_seconds.max(1))),
            timeout: Duration::from_secs(u64::from(check.timeout_seconds.max(1))),
            failures_max: check.failures.max(1),
        })
    }
}

fn port(port: u32) -> Result<u16, String> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("{port} is not a port"))
}

/// A path goes into a request line as it is.
fn path(path: String) -> Result<String, String> {
    if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(path)
    } else {
        Err(format!("`{}` is not a path to get", path.escape_debug()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_published_ports_reach_the_runtime() {
        let ports = [(80, 30_000), (81, 0)].map(|(container, node)| v1::Port { container, node });
        let order = Order::read(v1::Replica {
            ports: ports.into(),
            ..v1::Replica::default()
        })
        .unwrap();
        assert_eq!(order.container.published, [(80, 30_000)]);
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        let check = |probe| v1::HealthCheck {
            probe,
            ..v1::HealthCheck::default()
        };
        let read = |health| {
            Order::read(v1::Replica {
                health: Some(health),
                ..v1::Replica::default()
            })
            .unwrap_err()
        };
        let http = |path: &str| {
            read(check(Some(health_check::Probe::Http(v1::HttpProbe {
                port: 80,
                path: path.into(),
            }))))
        };
        assert_eq!(http("/a b"), "`/a b` is not a path to get");
        assert_eq!(http("/\r\nHost: x"), "`/\\r\\nHost: x` is not a path to get");
        assert_eq!(
            read(check(Some(health_check::Probe::Tcp(v1::TcpProbe { port: 70_000 })))),
            "70000 is not a port"
        );
        assert!(read(check(None)).contains("does not know"));
    }
}
