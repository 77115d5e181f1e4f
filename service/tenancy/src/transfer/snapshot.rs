//! A tenant as it was at one moment.
//!
//! The tables are locked before the first query of the transaction, which determines what it sees
//! (PostgreSQL manual, LOCK). A migration that came between the two would otherwise leave tables that
//! look empty to the older snapshot, or columns that are others of the same name.

use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use sea_orm_migration::MigratorTraitSelf;
use tenantry_registry::{Slug, domain, tenant};

use super::{
    TransferError,
    order::Order,
    tables::{Contents, Sequence, Table, column, qualified, references, rows, sequence_values},
};
use crate::{
    Availability, DbErrorKind, Error, Tenancy, TenantUnavailable, locked_row::LockRetry,
    pool::Transaction,
};

/// A transaction that sees a tenant as it was when it began. Its locks keep the tables from being
/// changed or dropped, but not from being read and written.
pub(super) struct Snapshot {
    pub(super) txn: Transaction,
    pub(super) row: tenant::Model,
    pub(super) slug: Slug,
    pub(super) domains: Vec<String>,
    /// Names of the applied migrations, sorted.
    pub(super) migrations: Vec<String>,
    /// Referenced tables come first.
    pub(super) tables: Vec<Table>,
    pub(super) sequences: Vec<Sequence>,
    /// Cycles of foreign keys.
    pub(super) cycles: Vec<Vec<String>>,
}

impl Tenancy {
    /// Begins a snapshot, again while the tenant is being migrated.
    pub(super) async fn snapshot(&self, slug: &Slug) -> Result<Snapshot, Error> {
        let retry = LockRetry::new();
        loop {
            match self.try_snapshot(slug).await {
                Ok(snapshot) => return Ok(snapshot),
                Err(error) => retry.pause_for_row(slug, error).await?,
            }
        }
    }

    async fn try_snapshot(&self, slug: &Slug) -> Result<Snapshot, Error> {
        let changed = || Error::BeingMigrated(slug.clone());
        let before = find(&self.inner.db, slug).await?.schema;
        let migrations_table = self.inner.migrator.migration_table_name().to_string();
        let migrated = qualified(&before, &migrations_table);
        let found = "SELECT to_regclass($1::text) IS NOT NULL";
        if column(&self.inner.db, found, [migrated.clone().into()]).await?.first() != Some(&true) {
            return Err(
                tenantry_migrate::Error::MissingSchema { schema: before.to_string() }.into()
            );
        }
        let to_lock = Contents::of(&self.inner.db, &before, &migrations_table).await?;
        let txn = self.inner.lifecycle.begin_snapshot().await?;
        let names = to_lock.tables.iter().map(|table| qualified(&before, &table.name));
        let names: Vec<String> = names.chain([migrated.clone()]).collect();
        lock(&txn, &names).await.map_err(|error| match DbErrorKind::of(&error) {
            DbErrorKind::UndefinedTable => changed(),
            _ => error.into(),
        })?;
        let row = find(&txn, slug).await?;
        let path = self.inner.lifecycle.search_path(&row.schema);
        rows(&txn, "SELECT set_config('search_path', $1, true)", [path.into()]).await?;
        let Contents { tables, sequences } =
            Contents::of(&txn, &row.schema, &migrations_table).await?;
        if row.schema != before || !to_lock.has_tables_of(&tables) {
            return Err(changed());
        }
        let applied = format!("SELECT version FROM {migrated} ORDER BY version");
        let migrations = column(&txn, applied, []).await?;
        let order = Order::of(
            &tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>(),
            &references(&txn, &row.schema).await?,
        );
        let place = |table: &Table| order.tables.iter().position(|name| *name == table.name);
        let mut tables = tables;
        tables.sort_by_key(place);
        refuse_large_objects(&txn, &row, &tables).await?;
        let sequences = sequence_values(&txn, &row.schema, &sequences).await?;
        let domains = domain::Entity::find().filter(domain::Column::TenantId.eq(row.id));
        let mut domains: Vec<String> =
            domains.all(&txn).await?.iter().map(|it| it.hostname.to_string()).collect();
        domains.sort_unstable();
        let (slug, cycles) = (slug.clone(), order.cycles);
        Ok(Snapshot { txn, row, slug, domains, migrations, tables, sequences, cycles })
    }
}

/// The row of a tenant that can be copied.
async fn find(db: &impl ConnectionTrait, slug: &Slug) -> Result<tenant::Model, Error> {
    let row = tenant::Entity::find_living().filter(tenant::Column::Slug.eq(slug.clone()));
    let row = row.one(db).await?.ok_or_else(|| Error::UnknownTenant(slug.clone()))?;
    match tenant::Status::GONE.contains(&row.status) {
        true => Err(TenantUnavailable::new(row.id, slug.clone(), Availability::Dropped).into()),
        false => Ok(row),
    }
}

/// Keeps the tables as they are. Rows can be written meanwhile.
async fn lock(txn: &Transaction, names: &[String]) -> Result<(), DbErr> {
    let names = names.join(", ");
    // `SELECT set_config` would determine the snapshot.
    let sql = format!("SET LOCAL lock_timeout = '200ms'; LOCK TABLE {names} IN ACCESS SHARE MODE");
    super::build::batch(txn, &sql).await
}

/// Large objects are in no schema, so rows that refer to them cannot be copied.
async fn refuse_large_objects(
    txn: &impl ConnectionTrait,
    row: &tenant::Model,
    tables: &[Table],
) -> Result<(), Error> {
    for table in tables {
        for it in table.columns.iter().filter(|it| ["oid", "lo"].contains(&it.kind.as_str())) {
            let sql = format!(
                "SELECT EXISTS (SELECT FROM {} t JOIN pg_catalog.pg_largeobject_metadata o
                 ON o.oid = t.{}::oid)",
                qualified(&row.schema, &table.name),
                super::tables::quoted(&it.name)
            );
            if column(txn, sql, []).await?.first() == Some(&true) {
                let (table, column) = (table.name.clone(), it.name.clone());
                return Err(TransferError::LargeObjects { table, column }.into());
            }
        }
    }
    Ok(())
}
