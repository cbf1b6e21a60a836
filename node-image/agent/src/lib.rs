//! The node agent: PID 1 of the node image, or a daemon on an ordinary Linux host.

pub mod runtime;
