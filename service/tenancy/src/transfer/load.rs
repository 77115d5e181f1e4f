//! Rows into a new schema.

use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::MigratorTraitSelf;
use tenantry_migrate::check_deferred;
use tenantry_registry::SchemaName;

use super::{
    TransferError,
    build::batch,
    error::not_loaded,
    suspended::Suspended,
    tables::{Contents, Sequence, Table, qualified, rows},
};
use crate::{
    Error, Tenancy,
    pool::{MigrationTransaction, Transaction},
};

/// Where the rows come from.
pub(super) trait RowSource: Send {
    /// Copies the rows of the table with this number.
    fn copy(
        &mut self,
        number: usize,
        table: &Table,
        into: (&Transaction, &SchemaName),
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Checks, after the last table, that no row was lost or changed. Returns how much was copied.
    fn finish(self) -> impl Future<Output = Result<Copied, Error>> + Send;
}

/// Rows that were copied, and their bytes as text of `COPY`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Copied {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Tenancy {
    /// Loads rows into a schema that the caller's transaction has created, after its tables were
    /// compared with `exported`.
    pub(super) async fn load(
        &self,
        txn: &Transaction,
        schema: &SchemaName,
        (exported, sequences): (&Contents, &[Sequence]),
        mut source: impl RowSource,
    ) -> Result<Copied, Error> {
        let migrations = MigrationTransaction(txn);
        let path = self.inner.lifecycle.search_path(schema);
        rows(&migrations, "SELECT set_config('search_path', $1, true)", [path.into()]).await?;
        let table = self.inner.migrator.migration_table_name().to_string();
        let created = Contents::of(&migrations, schema, &table).await?;
        let differences = created.differences(exported);
        if !differences.is_empty() {
            return Err(TransferError::Differs(differences).into());
        }
        let suspended = Suspended::of(&migrations, schema, &exported.tables).await?;
        send(txn, &suspended.before).await?;
        for (number, table) in exported.tables.iter().enumerate() {
            let copied = source.copy(number, table, (txn, schema)).await;
            copied.map_err(|error| not_loaded(format!("table {:?}", table.name), error))?;
        }
        let copied = source.finish().await?;
        let end = async {
            check_deferred(&migrations).await?;
            send(txn, &suspended.after).await
        };
        let ended = end.await.map_err(Error::from);
        ended.map_err(|error| not_loaded("the rows, which violate a constraint,", error))?;
        set_sequences(&migrations, schema, sequences).await?;
        Ok(copied)
    }
}

async fn send(txn: &Transaction, sql: &str) -> Result<(), DbErr> {
    if sql.is_empty() { Ok(()) } else { batch(txn, sql).await }
}

async fn set_sequences(
    db: &impl ConnectionTrait,
    schema: &SchemaName,
    sequences: &[Sequence],
) -> Result<(), DbErr> {
    for Sequence { name, last_value, is_called } in sequences {
        let values = [qualified(schema, name).into(), (*last_value).into(), (*is_called).into()];
        rows(db, "SELECT setval($1::text::regclass, $2, $3)", values).await?;
    }
    Ok(())
}
