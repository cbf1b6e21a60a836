//! Machines of Google's Compute Engine, by Google's own client.
//!
//! [`GcpProvider`] is all there is to see. A machine is one instance with one boot disk, made in one call; its network
//! card and its address are parts of it and no resources. A network, what is in it and the firewall around machines are made
//! where a site has none. Retries nothing, waits for no machine to be ready, and keeps nothing but its clients: what there is, the cloud says. Knows no other cloud. Wired by the command.

mod adoption;
mod catalog;
mod client;
mod config;
mod console;
mod create;
mod credentials;
mod delete;
mod errors;
mod handle;
mod look;
mod network;
mod provider;
mod request;
mod settings;
mod wire;

pub use config::GcpConfig;
pub use provider::GcpProvider;
