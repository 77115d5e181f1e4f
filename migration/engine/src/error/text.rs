//! Messages of errors.

use sea_orm::DbErr;
use tenantry_registry::PLACEHOLDER;

use crate::{DbErrorKind, LockHolder, connect::explain, db_error::driver_error};

pub(super) fn waited(holders: &[LockHolder]) -> String {
    let names = holders.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    format!("It waited for {names}. End that transaction, or allow more time")
}

pub(super) fn rights(role: &str, owners: Option<&str>) -> String {
    match owners {
        Some(owners) => format!(
            "The migration runs as the role {role}; the schema and its objects belong to {owners}. \
             Connect as the owner, or GRANT the owner's role to {role}"
        ),
        None => format!("The migration runs as the role {role}. Grant it the privilege"),
    }
}

/// State of a schema after a non-transactional migration has failed.
pub(super) const NOT_ROLLED_BACK: &str =
    "not rolled back, because it runs outside a transaction: earlier statements stay done";

pub(super) const TRANSACTION_ENDED: &str = "ended its transaction: its changes up to then are committed and cannot be rolled back. Remove \
     the statement that ends the transaction from it, and compare the schema with the migrations";

/// Joins up to ten of these objects to one text, with the number of the others.
#[must_use]
pub fn name_dependents(dependents: &[String]) -> String {
    join_some(dependents, 10)
}

fn join_some(names: &[String], max: usize) -> String {
    let joined = names[..names.len().min(max)].join(", ");
    match names.len().saturating_sub(max) {
        0 => joined,
        more => format!("{joined} and {more} more"),
    }
}

pub(super) fn outside_reason(objects: &[String], rolled_back: bool) -> String {
    let names = join_some(objects, 5);
    let created = match rolled_back {
        true => format!("created {names} outside the schema, and was rolled back"),
        false => format!(
            "ran outside a transaction while {names} was created outside the schema. It is not \
             rolled back and not recorded, so drop those objects"
        ),
    };
    format!(
        "{created}. The migration runs for each tenant: remove the schema's name and search_path \
         from it, and create objects that exist once elsewhere (declare extensions in \
         extensions()), or allow it with /* check: allow outside-schema because REASON */"
    )
}

pub(super) fn unqualified_names(function: &str, names: &[String], callers: &[String]) -> String {
    format!(
        "created function {function}, whose body uses {} without a schema and which {} calls. A \
         tenant's statements run without the schema in search_path, so the function would not find \
         the table, or use one of another schema. Write it as BEGIN ATOMIC … END, add SET \
         search_path FROM CURRENT to it, build its statements with TG_TABLE_SCHEMA, or allow it \
         with /* check: allow function-search-path because REASON */. Nothing was created",
        names.join(", "),
        callers.join(", ")
    )
}

pub(super) fn control_reason(statement: &str) -> String {
    format!(
        "contains {statement}, which would begin or end the transaction of the run, so it was not \
         sent. Remove the statement, or call SchemaManager::begin in a migration whose \
         use_transaction() is Some(false)"
    )
}

/// Describes an error in one line, without the prefixes of SeaORM and sqlx: the server's message and
/// SQLSTATE, or why connecting failed and what to do.
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

/// What to do if a name with the placeholder has reached PostgreSQL from a migration.
pub(super) fn placeholder_hint(error: &DbErr) -> &'static str {
    match message(error).contains(PLACEHOLDER) {
        true => {
            ". The placeholder is not replaced in a string or in the body of a function: write the \
             name without a schema there"
        }
        false => "",
    }
}

/// The message of the database, without the prefixes of SeaORM and sqlx.
pub(super) fn message(error: &DbErr) -> String {
    match error {
        DbErr::Conn(_) => explain(error),
        DbErr::Custom(message) | DbErr::Migration(message) => message.clone(),
        error => match driver_error(error) {
            Some(driver) => match driver.as_database_error() {
                Some(error) => error.message().to_owned(),
                None => driver.to_string(),
            },
            None => error.to_string(),
        },
    }
}
