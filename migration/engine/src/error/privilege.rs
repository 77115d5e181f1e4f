//! Details of an error with SQLSTATE 42501.

use sea_orm::ConnectionTrait;

use crate::{DbErrorKind, Error, Target, sql::query::rows};

/// Adds to an error of insufficient privilege the role that runs the migration and the owners of
/// the schema and its objects. Returns other errors unchanged.
pub(crate) async fn explain(db: &impl ConnectionTrait, target: &Target, error: Error) -> Error {
    if error.db_error_kind() != Some(DbErrorKind::InsufficientPrivilege) {
        return error;
    }
    let sql = "SELECT current_user::text, string_agg(DISTINCT pg_get_userbyid(owner), ', ')
         FROM (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = $1
             UNION ALL SELECT relowner FROM pg_catalog.pg_class
             WHERE relnamespace = to_regnamespace(quote_ident($1))
             AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')) owned (owner)";
    let rows = rows(db, sql, [target.name().into()]).await.unwrap_or_default();
    let Some((Ok(role), Ok(owners))) =
        rows.first().map(|row| (row.try_get_by_index(0), row.try_get_by_index(1)))
    else {
        return error;
    };
    Error::Privilege { error: Box::new(error), role, owners }
}
