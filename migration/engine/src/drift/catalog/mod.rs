//! The questions to PostgreSQL's catalog whose answers are the structure of a schema.
//!
//! One statement asks for many schemas. It sets `search_path` to each in turn before it describes
//! what is in it, so PostgreSQL itself leaves the name of the schema out of every type, expression
//! and definition. Text could not be cleaned of it afterwards: `guards.id` names the schema of
//! tenant `guards` in one place and a column of its table in another.

mod options;
mod privileges;
mod relations;
mod routines;
mod table_objects;

use sea_orm::{ConnectionTrait, DbErr};

use super::{
    sql::{rows, setting},
    structure::{CatalogEntry, Structure},
};

/// The number of a schema in `pg_namespace`.
pub(super) type Oid = i64;

/// SHA-256 over the lines of each of these schemas, in hexadecimal digits. See [`describe`].
pub(super) async fn hashes(
    txn: &impl ConnectionTrait,
    schemas: &[Oid],
) -> Result<Vec<(Oid, String)>, DbErr> {
    let hash = "encode(sha256(convert_to(
        coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\"), ''), 'UTF8')), 'hex')";
    describe(txn, schemas, hash).await
}

/// The lines of each of these schemas. See [`describe`].
pub(super) async fn structures(
    txn: &impl ConnectionTrait,
    schemas: &[Oid],
) -> Result<Vec<(Oid, Structure)>, DbErr> {
    let all = "'[' || coalesce(string_agg(line, ','), '') || ']'";
    let described = describe(txn, schemas, all).await?;
    described.into_iter().map(|(oid, json)| Ok((oid, read(&json)?))).collect()
}

/// Describes these schemas. Afterwards `search_path` points to any of them until the transaction
/// (or the savepoint) ends: nothing else may be asked in it.
async fn describe(
    txn: &impl ConnectionTrait,
    schemas: &[Oid],
    aggregate: &str,
) -> Result<Vec<(Oid, String)>, DbErr> {
    // The plan must be index scans from the schema outwards. A schema is small, so compiling the
    // statement costs more than it saves, and nothing may be remembered from one schema to the
    // next: what was described under another search_path reads differently.
    setting(txn, "enable_seqscan", "off").await?;
    setting(txn, "enable_memoize", "off").await?;
    setting(txn, "jit", "off").await?;
    let list = serde_json::Value::from(schemas).to_string();
    let described = rows(txn, &statement(aggregate), [list.into()]).await?;
    described.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

/// Each line is a JSON array: kind, name, parent, definition.
fn read(json: &str) -> Result<Structure, DbErr> {
    let lines: Vec<(String, String, Option<String>, String)> =
        serde_json::from_str(json).map_err(|error| DbErr::Json(error.to_string()))?;
    Ok(lines
        .into_iter()
        .map(|(kind, name, parent, definition)| CatalogEntry { kind, name, parent, definition })
        .collect())
}

/// `CASE` keeps the order: the lines are put together after `search_path` is set.
fn statement(aggregate: &str) -> String {
    let found = [relations::CTES, routines::CTES, privileges::CTES].join(",");
    let lines = [
        &relations::relations(),
        &relations::columns(),
        &table_objects::constraints(),
        &table_objects::indexes(),
        table_objects::MISC_OBJECTS,
        routines::ROUTINES,
        routines::TYPES,
        routines::MISC_OBJECTS,
        privileges::GRANTS,
        privileges::DEFAULTS,
    ]
    .join("\nUNION ALL");
    format!(
        "SELECT n.oid::bigint, CASE
    WHEN set_config('search_path', quote_ident(n.nspname) || ', pg_catalog', true) <> '' THEN (
WITH member AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend
    WHERE refclassid = 'pg_namespace'::regclass AND refobjid = n.oid
),{found}
SELECT {aggregate}
FROM (SELECT json_build_array(kind, name, parent, definition)::text FROM ({lines}
) described (kind, name, parent, definition)) written (line)
    ) END
FROM json_array_elements_text($1::json) number
JOIN pg_namespace n ON n.oid = number::oid"
    )
}
