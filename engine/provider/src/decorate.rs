//! Providers around a provider: retries, a rate limit, a deadline and a trace for each call.
//!
//! The only place where a call is ever sent twice without the engine's asking. Each decorator is a [`Provider`] itself;
//! [`standard`] puts them in order. They wait through [`Clock`] only. Used where the binary is wired.

mod deadline;
mod layer;
mod rate_limit;
mod renew;
mod retry;
mod trace;

use std::sync::Arc;

pub use deadline::{Deadline, DeadlineBounds};
pub use layer::{Call, Decorated, Operation};
pub use rate_limit::{RateBounds, RateLimit};
pub use renew::{KeepsCredentials, Renew};
pub use retry::{Retry, RetryBounds};
pub use trace::Trace;

use crate::{Clock, Entropy, Provider};

/// Every bound of the decorators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// How often and how long a call is repeated.
    pub retry: RetryBounds,
    /// How many calls an account makes.
    pub rate: RateBounds,
    /// How long one call takes.
    pub deadline: DeadlineBounds,
}

/// `provider` as the engine uses it, with the default [`Bounds`]. One account: one call of this.
pub fn standard(provider: Arc<dyn Provider>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Arc<dyn Provider> {
    bounded(provider, clock, entropy, Bounds::default())
}

/// `provider` as the engine uses it: a trace of each call, in it retries, each of which passes the rate limit and then
/// has a deadline of its own.
pub fn bounded(
    provider: Arc<dyn Provider>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    bounds: Bounds,
) -> Arc<dyn Provider> {
    let timed = Arc::new(Deadline::around(provider, clock.clone(), bounds.deadline));
    let limited = Arc::new(RateLimit::around(timed, clock.clone(), bounds.rate));
    let retried = Arc::new(Retry::around(limited, clock.clone(), entropy, bounds.retry));
    Arc::new(Trace::around(retried, clock))
}

#[cfg(test)]
mod tests;
