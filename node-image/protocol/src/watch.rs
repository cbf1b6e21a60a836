//! A value that is watched, like `tokio::sync::watch`, with one difference: whoever waits is woken in the order of their
//! waiting. tokio wakes them in an order drawn at random, and then one seed of the simulator would not be one run.
//!
//! Knows nothing of what it holds. For values that several wait for, on either side of the channel.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Notify;

/// The sender is gone: the value stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value will not change any more")]
pub struct Closed;

#[derive(Debug)]
struct Shared<T> {
    value: RwLock<T>,
    version: AtomicU64,
    closed: AtomicBool,
    changed: Notify,
}

/// Changes the value. A clone is the same sender; the last one that goes ends the changes.
#[derive(Debug)]
pub struct Sender<T>(Arc<Open<T>>);

#[derive(Debug)]
struct Open<T>(Arc<Shared<T>>);

/// Sees the value and waits for its changes. A clone has seen as much.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// The value. Hold it briefly and never across an await.
#[derive(Debug)]
pub struct Ref<'a, T>(RwLockReadGuard<'a, T>);

/// A value and its first watcher, who has seen it.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Shared<T> {
    fn read(&self) -> Ref<'_, T> {
        Ref(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Sender<T> {
    /// A value that nobody watches yet.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Open(Arc::new(Shared {
            value: RwLock::new(value),
            version: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            changed: Notify::new(),
        }))))
    }

    /// Watches from now on: what is there now counts as seen.
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver {
            seen: self.0.0.version.load(Ordering::SeqCst),
            shared: self.0.0.clone(),
        }
    }

    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.0.0.read()
    }

    /// Replaces the value; answers with the old one.
    pub fn send_replace(&self, value: T) -> T {
        let mut old = None;
        self.send_modify(|now| old = Some(std::mem::replace(now, value)));
        old.expect("a modification is always made")
    }

    /// Changes the value and wakes everybody.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }

    /// Changes the value and wakes everybody if the change says that it is one; answers whether it did.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = {
            let mut value = self.0.0.value.write().unwrap_or_else(PoisonError::into_inner);
            let modified = change(&mut value);
            if modified {
                self.0.0.version.fetch_add(1, Ordering::SeqCst);
            }
            modified
        };
        if modified {
            self.0.0.changed.notify_waiters();
        }
        modified
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Drop for Open<T> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            seen: self.seen,
        }
    }
}

impl<T> Receiver<T> {
    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.read()
    }

    /// The value, which counts as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.shared.read();
        self.seen = self.shared.version.load(Ordering::SeqCst);
        value
    }

    /// What is there now counts as seen.
    pub fn mark_unchanged(&mut self) {
        drop(self.borrow_and_update());
    }

    /// Returns when the value has changed since it was seen last, and counts it as seen. Cancel-safe.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let version = self.shared.version.load(Ordering::SeqCst);
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.shared.closed.load(Ordering::SeqCst) {
                return Err(Closed);
            }
            changed.await;
        }
    }

    /// Returns with the value once it is a wanted one, and counts it as seen. Cancel-safe.
    pub async fn wait_for(&mut self, wanted: impl Fn(&T) -> bool) -> Result<Ref<'_, T>, Closed> {
        loop {
            let is_wanted = wanted(&self.borrow_and_update());
            if is_wanted {
                return Ok(self.borrow());
            }
            self.changed().await?;
        }
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_woken_in_the_order_of_waiting() {
        let sender = Sender::new(0);
        let woken = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..20 {
            let (mut receiver, woken) = (sender.subscribe(), woken.clone());
            waiting.spawn(async move {
                receiver.changed().await.expect("it changes");
                woken.lock().expect("nothing panics").push(number);
            });
        }
        tokio::task::yield_now().await;
        sender.send_replace(1);
        waiting.join_all().await;
        assert_eq!(*woken.lock().expect("nothing panics"), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_is_seen_once_and_the_end_after_it() {
        let (sender, mut receiver) = channel(1);
        sender.send_if_modified(|_| false);
        sender.send_replace(2);
        assert_eq!(receiver.changed().await, Ok(()));
        assert_eq!(*receiver.borrow(), 2);
        sender.send_modify(|value| *value = 3);
        drop(sender);
        assert_eq!(*receiver.wait_for(|value| *value == 3).await.expect("it is there"), 3);
        assert_eq!(receiver.changed().await, Err(Closed));
        assert!(receiver.wait_for(|value| *value == 4).await.is_err());
    }
}
