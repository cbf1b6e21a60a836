//! The boundary between engine and node, above TLS: a pair of message streams. Real over a gRPC stream, simulated over
//! memory with faults.

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;

/// The other side is gone: the node connects again, the engine waits for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the other side is gone")]
pub struct Closed;

/// Messages out and in. Delivered in order, until the first failure.
#[async_trait]
pub trait Channel<Out, In>: Send {
    /// Hands a message over; waits while the other side does not take any. Ok does not mean received.
    async fn send(&mut self, message: Out) -> Result<(), Closed>;

    /// The next message. Cancel-safe.
    async fn recv(&mut self) -> Result<In, Closed>;
}

/// At most so many messages wait in one direction of a stream.
pub const STREAM_QUEUE_MAX_MESSAGES: usize = 64;

/// The engine takes no larger message of a node, in bytes: a larger one ends the session.
pub const NODE_MESSAGE_MAX_BYTES: usize = 1024 * 1024;

/// One side of a gRPC stream.
pub struct GrpcChannel<Out, In> {
    outgoing: mpsc::Sender<Out>,
    incoming: tonic::Streaming<In>,
}

impl<Out, In> GrpcChannel<Out, In> {
    /// `outgoing` feeds the stream that the stub was given.
    pub fn new(outgoing: mpsc::Sender<Out>, incoming: tonic::Streaming<In>) -> Self {
        Self { outgoing, incoming }
    }
}

#[async_trait]
impl<Out: Send, In: Send> Channel<Out, In> for GrpcChannel<Out, In> {
    async fn send(&mut self, message: Out) -> Result<(), Closed> {
        self.outgoing.send(message).await.map_err(|_| Closed)
    }

    async fn recv(&mut self) -> Result<In, Closed> {
        match self.incoming.next().await {
            Some(Ok(message)) => Ok(message),
            Some(Err(_)) | None => Err(Closed),
        }
    }
}

/// One side of a pair in memory.
pub struct MemoryChannel<Out, In> {
    outgoing: mpsc::Sender<Out>,
    incoming: mpsc::Receiver<In>,
}

/// Two sides that hear each other.
pub fn memory_pair<A, B>() -> (MemoryChannel<A, B>, MemoryChannel<B, A>) {
    let (to_b, from_a) = mpsc::channel(STREAM_QUEUE_MAX_MESSAGES);
    let (to_a, from_b) = mpsc::channel(STREAM_QUEUE_MAX_MESSAGES);
    (
        MemoryChannel {
            outgoing: to_b,
            incoming: from_b,
        },
        MemoryChannel {
            outgoing: to_a,
            incoming: from_a,
        },
    )
}

#[async_trait]
impl<Out: Send, In: Send> Channel<Out, In> for MemoryChannel<Out, In> {
    async fn send(&mut self, message: Out) -> Result<(), Closed> {
        self.outgoing.send(message).await.map_err(|_| Closed)
    }

    async fn recv(&mut self) -> Result<In, Closed> {
        self.incoming.recv().await.ok_or(Closed)
    }
}
