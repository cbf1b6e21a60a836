//! The ids of clouds' offerings: an instance type, a zone and how it is paid, as one text that people can read.
//! `m7i.large@eu-central-1a` is on demand, `m7i.large@eu-central-1a+spot` is not. Used by the providers of clouds.

use isobar_engine_model::catalog::{Offering, Purchase};
use isobar_engine_model::id::{OfferingId, Zone};

/// What an offering's id says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// In the cloud's spelling.
    pub instance_type: String,
    /// Where.
    pub zone: Zone,
    /// How it is paid.
    pub purchase: Purchase,
}

/// Ends the id of a spot offering.
const SPOT: &str = "+spot";

impl Offered {
    /// The id that says this.
    pub fn id(&self) -> OfferingId {
        let spot = match self.purchase {
            Purchase::OnDemand => "",
            Purchase::Spot => SPOT,
        };
        OfferingId::new(format!("{}@{}{spot}", self.instance_type, self.zone))
    }

    /// What an id says; absent: it is no such id.
    pub fn of(id: &OfferingId) -> Option<Self> {
        let (rest, purchase) = match id.as_str().strip_suffix(SPOT) {
            Some(rest) => (rest, Purchase::Spot),
            None => (id.as_str(), Purchase::OnDemand),
        };
        let (instance_type, zone) = rest.split_once('@')?;
        (!instance_type.is_empty() && !zone.is_empty()).then(|| Self {
            instance_type: instance_type.to_owned(),
            zone: Zone::new(zone),
            purchase,
        })
    }
}

/// How many machines so many processors are at most: of the smallest offering. None are offered: none.
pub fn machines_of_cpus<'a>(cpus: u32, offerings: impl Iterator<Item = &'a Offering>) -> u32 {
    let smallest = offerings.map(|offering| offering.total.cpu.0.div_ceil(1000)).min();
    smallest.map_or(0, |smallest| cpus / smallest.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_what_it_was_made_of() {
        for (purchase, text) in [
            (Purchase::OnDemand, "m7i.large@eu-central-1a"),
            (Purchase::Spot, "m7i.large@eu-central-1a+spot"),
        ] {
            let offered = Offered {
                instance_type: "m7i.large".to_owned(),
                zone: Zone::new("eu-central-1a"),
                purchase,
            };
            assert_eq!(offered.id().as_str(), text);
            assert_eq!(Offered::of(&offered.id()), Some(offered));
        }
        for text in ["", "m7i.large", "@eu-central-1a", "m7i.large@", "m7i.large@+spot"] {
            assert_eq!(Offered::of(&OfferingId::new(text)), None, "{text}");
        }
    }
}
