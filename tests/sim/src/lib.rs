//! The real engine on a simulated cloud, with simulated nodes, in virtual time: one seed, one run.
//!
//! [`World`] holds what outlives a process: the cloud, the store, the network, the nodes. [`scenario`] makes a run of a
//! seed, [`run`] carries it out: [`hosts`] start, kill, freeze and stop processes of a fleet, users ask any of them.
//! [`witness`] and [`held`] check it all along, [`ending`] at its end. A test may also start one engine without
//! neighbours. Links no cloud's SDK; opens no socket.

pub mod around;
pub mod clock;
pub mod dice;
pub mod ending;
pub mod faulty;
pub mod held;
pub mod history;
pub mod hosts;
pub mod invariant;
pub mod life;
pub mod mortal;
pub mod mutation;
pub mod net;
pub mod nodes;
pub mod process;
pub mod run;
pub mod scenario;
pub mod shop;
pub mod tally;
pub mod watched;
pub mod witness;
pub mod world;

pub use world::World;
