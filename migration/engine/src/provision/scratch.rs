//! Temporary schemas in which migrations run to see what they do.

use sea_orm::{ConnectionTrait, DbErr};
use tenantry_registry::{SchemaName, TenantId};

use super::{LIMIT_LOCK, create_schema_sql, drop_schema};
use crate::{
    DynMigrator, Error, Target, search_path::set_search_path, session::start_over,
    sql::query::execute_batch,
};

/// New schema in a transaction that is rolled back, first in its `search_path`.
pub(crate) struct ScratchSchema<'a, C> {
    pub(crate) txn: &'a C,
    pub(crate) target: Target,
    schema: SchemaName,
    /// Whether a part of the transaction was committed, so that the schema must be dropped.
    pub(crate) committed: bool,
}

impl<'a, C: ConnectionTrait> ScratchSchema<'a, C> {
    /// Creates a schema named `tenantry_` followed by `purpose` and a random number.
    pub(crate) async fn create(
        txn: &'a C,
        purpose: &str,
        migrator: &DynMigrator,
    ) -> Result<Self, Error> {
        let random = TenantId::generate().as_uuid().simple().to_string();
        let schema: SchemaName = format!("tenantry_{purpose}_{random}")
            .parse()
            .map_err(|error| DbErr::Custom(format!("{error}")))?;
        execute_batch(txn, &create_schema_sql(&schema)).await?;
        execute_batch(txn, LIMIT_LOCK).await?;
        let target = Target::Schema(schema.clone());
        set_search_path(txn, &target, migrator).await?;
        Ok(Self { txn, target, schema, committed: false })
    }

    pub(crate) fn schema(&self) -> &SchemaName {
        &self.schema
    }

    /// Rolls back the transaction and begins another one. Drops the schema if it was committed.
    pub(crate) async fn end<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        let rolled_back = start_over(self.txn).await;
        if self.committed || matches!(&result, Err(Error::TransactionEnded { .. })) {
            drop_schema(self.txn, &self.schema).await?;
            execute_batch(self.txn, "COMMIT").await?;
            execute_batch(self.txn, "BEGIN").await?;
        }
        let value = result?;
        rolled_back?;
        Ok(value)
    }
}
