//! A registry that a newer program has migrated further.
//!
//! While a release goes out, programs of the release before are restarted, and a release may be
//! taken back. So a program works with a registry that has migrations which it does not know, as
//! it does with tenants, unless one of them is breaking: the registry keeps the names of those.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::{DynMigrator, Error, MigrationState, Target};

/// Refuses a registry that has breaking migrations which `migrator` does not have. One that is not
/// there has none.
///
/// # Errors
/// [`Error::RegistryAhead`], [`Error::Database`].
pub async fn confirm_registry(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    if !is_there(db, "registry.breaking").await? {
        return Ok(());
    }
    let names = unknown(db, r#"SELECT "migration" FROM "registry"."breaking""#, migrator).await?;
    match names.is_empty() {
        true => Ok(()),
        false => Err(Error::RegistryAhead { names }),
    }
}

/// Refuses to roll back a registry that has migrations which `migrator` does not have: they may
/// build on those that would be rolled back.
pub(crate) async fn confirm_known(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    let table = Target::Registry.table(migrator);
    if !is_there(db, &table).await? {
        return Ok(());
    }
    let names = unknown(db, &format!(r#"SELECT "version" FROM {table}"#), migrator).await?;
    match names.is_empty() {
        true => Ok(()),
        false => {
            Err(Error::UnknownMigrations { schema: Target::Registry.name().to_owned(), names })
        }
    }
}

/// Keeps which migrations that are applied to the registry are breaking. Those of newer programs
/// are left as they are.
pub(crate) async fn record_breaking(
    txn: &impl ConnectionTrait,
    migrator: &DynMigrator,
    state: &MigrationState,
) -> Result<(), DbErr> {
    if !is_there(txn, "registry.breaking").await? {
        return Ok(());
    }
    let (_, breaking) = migrator.applied(state.applied.clone());
    // What is not in the list any more was rolled back.
    let sql = r#"WITH "gone" AS (
            DELETE FROM "registry"."breaking"
            WHERE "migration" = ANY ($1) AND "migration" <> ALL ($2)
        )
        INSERT INTO "registry"."breaking" ("migration") SELECT unnest($2) ON CONFLICT DO NOTHING"#;
    let values = [migrator.names().into(), breaking.into()];
    txn.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

async fn is_there(db: &impl ConnectionTrait, table: &str) -> Result<bool, DbErr> {
    let sql = "SELECT to_regclass($1) IS NOT NULL";
    let there = Statement::from_sql_and_values(DbBackend::Postgres, sql, [table.into()]);
    match db.query_one_raw(there).await? {
        Some(row) => row.try_get_by_index(0),
        None => Ok(false),
    }
}

/// The names that a query returns and `migrator` does not have.
async fn unknown(
    db: &impl ConnectionTrait,
    sql: &str,
    migrator: &DynMigrator,
) -> Result<Vec<String>, DbErr> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    let names = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<Vec<String>, _>>();
    let known = migrator.names();
    let mut names: Vec<String> = names?.into_iter().filter(|name| !known.contains(name)).collect();
    names.sort();
    Ok(names)
}
