//! What a node and the control plane say to each other: the messages, the channel they travel on, and the identity a
//! node boots with. No logic of either side.

pub mod channel;
pub mod identity;
pub mod names;
pub mod watch;

/// Messages and stubs generated from `proto/node.proto`.
#[expect(
    missing_docs,
    clippy::all,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    clippy::allow_attributes,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("isobar.node.v1");
}
