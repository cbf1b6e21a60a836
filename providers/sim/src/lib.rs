//! A simulated cloud: seeded, in memory, in virtual time, as unreliable as its configuration says.
//!
//! [`SimCloud`] is the cloud behind the provider's back, with hooks for tests; [`SimProvider`] is the client that the
//! engine sees. Equal seeds and equal calls in equal order give equal runs. Never reads a real clock, never opens a
//! socket. Used by the engine's tests, by benchmarks and by the conformance suite.
//!
//! A simulated machine runs nothing: a test watches [`SimCloud::events`] and lets a simulated node join for each
//! machine that comes to run, with the identity that [`SimCloud::machine`] shows.

mod clock;
mod cloud;
mod config;
mod fault;
mod machine;
mod provider;
mod random;
mod world;

pub use clock::{SIMULATION_EPOCH, TokioClock};
pub use cloud::{Events, MachineChange, MachineEvent, SimCloud, SimMachine};
pub use config::{RegionConfig, SIM_IMAGE, Shape, SimConfig, Timing, ZoneConfig};
pub use fault::{Counters, Fault, FaultRates, Operation, Permille};
pub use provider::SimProvider;
pub use random::SeededEntropy;
