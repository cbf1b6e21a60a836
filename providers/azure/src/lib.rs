//! Machines of Microsoft Azure, over its resource manager (ARM).
//!
//! One PUT makes a virtual machine with its disk, its network card and, where the site asks for one, its public address;
//! all of them carry `deleteOption: Delete` and go with it. Bodies are the typed models of `azure_mgmt_compute`, tokens
//! come from `azure_identity`, requests go over [`arm`] ([ADR 11](../../../docs/adr/0011-azure-sdk.md)). Never retries, never
//! waits until anything is ready, never polls an operation: the engine does. Used by whoever wires the engine.

mod adoption;
mod arm;
mod body;
mod catalog;
mod console;
mod credentials;
mod errors;
mod look;
mod names;
mod network;
mod network_body;
mod paths;
mod provider;
mod settings;
mod walk;

pub use credentials::Credentials;
pub use provider::{AzureConfig, AzureProvider};
