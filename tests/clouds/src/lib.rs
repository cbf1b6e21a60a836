//! Strict clouds: the wire interfaces of real clouds over the simulated cloud, for the tests of the providers and of
//! the engine. Each says no where the cloud's documentation does, and cites it; a fake that shares our assumptions proves
//! little. Links no cloud's SDK. Never used by the product.
//!
//! [`front`] serves any of them on loopback and counts what it is asked; [`aws`] is EC2, [`azure`] Azure's resource
//! manager, [`gcp`] Google's Compute Engine. [`program`] starts clouds that others wrote, for their opinion. [`stated`] is what
//! states say of objects in them. [`world`] is all three at once, for a whole engine.

pub mod asked;
pub mod aws;
pub mod azure;
pub mod front;
pub mod gcp;
pub mod machines;
pub mod program;
pub mod stated;
pub mod world;
