//! The words every part of Isobar shares: ids, spec, catalog, observed state, plans, intents.
//!
//! Plain serde data with JSON Schema. No I/O, no async, no clock, no randomness: whoever needs the time or an id is
//! given it. Knows no cloud's words.

pub mod adopted;
pub mod catalog;
pub mod id;
pub mod intent;
pub mod object;
pub mod observed;
pub mod operation;
pub mod plan;
pub mod quantity;
pub mod rule;
pub mod spec;
