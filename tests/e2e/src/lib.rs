//! What end-to-end tests stand on: a real engine in a data folder of its own, the command line beside it, the VMs it
//! started, a real registry.
//!
//! Never a stand-in for a part of Isobar. Panics where a test cannot go on, with what the engine logged. Called by the
//! tests beside it; [`engine`] is where to begin.

pub mod apart;
pub mod command;
pub mod emulated;
pub mod engine;
pub mod engines;
pub mod group;
pub mod guests;
pub mod image;
pub mod lead;
pub mod node;
pub mod registry;
pub mod shop;
pub mod simulated;
pub mod spec;
pub mod vms;
pub mod wait;
