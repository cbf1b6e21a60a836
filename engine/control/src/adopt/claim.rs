//! Who has an object. What this engine knows is in its draft; what other shards have is in the store, whose keys decide.

use isobar_engine_store::{StoreError, Table};

use crate::engine::Engine;
use crate::record::AdoptedRecord;

impl Engine {
    /// In words, who has an object in another shard; none if nobody has.
    pub(super) async fn owner_elsewhere(&self, key: &str) -> Result<Option<String>, StoreError> {
        let row = self.store.get(Table::Adopted, key).await?;
        let elsewhere = row.filter(|row| row.shard != self.shard());
        Ok(
            elsewhere.map(|row| match serde_json::from_str::<AdoptedRecord>(&row.body) {
                Ok(record) => owner(&record),
                Err(_) => "another cluster".to_owned(),
            }),
        )
    }
}

/// In words, who has the object of a record.
pub(super) fn owner(record: &AdoptedRecord) -> String {
    let from = &record.object.from;
    let lineage = match from.lineage.as_str() {
        "" => "no lineage".to_owned(),
        lineage => format!("lineage {lineage}"),
    };
    format!(
        "cluster {} as {}, from the state of {lineage} at {}",
        record.cluster, record.object.name, from.address
    )
}
