//! Builds the node image: a kernel and an initramfs whose only program is the agent; and the engine image, which has the
//! engine's [`programs`] beside it.
//!
//! The steps in the order of data: [`package`] gets Debian's kernel, [`kernel`] unpacks it to what QEMU and the
//! clouds boot without a boot loader, [`modules`] orders what the agent loads, [`cpio`] writes the archive, and
//! [`assemble`] puts them together under a [`manifest`]. The same inputs give the same bytes. Never installs anything
//! on the machine that it runs on, and never runs what it builds.

pub mod assemble;
pub mod cpio;
pub mod elf;
pub mod error;
pub mod kernel;
pub mod lz4;
pub mod manifest;
pub mod modules;
pub mod package;
pub mod programs;

pub use error::{Error, Result};
