//! A span around each call, with what is known about it and how it ended.
//!
//! Records ids and the kind of an error; never a request, whose identity is secret, nor a provider's words. Outermost,
//! so that retries and waiting count.

use std::sync::Arc;

use async_trait::async_trait;
use tracing::Instrument;
use tracing::field::Empty;

use super::layer::{Call, Decorated, Layer, Sending};
use crate::{Clock, Provider, Result};

/// Traces calls.
pub struct Trace {
    clock: Arc<dyn Clock>,
}

impl Trace {
    /// `provider` with a span around each call.
    pub fn around(provider: Arc<dyn Provider>, clock: Arc<dyn Clock>) -> Decorated<Self> {
        Decorated::new(provider, Self { clock })
    }
}

#[async_trait]
impl Layer for Trace {
    async fn around<'a, T: Send>(
        &self,
        call: Call<'a>,
        send: &(dyn Fn() -> Sending<'a, T> + Send + Sync),
    ) -> Result<T> {
        let span = tracing::debug_span!(
            "provider_call",
            provider = %call.provider,
            site = %call.site.name,
            region = %call.site.region,
            operation = call.operation.name(),
            machine = call.machine.map(tracing::field::display),
            handle = call.handle.map(tracing::field::display),
            outcome = Empty,
            took_ms = Empty,
        );
        let started = self.clock.now();
        let answer = send().instrument(span.clone()).await;
        span.record("outcome", answer.as_ref().map_or_else(|error| error.kind(), |_| "ok"));
        span.record("took_ms", self.clock.now().since_ms(started));
        span.in_scope(|| tracing::debug!("provider answered"));
        answer
    }
}
