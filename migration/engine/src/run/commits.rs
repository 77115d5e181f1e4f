//! Migrations between which PostgreSQL wants a commit, and constraints that are checked late.
//!
//! All migrations of a schema run in one transaction, as if each were committed: constraints whose
//! check is deferred are checked after each. PostgreSQL refuses some chains nevertheless – a new
//! value of an enum and its use – which then run with a commit after each migration.

use std::time::{Duration, Instant};

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, PaginatorTrait, QueryFilter,
    Statement,
};
use sea_orm_migration::MigratorTraitSelf;
use tenantry_registry::{SchemaName, tenant};

use crate::{
    DbErrorKind, DynMigrator, Error, Target, drop_schema, enter,
    plan::{Step, all_up},
    provision::bare_names::refuse_bare_names,
    provision::{create_schema_sql, execute_batch, map_duplicate_schema},
    search_path::SchemaGuard,
};

/// How long a creation of the same schema is waited for.
const LONGEST: Duration = Duration::from_secs(60);

/// Checks what is deferred to the end of the transaction, and leaves every constraint as deferred
/// as it is in a new transaction. By their names, since `SET CONSTRAINTS ALL` would also hold for
/// constraints that are made later. Names that stand for constraints of both kinds are left out.
pub(crate) const SETTLE: &str = "\
DO $settle$
DECLARE late text; initially_late text;
BEGIN
    SELECT string_agg(DISTINCT name, ', '), string_agg(DISTINCT name, ', ') FILTER (WHERE condeferred)
    INTO late, initially_late
    FROM (SELECT format('%I.%I', current_schema(), c.conname) AS name, c.condeferred
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_constraint c ON c.conrelid = d.objid
        WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass
        AND d.refobjid = current_schema()::regnamespace
        AND d.classid = 'pg_catalog.pg_class'::regclass AND c.condeferrable
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint other
            WHERE other.conname = c.conname AND other.connamespace = c.connamespace
            AND (other.condeferrable, other.condeferred) <> (c.condeferrable, c.condeferred))
        ) constraints;
    IF late IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || late || ' IMMEDIATE'; END IF;
    IF initially_late IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || initially_late || ' DEFERRED'; END IF;
END
$settle$";

/// Whether a chain of migrations that fails with this error may pass with a commit after each.
pub(crate) fn are_wanted(error: &Error) -> bool {
    match error {
        Error::NotPrintable { source, .. } => DbErrorKind::of(source) == DbErrorKind::NeedsCommit,
        error => error.db_error_kind() == Some(DbErrorKind::NeedsCommit),
    }
}

/// Whether a statement may be about a constraint that is checked late.
pub(crate) fn mentions_deferrable(sql: &str) -> bool {
    sql.to_lowercase().contains("deferr")
}

/// Whether a chain with these statements may need a commit after each migration.
pub(crate) fn may_be_wanted(statements: &[String]) -> bool {
    statements.iter().any(|sql| {
        let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        sql.contains("add value") || mentions_deferrable(&sql)
    })
}

/// Whether a schema, which may not exist, has constraints that can be checked late.
pub(crate) async fn has_deferrable(
    txn: &impl ConnectionTrait,
    target: &Target,
) -> Result<bool, DbErr> {
    let sql = "SELECT count(*) FROM pg_catalog.pg_constraint
               WHERE connamespace = to_regnamespace($1) AND condeferrable";
    Ok(scalar(txn, sql, target.quoted()).await?.is_some_and(|number| number > 0))
}

/// Commits what was done in the transaction so far, and begins another on the same connection, in
/// the scope of `target`.
pub(crate) async fn commit_and_enter(
    txn: &impl ConnectionTrait,
    target: &Target,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    execute_batch(txn, "COMMIT").await?;
    execute_batch(txn, "BEGIN").await?;
    enter(txn, target, migrator).await?;
    Ok(())
}

/// Runs these steps in a new schema, in whose scope the transaction is, and commits before each
/// but the first.
pub(crate) async fn run_each(
    txn: &impl ConnectionTrait,
    target: &Target,
    migrator: &DynMigrator,
    steps: impl IntoIterator<Item = Step>,
) -> Result<(), Error> {
    migrator.install(txn).await?;
    let steps: Vec<Step> = steps.into_iter().collect();
    for step in &steps {
        commit_and_enter(txn, target, migrator).await?;
        let watch = SchemaGuard::begin(txn, target, migrator).await?;
        step.run_in(txn, &watch, migrator).await?;
    }
    refuse_bare_names(txn, target, &steps).await
}

/// Makes the schema of one tenant with a commit after each migration, for migrators that
/// [`create_schema`](crate::create_schema) refuses with [`DbErrorKind::NeedsCommit`]. The transaction is
/// one in which nothing was done, on a connection that is closed afterwards; the caller writes the
/// registry row in it and commits.
///
/// Until then the schema is marked as unfinished, and a lock of the session says that it is being
/// made. If that does not come to its end, [`remove_unfinished`] removes the schema.
///
/// # Errors
/// As for [`create_schema`](crate::create_schema), and [`Error::Busy`] when another creation of the
/// same schema does not end. The schema may be left unfinished.
pub async fn create_schema_with_commits(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    if !lock(txn, "pg_try_advisory_lock", schema).await? {
        return Err(Error::Busy { schema: schema.to_string() });
    }
    map_duplicate_schema(execute_batch(txn, &create_schema_sql(schema)).await, schema)?;
    let oid = scalar(txn, "SELECT $1::regnamespace::oid::bigint", schema.quoted()).await?;
    let comment = |text: &str| format!("COMMENT ON SCHEMA {} IS {text}", schema.quoted());
    execute_batch(txn, &comment(&format!("'{MARK}{}'", oid.unwrap_or(0)))).await?;
    let target = Target::Schema(schema.clone());
    enter(txn, &target, migrator).await?;
    run_each(txn, &target, migrator, all_up(migrator)).await?;
    execute_batch(txn, "COMMIT").await?;
    execute_batch(txn, "BEGIN").await?;
    Ok(execute_batch(txn, &comment("NULL")).await?)
}

/// Removes a schema that [`create_schema_with_commits`] has left unfinished, in the caller's
/// transaction. Whether there was one: then it is gone, or has become a tenant's meanwhile.
///
/// The mark on such a schema has the schema's own number, so that no other one bears it: neither
/// one that a person has made under the same name, nor a copy.
///
/// # Errors
/// [`Error::Busy`] when the creation has not ended, [`Error::Database`] otherwise.
pub async fn remove_unfinished(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
) -> Result<bool, Error> {
    if !is_unfinished(txn, schema).await? {
        return Ok(is_registered(txn, schema).await?);
    }
    if !lock(txn, "pg_try_advisory_xact_lock", schema).await? {
        return Err(Error::Busy { schema: schema.to_string() });
    }
    if is_unfinished(txn, schema).await? && !is_registered(txn, schema).await? {
        drop_schema(txn, schema).await?;
    }
    Ok(true)
}

async fn is_registered(txn: &impl ConnectionTrait, schema: &SchemaName) -> Result<bool, DbErr> {
    let rows = tenant::Entity::find().filter(tenant::Column::Schema.eq(schema.as_str()));
    let rows = rows.filter(tenant::Column::Status.ne(tenant::Status::Dropped));
    Ok(rows.count(txn).await? > 0)
}

const MARK: &str = "tenantry: unfinished creation of schema ";

/// Whether the schema `n` is being made with commits at this moment: it has the mark, and the lock
/// is taken.
pub(crate) const BEING_MADE: &str = "\
(CASE obj_description(n.oid, 'pg_namespace')
     WHEN 'tenantry: unfinished creation of schema ' || n.oid
     THEN NOT pg_try_advisory_xact_lock_shared(
         hashtextextended('tenantry creation of ' || n.nspname, 0))
     ELSE false END)";

async fn is_unfinished(txn: &impl ConnectionTrait, schema: &SchemaName) -> Result<bool, DbErr> {
    let sql = format!(
        "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = $1
         AND obj_description(oid, 'pg_namespace') = '{MARK}' || oid"
    );
    Ok(scalar(txn, &sql, schema.to_string()).await? == Some(1))
}

/// Takes the lock of the creation of a schema, if it is to be had in time.
async fn lock(
    txn: &impl ConnectionTrait,
    function: &str,
    schema: &SchemaName,
) -> Result<bool, DbErr> {
    let sql = format!("SELECT {function}(hashtextextended($1, 0))::int::bigint");
    let begun = Instant::now();
    while scalar(txn, &sql, format!("tenantry creation of {schema}")).await? != Some(1) {
        if begun.elapsed() > LONGEST {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(true)
}

async fn scalar(
    txn: &impl ConnectionTrait,
    sql: &str,
    value: String,
) -> Result<Option<i64>, DbErr> {
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [value.into()]);
    let row = txn.query_one_raw(statement).await?;
    row.map(|row| row.try_get_by_index(0)).transpose()
}
