//! The rules of the house that a machine can check: which crate may know which, how crates are named, what they
//! inherit, under which licences they come, where the pages' links lead. Pure functions over small lists; `tests/workspace.rs` feeds them what cargo
//! says. Never links a crate of ours.

pub mod edges;
pub mod licence;
pub mod links;
pub mod manifest;
