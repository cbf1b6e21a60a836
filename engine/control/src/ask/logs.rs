//! Reading output: a replica's through its node's session, a machine's console through its provider.

use std::time::Duration;

use isobar_engine_model::id::{ClusterName, MachineId, ReplicaId};
use isobar_engine_model::quantity::Timestamp;
use tokio::sync::mpsc;

use crate::api::{ApiError, ErrorCode, LogLine, LogSource, LogsAnswer, LogsRequest, TAIL_MAX_LINES};
use crate::engine::Engine;
use crate::live::{Command, NodeKey};
use crate::record::{AttemptRecord, attempt_key, machine_key, prefix};

/// Lines in an answer when the caller does not say.
const TAIL_DEFAULT_LINES: u32 = 200;
/// At most so many chunks of an answer wait for its reader.
const CHUNKS_MAX: usize = 64;

impl Engine {
    /// Output of a replica or a machine's console.
    pub async fn logs(&self, request: LogsRequest) -> Result<LogsAnswer, ApiError> {
        self.known(&self.ledger.read(), &request.cluster, "/cluster")?;
        let tail = request
            .tail_lines
            .unwrap_or(TAIL_DEFAULT_LINES)
            .clamp(1, TAIL_MAX_LINES);
        match &request.source {
            LogSource::Replica(replica) => self.replica_logs(&request, replica, tail).await,
            LogSource::Console(machine) => self.console(&request, machine, tail).await,
        }
    }

    async fn replica_logs(&self, request: &LogsRequest, id: &ReplicaId, tail: u32) -> Result<LogsAnswer, ApiError> {
        let node: NodeKey = {
            let state = self.ledger.read();
            let replicas = state.replicas.under(&prefix(&request.cluster));
            let known = replicas.clone().map(|record| record.replica.id.as_str());
            let record = replicas
                .clone()
                .find(|record| record.replica.id == *id)
                .ok_or_else(|| {
                    ApiError::unknown("replica", id.as_str(), known, "`isobar query replicas` lists them")
                        .pointer("/source/replica")
                })?;
            (request.cluster.clone(), record.replica.machine.clone())
        };
        let (answer, mut chunks) = mpsc::channel(CHUNKS_MAX);
        if !self.live.tell(
            &node,
            Command::Logs {
                replica: id.clone(),
                from: request.after,
                tail_lines: tail,
                answer,
            },
        ) {
            return Err(unreachable(&node.1));
        }
        let collecting = async {
            let mut lines = Vec::new();
            while let Some(chunk) = chunks.recv().await {
                if !chunk.error.is_empty() {
                    return Err(ApiError::new(ErrorCode::NotFound, chunk.error));
                }
                lines.extend(chunk.lines);
                if chunk.end {
                    return Ok((lines, chunk.next));
                }
            }
            Err(unreachable(&node.1))
        };
        let (lines, next) = tokio::select! {
            biased;
            answered = collecting => answered?,
            () = self.clock.sleep(Duration::from_millis(self.config.bounds.logs_answer_ms)) => {
                return Err(unreachable(&node.1));
            }
        };
        let lines = lines.into_iter().map(|line| LogLine {
            at: Some(Timestamp(line.time_ms)),
            stderr: line.stderr,
            text: line.text,
        });
        Ok(LogsAnswer {
            lines: lines.collect(),
            next,
        })
    }

    async fn console(&self, request: &LogsRequest, machine: &MachineId, tail: u32) -> Result<LogsAnswer, ApiError> {
        let attempt = self.made(&request.cluster, machine)?;
        let handle = attempt.handle().cloned().ok_or_else(|| not_made(machine))?;
        let sealed = self
            .request(&attempt)
            .map_err(|message| ApiError::new(ErrorCode::Internal, message))?;
        let provider = self.provider(&sealed.site)?;
        let console = provider.console().ok_or_else(|| {
            ApiError::new(
                ErrorCode::InvalidArgument,
                format!("provider {} keeps no consoles", provider.id()),
            )
        })?;
        let (mut offset, mut bytes) = (request.after.unwrap_or(0), Vec::new());
        loop {
            let chunk = console.read(&sealed.site, &handle, offset).await.map_err(|error| {
                ApiError::new(
                    ErrorCode::Unavailable,
                    format!("read the console of {machine}: {error}"),
                )
            })?;
            let end = chunk.bytes.is_empty() || chunk.next_offset <= offset;
            offset = chunk.next_offset.max(offset);
            bytes.extend(chunk.bytes);
            // Only the end is wanted: keep enough for it.
            let keep = CONSOLE_LINE_MAX_BYTES * usize::try_from(tail).unwrap_or(usize::MAX);
            if bytes.len() > keep {
                bytes.drain(..bytes.len() - keep);
            }
            if end {
                break;
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX));
        let lines = lines[first..].iter().map(|line| LogLine {
            at: None,
            stderr: false,
            text: printable(line),
        });
        Ok(LogsAnswer {
            lines: lines.collect(),
            next: offset,
        })
    }
}

impl Engine {
    /// The attempt that a machine stands for.
    fn made(&self, cluster: &ClusterName, machine: &MachineId) -> Result<AttemptRecord, ApiError> {
        let state = self.ledger.read();
        let Some(record) = state.machines.get(&machine_key(cluster, machine)) else {
            let known = state
                .machines
                .under(&prefix(cluster))
                .map(|record| record.machine.id.as_str());
            let unknown = ApiError::unknown("machine", machine.as_str(), known, "`isobar query machines` lists them");
            return Err(unknown.pointer("/source/console"));
        };
        let number = record.machine.bought.as_ref().map(|bought| bought.attempt);
        number
            .and_then(|number| state.attempts.get(&attempt_key(cluster, machine, number)).cloned())
            .ok_or_else(|| not_made(machine))
    }
}

/// A console line is counted as so many bytes when its end is kept.
const CONSOLE_LINE_MAX_BYTES: usize = 256;

/// A machine's console must not steer a person's terminal.
fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

fn not_made(machine: &MachineId) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("machine {machine} does not run"))
        .pointer("/source/console")
        .hint(format!("`isobar explain {machine}` says how it stands"))
}

fn unreachable(machine: &MachineId) -> ApiError {
    ApiError::new(ErrorCode::Unavailable, format!("the node of {machine} does not answer")).hint(format!(
        "try again, or read its console: `isobar logs --console {machine}`"
    ))
}
