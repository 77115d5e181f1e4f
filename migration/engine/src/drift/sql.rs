//! Sending statements, and sorting the errors that the answers may be.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, QueryResult, RuntimeErr, Statement, Value, Values,
    sqlx::error::DatabaseError,
};

/// The rows that a statement returns.
pub(super) async fn rows<const N: usize>(
    db: &impl ConnectionTrait,
    sql: &str,
    values: [Value; N],
) -> Result<Vec<QueryResult>, DbErr> {
    let values = (N > 0).then(|| Values(values.to_vec()));
    let statement = Statement { sql: sql.to_owned(), values, db_backend: DbBackend::Postgres };
    db.query_all_raw(statement).await
}

/// Sets a parameter of the server until the transaction ends.
pub(super) async fn setting(
    txn: &impl ConnectionTrait,
    name: &str,
    value: &str,
) -> Result<(), DbErr> {
    rows(txn, "SELECT set_config($1, $2, true)", [name.into(), value.into()]).await?;
    Ok(())
}

/// Whether the error is one that looking at a schema runs into while somebody changes it: an
/// object that was there is gone (XX000 "cache lookup failed", 42P01, 42704, 3F000), or is locked
/// (55P03, 40P01).
pub(super) fn is_concurrent_ddl_error(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) =
        error
    else {
        return false;
    };
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| {
        matches!(code.as_ref(), "XX000" | "42P01" | "42704" | "3F000" | "55P03" | "40P01")
    })
}
