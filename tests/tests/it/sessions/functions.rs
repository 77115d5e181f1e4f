//! The list of functions that do not change the session.

use std::collections::HashMap;

use sea_orm::ConnectionTrait;

use super::{Shared, postgres};
use crate::support::{database::server, statement_log::Mark};

/// Volatile functions that do not change the session.
const HARMLESS: [&str; 30] = [
    // From PostgreSQL 16 on.
    "array_sample",
    "array_shuffle",
    "bernoulli",
    "clock_timestamp",
    "current_query",
    "gen_random_uuid",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_cancel_backend",
    "pg_blocking_pids",
    "pg_database_size",
    "pg_indexes_size",
    "pg_is_in_recovery",
    "pg_notify",
    "pg_relation_size",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_table_size",
    "pg_terminate_backend",
    "pg_total_relation_size",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
    "random",
    "random_normal",
    // Of TABLESAMPLE.
    "system",
    // Before PostgreSQL 15.
    "timezone",
    "txid_status",
    "uuidv4",
    "uuidv7",
];

/// A call of any other volatile function replaces the connection.
#[tokio::test]
async fn no_function_that_may_change_the_session_is_listed_as_harmless() {
    let it = Shared::new().await;
    let all = "SELECT DISTINCT proname::text FROM pg_proc WHERE provolatile = 'v' \
               AND pronamespace = 'pg_catalog'::regnamespace ORDER BY 1";
    let rows = it.plain.query_all_raw(postgres(all)).await.unwrap();
    let names = rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap());
    let names: Vec<_> = names.filter(|name| !HARMLESS.contains(&name.as_str())).collect();
    assert!(names.len() > 100, "{names:?}");
    let log = Mark::now(server());
    for name in &names {
        // No function takes such arguments, so none is called.
        let call = format!("SELECT {name}(NULL::box, NULL::xml, NULL::line, NULL::money)");
        it.one.execute_unprepared(&call).await.unwrap_err();
    }
    // The last one may still be cleaned up.
    it.two.execute_unprepared("SELECT 1").await.unwrap();

    let mut sessions: HashMap<_, Vec<_>> = HashMap::new();
    for (session, sql) in log.statements(it.db.name()) {
        sessions.entry(session).or_default().push(sql);
    }
    let mut seen = 0;
    for statements in sessions.values() {
        for (index, call) in statements.iter().enumerate().filter(|(_, sql)| sql.contains("::box"))
        {
            seen += 1;
            let next = statements.get(index + 1);
            let is_clean = next.is_none_or(|sql| sql.starts_with("RESET SESSION AUTHORIZATION"));
            assert!(is_clean, "after {call} came {next:?}");
        }
    }
    assert_eq!(seen, names.len());
}
