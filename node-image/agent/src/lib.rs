//! The node agent: PID 1 of the node image, or a daemon on an ordinary Linux host. Reads its identity, joins the engine,
//! runs what the engine desires through a [`runtime::Runtime`], and lives on while the engine is away. Knows no cloud
//! and no plan, and never opens a port.

use std::error::Error;
use std::fmt::Write;

pub mod backoff;
pub mod clock;
pub mod container;
pub mod credentials;
pub mod dial;
pub mod engine;
pub mod heap;
pub mod identity;
pub mod init;
pub mod lease;
pub mod logs;
pub mod metrics;
pub mod network;
pub mod node;
pub mod oci;
pub mod prepared;
pub mod runtime;
pub mod session;
pub mod supervisor;
pub mod way;

/// An error with all of its causes, for the console.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some layers repeat their cause.
        let part = error.to_string();
        if !text.ends_with(&part) {
            write!(text, ": {part}").expect("a string takes everything");
        }
        cause = error.source();
    }
    text
}
