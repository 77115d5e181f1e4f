//! Privileges on objects that exist.

use sea_orm::{ConnectionTrait, DbErr};

use super::RoleName;
use crate::sql::query::{column, execute_batch, scalar};

/// What the application's role gets: the class of an object (`pg_default_acl.defaclobjtype`), its
/// name in `ALTER DEFAULT PRIVILEGES`, and the privileges.
pub(super) const GRANTED: [(&str, &str, &[&str]); 5] = [
    ("n", "SCHEMAS", &["USAGE"]),
    ("r", "TABLES", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("S", "SEQUENCES", &["USAGE", "SELECT"]),
    ("f", "FUNCTIONS", &["EXECUTE"]),
    ("T", "TYPES", &["USAGE"]),
];

/// The privileges that a role should have, as a JSON array for [`missing`].
pub(super) fn wanted(role: &RoleName) -> String {
    let all = GRANTED.iter().flat_map(|(class, _, privileges)| {
        privileges.iter().map(move |privilege| {
            serde_json::json!({ "class": class, "role": role.as_str(), "privilege": privilege })
        })
    });
    serde_json::Value::from_iter(all).to_string()
}

/// The objects of the schemas $1. Types of arrays and rows have no privileges of their own.
const OBJECTS: &str = "
WITH n AS MATERIALIZED (
    SELECT oid, nspname, nspacl, nspowner FROM pg_catalog.pg_namespace
    WHERE nspname IN (SELECT json_array_elements_text($1::text::json))
), object AS (
    SELECT oid AS schema, 'n' AS class, nspacl AS acl, nspowner AS owner, NULL AS name FROM n
    UNION ALL
    SELECT n.oid, CASE relkind WHEN 'S' THEN 'S' ELSE 'r' END, relacl, relowner, NULL
    FROM n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT n.oid, 'f', proacl, proowner, NULL
    FROM n JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid
    UNION ALL
    SELECT n.oid, 'T', typacl, typowner, format('%I.%I', nspname, typname)
    FROM n JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid
    WHERE typtype IN ('b', 'c', 'd', 'e', 'r')
    AND NOT (typcategory = 'A' AND typelem <> 0)
    AND (typrelid = 0 OR EXISTS (SELECT FROM pg_catalog.pg_class c
        WHERE c.oid = typrelid AND c.relkind = 'c'))
), wanted AS (
    SELECT DISTINCT class, role, privilege FROM json_to_recordset($2::text::json)
        w (class text, role text, privilege text)
)";

/// The privileges $2 that are missing.
const MISSING: &str = "
, missing AS (
    SELECT DISTINCT o.schema, w.class, w.role, o.name
    FROM object o JOIN wanted w ON w.class = o.class
    LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.role
    WHERE r.oid IS DISTINCT FROM o.owner
    AND NOT EXISTS (SELECT FROM aclexplode(o.acl) a
        WHERE a.grantee = r.oid AND a.privilege_type = w.privilege)
), granted AS (
    SELECT class, role, string_agg(privilege, ', ' ORDER BY privilege) AS privileges
    FROM wanted GROUP BY class, role
), change AS (
    SELECT 'GRANT' AS verb, schema, class, role, name, privileges, 'TO' AS preposition
    FROM missing JOIN granted USING (class, role)
)";

/// The privileges of the roles of $2 that are not among these.
const EXCESS: &str = "
, change AS (
    SELECT 'REVOKE' AS verb, schema, class, role, name,
        string_agg(privilege, ', ' ORDER BY privilege) AS privileges, 'FROM' AS preposition
    FROM (SELECT DISTINCT o.schema, o.class, r.rolname::text AS role, o.name,
            a.privilege_type AS privilege
        FROM object o CROSS JOIN LATERAL aclexplode(o.acl) a
        JOIN pg_catalog.pg_roles r ON r.oid = a.grantee AND r.oid <> o.owner
        WHERE r.rolname IN (SELECT role FROM wanted) AND NOT EXISTS (SELECT FROM wanted w
            WHERE w.class = o.class AND w.role = r.rolname AND w.privilege = a.privilege_type)) it
    GROUP BY schema, class, role, name
)";

/// The statements. The object types of `ALL … IN SCHEMA` are those of the classes; types have no such
/// form.
const STATEMENTS: &str = "
SELECT format('%s %s ON %s %s %I', verb, privileges, CASE class
        WHEN 'n' THEN format('SCHEMA %I', nspname)
        WHEN 'r' THEN format('ALL TABLES IN SCHEMA %I', nspname)
        WHEN 'S' THEN format('ALL SEQUENCES IN SCHEMA %I', nspname)
        WHEN 'f' THEN format('ALL ROUTINES IN SCHEMA %I', nspname)
        ELSE 'TYPE ' || string_agg(name, ', ' ORDER BY name) END, preposition, role)
FROM change JOIN n ON n.oid = schema
GROUP BY nspname, class, role, verb, privileges, preposition
ORDER BY nspname, array_position(ARRAY['n', 'r', 'S', 'f', 'T'], class), role, privileges";

/// The statements for the privileges `wanted` that are missing in schemas.
pub(super) async fn missing(
    db: &impl ConnectionTrait,
    schemas: &[String],
    wanted: &str,
) -> Result<Vec<String>, DbErr> {
    statements(db, MISSING, (schemas, wanted)).await
}

/// The statements that take all other privileges in schemas from the roles of `wanted`.
pub(super) async fn excess(
    db: &impl ConnectionTrait,
    schemas: &[String],
    wanted: &str,
) -> Result<Vec<String>, DbErr> {
    statements(db, EXCESS, (schemas, wanted)).await
}

async fn statements(
    db: &impl ConnectionTrait,
    change: &str,
    (schemas, wanted): (&[String], &str),
) -> Result<Vec<String>, DbErr> {
    let schemas = serde_json::Value::from(schemas).to_string();
    let sql = format!("{OBJECTS}{change}{STATEMENTS}");
    column(db, sql, [schemas.into(), wanted.into()]).await
}

/// Gives the privileges on the objects of a schema that they would have, had the current role created
/// them: those of its default privileges for all schemas.
pub(crate) async fn grant_defaults(txn: &impl ConnectionTrait, schema: &str) -> Result<(), DbErr> {
    let sql = "SELECT json_agg(json_build_object('class', d.defaclobjtype, 'role', r.rolname,
             'privilege', a.privilege_type))::text
         FROM pg_catalog.pg_default_acl d CROSS JOIN LATERAL aclexplode(d.defaclacl) a
         JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
         WHERE d.defaclrole = current_user::regrole AND d.defaclnamespace = 0
         AND a.grantee <> d.defaclrole";
    let Some(wanted) = scalar::<String>(txn, sql, []).await? else { return Ok(()) };
    let statements = missing(txn, &[schema.to_owned()], &wanted).await?;
    if statements.is_empty() {
        return Ok(());
    }
    execute_batch(txn, &statements.join(";\n")).await
}
