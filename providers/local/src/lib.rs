//! Machines on this computer: QEMU processes that boot the node image.
//!
//! For trying Isobar out and for tests with real kernels. A site's region is only a label: all machines run on this
//! host, in one zone a region, at nominal prices. What was promised is kept in files ([`LocalConfig::data`]) and what
//! runs is asked of the kernel, so a crashed engine finds its machines again. Never waits for a machine to boot, never
//! restarts one (a diskless node has lost its key), and builds no images.
//!
//! Networking is QEMU's user mode. A guest reaches out as its host does, and reaches the host's loopback addresses at
//! `10.0.2.2`, where the engine and a local registry listen: everything else on loopback is open to it too, so do not
//! run workloads that you distrust. A guest's open ports appear at `127.0.0.1` under the ports that
//! [`endpoints`](isobar_engine_provider::ResourceState::endpoints) names; other guests reach them at `10.0.2.2`.

mod config;
mod console;
mod image;
mod ledger;
mod machines;
mod offers;
mod place;
mod ports;
mod process;
mod processor;
mod provider;
mod qemu;
mod tsc;

/// How a guest reaches what listens on loopback of its host.
pub const HOST_SEEN_BY_GUESTS: &str = "10.0.2.2";

pub use config::{Acceleration, LocalConfig, Shape};
pub use provider::{LocalProvider, OpenError};
