//! Sending statements, and sorting the errors that the answers may be.

use sea_orm::{ConnectionTrait, DbErr};

use crate::DbErrorKind;
pub(super) use crate::sql::query::rows;

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
    DbErrorKind::sqlstate(error).is_some_and(|code| {
        matches!(code.as_str(), "XX000" | "42P01" | "42704" | "3F000" | "55P03" | "40P01")
    })
}
