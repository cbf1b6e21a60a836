//! How many machines each pool may still have, and where those that it must have are to be.

use std::collections::BTreeMap;

use isobar_engine_model::id::{PoolName, SiteName};
use isobar_engine_model::spec::MachineCount;

/// What one pool has, owes and may have.
#[derive(Debug)]
pub(crate) struct PoolRoom<'a> {
    pub(crate) count: MachineCount,
    /// Machines that stay.
    pub(crate) standing: u32,
    /// Machines decided to be bought.
    pub(crate) new: u32,
    /// Machines that must be bought for the pool's minimum, by site. Decided once it is known what goes on them.
    pub(crate) owed: BTreeMap<&'a SiteName, u32>,
}

/// How a new machine counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Title<'a> {
    /// It must be bought anyway.
    Owed,
    /// It must be bought anyway, and was meant for that site.
    Moved(&'a SiteName),
    /// It comes on top.
    Extra,
}

impl<'a> PoolRoom<'a> {
    /// Machines in all, with those owed.
    pub(crate) fn all(&self) -> u32 {
        self.standing + self.new + self.owed_in_all()
    }

    pub(crate) fn owed_in_all(&self) -> u32 {
        self.owed.values().sum()
    }

    /// How many more it may have, beyond those owed.
    pub(crate) fn left(&self) -> u32 {
        self.count.max.saturating_sub(self.all())
    }

    /// Whether a machine more may be in `site`, and how it counts.
    pub(crate) fn title(&self, site: &SiteName) -> Option<Title<'a>> {
        if self.owed.get(site).is_some_and(|owed| *owed > 0) {
            Some(Title::Owed)
        } else if let Some((from, _)) = self
            .owed
            .iter()
            .filter(|(_, owed)| **owed > 0)
            .max_by_key(|(_, owed)| **owed)
        {
            Some(Title::Moved(from))
        } else if self.left() > 0 {
            Some(Title::Extra)
        } else {
            None
        }
    }
}

/// What the accounts' quotas leave, by site; absent: unknown, so not held against anyone.
pub(crate) type Quotas<'a> = BTreeMap<&'a SiteName, u32>;

/// Spreads `owed` machines over sites: each goes where the pool has the fewest, the first by name of equals.
/// Gives how many no site takes.
pub(crate) fn spread_owed<'a>(
    owed: u32,
    have: &mut BTreeMap<&'a SiteName, u32>,
    quotas: &mut Quotas<'a>,
) -> (BTreeMap<&'a SiteName, u32>, u32) {
    let mut spread: BTreeMap<&'a SiteName, u32> = BTreeMap::new();
    for done in 0..owed {
        let open = have
            .iter()
            .filter(|(site, _)| quotas.get(*site).is_none_or(|left| *left > 0));
        let Some(site) = open
            .min_by_key(|(site, count)| (**count, **site))
            .map(|(site, _)| *site)
        else {
            return (spread, owed - done);
        };
        *have.entry(site).or_default() += 1;
        *spread.entry(site).or_default() += 1;
        if let Some(left) = quotas.get_mut(site) {
            *left -= 1;
        }
    }
    (spread, 0)
}

/// All pools' room.
pub(crate) type Rooms<'a> = BTreeMap<&'a PoolName, PoolRoom<'a>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owed_machines_go_where_the_pool_has_fewest_and_quota_is_left() {
        let (north, south) = (SiteName::new("north").unwrap(), SiteName::new("south").unwrap());
        let mut have = BTreeMap::from([(&north, 2), (&south, 0)]);
        let (spread, none) = spread_owed(3, &mut have, &mut Quotas::new());
        assert_eq!((spread, none), (BTreeMap::from([(&north, 1), (&south, 2)]), 0));
        let mut have = BTreeMap::from([(&north, 0), (&south, 0)]);
        let (spread, none) = spread_owed(3, &mut have, &mut BTreeMap::from([(&north, 0), (&south, 2)]));
        assert_eq!((spread, none), (BTreeMap::from([(&south, 2)]), 1));
    }
}
