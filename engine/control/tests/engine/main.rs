//! Whole engines on stores in memory and simulated clouds: what only shows from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod again;
mod output;
mod reach;
mod strangers;
mod support;
mod terraform;
