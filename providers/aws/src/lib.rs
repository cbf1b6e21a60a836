//! Machines of Amazon EC2, through Amazon's own SDK.
//!
//! One call makes a machine with its disk and network card, tagged, and one deletes all of it. Never retries (the SDK's
//! own retries are off), never waits until a machine runs, keeps no state but what it may forget: credentials and facts
//! about images. Wired by the command; see docs/clouds/aws.md for what a site's settings are.

mod adoption;
mod catalog;
mod client;
mod config;
mod console;
mod create;
mod delete;
mod errors;
mod image;
mod look;
mod network;
mod provider;
mod settings;
mod tags;

pub use catalog::snapshot;
pub use config::{AwsConfig, Keys};
pub use provider::AwsProvider;
