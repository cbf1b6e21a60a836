//! The real engine on a simulated cloud, with simulated nodes, in virtual time: one seed, one run.
//!
//! [`World`] holds what outlives an engine: the cloud, the store, the nodes. An engine is started in it, killed at any
//! of its calls to the outside, and started again. Links no cloud's SDK; opens no socket.

pub mod mortal;
pub mod nodes;
pub mod world;

pub use world::World;
