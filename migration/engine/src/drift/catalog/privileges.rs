//! Grants, owners and default privileges.

/// Objects with owners; `label` is the key of the entry.
pub(super) const CTES: &str = "
owned AS MATERIALIZED (
    SELECT 'n'::\"char\" AS class, n.nspacl AS acl, n.nspowner AS owner, 'schema'::text AS label
    UNION ALL
    SELECT CASE relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r'::\"char\" END, relacl, relowner,
        kind || ' ' || name
    FROM rel WHERE relkind <> 'c'
    UNION ALL
    SELECT 'c'::\"char\", attacl, relowner, 'column ' || name || '.' || attname
    FROM rel JOIN pg_attribute ON attrelid = rel.oid AND attacl IS NOT NULL AND NOT attisdropped
    UNION ALL
    SELECT 'f'::\"char\", proacl, proowner, kind || ' ' || name FROM routine
    UNION ALL
    SELECT 'T'::\"char\", typacl, typowner, kind || ' ' || name FROM typ
)";

/// A line per object and role whose privileges are not those that come by themselves, and per
/// object that does not belong to the owner of the schema.
pub(super) const GRANTS: &str = "
SELECT 'grant', label || ' to '
    || CASE grantee WHEN 0 THEN 'public' WHEN owner THEN 'its owner' ELSE grantee::regrole::text END,
    nullif(label, 'schema'), coalesce(given, 'nothing')
FROM owned CROSS JOIN LATERAL (
    SELECT grantee,
        string_agg(privilege, ', ' ORDER BY privilege) FILTER (WHERE NOT usual) AS given,
        string_agg(privilege, ', ' ORDER BY privilege) FILTER (WHERE usual) AS usual
    FROM (
        SELECT DISTINCT usual, grantee, privilege_type
            || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS privilege
        FROM (SELECT false AS usual, * FROM aclexplode(acl)
            UNION ALL SELECT true, * FROM aclexplode(acldefault(class, owner))) each
    ) one GROUP BY grantee
) it
WHERE acl IS NOT NULL AND given IS DISTINCT FROM usual
UNION ALL
SELECT 'owner', label, label, owner::regrole::text
FROM owned WHERE class NOT IN ('n', 'c') AND owner <> n.nspowner";

/// A line per role and kind of object that has privileges set for objects to come.
pub(super) const DEFAULTS: &str = "
SELECT 'default privileges', format('on %s for %s to %s',
        CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences'
            WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types' ELSE defaclobjtype::text END,
        CASE defaclrole WHEN n.nspowner THEN 'its owner' ELSE defaclrole::regrole::text END,
        CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END),
    NULL, string_agg(privilege_type || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END,
        ', ' ORDER BY privilege_type)
FROM member JOIN pg_default_acl d ON d.oid = objid CROSS JOIN LATERAL aclexplode(defaclacl)
WHERE classid = 'pg_default_acl'::regclass GROUP BY 2";
