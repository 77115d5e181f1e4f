//! Registries that a newer program has migrated further.
//!
//! During a rolling release, programs of the previous release restart, and a release may be rolled
//! back. So a program accepts a registry with migrations that it does not have, as it does with
//! tenants, unless one of them is breaking: the registry stores the names of those.

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    DynMigrator, Error, MigrationState, Target, confirm_local,
    sql::query::{column, execute, scalar},
};

/// Returns an error if the registry has breaking migrations that `migrator` does not have, or is not
/// on the coordinator of a Citus cluster. A missing registry is accepted.
///
/// # Errors
/// [`Error::RegistryAhead`], [`Error::Distributed`], [`Error::Database`].
pub async fn confirm_registry(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    confirm_local(db, &Target::Registry).await?;
    let names = unknown(db, "registry.breaking", "migration", migrator).await?;
    match names.is_empty() {
        true => Ok(()),
        false => Err(Error::RegistryAhead { names }),
    }
}

/// Returns an error if there is a registry without a table for the audit entries that migrations of
/// tenants write.
pub(crate) async fn confirm_audit(db: &impl ConnectionTrait) -> Result<(), Error> {
    let sql = "SELECT count(*) FROM pg_catalog.pg_class
        WHERE oid IN (to_regclass('registry.tenants'), to_regclass('registry.audit'))";
    match scalar::<i64>(db, sql, []).await? {
        // The audit log was created later than the tenants.
        Some(1) => Err(Error::RegistryBehind),
        _ => Ok(()),
    }
}

/// Returns an error if the target has migrations that `migrator` does not have: they may depend on
/// those that would be rolled back.
pub(crate) async fn confirm_known(
    db: &impl ConnectionTrait,
    target: &Target,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    let names = unknown(db, &target.migrations_table(migrator), "version", migrator).await?;
    match names.is_empty() {
        true => Ok(()),
        false => Err(Error::UnknownMigrations { schema: target.name().to_owned(), names }),
    }
}

/// Stores which applied migrations of the registry are breaking. Keeps the rows of newer programs.
pub(crate) async fn record_breaking(
    txn: &impl ConnectionTrait,
    migrator: &DynMigrator,
    state: &MigrationState,
) -> Result<(), DbErr> {
    if !exists(txn, "registry.breaking").await? {
        return Ok(());
    }
    let (_, breaking) = migrator.applied(state.applied.clone());
    // Breaking migrations that are missing in the list were rolled back.
    let sql = r#"WITH "gone" AS (
            DELETE FROM "registry"."breaking"
            WHERE "migration" = ANY ($1) AND "migration" <> ALL ($2)
        )
        INSERT INTO "registry"."breaking" ("migration") SELECT unnest($2) ON CONFLICT DO NOTHING"#;
    execute(txn, sql, [migrator.names().into(), breaking.into()]).await
}

async fn exists(db: &impl ConnectionTrait, table: &str) -> Result<bool, DbErr> {
    Ok(scalar(
        db,
        "SELECT true FROM pg_catalog.pg_class WHERE oid = to_regclass($1)",
        [table.into()],
    )
    .await?
        == Some(true))
}

/// The sorted names in a table, which may not exist, that `migrator` does not have.
async fn unknown(
    db: &impl ConnectionTrait,
    table: &str,
    name: &str,
    migrator: &DynMigrator,
) -> Result<Vec<String>, DbErr> {
    if !exists(db, table).await? {
        return Ok(Vec::new());
    }
    let sql = format!(r#"SELECT "{name}" FROM {table}"#);
    let (mut names, known) = (column::<String>(db, sql, []).await?, migrator.names());
    names.retain(|name| !known.contains(name));
    names.sort();
    Ok(names)
}
