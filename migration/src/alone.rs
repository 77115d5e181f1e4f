//! Migrations that cannot run in a transaction, such as `CREATE INDEX CONCURRENTLY`.

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, RuntimeErr,
    Statement, sqlx::postgres::PgPoolOptions,
};
use sea_orm_migration::MigratorTraitSelf;

use crate::{
    AnyMigrator, Error, Target, plan::Step, provision::ddl, run::Timeouts,
    session::notice_lost_client,
};

/// Runs one step on a connection of its own, while `claim` holds the claim on another, where it is
/// noted when it is done. An idle transaction that holds only a row lock does not keep a concurrent
/// index build waiting.
///
/// The connection is made for this schema (`search_path` is one of its start-up options, so it
/// holds without a transaction) and closed afterwards.
pub(crate) async fn run_alone(
    claim: &DatabaseTransaction,
    db: &DatabaseConnection,
    target: &Target,
    migrator: &AnyMigrator,
    step: &Step,
    timeouts: &Timeouts,
) -> Result<(), Error> {
    // The claim is idle for as long as the step takes. It locks no table of the tenant.
    ddl(claim, "SET LOCAL idle_in_transaction_session_timeout = 0").await?;
    let own = connect(db, target, timeouts).await?;
    let ran = async {
        for sql in drop_invalid_indexes(claim, target).await? {
            ddl(&own, &sql).await?;
        }
        step.act(&own).await
    };
    let result = ran.await;
    own.close().await?;
    result.map_err(|source| step.failed(target, source))?;
    migrator.install(claim).await?;
    step.note(claim, migrator).await?;
    Ok(())
}

async fn connect(
    db: &DatabaseConnection,
    target: &Target,
    timeouts: &Timeouts,
) -> Result<DatabaseConnection, DbErr> {
    let options = (*db.get_postgres_connection_pool().connect_options()).clone();
    let mut settings = vec![("search_path", target.search_path())];
    settings.extend(timeouts.settings());
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options.options(settings))
        .await
        .map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))?;
    let own: DatabaseConnection = pool.into();
    // Or the next run would meet an index that is half built, or valid and on no record.
    ddl(&own, &format!("SELECT {}", notice_lost_client(false))).await?;
    Ok(own)
}

/// A concurrent build that failed leaves an invalid index behind, which costs writes, answers
/// nothing, and stands in the way of the next try (PostgreSQL manual, CREATE INDEX). Whoever holds
/// the claim is the only one who could be building it.
async fn drop_invalid_indexes(
    claim: &DatabaseTransaction,
    target: &Target,
) -> Result<Vec<String>, DbErr> {
    let invalid = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT format('DROP INDEX CONCURRENTLY %I.%I', n.nspname, c.relname)
         FROM pg_catalog.pg_index i
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND NOT i.indisvalid",
        [target.name().into()],
    );
    let rows = claim.query_all_raw(invalid).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}
