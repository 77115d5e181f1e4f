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

/// The `GRANT` statements for the privileges $2 that are missing in the schemas $1. The object types
/// of `ALL … IN SCHEMA` are those of the classes; types have no such form, and those of arrays and
/// rows have no privileges of their own.
const MISSING: &str = "
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
), missing AS (
    SELECT DISTINCT o.schema, w.class, w.role, o.name
    FROM object o
    JOIN json_to_recordset($2::text::json) w (class text, role text, privilege text)
        ON w.class = o.class
    LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.role
    WHERE r.oid IS DISTINCT FROM o.owner
    AND NOT EXISTS (SELECT FROM aclexplode(o.acl) a
        WHERE a.grantee = r.oid AND a.privilege_type = w.privilege)
), granted AS (
    SELECT class, role, string_agg(privilege, ', ' ORDER BY privilege) AS privileges
    FROM (SELECT DISTINCT class, role, privilege FROM json_to_recordset($2::text::json)
        w (class text, role text, privilege text)) w
    GROUP BY class, role
)
SELECT format('GRANT %s ON %s TO %I', privileges, CASE class
        WHEN 'n' THEN format('SCHEMA %I', nspname)
        WHEN 'r' THEN format('ALL TABLES IN SCHEMA %I', nspname)
        WHEN 'S' THEN format('ALL SEQUENCES IN SCHEMA %I', nspname)
        WHEN 'f' THEN format('ALL ROUTINES IN SCHEMA %I', nspname)
        ELSE 'TYPE ' || string_agg(name, ', ' ORDER BY name) END, role)
FROM missing JOIN n ON n.oid = schema JOIN granted USING (class, role)
GROUP BY nspname, class, role, privileges
ORDER BY nspname, array_position(ARRAY['n', 'r', 'S', 'f', 'T'], class), role";

/// The statements for the privileges `wanted` that are missing in schemas.
pub(super) async fn missing(
    db: &impl ConnectionTrait,
    schemas: &[String],
    wanted: &str,
) -> Result<Vec<String>, DbErr> {
    let schemas = serde_json::Value::from(schemas).to_string();
    column(db, MISSING, [schemas.into(), wanted.into()]).await
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
