//! The state of a session: settings by which the server notices that a program is gone, and what
//! migrations leave behind.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};

use crate::provision::execute_batch;

/// How long a transaction of a migration may wait for its next statement, unless the server has a
/// limit of its own: a program that is paused or unreachable must not lock tenants out. A migration
/// that computes for longer between two statements sets it for itself (`SET LOCAL
/// idle_in_transaction_session_timeout`).
pub(crate) const IDLE: &str = "10s";

/// An SQL expression that makes the server notice within a second that its client has closed the
/// connection, and within half a minute that the client is unreachable, and give up what it does
/// for it. Until the transaction ends, or for the session.
///
/// Nothing where the server does not run on Linux, as it may refuse these settings there
/// (PostgreSQL manual, `client_connection_check_interval`, `tcp_user_timeout`).
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

/// An SQL expression that bounds how long the transaction may be idle.
pub(crate) fn bound_idle_time() -> String {
    let name = "idle_in_transaction_session_timeout";
    format!(
        "set_config('{name}', coalesce(nullif(current_setting('{name}'), '0'), '{IDLE}'), true)"
    )
}

/// Removes the objects of a session that a migration has made and a transaction does not need:
/// cursors, temporary tables, statements that were prepared by SQL.
pub(crate) const FORGET: &str = "\
CLOSE ALL; DISCARD TEMP;
DO $forget$
DECLARE prepared text;
BEGIN
    FOR prepared IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP
        EXECUTE 'DEALLOCATE ' || quote_ident(prepared);
    END LOOP;
END
$forget$";

/// Makes a session what it was when it was opened, whatever migrations have changed in it, so that
/// the next tenant does not see it: the same as `DISCARD ALL`, but it can be part of a transaction
/// and keeps the statements that the driver has prepared. What is set until the end of the
/// transaction is gone, too.
pub(crate) fn reset() -> String {
    format!(
        "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; UNLISTEN *; DISCARD SEQUENCES;
SELECT pg_catalog.pg_advisory_unlock_all();
{FORGET}"
    )
}

/// Rolls back what was done in a transaction with migrations so far, and begins another on the same
/// connection. A rollback alone keeps session locks and prepared statements.
pub(crate) async fn start_over(txn: &impl ConnectionTrait) -> Result<(), DbErr> {
    execute_batch(txn, "ROLLBACK").await?;
    execute_batch(txn, &format!("{}; BEGIN", reset())).await
}

/// Rolls back a transaction with migrations, and all that they left in the session.
pub(crate) async fn roll_back(txn: DatabaseTransaction) -> Result<(), DbErr> {
    let reset = start_over(&txn).await;
    let rolled_back = txn.rollback().await;
    reset.and(rolled_back)
}

/// Ends the connection of a transaction, which is rolled back.
pub(crate) async fn close(txn: DatabaseTransaction) -> Result<(), DbErr> {
    // The server ends the connection instead of an answer.
    let _ =
        execute_batch(&txn, "ROLLBACK; SELECT pg_catalog.pg_terminate_backend(pg_backend_pid())")
            .await;
    txn.rollback().await
}
