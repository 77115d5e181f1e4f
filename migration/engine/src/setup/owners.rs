//! Objects that do not belong to the owner's role.

use sea_orm::{ConnectionTrait, DbErr};

use super::{SetupError, database::Roles};
use crate::sql::query::rows;

/// An object of another role.
pub(super) struct ForeignObject {
    /// As PostgreSQL describes it.
    label: String,
    owner: String,
    /// The statement that gives it to the owner.
    pub(super) alter: String,
}

/// Further catalogs of objects in schemas, with the prefix of their columns.
const CATALOGS: [(&str, &str); 9] = [
    ("pg_proc", "pro"),
    ("pg_collation", "coll"),
    ("pg_conversion", "con"),
    ("pg_operator", "opr"),
    ("pg_opfamily", "opf"),
    ("pg_opclass", "opc"),
    ("pg_statistic_ext", "stx"),
    ("pg_ts_dict", "dict"),
    ("pg_ts_config", "cfg"),
];

/// The schemas $1 and their objects that belong to another role than $2, and the database if it
/// belongs to $3, the application's. Indexes, row types and sequences of columns follow their tables.
const OTHERS: &str = "
WITH n AS MATERIALIZED (
    SELECT oid, nspname, nspowner FROM pg_catalog.pg_namespace
    WHERE nspname IN (SELECT json_array_elements_text($1::text::json))
), object (class, id, owner, place) AS (
    SELECT 'pg_namespace'::regclass, oid, nspowner, 0 FROM n
    UNION ALL
    SELECT 'pg_class'::regclass, c.oid, relowner, 1
    FROM n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND relkind = 'S'
        AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'))
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid, typowner, 2
    FROM n JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid
    WHERE typtype IN ('b', 'c', 'd', 'e', 'r') AND NOT (typcategory = 'A' AND typelem <> 0)
    AND (typrelid = 0 OR EXISTS (SELECT FROM pg_catalog.pg_class c
        WHERE c.oid = typrelid AND c.relkind = 'c'))
    {others}
)
SELECT format('database %I', datname), pg_get_userbyid(datdba)::text,
    format('ALTER DATABASE %I OWNER TO %I', datname, $2::text), -1 AS place, 0::bigint AS id
FROM pg_catalog.pg_database
WHERE datname = current_database() AND pg_get_userbyid(datdba) = $3::text
UNION ALL
SELECT concat_ws(' ', it.type, it.identity), pg_get_userbyid(owner)::text,
    format('ALTER %s %s OWNER TO %I', CASE it.type WHEN 'statistics object' THEN 'STATISTICS'
        WHEN 'composite type' THEN 'TYPE' WHEN 'aggregate' THEN 'ROUTINE' ELSE upper(it.type) END, it.identity, $2::text),
    place, id::bigint
FROM object CROSS JOIN LATERAL pg_identify_object(class, id, 0) it
WHERE pg_get_userbyid(owner) <> $2::text
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = class AND d.objid = id AND d.deptype = 'e')
ORDER BY place, id";

/// The objects of schemas that belong to another role than the owner.
pub(super) async fn others(
    db: &impl ConnectionTrait,
    roles: &Roles,
    schemas: &[String],
) -> Result<Vec<ForeignObject>, DbErr> {
    let schemas = serde_json::Value::from(schemas).to_string();
    let [owner, application] = roles.values();
    let others = CATALOGS.map(|(catalog, prefix)| {
        format!(
            "UNION ALL SELECT '{catalog}'::regclass, it.oid, {prefix}owner, 3
             FROM n JOIN pg_catalog.{catalog} it ON {prefix}namespace = n.oid"
        )
    });
    let sql = OTHERS.replace("{others}", &others.join("\n"));
    let found = rows(db, sql, [schemas.into(), owner, application]).await?;
    let read = |row: &sea_orm::QueryResult| {
        Ok(ForeignObject {
            label: row.try_get_by_index(0)?,
            owner: row.try_get_by_index(1)?,
            alter: row.try_get_by_index(2)?,
        })
    };
    found.iter().map(read).collect()
}

/// The error if they may not be changed.
pub(super) fn refusal(roles: &Roles, foreign: &[ForeignObject]) -> SetupError {
    let mut owners: Vec<String> = foreign.iter().map(|it| format!("{:?}", it.owner)).collect();
    owners.sort();
    owners.dedup();
    SetupError::OtherOwner {
        owner: roles.owner().to_string(),
        number: foreign.len(),
        owners,
        example: foreign.first().map(|it| it.label.clone()).unwrap_or_default(),
    }
}
