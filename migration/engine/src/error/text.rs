//! Texts of errors.

use sea_orm::DbErr;

use crate::{DbErrorKind, LockHolder, connect::explain};

pub(super) fn waited(holders: &[LockHolder]) -> String {
    let names = holders.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    format!("it waited for {names}; end that transaction, or allow more time for it")
}

pub(super) fn rights(role: &str, owners: Option<&str>) -> String {
    match owners {
        Some(owners) => format!(
            "the migration runs as the role {role}, and the schema and its objects belong to \
             {owners}; connect as the owner, or GRANT the owner's role to {role}"
        ),
        None => format!("the migration runs as the role {role}; grant it the right"),
    }
}

/// What becomes of a schema whose migration fails outside a transaction.
pub(super) const KEPT: &str =
    "where the statements before it stay done, as it runs outside a transaction";

pub(super) const TRANSACTION_ENDED: &str = "ended the transaction that it was part of: what came before is committed and cannot be rolled \
     back; remove what ends the transaction from it, and compare the schema with what it should be";

/// How many of the objects outside are named.
const NAMED: usize = 5;

pub(super) fn outside_reason(objects: &[String], rolled_back: bool) -> String {
    let mut names = objects[..objects.len().min(NAMED)].join(", ");
    if objects.len() > NAMED {
        names.push_str(&format!(" and {} more", objects.len() - NAMED));
    }
    let made = match rolled_back {
        true => format!("made {names} outside the schema, and was rolled back"),
        false => format!(
            "ran outside a transaction while {names} came to be outside the schema: what it did \
             stays done and is not on record, so remove that"
        ),
    };
    format!(
        "{made}; the migration runs for every tenant, \
         so leave the schema's name and search_path out of it and make what exists once elsewhere \
         (an extension is declared by extensions()), or acknowledge it with \
         /* check: allow outside-schema because REASON */"
    )
}

pub(super) fn bare_names(function: &str, names: &[String], callers: &[String]) -> String {
    format!(
        "made function {function}, whose body names {} without a schema and which {} calls: the \
         statements of a tenant run without the schema in search_path, so the body finds no table, \
         or that of another schema; write it as BEGIN ATOMIC … END, or add SET search_path FROM \
         CURRENT to the function, or build its statements with TG_TABLE_SCHEMA, or acknowledge it \
         with /* check: allow function-search-path because REASON */ (nothing was made)",
        names.join(", "),
        callers.join(", ")
    )
}

pub(super) fn control_reason(statement: &str) -> String {
    format!(
        "sends {statement}, which would begin or end the transaction that also records it; remove \
         the statement, or call SchemaManager::begin in a migration whose use_transaction() is \
         Some(false) (it was not sent)"
    )
}

/// What went wrong, in one line without the prefixes of SeaORM and sqlx: the server's message with
/// its SQLSTATE, or why there is no connection and what to do about it.
#[must_use]
pub fn describe(error: &DbErr) -> String {
    match (error, DbErrorKind::sqlstate(error)) {
        (DbErr::Conn(_) | DbErr::ConnectionAcquire(_), _) => {
            format!("no connection to the database: {}", explain(error))
        }
        (_, Some(code)) => format!("{} (SQLSTATE {code})", message(error)),
        (_, None) => message(error),
    }
}

/// The message of the database without SeaORM's and sqlx's prefixes.
pub(super) fn message(error: &DbErr) -> String {
    match error {
        DbErr::Exec(sea_orm::RuntimeErr::SqlxError(error))
        | DbErr::Query(sea_orm::RuntimeErr::SqlxError(error)) => match error.as_database_error() {
            Some(error) => error.message().to_owned(),
            None => error.to_string(),
        },
        DbErr::Conn(_) => explain(error),
        DbErr::Custom(text) | DbErr::Migration(text) => text.clone(),
        other => other.to_string(),
    }
}
