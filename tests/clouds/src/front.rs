//! A strict cloud on a port of loopback, for as long as the value lives, and the calls that it was asked.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How often each call was asked, by its name in the cloud's own words. A clone counts on.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<String, u64>>>);

impl Calls {
    /// One more.
    pub fn count(&self, name: &str) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(name.to_owned()).or_default() += 1;
    }

    /// Every name that was asked, with how often.
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often that name was asked.
    pub fn of(&self, name: &str) -> u64 {
        self.all().get(name).copied().unwrap_or(0)
    }
}

/// A cloud that answers.
#[derive(Debug)]
pub struct Front {
    /// Where: `http://127.0.0.1:PORT`.
    pub url: String,
    /// What it was asked.
    pub calls: Calls,
    _stop: oneshot::Sender<()>,
}

impl Front {
    /// Answers on a free port until the value is dropped. `calls` are those that `router` counts.
    pub async fn serve(router: Router, calls: Calls) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(async move {
            let over = async { drop(stopped.await) };
            axum::serve(listener, router).with_graceful_shutdown(over).await
        });
        Ok(Self {
            url,
            calls,
            _stop: stop,
        })
    }
}
