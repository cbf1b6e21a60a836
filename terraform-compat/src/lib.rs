//! Reads the state of Terraform and OpenTofu and says what stands in it: which objects Isobar could take over, and why it
//! could not take the others. Bytes in, values out: no I/O, no async, no clock, and never a write to the source.
//!
//! Only attributes that [`identity`] and [`fields`] name are ever taken out of an instance, so that no secret can leak by being
//! forgotten. Called by whoever has read a state from somewhere.

pub mod account;
pub mod address;
pub mod backend;
pub mod fields;
pub mod handover;
pub mod hcl;
pub mod identity;
pub mod markdown;
pub mod read;
