//! Schemas of tenants: created, renamed, dropped.

mod dependents;
mod drop;
mod recorder;
pub(crate) mod recording;
mod rehearsal;
mod remaining;
mod rename;
pub(crate) mod scratch;
mod script;
mod unqualified_names;
mod with_commits;

use sea_orm::{ConnectionTrait, DbErr, EntityTrait};
use sea_orm_migration::MigratorTraitSelf;
use tenantry_registry::{SchemaName, audit::Entry, tenant};

pub(crate) use dependents::ensure_no_dependents;
pub use dependents::{dependents, lock_tables};
pub use drop::{count_relations, drop_relations_batch, drop_schema};
pub use recording::Rehearsal;
pub use rehearsal::{rehearse, rehearse_in};
pub use remaining::{announce_provisioning, apply_remaining, check_deferred};
pub(crate) use rename::rename_in_search_paths;
pub use rename::rename_schema;
pub(crate) use script::{join_statements, migrations_table_sql};
pub(crate) use unqualified_names::ensure_qualified_names;
pub(crate) use with_commits::BEING_CREATED;
pub use with_commits::{
    apply_remaining_with_commits, create_schema_with_commits, remove_unfinished,
};

use crate::{
    DbErrorKind, DynMigrator, Error, Target,
    lock::PROVISIONING,
    plan::{Step, all_up},
    proxy::InTransaction,
    run::schema_guard::SchemaGuard,
    search_path::{restore_search_path, set_search_path},
    shared::ensure_not_shared,
    sql::query::{execute, execute_batch},
};
use recorder::SqlRecorder;
use recording::CapturedMigration;

/// Limit for one attempt to lock a table that exists once. Later statements on it wait meanwhile.
pub(crate) const LIMIT_LOCK: &str = "SET LOCAL lock_timeout = '200ms'";

/// Ends [`LIMIT_LOCK`] for what follows in the transaction.
const RESET_LOCK_LIMIT: &str = "SET LOCAL lock_timeout TO DEFAULT";

/// How long an insertion waits for another transaction that is writing the same slug. A creation
/// takes less.
pub const SLUG_LOCK_TIMEOUT: &str = "2s";

/// Inserts the registry row of a tenant or a spare whose schema is created in the same transaction,
/// and its audit entry, if there is to be one. Until the transaction ends, a fleet run waits for it
/// before it looks for tenants to migrate.
///
/// # Errors
/// The errors of the database.
pub async fn insert_tenant(
    txn: &impl ConnectionTrait,
    row: &tenant::Model,
    entry: Option<Entry>,
) -> Result<(), DbErr> {
    // One statement: the lock is taken before the row is inserted, and only the insertion has a limit.
    let mut values = vec![
        row.id.into(),
        row.slug.clone().into(),
        row.schema.clone().into(),
        row.status.as_str().into(),
        row.schema_version.clone().into(),
        row.migrations.clone().into(),
        row.breaking.clone().into(),
        row.metadata.clone().into(),
        row.inserted_at.into(),
        row.updated_at.into(),
        PROVISIONING.into(),
    ];
    let sql = format!(
        "INSERT INTO registry.tenants (id, slug, schema, status, schema_version, migrations,
             breaking, metadata, inserted_at, updated_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
         FROM (SELECT set_config('lock_timeout', '{SLUG_LOCK_TIMEOUT}', true)
             FROM pg_advisory_xact_lock_shared(hashtextextended($11, 0))) AS locked"
    );
    // Null is the default.
    let inserted = "(SELECT set_config('lock_timeout', NULL, true) FROM inserted) AS unlimited";
    let after = match entry {
        Some(entry) => {
            let insert = Entry::insert_from(inserted, values.len() + 1);
            values.extend(entry.values());
            insert
        }
        None => format!("SELECT FROM {inserted}"),
    };
    execute(txn, format!("WITH inserted AS ({sql} RETURNING 1) {after}"), values).await
}

/// Deletes the row of [`insert_tenant`] and drops the schema, for a creation that failed after a
/// migration had committed both.
///
/// # Errors
/// [`Error::Database`].
pub async fn delete_tenant(txn: &impl ConnectionTrait, row: &tenant::Model) -> Result<(), Error> {
    tenant::Entity::delete_by_id(row.id).exec(txn).await?;
    drop_schema(txn, &row.schema).await
}

/// Creates the schema of one tenant by running all migrations, in the caller's transaction. The
/// caller inserts the registry row ([`insert_tenant`]), with [`DynMigrator::latest`] as its version.
///
/// If the migrations [are recorded](DynMigrator::record), this takes one round trip, plus a few for
/// each migration that cannot be recorded. Otherwise the migrations run one by one.
///
/// # Errors
/// [`Error::SchemaExists`] if there is a schema of this name, [`Error::SharedSchema`], [`Error::Migration`] if a migration
/// fails. The transaction is aborted then. A foreign key to a table that exists once waits for its
/// lock for 200 milliseconds ([`DbErrorKind::LockTimeout`]). If the kind is [`DbErrorKind::NeedsCommit`], use
/// [`create_schema_with_commits`].
pub async fn create_schema(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    ensure_not_shared(&Target::Schema(schema.clone()), migrator)?;
    if migrator.shared().is_none() {
        return create(txn, schema, migrator).await;
    }
    execute_batch(txn, LIMIT_LOCK).await?;
    create(txn, schema, migrator).await?;
    Ok(execute_batch(txn, RESET_LOCK_LIMIT).await?)
}

async fn create(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    if let Some(recording) = migrator.recording().await {
        match recording.execute(txn, schema, migrator).await {
            Ok(()) => return Ok(()),
            Err(ended @ Error::TransactionEnded { .. }) => return Err(ended),
            // The caller tries again.
            Err(error) if error.db_error_kind() == Some(DbErrorKind::LockTimeout) => {
                return Err(error);
            }
            // The next attempt reports it.
            Err(error) if error.db_error_kind() == Some(DbErrorKind::DuplicateSchema) => {}
            Err(error) => {
                tracing::warn!(%schema, %error, "recorded migrations failed; running them one by one");
            }
        }
    }
    // One by one, so that the error names the migration that fails.
    map_duplicate_schema(execute_batch(txn, &create_schema_sql(schema)).await, schema)?;
    let target = Target::Schema(schema.clone());
    let before = set_search_path(txn, &target, migrator).await?;
    run_all(txn, &target, migrator, all_up(migrator), None).await?;
    Ok(restore_search_path(txn, &before).await?)
}

/// Runs these steps in a new schema, which is first in `search_path`, and adds the statements that
/// they send to `captured`.
pub(crate) async fn run_all<'a>(
    txn: &impl ConnectionTrait,
    target: &'a Target,
    migrator: &DynMigrator,
    steps: Vec<Step>,
    mut captured: Option<&mut Vec<CapturedMigration>>,
) -> Result<SchemaGuard<'a>, Error> {
    let guard = SchemaGuard::begin(txn, target, migrator).await?;
    migrator.install(txn).await?;
    for step in &steps {
        let Some(captured) = captured.as_deref_mut() else {
            step.run_in(txn, &guard, migrator).await?;
            continue;
        };
        let inner =
            InTransaction::new(txn, target, step.is_transactional()).one_by_one(guard.citus);
        let mut recorder = SqlRecorder::new(txn, inner, step, migrator);
        step.run_on(&mut recorder, txn, &guard, migrator).await?;
        let migration = recorder.end(captured.last());
        captured.push(migration);
    }
    ensure_qualified_names(txn, target, &steps).await?;
    Ok(guard)
}

/// Turns the error of `CREATE SCHEMA` or `ALTER SCHEMA` for a name that is in use into
/// [`Error::SchemaExists`].
pub(crate) fn map_duplicate_schema(
    result: Result<(), DbErr>,
    schema: &SchemaName,
) -> Result<(), Error> {
    result.map_err(|error| match DbErrorKind::of(&error) {
        DbErrorKind::DuplicateSchema => Error::SchemaExists { schema: schema.clone() },
        _ => error.into(),
    })
}

/// Not combined with other statements: an extension may react to it (Citus assigns the schema to a
/// node).
pub(crate) fn create_schema_sql(schema: &SchemaName) -> String {
    format!("CREATE SCHEMA {}", schema.quoted())
}
