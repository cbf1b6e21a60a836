//! Holding still on a store that comes from a backup: what was bought since is in no journal, and what the journal knows
//! may be gone. Until somebody has said what becomes of each difference nothing is bought, deleted or told to nodes unasked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use isobar_engine_store::{Store, StoreError};

use crate::api::{ApiError, ErrorCode};
use crate::engine::Engine;
use crate::live::Command;

/// What to do about it.
const HINT: &str =
    "`isobar recover` lists what the backup does not know: adopt or release each, then `isobar recover end`";

/// An engine notices the end within so many of its looks, unless its store does not answer.
const LOOKS_MAX: u64 = 3;
/// Whoever waits for that looks so many times as often.
const LOOKS_BETWEEN: u32 = 10;

/// Whether the store is being recovered.
pub(crate) struct Recovery {
    store: Arc<dyn Store>,
    under_way: AtomicBool,
}

impl Recovery {
    /// As the store says it.
    pub(crate) async fn of(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let under_way = AtomicBool::new(store.is_recovering().await?);
        Ok(Self { store, under_way })
    }
}

impl Engine {
    /// Whether everything waits for the end of the store's recovery.
    pub(crate) fn is_recovering(&self) -> bool {
        self.recovery.under_way.load(Ordering::SeqCst)
    }

    /// That the store is not being recovered.
    pub(crate) fn is_recovered(&self) -> Result<(), ApiError> {
        if !self.is_recovering() {
            return Ok(());
        }
        Err(ApiError::new(
            ErrorCode::Recovering,
            "the store was restored from a backup and is not recovered yet",
        )
        .hint(HINT))
    }

    /// Waits for the end of the recovery, whichever engine ends it, and goes on with what was under way.
    pub(crate) async fn hold_still(self: Arc<Self>) {
        tracing::warn!(
            hint = HINT,
            "the store was restored from a backup: nothing is changed unasked"
        );
        if self.recovered().await {
            tracing::info!("the store is recovered");
            self.tell_every_node();
            self.resume();
        }
    }

    /// Waits until the engine has noticed that the recovery has ended: it looks every now and then.
    pub(crate) async fn has_noticed(&self) {
        let bounds = &self.config.bounds;
        let since = self.clock.now();
        while self.is_recovering() && self.clock.now().since_ms(since) < bounds.poll_ms * LOOKS_MAX {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.clock.sleep(bounds.poll() / LOOKS_BETWEEN) => {}
            }
        }
    }

    /// Returns at the end of the recovery. False: the engine stops.
    async fn recovered(&self) -> bool {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return false,
                () = self.clock.sleep(self.config.bounds.poll()) => {}
            }
            match self.recovery.store.is_recovering().await {
                Ok(true) => {}
                Ok(false) => {
                    self.recovery.under_way.store(false, Ordering::SeqCst);
                    return true;
                }
                Err(error) => tracing::debug!(%error, "the store does not say whether it is recovered"),
            }
        }
    }

    fn tell_every_node(&self) {
        let state = self.ledger.read();
        for record in state.machines.all() {
            let node = (record.cluster.clone(), record.machine.id.clone());
            self.live.tell(&node, Command::Replicas);
        }
    }
}
