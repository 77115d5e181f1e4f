//! The catalog query for the structure of schemas.
//!
//! One statement describes many schemas. It sets `search_path` to each in turn, so PostgreSQL omits
//! the schema's name from types, expressions and definitions. It could not be removed from the text
//! afterwards: `guards.id` may be a table of schema `guards`, or a column of table `guards`.

mod options;
mod privileges;
mod relations;
mod routines;
mod table_objects;

use sea_orm::{ConnectionTrait, DbErr};

use super::structure::{CatalogEntry, Structure};
use crate::sql::query::{execute, rows};

/// `pg_namespace.oid`
pub(super) type Oid = i64;

/// SHA-256 of the entries of each schema, in hexadecimal. See [`describe`].
pub(super) async fn hashes(
    txn: &impl ConnectionTrait,
    schemas: &[Oid],
) -> Result<Vec<(Oid, String)>, DbErr> {
    let hash = "encode(sha256(convert_to(
        coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\"), ''), 'UTF8')), 'hex')";
    describe(txn, schemas, hash).await
}

/// The entries of each schema. See [`describe`].
pub(super) async fn structures(
    txn: &impl ConnectionTrait,
    schemas: &[Oid],
) -> Result<Vec<(Oid, Structure)>, DbErr> {
    let all = "'[' || coalesce(string_agg(line, ','), '') || ']'";
    let described = describe(txn, schemas, all).await?;
    described.into_iter().map(|(oid, json)| Ok((oid, read(&json)?))).collect()
}

/// Describes these schemas. Changes `search_path` until the transaction or savepoint ends, so the
/// caller must run no other statement in it.
async fn describe(
    txn: &impl ConnectionTrait,
    schemas: &[Oid],
    aggregate: &str,
) -> Result<Vec<(Oid, String)>, DbErr> {
    // The plan must consist of index scans that start at the schema. JIT costs more than it saves for
    // small schemas. Memoize would return definitions for another search_path.
    let settings = "SELECT set_config(name, 'off', true)
        FROM unnest(ARRAY['enable_seqscan', 'enable_memoize', 'jit']) name";
    execute(txn, settings, []).await?;
    let list = serde_json::Value::from(schemas).to_string();
    let described = rows(txn, statement(aggregate), [list.into()]).await?;
    described.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

/// Each entry is a JSON array: kind, name, parent, definition.
fn read(json: &str) -> Result<Structure, DbErr> {
    let lines: Vec<(String, String, Option<String>, String)> =
        serde_json::from_str(json).map_err(|error| DbErr::Json(error.to_string()))?;
    Ok(lines
        .into_iter()
        .map(|(kind, name, parent, definition)| CatalogEntry { kind, name, parent, definition })
        .collect())
}

/// `CASE` guarantees that `search_path` is set before the entries are computed.
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
