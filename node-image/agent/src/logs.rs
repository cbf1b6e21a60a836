//! Log requests of one session: the last lines of a replica, and the ones that follow. Reads what the runtime keeps;
//! keeps nothing itself. Dropped with its session, which ends every request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use isobar_node_image_protocol::channel::NODE_MESSAGE_MAX_BYTES;
use isobar_node_image_protocol::v1::{LogChunk, LogLine, LogRequest, NodeMessage, node_message};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::runtime::{OutputLine, RuntimeError};
use crate::supervisor::Supervisor;

/// Requests served at a time.
pub const REQUESTS_MAX: usize = 16;

/// Lines that a request may start with.
pub const TAIL_MAX_LINES: u32 = 10_000;

/// Lines of one message.
pub const CHUNK_MAX_LINES: usize = 256;

/// Text of one message, in bytes: half of what the engine takes.
pub const CHUNK_MAX_BYTES: usize = NODE_MESSAGE_MAX_BYTES / 2;

/// How often a followed replica is looked at.
pub const FOLLOW_EVERY: Duration = Duration::from_millis(250);

/// Chunks that wait for the session.
const QUEUE_MAX_CHUNKS: usize = 4;

/// The requests of one session.
pub struct LogStreams {
    supervisor: Arc<Supervisor>,
    streams: BTreeMap<u64, JoinHandle<()>>,
    outgoing: mpsc::Sender<NodeMessage>,
    incoming: mpsc::Receiver<NodeMessage>,
}

impl LogStreams {
    /// None yet.
    pub fn new(supervisor: Arc<Supervisor>) -> Self {
        let (outgoing, incoming) = mpsc::channel(QUEUE_MAX_CHUNKS);
        Self {
            supervisor,
            streams: BTreeMap::new(),
            outgoing,
            incoming,
        }
    }

    /// Starts a request or ends one.
    pub fn request(&mut self, request: LogRequest) {
        self.streams.retain(|_, stream| !stream.is_finished());
        if let Some(old) = self.streams.remove(&request.id) {
            old.abort();
        }
        if request.stop {
            return;
        }
        let out = Outlet {
            id: request.id,
            outgoing: self.outgoing.clone(),
        };
        let full = self.streams.len() >= REQUESTS_MAX;
        let supervisor = self.supervisor.clone();
        let id = request.id;
        let stream = tokio::spawn(async move {
            let served = if full {
                Err(format!("this node serves {REQUESTS_MAX} log requests already"))
            } else {
                serve(&supervisor, &request, &out).await
            };
            out.end(served).await;
        });
        self.streams.insert(id, stream);
    }

    /// The next message for the engine. Cancel-safe; waits for good when there is no request.
    pub async fn next(&mut self) -> NodeMessage {
        self.incoming.recv().await.expect("a sender lives in this struct")
    }
}

impl Drop for LogStreams {
    fn drop(&mut self) {
        for stream in self.streams.values() {
            stream.abort();
        }
    }
}

struct Outlet {
    id: u64,
    outgoing: mpsc::Sender<NodeMessage>,
}

impl Outlet {
    async fn lines(&self, lines: Vec<OutputLine>) {
        for lines in parts(lines) {
            self.chunk(LogChunk {
                id: self.id,
                lines,
                ..LogChunk::default()
            })
            .await;
        }
    }

    /// The number of the line after the last one sent, or why there is none.
    async fn end(&self, served: Result<u64, String>) {
        let (next, error) = match served {
            Ok(next) => (next, String::new()),
            Err(error) => (0, error),
        };
        self.chunk(LogChunk {
            id: self.id,
            end: true,
            error,
            next,
            ..LogChunk::default()
        })
        .await;
    }

    async fn chunk(&self, chunk: LogChunk) {
        // Nobody listens when the session has ended; this task ends with it.
        let _ = self
            .outgoing
            .send(NodeMessage {
                kind: Some(node_message::Kind::Log(chunk)),
            })
            .await;
    }
}

/// Lines as the messages that hold them.
fn parts(lines: Vec<OutputLine>) -> Vec<Vec<LogLine>> {
    let (mut parts, mut room): (Vec<Vec<LogLine>>, _) = (Vec::new(), 0);
    for OutputLine { time_ms, stderr, text } in lines {
        let line_bytes = text.len();
        let line = LogLine { time_ms, stderr, text };
        match parts.last_mut() {
            Some(part) if part.len() < CHUNK_MAX_LINES && line_bytes <= room => {
                room -= line_bytes;
                part.push(line);
            }
            Some(_) | None => {
                room = CHUNK_MAX_BYTES.saturating_sub(line_bytes);
                parts.push(vec![line]);
            }
        }
    }
    parts
}

/// Gives the number of the line after the last one sent.
async fn serve(supervisor: &Supervisor, request: &LogRequest, out: &Outlet) -> Result<u64, String> {
    let replica = request.replica.as_str();
    if !supervisor.knows(replica) {
        return Err(format!("no replica {replica} on this node"));
    }
    let first_lines = request.tail_lines.min(TAIL_MAX_LINES);
    let mut next = read(supervisor, replica, request.from, first_lines, out).await?;
    let from = request.from.unwrap_or(0);
    if !request.follow {
        return Ok(next.unwrap_or(from));
    }
    loop {
        // Asked before reading: what is written last is still read.
        let ended = supervisor.has_ended(replica);
        let before = next;
        next = read(supervisor, replica, next.or(Some(from)), TAIL_MAX_LINES, out).await?;
        if ended && next == before {
            return Ok(next.unwrap_or(from));
        }
        sleep(FOLLOW_EVERY).await;
    }
}

/// Sends what is there and gives the number of the line after it; none while the container was never started.
async fn read(
    supervisor: &Supervisor,
    replica: &str,
    from: Option<u64>,
    max: u32,
    out: &Outlet,
) -> Result<Option<u64>, String> {
    match supervisor.runtime().output(replica, from, max).await {
        Ok((lines, next)) => {
            out.lines(lines).await;
            Ok(Some(next))
        }
        Err(RuntimeError::NotFound) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_longest_lines_is_one_that_the_engine_takes() {
        let line = |bytes: usize| OutputLine {
            time_ms: u64::MAX,
            stderr: true,
            text: "x".repeat(bytes),
        };
        let sizes = |count: usize, bytes: usize| -> Vec<usize> {
            let parts = parts((0..count).map(|_| line(bytes)).collect());
            let weighs = |part: &Vec<LogLine>| part.iter().map(|line| line.text.len() + 32).sum::<usize>();
            assert!(parts.iter().all(|part| weighs(part) < NODE_MESSAGE_MAX_BYTES));
            parts.iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(0, 1), [0; 0]);
        assert_eq!(sizes(600, 1), [256, 256, 88]);
        assert_eq!(sizes(200, 8 * 1024), [64, 64, 64, 8]);
        // Bytes that are no text are three times as long as text.
        assert_eq!(sizes(50, 24 * 1024), [21, 21, 8]);
    }
}
