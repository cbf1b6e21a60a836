//! Between records and messages: what a node is told of a replica, and what its report makes of the record.

use isobar_engine_model::observed::{Replica, ReplicaPhase};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_model::spec::{HealthCheck, Probe, RestartPolicy, WorkloadKind, WorkloadSpec};
use isobar_node_image_protocol::v1;

use crate::record::ReplicaRecord;

/// What a node is told of a replica.
pub(crate) fn desired_replica(record: &ReplicaRecord) -> v1::Replica {
    let (replica, template) = (&record.replica, &record.template);
    v1::Replica {
        id: replica.id.to_string(),
        workload: replica.workload.to_string(),
        image: template.image.clone(),
        command: template.command.clone(),
        env: template.env.clone().into_iter().collect(),
        cpu_milli: template.resources.cpu.0,
        memory_mib: template.resources.memory.0,
        ports: ports(replica, template),
        restart: restart(template).into(),
        health: template.health.as_ref().map(|health| health_check(health, template)),
        stop_grace_seconds: template.stop_grace_seconds,
        fenced: is_fenced(template),
        stopping: matches!(replica.phase, ReplicaPhase::Stopping { .. }),
        attempts: match template.kind {
            WorkloadKind::Job { attempts } => attempts,
            WorkloadKind::Service { .. } | WorkloadKind::Daemon {} => 0,
        },
    }
}

/// Whether it must stop when its node cannot reach the engine: what may run at most once.
pub(crate) fn is_fenced(template: &WorkloadSpec) -> bool {
    template.singleton || matches!(template.kind, WorkloadKind::Job { .. })
}

fn ports(replica: &Replica, template: &WorkloadSpec) -> Vec<v1::Port> {
    let node_port = |name: &str| replica.ports.get(name).map_or(0, |binding| u32::from(binding.node));
    template
        .ports
        .iter()
        .map(|(name, port)| v1::Port {
            container: u32::from(port.container),
            node: node_port(name),
        })
        .collect()
}

fn restart(template: &WorkloadSpec) -> v1::Restart {
    match template.restart_policy() {
        RestartPolicy::Always => v1::Restart::Always,
        RestartPolicy::OnFailure => v1::Restart::OnFailure,
        RestartPolicy::Never => v1::Restart::Never,
    }
}

fn health_check(health: &HealthCheck, template: &WorkloadSpec) -> v1::HealthCheck {
    let port = |name: &String| template.ports.get(name).map_or(0, |port| u32::from(port.container));
    let probe = match &health.probe {
        Probe::Http { port: name, path } => v1::health_check::Probe::Http(v1::HttpProbe {
            port: port(name),
            path: path.clone(),
        }),
        Probe::Tcp { port: name } => v1::health_check::Probe::Tcp(v1::TcpProbe { port: port(name) }),
        Probe::Exec { command } => v1::health_check::Probe::Exec(v1::ExecProbe {
            command: command.clone(),
        }),
    };
    v1::HealthCheck {
        probe: Some(probe),
        interval_seconds: health.interval_seconds,
        timeout_seconds: health.timeout_seconds,
        failures: health.failures,
    }
}

/// Where a replica stands after a report; absent: as before.
pub(crate) fn reported_phase(now: &ReplicaPhase, status: &v1::ReplicaStatus, at: Timestamp) -> Option<ReplicaPhase> {
    use v1::ReplicaState;
    let state = status.state();
    if let ReplicaPhase::Stopping { .. } = now {
        let ended = matches!(state, ReplicaState::ReplicaStopped);
        return ended.then_some(ReplicaPhase::Stopped { since: at });
    }
    let said = match state {
        ReplicaState::ReplicaStarting => ReplicaPhase::Starting {
            since: at,
            detail: status.detail.clone(),
        },
        ReplicaState::ReplicaRunning => ReplicaPhase::Running {
            since: at,
            healthy: status.healthy,
            restarts: status.restarts,
        },
        ReplicaState::ReplicaBackOff => ReplicaPhase::BackOff {
            since: at,
            restarts: status.restarts,
            reason: status.detail.clone(),
        },
        ReplicaState::ReplicaSucceeded => ReplicaPhase::Succeeded { since: at },
        ReplicaState::ReplicaFailed => ReplicaPhase::Failed {
            since: at,
            reason: status.detail.clone(),
        },
        // Stopped without being told to: its node fenced it or shuts down. It is not served any more.
        ReplicaState::ReplicaStopped => ReplicaPhase::Failed {
            since: at,
            reason: stopped_reason(&status.detail),
        },
    };
    (!same_but_since(now, &said)).then_some(said)
}

fn stopped_reason(detail: &str) -> String {
    if detail.is_empty() {
        "stopped by its node".to_owned()
    } else {
        detail.to_owned()
    }
}

fn same_but_since(a: &ReplicaPhase, b: &ReplicaPhase) -> bool {
    let mut b = b.clone();
    match (a, &mut b) {
        (ReplicaPhase::Starting { since, .. }, ReplicaPhase::Starting { since: other, .. })
        | (ReplicaPhase::Running { since, .. }, ReplicaPhase::Running { since: other, .. })
        | (ReplicaPhase::BackOff { since, .. }, ReplicaPhase::BackOff { since: other, .. })
        | (ReplicaPhase::Succeeded { since }, ReplicaPhase::Succeeded { since: other })
        | (ReplicaPhase::Failed { since, .. }, ReplicaPhase::Failed { since: other, .. }) => *other = *since,
        (_, _) => return false,
    }
    *a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: v1::ReplicaState, healthy: bool) -> v1::ReplicaStatus {
        v1::ReplicaStatus {
            id: "web-1".into(),
            state: state.into(),
            healthy,
            ..Default::default()
        }
    }

    #[test]
    fn the_same_report_again_changes_nothing() {
        let running = ReplicaPhase::Running {
            since: Timestamp(1),
            healthy: true,
            restarts: 0,
        };
        let same = status(v1::ReplicaState::ReplicaRunning, true);
        assert_eq!(reported_phase(&running, &same, Timestamp(9)), None);
        let ill = status(v1::ReplicaState::ReplicaRunning, false);
        assert_eq!(
            reported_phase(&running, &ill, Timestamp(9)),
            Some(ReplicaPhase::Running {
                since: Timestamp(9),
                healthy: false,
                restarts: 0
            })
        );
    }

    #[test]
    fn a_replica_that_is_being_stopped_ends_only_when_its_node_says_so() {
        let stopping = ReplicaPhase::Stopping { since: Timestamp(1) };
        let running = status(v1::ReplicaState::ReplicaRunning, true);
        assert_eq!(reported_phase(&stopping, &running, Timestamp(9)), None);
        let stopped = status(v1::ReplicaState::ReplicaStopped, false);
        assert_eq!(
            reported_phase(&stopping, &stopped, Timestamp(9)),
            Some(ReplicaPhase::Stopped { since: Timestamp(9) })
        );
    }
}
