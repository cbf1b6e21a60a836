//! What a machine is made with: its disk, its network card and its address. Each is a resource of its own, carries its
//! machine's tags and goes with it, unless a fault leaves it behind.
//!
//! While its machine is there a part is in the machine's price; one that is left is billed by itself. Owned by the
//! world; draws nothing at random.

use std::collections::BTreeMap;
use std::ops::Bound;

use isobar_engine_model::id::ResourceHandle;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{OwnerTags, ResourceKind, ResourceState, ResourceStatus};

/// What one part costs an hour once its machine is not there, in micro-dollars.
pub const PART_PRICE_MICRO_USD_HOUR: i64 = 1_000;

/// The kinds that every machine has one of, in the order of their making.
pub(crate) const KINDS: [ResourceKind; 3] = [ResourceKind::Interface, ResourceKind::Address, ResourceKind::Disk];

/// The machine that parts are made for, and whose tags they carry.
#[derive(Debug, Clone)]
pub(crate) struct Maker {
    pub(crate) region: String,
    pub(crate) name: String,
    pub(crate) tags: OwnerTags,
}

/// One part.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) kind: ResourceKind,
    pub(crate) maker: Maker,
    created: Timestamp,
    /// Since when nothing uses it; in use while absent.
    pub(crate) loose: Option<Timestamp>,
    deleting: Option<Timestamp>,
    gone: Option<Timestamp>,
}

/// Every part that there is or was a short while ago.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    by_handle: BTreeMap<ResourceHandle, Part>,
    /// Those that are not gone, by region and name of their machine.
    by_maker: BTreeMap<(String, String), Vec<ResourceHandle>>,
    made: u32,
}

impl Maker {
    fn key(&self) -> (String, String) {
        (self.region.clone(), self.name.clone())
    }
}

impl Part {
    /// As it was seen at `moment`, if it was.
    pub(crate) fn seen_at(&self, handle: &ResourceHandle, moment: Timestamp) -> Option<ResourceState> {
        if moment < self.created || self.gone.is_some_and(|gone| gone <= moment) {
            return None;
        }
        let status = match self.deleting {
            Some(since) if since <= moment => ResourceStatus::Deleting,
            Some(_) | None => ResourceStatus::Running,
        };
        Some(ResourceState {
            handle: handle.clone(),
            name: format!("{}-{}", self.maker.name, self.kind.name()),
            tags: Some(self.maker.tags.clone()),
            status,
            offering: None,
            endpoints: BTreeMap::new(),
            created: self.created,
        })
    }

    /// What it cost by itself until `now`, in micro-dollars x ms an hour.
    fn billed(&self, now: Timestamp) -> i128 {
        let loose_ms = self
            .loose
            .map_or(0, |since| self.gone.unwrap_or(now).min(now).since_ms(since));
        i128::from(PART_PRICE_MICRO_USD_HOUR) * i128::from(loose_ms)
    }
}

impl Parts {
    /// Makes those of `kinds` that the maker does not have yet; a create that is sent again finds what the first made.
    pub(crate) fn make(&mut self, maker: &Maker, kinds: &[ResourceKind], now: Timestamp) {
        for &kind in kinds {
            let mut known = false;
            self.each_of(maker, |part| {
                if part.kind == kind {
                    (part.loose, known) = (None, true);
                }
            });
            if known {
                continue;
            }
            self.made += 1;
            let part = Part {
                kind,
                maker: maker.clone(),
                created: now,
                loose: None,
                deleting: None,
                gone: None,
            };
            let handle = ResourceHandle::new(format!("sim-{}-{:08}", part.kind.name(), self.made));
            self.by_maker.entry(maker.key()).or_default().push(handle.clone());
            self.by_handle.insert(handle, part);
        }
    }

    /// Their machine is not there, or never was: from now on they stand by themselves.
    pub(crate) fn loosen(&mut self, maker: &Maker, now: Timestamp) {
        self.each_of(maker, |part| {
            part.loose.get_or_insert(now);
        });
    }

    /// They go with their machine, all but `left`.
    pub(crate) fn vanish_with_machine(&mut self, maker: &Maker, left: Option<ResourceKind>, now: Timestamp) {
        let handles = self.by_maker.remove(&maker.key()).unwrap_or_default();
        for handle in handles {
            let Some(part) = self.by_handle.get_mut(&handle) else {
                continue;
            };
            if Some(part.kind) == left {
                part.loose.get_or_insert(now);
                self.by_maker.entry(maker.key()).or_default().push(handle);
            } else {
                part.gone = Some(now);
            }
        }
    }

    /// The deletion of one of them begins; `None`: there is none that can be deleted. False: it is in use.
    pub(crate) fn delete(&mut self, region: &str, handle: &ResourceHandle, now: Timestamp) -> Option<bool> {
        let part = self
            .by_handle
            .get_mut(handle)
            .filter(|part| part.gone.is_none() && part.maker.region == region)?;
        if part.loose.is_none() {
            return Some(false);
        }
        part.deleting.get_or_insert(now);
        Some(true)
    }

    /// The end of one of them.
    pub(crate) fn vanish(&mut self, handle: &ResourceHandle, now: Timestamp) {
        let Some(part) = self.by_handle.get_mut(handle) else {
            return;
        };
        part.gone.get_or_insert(now);
        if let Some(left) = self.by_maker.get_mut(&part.maker.key()) {
            left.retain(|known| known != handle);
        }
    }

    pub(crate) fn get(&self, handle: &ResourceHandle) -> Option<&Part> {
        self.by_handle.get(handle)
    }

    /// Those after `after`, in handle order.
    pub(crate) fn after(&self, after: Bound<ResourceHandle>) -> impl Iterator<Item = (&ResourceHandle, &Part)> {
        self.by_handle.range((after, Bound::Unbounded))
    }

    /// Those that are not gone, in handle order.
    pub(crate) fn alive(&self) -> impl Iterator<Item = (&ResourceHandle, &Part)> {
        self.by_handle.iter().filter(|(_, part)| part.gone.is_none())
    }

    /// What all of them cost by themselves until `now`, in micro-dollars x ms an hour.
    pub(crate) fn billed(&self, now: Timestamp) -> i128 {
        self.by_handle.values().map(|part| part.billed(now)).sum()
    }

    fn each_of(&mut self, maker: &Maker, mut change: impl FnMut(&mut Part)) {
        for handle in self.by_maker.get(&maker.key()).into_iter().flatten() {
            if let Some(part) = self.by_handle.get_mut(handle) {
                change(part);
            }
        }
    }
}
