//! A simulated cloud: seeded, in memory, in virtual time, as unreliable as its configuration says.
//!
//! [`SimCloud`] is the cloud behind the provider's back, with hooks for tests; [`SimProvider`] is the client that the
//! engine sees. Equal seeds and equal calls in equal order give equal runs. Never reads a real clock, never opens a
//! socket. Used by the engine's tests, by benchmarks and by the conformance suite.
//!
//! A simulated machine runs nothing: a test watches [`SimCloud::events`] and lets a simulated node join for each
//! machine that comes to run, with the identity that [`SimCloud::machine`] shows.
//!
//! ```
//! use std::sync::Arc;
//!
//! use isobar_engine_model::id::ProviderId;
//! use isobar_engine_provider::decorate;
//! use isobar_providers_sim::{FaultRates, SeededEntropy, SimCloud, SimConfig, SimProvider, TokioClock};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let seed = 7;
//! let clock = Arc::new(TokioClock::new());
//! let config = SimConfig::of_regions(seed, &["north", "south"]).with_faults(FaultRates::rough());
//! let cloud = SimCloud::new(config, clock.clone());
//! let client = Arc::new(SimProvider::new(ProviderId::new("sim")?, cloud.clone()));
//! let provider = decorate::standard(client, clock, Arc::new(SeededEntropy::new(seed)));
//! # assert_eq!(provider.id().as_str(), "sim");
//! # assert_eq!(cloud.machines().len(), 0);
//! # Ok(())
//! # }
//! ```

mod clock;
mod cloud;
mod config;
mod fault;
mod look;
mod machine;
mod network;
mod object;
mod part;
mod provider;
mod random;
mod schedule;
mod world;

pub use clock::{SIMULATION_EPOCH, TokioClock};
pub use cloud::{Events, MachineChange, MachineEvent, SimCloud, SimMachine, SimNetworkPart, SimPart};
pub use config::{RegionConfig, SIM_IMAGE, Shape, SimConfig, Timing, ZoneConfig};
pub use fault::{Counters, Fault, FaultRates, Operation, Permille};
pub use part::PART_PRICE_MICRO_USD_HOUR;
pub use provider::SimProvider;
pub use random::SeededEntropy;
