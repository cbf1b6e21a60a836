//! Keeping the lease, taking shards that fall to this process and giving those that fall to another.
//!
//! Which shard falls to whom is rendezvous hashing over those that live: one more member takes an equal part from each,
//! one less gives its part to all. The epoch of a claim, compared with every commit, is what fences; the lease only says
//! when somebody else may claim.

use std::sync::Arc;
use std::time::Duration;

use isobar_engine_model::id::{Epoch, MemberId, ShardId};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_store::{Member, Shard, StoreError};
use sha2::{Digest, Sha256};

use super::{Fleet, Known};
use crate::engine::Engine;
use crate::tenure::Tenure;

/// Between two looks whether every change has been made.
const SETTLE_PAUSE: Duration = Duration::from_millis(5);
/// So many times a lease is it renewed.
const BEATS_PER_LEASE: u32 = 4;
/// An engine that gives its shard away has so long to end what it is doing; then it is cut off.
const GIVE_MAX: Duration = Duration::from_secs(20);

/// What is to become of a shard.
enum Change {
    /// Nobody's, or a dead one's, and ours to take.
    Take,
    /// Ours, and now another's.
    Give(Arc<Engine>),
    /// Its engine cannot write it any more: stop at once. Where it is still ours to have, it is taken anew.
    Drop(Arc<Engine>),
    /// Ours in the store since this claim and another's to have, without an engine: its start or its release failed, and
    /// for as long as this process lives nobody else could claim it.
    Return(Epoch),
}

impl Fleet {
    /// Tends until the fleet stops.
    pub(super) async fn tend_on(self: Arc<Self>) {
        loop {
            let pause = self.config.bounds.member_lease() / BEATS_PER_LEASE;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.boundaries.clock.sleep(pause) => {}
            }
            if let Err(error) = self.tend().await {
                tracing::warn!(%error, "the lease was not renewed");
            }
        }
    }

    /// Renews the lease, looks who holds what, and begins what has to change.
    pub(super) async fn tend(self: &Arc<Self>) -> Result<(), StoreError> {
        let store = &self.boundaries.store;
        let lease = self.config.bounds.member_lease();
        let asked = self.boundaries.clock.now();
        store.beat(&self.me, lease).await?;
        let until = asked.plus_ms(self.config.bounds.member_lease_ms);
        self.lease.renewed(until);
        let (members, shards) = (store.members().await?, store.shards().await?);
        self.confirm(&shards, until);
        self.keep(&members, &shards);
        for shard in &shards {
            let Some(change) = self.change(shard, &members) else {
                continue;
            };
            if self
                .changing
                .lock()
                .expect("nothing panics with the lock")
                .insert(shard.id)
            {
                let (fleet, shard) = (self.clone(), shard.id);
                self.tasks.spawn(async move {
                    fleet.make(shard, change).await;
                    fleet
                        .changing
                        .lock()
                        .expect("nothing panics with the lock")
                        .remove(&shard);
                });
            }
        }
        Ok(())
    }

    /// Returns when every change that was begun is made.
    pub(super) async fn settled(&self) {
        while !self.changing.lock().expect("nothing panics with the lock").is_empty() {
            self.boundaries.clock.sleep(SETTLE_PAUSE).await;
        }
    }

    /// Engines that still have their shards may act for as long as the process lives; who was replaced while this process
    /// stood still must not, however well it lives now.
    fn confirm(&self, shards: &[Shard], until: Timestamp) {
        let engines = self.engines();
        for shard in shards {
            if let Some(engine) = engines.get(&shard.id).filter(|engine| engine.epoch() == shard.epoch) {
                engine.confirmed(until);
            }
        }
    }

    fn keep(&self, members: &[Member], shards: &[Shard]) {
        let known = Known {
            members: members
                .iter()
                .map(|member| (member.id.clone(), member.clone()))
                .collect(),
            holders: shards
                .iter()
                .filter_map(|shard| Some((shard.id, shard.holder.clone()?)))
                .collect(),
        };
        *self.known.write().expect("nothing panics with the lock") = known;
        let others = members.iter().filter(|member| member.id != self.me.id);
        let homes: Vec<String> = std::iter::once(&self.me)
            .chain(others)
            .flat_map(|member| member.nodes.clone())
            .collect();
        self.homes.send_if_modified(|old| {
            let news = *old != homes;
            *old = homes;
            news
        });
    }

    fn change(&self, shard: &Shard, members: &[Member]) -> Option<Change> {
        let mine = chosen(members, shard.id) == Some(&self.me.id);
        match self.engines().get(&shard.id).cloned() {
            Some(engine) if engine.has_stopped() || engine.epoch() != shard.epoch => Some(Change::Drop(engine)),
            Some(engine) if !mine => Some(Change::Give(engine)),
            Some(_) => None,
            None if mine => Some(Change::Take),
            None => (shard.holder.as_ref() == Some(&self.me.id)).then_some(Change::Return(shard.epoch)),
        }
    }

    async fn make(self: &Arc<Self>, shard: ShardId, change: Change) {
        match change {
            Change::Take => match self.take(shard).await {
                Ok(true) => tracing::info!(%shard, "responsible for a shard"),
                Ok(false) => tracing::debug!(%shard, "a shard is another's still"),
                Err(error) => tracing::warn!(%shard, %error, "a shard was not taken"),
            },
            Change::Give(engine) => {
                self.let_go(shard);
                self.give(shard, &engine).await;
                tracing::info!(%shard, "a shard was given to another engine");
            }
            Change::Drop(engine) => {
                self.let_go(shard);
                engine.cut_off();
                tracing::warn!(%shard, "this engine lost a shard");
            }
            Change::Return(epoch) => self.release(shard, epoch).await,
        }
    }

    async fn take(self: &Arc<Self>, shard: ShardId) -> Result<bool, StoreError> {
        let Some(epoch) = self.boundaries.store.claim(shard, &self.me.id).await? else {
            return Ok(false);
        };
        let tenure = Tenure {
            shard,
            epoch,
            lease: self.lease.copied(),
            homes: self.homes.subscribe(),
        };
        let engine = Engine::start(self.config.clone(), self.boundaries.clone(), tenure).await?;
        self.held
            .write()
            .expect("nothing panics with the lock")
            .insert(shard, engine);
        Ok(true)
    }

    fn let_go(&self, shard: ShardId) {
        self.held.write().expect("nothing panics with the lock").remove(&shard);
    }

    /// Stops an engine and gives its shard back.
    pub(super) async fn give(&self, shard: ShardId, engine: &Engine) {
        tokio::select! {
            biased;
            () = engine.shutdown() => {}
            () = self.boundaries.clock.sleep(GIVE_MAX) => engine.cut_off(),
        }
        self.release(shard, engine.epoch()).await;
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) {
        match self.boundaries.store.release(shard, epoch).await {
            // It is another's already.
            Ok(()) | Err(StoreError::Fenced { .. }) => {}
            Err(error) => tracing::warn!(%shard, %error, "a shard was not given back yet"),
        }
    }
}

/// To which of the members a shard falls.
fn chosen(members: &[Member], shard: ShardId) -> Option<&MemberId> {
    let weight = |member: &&Member| -> [u8; 32] { Sha256::digest(format!("{}/{shard}", member.id)).into() };
    members.iter().max_by_key(weight).map(|member| &member.id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn members(names: &[&str]) -> Vec<Member> {
        let member = |name: &&str| Member {
            id: MemberId::new(*name),
            peers: String::new(),
            nodes: Vec::new(),
        };
        names.iter().map(member).collect()
    }

    fn falls(names: &[&str]) -> BTreeMap<u16, String> {
        let members = members(names);
        (0..512)
            .map(|shard| (shard, chosen(&members, ShardId(shard)).unwrap().to_string()))
            .collect()
    }

    #[test]
    fn one_member_less_moves_only_what_was_its() {
        let (three, two) = (falls(&["a", "b", "c"]), falls(&["a", "c"]));
        for (shard, holder) in &three {
            if holder != "b" {
                assert_eq!(two[shard], *holder);
            }
        }
        for name in ["a", "b", "c"] {
            let part = three.values().filter(|holder| *holder == name).count();
            assert!((512 / 6..512 / 2).contains(&part), "{name} has {part} of 512");
        }
        assert_eq!(chosen(&[], ShardId(0)), None);
    }
}
