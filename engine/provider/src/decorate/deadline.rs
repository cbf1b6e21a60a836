//! A bound on how long one call takes.
//!
//! A call that is cut off is dropped. A read then did nothing; a write may have, and says so. Sits next to the provider.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};

use super::layer::{Call, Decorated, Layer, Sending};
use crate::{Clock, Provider, ProviderError, Result};

/// The longest that a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlineBounds {
    /// Of a read, in ms.
    pub read_ms: u64,
    /// Of a write, in ms.
    pub write_ms: u64,
}

impl Default for DeadlineBounds {
    fn default() -> Self {
        Self {
            read_ms: 30_000,
            write_ms: 60_000,
        }
    }
}

/// Cuts off calls that take too long.
pub struct Deadline {
    clock: Arc<dyn Clock>,
    bounds: DeadlineBounds,
}

impl Deadline {
    /// `provider` with bounded calls.
    pub fn around(provider: Arc<dyn Provider>, clock: Arc<dyn Clock>, bounds: DeadlineBounds) -> Decorated<Self> {
        Decorated::new(provider, Self { clock, bounds })
    }
}

#[async_trait]
impl Layer for Deadline {
    async fn around<'a, T: Send>(
        &self,
        call: Call<'a>,
        send: &(dyn Fn() -> Sending<'a, T> + Send + Sync),
    ) -> Result<T> {
        let writes = call.operation.writes();
        let bound_ms = if writes {
            self.bounds.write_ms
        } else {
            self.bounds.read_ms
        };
        let cut_off = pin!(self.clock.sleep(Duration::from_millis(bound_ms)));
        match select(send(), cut_off).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => {
                let message = format!("no answer to {} within {bound_ms} ms", call.operation.name());
                Err(if writes {
                    ProviderError::OutcomeUnknown { message }
                } else {
                    ProviderError::Unavailable { message }
                })
            }
        }
    }
}
