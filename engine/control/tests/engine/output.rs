//! Reading a replica's output on and on, through a session of its node.

use isobar_engine_control::Bounds;
use isobar_engine_control::api::{LogSource, LogsRequest, QueryRequest, QueryWhat};
use isobar_engine_control::node::Peer;
use isobar_engine_model::id::{AttemptNo, ClusterName, MachineId, ReplicaId};
use isobar_node_image_protocol::channel::{Channel, memory_pair};
use isobar_node_image_protocol::v1::{
    EngineMessage, Hello, LogChunk, LogLine, LogRequest, NodeMessage, engine_message, node_message,
};

use crate::support::{Running, authority, eventually};

/// Written while the node serves: so many lines more after each request, all in the same millisecond.
const BURST_LINES: u64 = 7;

/// Says hello, then serves requests for output as a node does: by the numbers of lines.
async fn node(mut channel: impl Channel<NodeMessage, EngineMessage>) {
    let mut say = node_message::Kind::Hello(Hello::default());
    let mut written = 0;
    loop {
        if channel.send(NodeMessage { kind: Some(say) }).await.is_err() {
            return;
        }
        say = loop {
            match channel.recv().await {
                Ok(EngineMessage {
                    kind: Some(engine_message::Kind::Log(request)),
                }) => break node_message::Kind::Log(output(&request, written)),
                Ok(_) => {}
                Err(_) => return,
            }
        };
        written += BURST_LINES;
    }
}

fn output(request: &LogRequest, written: u64) -> LogChunk {
    let most = u64::from(request.tail_lines);
    let first = request.from.unwrap_or(written.saturating_sub(most));
    let next = (first + most).min(written);
    let lines = (first..next).map(|number| LogLine {
        time_ms: 5,
        stderr: false,
        text: number.to_string(),
    });
    LogChunk {
        id: request.id,
        lines: lines.collect(),
        end: true,
        next,
        ..LogChunk::default()
    }
}

#[tokio::test(start_paused = true)]
async fn every_line_is_read_once_however_many_share_a_millisecond() {
    let running = Running::start("output", authority("output"), Bounds::default()).await;
    let cluster = ClusterName::new("shop").unwrap();
    running.deploy("shop", 1).await;
    let peer = Peer {
        cluster: cluster.clone(),
        machine: MachineId::new("general-1"),
        attempt: AttemptNo(1),
    };
    eventually("a machine", async || {
        (!running.cloud.machines().is_empty()).then_some(())
    })
    .await;
    let (ours, theirs) = memory_pair();
    let engine = running.engine("shop").await;
    tokio::spawn(async move { engine.session(peer, Box::new(theirs)).await });
    tokio::spawn(node(ours));
    eventually("a replica", async || {
        let request = QueryRequest {
            what: QueryWhat::Replicas,
            cluster: cluster.clone(),
            after: None,
            limit: None,
        };
        running
            .engine("shop")
            .await
            .query(request)
            .await
            .unwrap()
            .replicas
            .unwrap()
            .pop()
    })
    .await;

    let mut request = LogsRequest {
        cluster,
        source: LogSource::Replica(ReplicaId::new("web-1")),
        tail_lines: Some(4),
        after: None,
    };
    let mut read = Vec::new();
    for _ in 0..12 {
        let answer = running.engine("shop").await.logs(request.clone()).await.unwrap();
        read.extend(answer.lines.into_iter().map(|line| line.text));
        request.after = Some(answer.next);
    }
    // The first found none; each later one found more than it may give.
    let all: Vec<String> = (0..44).map(|number| number.to_string()).collect();
    assert_eq!(read, all);
}
