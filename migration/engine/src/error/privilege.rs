//! Whose rights are missing, where PostgreSQL only says for what.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::{DbErrorKind, Error, Target};

/// Adds to an error of missing rights which role runs the migration, and whose the schema and its
/// objects are. Any other error is returned as it is.
pub(crate) async fn explain(db: &impl ConnectionTrait, target: &Target, error: Error) -> Error {
    if error.db_error_kind() != Some(DbErrorKind::InsufficientPrivilege) {
        return error;
    }
    let sql = "SELECT current_user::text, string_agg(DISTINCT pg_get_userbyid(owner), ', ')
         FROM (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = $1
             UNION ALL SELECT relowner FROM pg_catalog.pg_class
             WHERE relnamespace = to_regnamespace(quote_ident($1))
             AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')) owned (owner)";
    let name = target.name().into();
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [name]);
    let Ok(Some(row)) = db.query_one_raw(statement).await else { return error };
    let (Ok(role), Ok(owners)) = (row.try_get_by_index(0), row.try_get_by_index(1)) else {
        return error;
    };
    Error::Privilege { error: Box::new(error), role, owners }
}
