//! Migration 3: what others made. Its keys name objects of clouds, so that each has one owner. Called by [`super`].

use sea_orm_migration::prelude::*;

use super::by_bytes;

/// The table of rows.
const TABLE: &str = "adopted";

/// The table `adopted`.
pub(in crate::sql) struct Adopted;

impl MigrationName for Adopted {
    fn name(&self) -> &str {
        "m0003_adopted"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "async_trait makes a written lifetime another one than the trait's"
)]
#[async_trait::async_trait]
impl MigrationTrait for Adopted {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut rows = Table::create();
        rows.table(TABLE)
            .col(by_bytes(manager, "key").not_null().primary_key())
            .col(ColumnDef::new("revision").big_integer().not_null())
            .col(ColumnDef::new("body").text().not_null())
            .col(ColumnDef::new("shard").big_integer().not_null().default(0));
        manager.create_table(rows).await?;
        let mut index = Index::create();
        index.name("adopted_by_shard").table(TABLE).col("shard").col("key");
        manager.create_index(index).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
