//! The real engine on a simulated cloud, with simulated nodes, in virtual time: one seed, one run.
//!
//! [`World`] holds what outlives an engine: the cloud, the store, the network, the nodes. [`scenario`] makes a run of a
//! seed, [`run`] carries it out, [`witness`] checks it all along and [`ending`] at its end. Links no cloud's SDK; opens
//! no socket.

pub mod around;
pub mod dice;
pub mod ending;
pub mod faulty;
pub mod history;
pub mod invariant;
pub mod life;
pub mod mortal;
pub mod mutation;
pub mod net;
pub mod nodes;
pub mod run;
pub mod scenario;
pub mod shop;
pub mod tally;
pub mod watched;
pub mod witness;
pub mod world;

pub use world::World;
