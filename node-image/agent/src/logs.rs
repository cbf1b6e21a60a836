//! Log requests of one session: the last lines of a replica, and the ones that follow. Reads what the runtime keeps;
//! keeps nothing itself. Dropped with its session, which ends every request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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

/// Lines of one message, each of at most 8 KiB: below gRPC's 4 MiB.
pub const CHUNK_MAX_LINES: usize = 256;

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
            out.end(served.err().unwrap_or_default()).await;
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
        for part in lines.chunks(CHUNK_MAX_LINES) {
            let lines = part.iter().map(|line| LogLine {
                time_ms: line.time_ms,
                stderr: line.stderr,
                text: line.text.clone(),
            });
            self.chunk(LogChunk {
                id: self.id,
                lines: lines.collect(),
                end: false,
                error: String::new(),
            })
            .await;
        }
    }

    async fn end(&self, error: String) {
        self.chunk(LogChunk {
            id: self.id,
            lines: Vec::new(),
            end: true,
            error,
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

async fn serve(supervisor: &Supervisor, request: &LogRequest, out: &Outlet) -> Result<(), String> {
    let replica = request.replica.as_str();
    if !supervisor.knows(replica) {
        return Err(format!("no replica {replica} on this node"));
    }
    let mut next = read(supervisor, replica, None, request.tail_lines.min(TAIL_MAX_LINES), out).await?;
    if !request.follow {
        return Ok(());
    }
    loop {
        // Asked before reading: what is written last is still read.
        let ended = supervisor.has_ended(replica);
        let before = next;
        next = read(supervisor, replica, next.or(Some(0)), TAIL_MAX_LINES, out).await?;
        if ended && next == before {
            return Ok(());
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
