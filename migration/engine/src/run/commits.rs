//! Deferred constraints, and migrations that need a commit between them.
//!
//! All migrations of a schema run in one transaction as if each were committed: deferred constraints
//! are checked after each. Even so, PostgreSQL refuses some sequences in one transaction, such as
//! adding an enum value and using it. These run with a commit after each migration.

use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::MigratorTraitSelf;

use super::schema_guard::SchemaGuard;
use crate::{
    DbErrorKind, DynMigrator, Error, Target,
    plan::Step,
    provision::ensure_qualified_names,
    search_path::set_search_path,
    sql::query::{execute_batch, scalar},
};

/// Checks deferred constraints, and restores for each constraint of the current schema whether it is
/// deferred by default. Lists their names, because `SET CONSTRAINTS ALL` would also apply to
/// constraints that are created later. Omits names of constraints with different defaults.
pub(crate) const CHECK_DEFERRED: &str = "\
DO $settle$
DECLARE late text; initially_late text;
BEGIN
    SELECT string_agg(DISTINCT name, ', '), string_agg(DISTINCT name, ', ') FILTER (WHERE condeferred)
    INTO late, initially_late
    FROM (SELECT format('%I.%I', current_schema(), c.conname) AS name, c.condeferred
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_constraint c ON c.conrelid = d.objid
        WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass
        AND d.refobjid = quote_ident(current_schema())::regnamespace
        AND d.classid = 'pg_catalog.pg_class'::regclass AND c.condeferrable
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint other
            WHERE other.conname = c.conname AND other.connamespace = c.connamespace
            AND (other.condeferrable, other.condeferred) <> (c.condeferrable, c.condeferred))
        ) constraints;
    IF late IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || late || ' IMMEDIATE'; END IF;
    IF initially_late IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || initially_late || ' DEFERRED'; END IF;
END
$settle$";

/// Whether migrations that fail with this error may succeed with a commit after each.
pub(crate) fn are_needed(error: &Error) -> bool {
    match error {
        Error::NotPrintable { source, .. } => DbErrorKind::of(source) == DbErrorKind::NeedsCommit,
        error => error.db_error_kind() == Some(DbErrorKind::NeedsCommit),
    }
}

/// Whether a statement may involve a deferrable constraint.
pub(crate) fn mentions_deferrable(sql: &str) -> bool {
    sql.to_lowercase().contains("deferr")
}

/// Whether migrations with these statements may need a commit after each.
pub(crate) fn may_be_needed(statements: &[String]) -> bool {
    statements.iter().any(|sql| {
        let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        sql.contains("add value") || mentions_deferrable(&sql)
    })
}

/// Whether a schema, which may not exist, has deferrable constraints.
pub(crate) async fn has_deferrable(
    txn: &impl ConnectionTrait,
    target: &Target,
) -> Result<bool, DbErr> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint
               WHERE connamespace = to_regnamespace($1) AND condeferrable)";
    Ok(scalar(txn, sql, [target.quoted().into()]).await? == Some(true))
}

/// Commits, and begins another transaction on the same connection.
pub(crate) async fn begin_next(txn: &impl ConnectionTrait) -> Result<(), DbErr> {
    execute_batch(txn, "COMMIT").await?;
    execute_batch(txn, "BEGIN").await
}

/// [`begin_next`], with the `search_path` of `target`.
pub(crate) async fn begin_next_in(
    txn: &impl ConnectionTrait,
    target: &Target,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    begin_next(txn).await?;
    set_search_path(txn, target, migrator).await?;
    Ok(())
}

/// Runs these steps in a new schema, with a commit before each.
pub(crate) async fn run_each(
    txn: &impl ConnectionTrait,
    target: &Target,
    migrator: &DynMigrator,
    steps: Vec<Step>,
) -> Result<(), Error> {
    migrator.install(txn).await?;
    for step in &steps {
        begin_next_in(txn, target, migrator).await?;
        let guard = SchemaGuard::begin(txn, target, migrator).await?;
        step.run_in(txn, &guard, migrator).await?;
    }
    ensure_qualified_names(txn, target, &steps).await
}
