//! Whether two connections lead to one database.

use sea_orm::{ConnectionTrait, DbErr};

use super::new_mark;
use crate::sql::query::{rows, scalar};

/// Whether `other` is connected to the database of the transaction `txn`, by the advisory lock of a
/// random key: it is visible in one database of one server, whatever the addresses are.
///
/// # Errors
/// The errors of the database.
pub async fn is_same_database(
    txn: &impl ConnectionTrait,
    other: &impl ConnectionTrait,
) -> Result<bool, DbErr> {
    let key = new_mark();
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    rows(txn, lock, [key.as_str().into()]).await?;
    let free = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))";
    Ok(scalar(other, free, [key.into()]).await? == Some(false))
}
