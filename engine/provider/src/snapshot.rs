//! What a cloud offered on a day: a compressed table in the crate of its provider, which serves where the cloud cannot be
//! asked. Lists and prices only; images, quotas and what is left of either are never in it.
//!
//! The form: zstd of a first line `as_of_ms`, then one line an instance type and zone: `instance_type,architecture,
//! milli_cpus,memory_mib,region,zone,on_demand_micro_usd_hour,spot_micro_usd_hour`, the last two empty where it is not
//! offered so. `tools/snapshots.py` makes them.

use isobar_engine_model::catalog::{Architecture, Offering, Purchase};
use isobar_engine_model::id::Zone;
use isobar_engine_model::quantity::{Mebibytes, MicroUsdPerHour, MilliCpus, Resources, Timestamp};

use crate::offering::Offered;

/// No table is larger unpacked, in bytes.
const TABLE_MAX_BYTES: usize = 64 << 20;

/// What the kernel and the agent keep of every machine.
pub const RESERVED: Resources = Resources {
    cpu: MilliCpus(100),
    memory: Mebibytes(128),
};

/// What a cloud offered.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When.
    pub as_of: Timestamp,
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    instance_type: String,
    architecture: Architecture,
    total: Resources,
    region: String,
    zone: Zone,
    on_demand: Option<MicroUsdPerHour>,
    spot: Option<MicroUsdPerHour>,
}

/// A table is not as `tools/snapshots.py` makes them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It cannot be unpacked.
    #[error("the snapshot cannot be unpacked")]
    Packed,
    /// A line of it cannot be read.
    #[error("line {line} of the snapshot cannot be read")]
    Line {
        /// Counted from 1.
        line: usize,
    },
}

impl Snapshot {
    /// Unpacks a table.
    pub fn read(packed: &[u8]) -> Result<Self, SnapshotError> {
        let table = zstd::bulk::decompress(packed, TABLE_MAX_BYTES).map_err(|_| SnapshotError::Packed)?;
        let table = String::from_utf8(table).map_err(|_| SnapshotError::Packed)?;
        let mut lines = (1..).zip(table.lines());
        let as_of = lines.next().and_then(|(_, line)| line.parse().ok());
        let as_of = Timestamp(as_of.ok_or(SnapshotError::Line { line: 1 })?);
        let rows = lines.map(|(line, text)| row(text).ok_or(SnapshotError::Line { line }));
        let rows = rows.collect::<Result<_, _>>()?;
        Ok(Self { as_of, rows })
    }

    /// Regions, in name order.
    pub fn regions(&self) -> Vec<&str> {
        let mut regions: Vec<&str> = self.rows.iter().map(|row| row.region.as_str()).collect();
        regions.sort_unstable();
        regions.dedup();
        regions
    }

    /// What a region offered; empty: there is no such region.
    pub fn offerings(&self, region: &str) -> Vec<Offering> {
        let here = self.rows.iter().filter(|row| row.region == region);
        here.flat_map(|row| {
            let purchases = [(Purchase::OnDemand, row.on_demand), (Purchase::Spot, row.spot)];
            purchases
                .into_iter()
                .filter_map(|(purchase, price)| Some(row.offering(purchase, price?, self.as_of)))
        })
        .collect()
    }
}

impl Row {
    fn offering(&self, purchase: Purchase, price: MicroUsdPerHour, priced: Timestamp) -> Offering {
        let offered = Offered {
            instance_type: self.instance_type.clone(),
            zone: self.zone.clone(),
            purchase,
        };
        Offering {
            id: offered.id(),
            instance_type: offered.instance_type,
            zone: offered.zone,
            purchase,
            architecture: self.architecture,
            total: self.total,
            allocatable: self.total.less(&RESERVED),
            price,
            priced,
        }
    }
}

fn row(line: &str) -> Option<Row> {
    let mut fields = line.split(',');
    let mut next = || fields.next();
    let row = Row {
        instance_type: next()?.to_owned(),
        architecture: match next()? {
            "x86_64" => Architecture::X86_64,
            "arm64" => Architecture::Arm64,
            _ => return None,
        },
        total: Resources {
            cpu: MilliCpus(next()?.parse().ok()?),
            memory: Mebibytes(next()?.parse().ok()?),
        },
        region: next()?.to_owned(),
        zone: Zone::new(next()?),
        on_demand: price(next()?)?,
        spot: price(next()?)?,
    };
    fields.next().is_none().then_some(row)
}

/// A price, or none. Absent: neither.
fn price(field: &str) -> Option<Option<MicroUsdPerHour>> {
    if field.is_empty() {
        return Some(None);
    }
    field.parse().ok().map(|price| Some(MicroUsdPerHour(price)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(table: &str) -> Vec<u8> {
        zstd::bulk::compress(table.as_bytes(), 3).expect("it fits in memory")
    }

    #[test]
    fn a_line_is_an_offering_for_each_way_to_pay() {
        let table = "1800000000000\nm7i.large,x86_64,2000,8192,eu,eu-a,110000,40000\nm7g.large,arm64,2000,8192,us,us-b,90000,\n";
        let snapshot = Snapshot::read(&packed(table)).expect("a table");
        assert_eq!(snapshot.as_of, Timestamp(1_800_000_000_000));
        assert_eq!(snapshot.regions(), ["eu", "us"]);
        let eu = snapshot.offerings("eu");
        let ids: Vec<&str> = eu.iter().map(|offering| offering.id.as_str()).collect();
        assert_eq!(ids, ["m7i.large@eu-a", "m7i.large@eu-a+spot"]);
        assert_eq!(
            (eu[0].price, eu[1].price),
            (MicroUsdPerHour(110_000), MicroUsdPerHour(40_000))
        );
        assert_eq!(eu[0].priced, snapshot.as_of);
        assert_eq!(eu[0].allocatable, eu[0].total.less(&RESERVED));
        assert_eq!(snapshot.offerings("us").len(), 1);
        assert!(snapshot.offerings("mars").is_empty());
    }

    #[test]
    fn what_is_no_table_is_told_with_its_line() {
        assert_eq!(Snapshot::read(b"no").err(), Some(SnapshotError::Packed));
        for (line, table) in [
            (1, "yesterday\n"),
            (2, "1\nm7i.large,x86_64,2000\n"),
            (2, "1\nm7i.large,sparc,2000,8192,eu,eu-a,1,1\n"),
            (
                3,
                "1\nm7i.large,x86_64,2000,8192,eu,eu-a,1,\nm7i.large,x86_64,2000,8192,eu,eu-a,1,,extra\n",
            ),
        ] {
            assert_eq!(
                Snapshot::read(&packed(table)).err(),
                Some(SnapshotError::Line { line }),
                "{table}"
            );
        }
    }
}
