//! A schema of no tenant, for a look at what migrations do: nobody sees it, and nothing is left.

use entity::registry::{SchemaName, TenantId};
use sea_orm::{DatabaseTransaction, DbErr, TransactionTrait};

use crate::{
    AnyMigrator, Error, Target, drop_schema, enter,
    provision::{create_schema_sql, ddl},
};

/// A new schema in a transaction that is never committed, in whose scope it is.
pub(crate) struct Scratch<'a, D> {
    db: &'a D,
    pub(crate) txn: DatabaseTransaction,
    pub(crate) target: Target,
    schema: SchemaName,
}

impl<'a, D: TransactionTrait<Transaction = DatabaseTransaction>> Scratch<'a, D> {
    /// Makes a schema whose name begins with `purpose`.
    pub(crate) async fn begin(
        db: &'a D,
        purpose: &str,
        migrator: &AnyMigrator,
    ) -> Result<Self, Error> {
        let random = TenantId::generate().as_uuid().simple().to_string();
        let schema: SchemaName = format!("tenantry_{purpose}_{random}")
            .parse()
            .map_err(|error| DbErr::Custom(format!("{error}")))?;
        let txn = db.begin().await?;
        ddl(&txn, &create_schema_sql(&schema)).await?;
        let target = Target::Schema(schema.clone());
        enter(&txn, &target, migrator).await?;
        Ok(Self { db, txn, target, schema })
    }

    pub(crate) fn schema(&self) -> &SchemaName {
        &self.schema
    }

    /// Rolls all of it back. If a migration has committed the schema nevertheless, it is dropped.
    pub(crate) async fn end<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        let rolled_back = self.txn.rollback().await;
        if let Err(Error::TransactionEnded { .. }) = &result {
            let txn = self.db.begin().await?;
            drop_schema(&txn, &self.schema).await?;
            txn.commit().await?;
        }
        let value = result?;
        rolled_back?;
        Ok(value)
    }
}
