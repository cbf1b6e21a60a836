//! The Engine: previews plans, carries them out with a journal, observes, reconciles, speaks with nodes.
//!
//! The only writer of the store. Sees clouds only as `dyn Provider`, nodes only as `dyn Channel`, time only as `dyn
//! Clock`. Knows nothing of HTTP or MCP.
//!
//! ```text
//! fleet/     one process among those that share a store: which shards are its, and who has the others
//! ask/       what callers ask: plan, apply, query, explain, logs, operations
//! adopt/     taking over what others made: importing it, looking at it again
//! carry/     operations: buy, release, start, stop, each journaled before it is sent
//! node/      joining and sessions; the gRPC endpoint
//! look       what a site has, one list for everybody;
//! watch      observes machines and leases;  reconcile  brings clusters back to their specs;  sweep  finds orphans;
//!            forget  drops what is old;  periodic  when a round of these is due
//! reach      proves, before anything is bought, that new nodes will find an engine
//! births     as what machines are born: nodes, or engines of their own
//! recovery   holding still on a store that comes from a backup
//! terraform  states of Terraform: kept with their versions, locked, and what was taken over from them
//! audit      who asked for what: a chain of MACs a shard, written with what it records
//! ledger     the one place that writes the store;  record, state  what it holds;  live  what it does not
//! tenure     the shard that an engine writes
//! ```

mod adopt;
pub mod api;
mod ask;
mod audit;
pub mod authority;
mod births;
mod carry;
pub mod config;
pub mod engine;
pub mod fleet;
mod forget;
mod ledger;
mod live;
mod look;
pub mod node;
pub mod periodic;
mod reach;
mod reconcile;
mod record;
mod recovery;
mod state;
mod sweep;
pub mod tenure;
mod terraform;
pub mod vault;
mod watch;

pub use births::Births;
pub use config::{Bounds, Config, CrashPoint};
pub use engine::{Boundaries, Engine};
pub use fleet::Fleet;
pub use periodic::Pacing;
pub use tenure::Tenure;
