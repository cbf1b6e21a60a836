//! What the engine does for nodes: lets them join, tells them what to run, hears how it goes.
//!
//! [`join`] and [`session`] know no transport; [`server`] is the gRPC endpoint in front of them.

pub mod join;
pub(crate) mod message;
pub mod server;
pub mod session;

use isobar_engine_model::id::{AttemptNo, ClusterName, MachineId};

/// Who is at the other end, from its certificate: never from a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Of which cluster.
    pub cluster: ClusterName,
    /// Which machine.
    pub machine: MachineId,
    /// Which attempt of it.
    pub attempt: AttemptNo,
}
