//! Privileges on objects that exist.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};

use crate::sql::query::{column, execute_batch, rows, scalar};

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
pub(super) fn wanted(role: &str) -> String {
    let all = GRANTED.iter().flat_map(|(class, _, privileges)| {
        privileges.iter().map(move |privilege| {
            serde_json::json!({ "class": class, "role": role, "privilege": privilege })
        })
    });
    serde_json::Value::from_iter(all).to_string()
}

/// The schemas $1.
const OF_SCHEMAS: &str = "
WITH n AS MATERIALIZED (
    SELECT oid, nspname, nspacl, nspowner FROM pg_catalog.pg_namespace
    WHERE nspname IN (SELECT json_array_elements_text($1::text::json))
)";

/// The schemas of tenants, unless the current role may do everything.
const OF_TENANTS: &str = "
WITH tenant AS MATERIALIZED (
    SELECT slug, schema FROM registry.tenants WHERE status NOT IN ('dropping', 'dropped')
), n AS MATERIALIZED (
    SELECT oid, nspname, nspacl, nspowner FROM pg_catalog.pg_namespace
    WHERE nspname IN (SELECT schema FROM tenant)
    AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
)";

/// The objects of the schemas, and the privileges $2 that roles should have. Types of arrays and rows
/// have no privileges of their own.
const OBJECTS: &str = "
, object AS (
    SELECT oid AS schema, oid, 'n' AS class, nspacl AS acl, nspowner AS owner, NULL AS name FROM n
    UNION ALL
    SELECT n.oid, c.oid, CASE relkind WHEN 'S' THEN 'S' ELSE 'r' END, relacl, relowner, NULL
    FROM n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT n.oid, p.oid, 'f', proacl, proowner, NULL
    FROM n JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid
    UNION ALL
    SELECT n.oid, t.oid, 'T', typacl, typowner, format('%I.%I', nspname, typname)
    FROM n JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid
    WHERE typtype IN ('b', 'c', 'd', 'e', 'r')
    AND NOT (typcategory = 'A' AND typelem <> 0)
    AND (typrelid = 0 OR EXISTS (SELECT FROM pg_catalog.pg_class c
        WHERE c.oid = typrelid AND c.relkind = 'c'))
), wanted AS (
    SELECT DISTINCT class, role, privilege FROM json_to_recordset($2::text::json)
        w (class text, role text, privilege text)
)";

/// The privileges that are missing.
const MISSING: &str = "
, missing AS (
    SELECT DISTINCT o.schema, w.class, w.role, o.name
    FROM object o JOIN wanted w ON w.class = o.class
    LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.role
    WHERE r.oid IS DISTINCT FROM o.owner
    AND NOT EXISTS (SELECT FROM aclexplode(o.acl) a
        WHERE a.grantee = r.oid AND a.privilege_type = w.privilege)
)";

/// What the current role may not do, also as a member of another role.
const DENIED: &str = "
, missing AS MATERIALIZED (
    SELECT DISTINCT o.schema, w.class, w.role, o.name
    FROM object o JOIN wanted w ON w.class = o.class
    WHERE NOT CASE o.class
        WHEN 'n' THEN has_schema_privilege(o.oid, w.privilege)
        WHEN 'r' THEN has_table_privilege(o.oid, w.privilege)
        WHEN 'S' THEN has_sequence_privilege(o.oid, w.privilege)
        WHEN 'f' THEN has_function_privilege(o.oid, w.privilege)
        ELSE has_type_privilege(o.oid, w.privilege) END
)";

/// The changes that give what is missing.
const GRANT: &str = "
, granted AS (
    SELECT class, role, string_agg(privilege, ', ' ORDER BY privilege) AS privileges
    FROM wanted GROUP BY class, role
), change AS (
    SELECT 'GRANT' AS verb, schema, class, role, name, privileges, 'TO' AS preposition
    FROM missing JOIN granted USING (class, role)
)";

/// The changes that take other privileges from the roles of $2.
const REVOKE: &str = "
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

/// A statement for each group of changes. The object types of `ALL … IN SCHEMA` are those of the
/// classes; types have no such form.
const STATEMENT: &str = "
SELECT format('%s %s ON %s %s %I', verb, privileges, CASE class
        WHEN 'n' THEN format('SCHEMA %I', nspname)
        WHEN 'r' THEN format('ALL TABLES IN SCHEMA %I', nspname)
        WHEN 'S' THEN format('ALL SEQUENCES IN SCHEMA %I', nspname)
        WHEN 'f' THEN format('ALL ROUTINES IN SCHEMA %I', nspname)
        ELSE 'TYPE ' || string_agg(name, ', ' ORDER BY name) END, preposition, role) AS sql";

const STATEMENTS: &str = "
FROM change JOIN n ON n.oid = schema
GROUP BY nspname, class, role, verb, privileges, preposition
ORDER BY nspname, array_position(ARRAY['n', 'r', 'S', 'f', 'T'], class), role, privileges";

/// The same with their tenants, for at most $1 schemas.
const STATEMENTS_OF_TENANTS: &str = ", slug AS tenant, tenant.schema, role
FROM change JOIN n ON n.oid = change.schema JOIN tenant ON tenant.schema = nspname
WHERE change.schema IN (SELECT schema FROM missing GROUP BY schema ORDER BY schema LIMIT $1)
GROUP BY slug, tenant.schema, nspname, class, role, verb, privileges, preposition
ORDER BY tenant.schema, array_position(ARRAY['n', 'r', 'S', 'f', 'T'], class)";

/// Privileges that the current role lacks in the schema of a tenant or a spare.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct MissingGrant {
    /// Slug of the tenant; none for a spare.
    pub tenant: Option<String>,
    /// Schema.
    pub schema: String,
    /// The role.
    pub role: String,
    /// The statement that grants them.
    pub sql: String,
}

/// Privileges of the application's role that the current role lacks in the schemas of tenants, in at
/// most `limit` of them.
///
/// # Errors
/// The errors of the database.
pub async fn missing_grants(
    db: &impl ConnectionTrait,
    limit: u64,
) -> Result<Vec<MissingGrant>, DbErr> {
    let role: Option<String> = scalar(db, "SELECT current_user::text", []).await?;
    let wanted = wanted(role.as_deref().unwrap_or_default());
    let sql = [OF_TENANTS, OBJECTS, DENIED, GRANT, STATEMENT, STATEMENTS_OF_TENANTS].concat();
    let found = rows(db, sql, [limit.cast_signed().into(), wanted.into()]).await?;
    found.iter().map(|row| MissingGrant::from_query_result(row, "")).collect()
}

/// The statements for the privileges `wanted` that are missing in schemas.
pub(super) async fn missing(
    db: &impl ConnectionTrait,
    schemas: &[String],
    wanted: &str,
) -> Result<Vec<String>, DbErr> {
    statements(db, &[MISSING, GRANT].concat(), (schemas, wanted)).await
}

/// The statements that take all other privileges in schemas from the roles of `wanted`.
pub(super) async fn excess(
    db: &impl ConnectionTrait,
    schemas: &[String],
    wanted: &str,
) -> Result<Vec<String>, DbErr> {
    statements(db, REVOKE, (schemas, wanted)).await
}

async fn statements(
    db: &impl ConnectionTrait,
    change: &str,
    (schemas, wanted): (&[String], &str),
) -> Result<Vec<String>, DbErr> {
    let schemas = serde_json::Value::from(schemas).to_string();
    let sql = [OF_SCHEMAS, OBJECTS, change, STATEMENT, STATEMENTS].concat();
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
