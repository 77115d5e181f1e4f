pub(crate) mod bare_names;
pub(crate) mod dependents;
pub(crate) mod drop;
pub(crate) mod recorder;
pub(crate) mod recording;
pub(crate) mod rename;
pub(crate) mod scratch;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, EntityTrait, Statement};
use sea_orm_migration::MigratorTraitSelf;
use tenantry_registry::{SchemaName, tenant};

use crate::{
    DbErrorKind, DynMigrator, Error, MigrationState, Target, drop_schema, enter, leave,
    lock::{PROVISIONING, record_version},
    plan::{Step, all_up},
    provision::bare_names::refuse_bare_names,
    provision::recorder::{CapturedMigration, Recorder},
    proxy::InTransaction,
    search_path::SchemaGuard,
};

/// Makes the schema of one tenant in the caller's transaction, as [`create_schema`] does, and
/// records the version in the tenant's registry row (if it has one).
///
/// Nothing is visible to anybody before the caller commits, and nothing is left if it does not.
///
/// # Errors
/// [`Error::SchemaExists`] when there is a schema of this name, [`Error::Migration`] when a
/// migration fails. The caller's transaction is aborted then and can only be rolled back.
pub async fn provision(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    // A fleet run that looks who is behind waits until this tenant is there or is not.
    let provisioning = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))",
        [PROVISIONING.into()],
    );
    txn.execute_raw(provisioning).await?;
    create_schema(txn, schema, migrator).await?;
    let target = Target::Schema(schema.clone());
    let state = MigrationState { applied: migrator.names(), pending: Vec::new() };
    record_version(txn, &target, &state, migrator).await
}

/// Writes the registry row of a tenant or a spare whose schema is about to be made in the caller's
/// transaction. From then on until it ends, a fleet run that looks who is behind waits for it.
///
/// # Errors
/// The errors of the database.
pub async fn register(txn: &impl ConnectionTrait, row: &tenant::Model) -> Result<(), DbErr> {
    // The lock is had before the row is there, in the same round trip.
    let insert = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "INSERT INTO registry.tenants (id, slug, schema, status, schema_version, migrations,
             breaking, metadata, inserted_at, updated_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
         FROM pg_advisory_xact_lock_shared(hashtextextended($11, 0))",
        [
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
        ],
    );
    txn.execute_raw(insert).await?;
    Ok(())
}

/// Undoes [`register`] and drops the schema, where a migration has committed both although the tenant
/// was not made.
///
/// # Errors
/// [`Error::Database`].
pub async fn unregister(txn: &impl ConnectionTrait, row: &tenant::Model) -> Result<(), Error> {
    tenant::Entity::delete_by_id(row.id).exec(txn).await?;
    drop_schema(txn, &row.schema).await
}

/// Makes the schema of one tenant with everything that the migrations make, and leaves the
/// registry to the caller: see [`register`]; the version is [`DynMigrator::latest`] then.
///
/// When the migrations [are recorded](DynMigrator::record), this takes one round trip, however many
/// there are, and a few more for each that cannot be recorded. Otherwise they run one by one.
///
/// # Errors
/// As for [`provision`]. Where the error's fault is [`DbErrorKind::NeedsCommit`],
/// [`create_schema_with_commits`](crate::create_schema_with_commits) makes the schema.
pub async fn create_schema(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    if create_schema_batched(txn, schema, migrator).await? {
        return Ok(());
    }
    // Run one by one, the migration that fails is known by its name.
    map_duplicate_schema(execute_batch(txn, &create_schema_sql(schema)).await, schema)?;
    let target = Target::Schema(schema.clone());
    let before = enter(txn, &target, migrator).await?;
    run_all(txn, &target, migrator, all_up(migrator), None).await?;
    leave(txn, &before).await
}

/// [`create_schema`] by the recorded migrations. Whether it was made; if not, because there is no
/// recording or it does not fit, the transaction is as it was before, and the log says why.
///
/// # Errors
/// [`Error::TransactionEnded`].
pub async fn create_schema_batched(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
    migrator: &DynMigrator,
) -> Result<bool, Error> {
    let Some(recording) = migrator.recording().await else { return Ok(false) };
    match recording.send(txn, schema, migrator).await {
        Ok(()) => return Ok(true),
        Err(ended @ Error::TransactionEnded { .. }) => return Err(ended),
        // That there is a schema of this name is nothing strange, and told by the next try.
        Err(error) if error.db_error_kind() == Some(DbErrorKind::DuplicateSchema) => {}
        Err(error) => {
            tracing::warn!(%schema, %error, "the recorded migrations failed; they are run one by one");
        }
    }
    Ok(false)
}

/// Runs these steps in a new schema, in whose scope the caller's transaction is, and adds what they
/// send to `tracks`.
pub(crate) async fn run_all<'a>(
    txn: &impl ConnectionTrait,
    target: &'a Target,
    migrator: &DynMigrator,
    steps: impl IntoIterator<Item = Step>,
    mut tracks: Option<&mut Vec<CapturedMigration>>,
) -> Result<SchemaGuard<'a>, Error> {
    let watch = SchemaGuard::begin(txn, target, migrator).await?;
    migrator.install(txn).await?;
    let steps: Vec<Step> = steps.into_iter().collect();
    for step in &steps {
        let Some(tracks) = tracks.as_deref_mut() else {
            step.run_in(txn, &watch, migrator).await?;
            continue;
        };
        let inner = InTransaction::new(txn, target, step.alone());
        let mut recorder = Recorder::new(txn, inner, step, migrator);
        step.run_on(&mut recorder, txn, &watch, migrator).await?;
        let track = recorder.end(tracks.last());
        tracks.push(track);
    }
    refuse_bare_names(txn, target, &steps).await?;
    Ok(watch)
}

pub(crate) fn map_duplicate_schema(
    result: Result<(), DbErr>,
    schema: &SchemaName,
) -> Result<(), Error> {
    result.map_err(|error| match DbErrorKind::of(&error) {
        DbErrorKind::DuplicateSchema => Error::SchemaExists { schema: schema.clone() },
        _ => error.into(),
    })
}

/// A statement of its own: an extension may react to it (Citus places the schema on a node).
pub(crate) fn create_schema_sql(schema: &SchemaName) -> String {
    format!("CREATE SCHEMA {}", schema.quoted())
}

/// Sends statements that can have no parameters, as one message.
#[expect(
    clippy::disallowed_methods,
    reason = "identifiers come from a SchemaName or were quoted by PostgreSQL, values by SeaORM"
)]
pub(crate) async fn execute_batch(db: &impl ConnectionTrait, sql: &str) -> Result<(), DbErr> {
    db.execute_unprepared(sql).await?;
    Ok(())
}
