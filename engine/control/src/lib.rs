//! The Engine: previews plans, carries them out with a journal, observes, reconciles, speaks with nodes.
//!
//! The only writer of the store. Sees clouds only as `dyn Provider`, nodes only as `dyn Channel`, time only as `dyn
//! Clock`. Knows nothing of HTTP or MCP.

pub mod api;
pub mod engine;

pub use engine::{Config, Engine, StartError};
