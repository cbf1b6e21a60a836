//! The MCP server over the Engine, and the typed client that the command line uses.
//!
//! [`http`] serves streamable HTTP behind a bearer token, beyond loopback over [`tls`]; beside it are [`terraform`], the backend
//! of Terraform's states, and [`copy`], backups for an owner elsewhere. [`stdio`] relays a client's pipe to a running engine.
//! [`claim`] is how an engine on a machine that was bought for it and its owner come to know each other. [`client`] calls the
//! tools with their types, [`folder`] holds the files by which a client finds an engine and shows that it may. Decides nothing
//! about clusters: every tool is one call of the Engine.

pub mod claim;
pub mod client;
pub mod copy;
pub mod folder;
pub mod http;
mod refused;
mod server;
pub mod stdio;
pub mod terraform;
pub mod tls;
mod tools;

pub use server::Server;
