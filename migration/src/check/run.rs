use std::sync::Arc;

use entity::registry::SchemaName;
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    Statement, TransactionTrait,
    sea_query::{Expr, Query},
};
use sea_orm_migration::{MigratorTraitSelf, SchemaManager, seaql_migrations};

use super::{Report, observer::Observer, proxy::Proxy};
use crate::{AnyMigrator, Error, Target, enter, provision::ddl};

/// Runs every migration in a scratch schema, and says which of their statements are unsafe.
///
/// All of it happens in one transaction that is rolled back; tenants and the registry are not
/// looked at. A migration that fails is a finding and ends the check, for those after it build on
/// it.
///
/// # Errors
/// [`Error::Database`] when the database itself cannot be used, [`Error::MissingSchema`] never.
pub async fn check(db: &DatabaseConnection, migrator: &AnyMigrator) -> Result<Report, Error> {
    let txn = db.begin().await?;
    let schema = scratch_schema(&txn).await?;
    ddl(&txn, &format!("CREATE SCHEMA {}", schema.quoted())).await?;
    enter(&txn, &Target::Schema(schema.clone())).await?;
    migrator.install(&txn).await?;
    let observer = Arc::new(Observer::new(txn, schema.to_string()));
    let report = check_all(&observer, migrator).await?;
    if let Some(observer) = Arc::into_inner(observer) {
        observer.txn.rollback().await?;
    }
    Ok(report)
}

/// No other transaction has the same server process.
async fn scratch_schema(txn: &DatabaseTransaction) -> Result<SchemaName, Error> {
    let sql = "SELECT 'migration_check_' || pg_backend_pid()";
    let row = txn.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound(sql.to_owned()))?;
    let name: String = row.try_get_by_index(0)?;
    name.parse().map_err(|error| Error::Database(DbErr::Type(format!("{error}"))))
}

async fn check_all(observer: &Arc<Observer>, migrator: &AnyMigrator) -> Result<Report, Error> {
    let proxy = Box::new(Proxy::new(Arc::clone(observer)));
    let recorder = Database::connect_proxy(DbBackend::Postgres, Arc::new(proxy)).await?;
    let mut report = Report::default();
    for migration in migrator.migrations() {
        observer.begin(migration.use_transaction() != Some(false)).await?;
        let result = migration.up(&SchemaManager::new(&recorder)).await;
        let observed = observer.end(result)?;
        let failed = observed.failed.is_some();
        report.add(migration.name(), observed);
        if failed {
            break;
        }
        note(&observer.txn, migrator, migration.name()).await?;
    }
    Ok(report)
}

/// Records the migration as a run would: a later one may look.
async fn note(txn: &DatabaseTransaction, migrator: &AnyMigrator, name: &str) -> Result<(), DbErr> {
    let insert = Query::insert()
        .into_table(migrator.migration_table_name())
        .columns([seaql_migrations::Column::Version, seaql_migrations::Column::AppliedAt])
        .values_panic([name.into(), Expr::cust("extract(epoch FROM now())::bigint")])
        .to_owned();
    txn.execute(&insert).await?;
    Ok(())
}
