//! A schema of no tenant, for a look at what migrations do: nobody sees it, and nothing is left.

use sea_orm::{ConnectionTrait, DbErr};
use tenantry_registry::{SchemaName, TenantId};

use crate::{
    DynMigrator, Error, Target, drop_schema, enter,
    provision::{create_schema_sql, execute_batch},
    session::start_over,
};

/// A new schema in a transaction that is rolled back, in whose scope it is.
pub(crate) struct ScratchSchema<'a, C> {
    pub(crate) txn: &'a C,
    pub(crate) target: Target,
    schema: SchemaName,
    /// Whether some of it is committed.
    pub(crate) committed: bool,
}

impl<'a, C: ConnectionTrait> ScratchSchema<'a, C> {
    /// Makes a schema whose name begins with `purpose`.
    pub(crate) async fn begin(
        txn: &'a C,
        purpose: &str,
        migrator: &DynMigrator,
    ) -> Result<Self, Error> {
        let random = TenantId::generate().as_uuid().simple().to_string();
        let schema: SchemaName = format!("tenantry_{purpose}_{random}")
            .parse()
            .map_err(|error| DbErr::Custom(format!("{error}")))?;
        execute_batch(txn, &create_schema_sql(&schema)).await?;
        let target = Target::Schema(schema.clone());
        enter(txn, &target, migrator).await?;
        Ok(Self { txn, target, schema, committed: false })
    }

    pub(crate) fn schema(&self) -> &SchemaName {
        &self.schema
    }

    /// Rolls back all that was done in the transaction. If the schema is committed nevertheless, it
    /// is dropped.
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
