//! Whole plans: golden ones, and what holds of all of them.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod adopted;
mod golden;
mod properties;
mod support;
