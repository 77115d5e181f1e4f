//! Catalog queries about names in a statement.

use sea_orm::{DatabaseTransaction, DbErr};

use crate::sql::query::column;

/// The pairs `a.b` that are objects in another schema `a`. PostgreSQL's own schemas, and those of
/// extensions, which are in the path, are the same for every tenant.
pub(super) async fn in_other_schemas(
    txn: &DatabaseTransaction,
    pairs: &[(String, String)],
) -> Result<Vec<String>, DbErr> {
    let sql = "SELECT DISTINCT nspname || '.' || (pair ->> 1)
               FROM json_array_elements($1::text::json) pair
               JOIN pg_namespace n ON nspname = pair ->> 0
               WHERE nspname NOT IN ('pg_catalog', 'information_schema')
               AND (nspname = current_schema() OR nspname <> ALL (current_schemas(false))) AND (
                   EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = pair ->> 1)
                OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid AND proname = pair ->> 1)
                OR EXISTS (SELECT FROM pg_type WHERE typnamespace = n.oid AND typname = pair ->> 1)
               ) ORDER BY 1";
    texts(txn, sql, serde_json::json!(pairs)).await
}

/// The functions that are volatile.
pub(super) async fn volatile(
    txn: &DatabaseTransaction,
    functions: &[String],
) -> Result<Vec<String>, DbErr> {
    let sql = "SELECT DISTINCT proname::text FROM pg_proc
               WHERE proname IN (SELECT json_array_elements_text($1::text::json))
                 AND pronamespace IN ('pg_catalog'::regnamespace, quote_ident(current_schema())::regnamespace)
                 AND provolatile = 'v' AND prokind = 'f' ORDER BY 1";
    texts(txn, sql, serde_json::json!(functions)).await
}

async fn texts(
    txn: &DatabaseTransaction,
    sql: &str,
    names: serde_json::Value,
) -> Result<Vec<String>, DbErr> {
    match names.as_array() {
        Some(array) if !array.is_empty() => column(txn, sql, [names.to_string().into()]).await,
        _ => Ok(Vec::new()),
    }
}
