//! Migration 4: the tables of Terraform's states. Called by [`super`].

use sea_orm_migration::prelude::*;

use super::{by_shard, rows_in_shards};

/// The new tables of rows.
const NEW: [&str; 3] = ["terraform_state", "terraform_body", "terraform_adopted"];

/// The tables `terraform_state`, `terraform_body` and `terraform_adopted`.
pub(in crate::sql) struct Terraform;

impl MigrationName for Terraform {
    fn name(&self) -> &str {
        "m0004_terraform"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "async_trait makes a written lifetime another one than the trait's"
)]
#[async_trait::async_trait]
impl MigrationTrait for Terraform {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in NEW {
            rows_in_shards(manager, table).await?;
            by_shard(manager, table).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
