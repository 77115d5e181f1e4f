//! Session state: settings by which the server notices that a program is gone, and the reset after
//! migrations.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};

use crate::sql::query::execute_batch;

/// Limit for the time between two statements of a migration, unless the server has a limit: a
/// program that is stopped or unreachable must not block tenants. A migration that needs longer
/// sets `idle_in_transaction_session_timeout` itself, with `SET LOCAL`.
const IDLE: &str = "10s";

/// An SQL expression that makes the server detect within one second that its client has closed the
/// connection, and within half a minute that the client is unreachable, and cancel the running
/// statement. Applies until the transaction ends (`local`), or for the session.
///
/// Does nothing unless the server runs on Linux: other systems may refuse these settings (PostgreSQL
/// manual, `client_connection_check_interval`, `tcp_user_timeout`).
#[must_use]
pub fn notice_lost_client(local: bool) -> String {
    let settings = [
        ("client_connection_check_interval", "1s"),
        ("tcp_keepalives_idle", "15"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "30s"),
    ];
    let set = settings.map(|(name, value)| format!("set_config('{name}', '{value}', {local})"));
    format!("CASE WHEN version() LIKE '%linux%' THEN concat({}) END", set.join(", "))
}

/// An SQL expression that limits how long the transaction may be idle.
pub(crate) fn limit_idle_time_sql() -> String {
    let name = "idle_in_transaction_session_timeout";
    format!(
        "set_config('{name}', coalesce(nullif(current_setting('{name}'), '0'), '{IDLE}'), true)"
    )
}

/// Limits how long the transaction stays open after the program has died or was stopped.
pub(crate) async fn limit_idle_time(txn: &DatabaseTransaction) -> Result<(), DbErr> {
    let sql = format!("SELECT {}, {}", limit_idle_time_sql(), notice_lost_client(true));
    execute_batch(txn, &sql).await
}

/// Removes cursors, temporary tables and statements that were prepared by SQL.
pub(crate) const DISCARD_SQL: &str = "\
CLOSE ALL; DISCARD TEMP;
DO $forget$
DECLARE prepared text;
BEGIN
    FOR prepared IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP
        EXECUTE 'DEALLOCATE ' || quote_ident(prepared);
    END LOOP;
END
$forget$";

/// Resets a session like `DISCARD ALL`, so that changes of one tenant's migrations do not affect the
/// next tenant. Can run in a transaction, and keeps the statements that the driver has prepared.
/// Also resets settings that are local to the transaction.
pub(crate) fn reset_sql() -> String {
    format!(
        "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; UNLISTEN *; DISCARD SEQUENCES;
SELECT pg_catalog.pg_advisory_unlock_all();
{DISCARD_SQL}"
    )
}

/// Rolls back, resets the session and begins another transaction on the same connection. A rollback
/// alone keeps session locks and prepared statements.
pub(crate) async fn start_over(txn: &impl ConnectionTrait) -> Result<(), DbErr> {
    execute_batch(txn, "ROLLBACK").await?;
    execute_batch(txn, &format!("{}; BEGIN", reset_sql())).await
}

/// Rolls back a transaction with migrations, and resets the session.
pub(crate) async fn roll_back(txn: DatabaseTransaction) -> Result<(), DbErr> {
    let reset = start_over(&txn).await;
    let rolled_back = txn.rollback().await;
    reset.and(rolled_back)
}

/// Rolls back a transaction and closes its connection.
pub(crate) async fn close(txn: DatabaseTransaction) -> Result<(), DbErr> {
    // The server closes the connection instead of answering.
    let sql = "ROLLBACK; SELECT pg_catalog.pg_terminate_backend(pg_backend_pid())";
    let _ = execute_batch(&txn, sql).await;
    txn.rollback().await
}
