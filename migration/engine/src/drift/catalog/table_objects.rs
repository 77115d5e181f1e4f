//! Constraints, indexes, triggers, rules, policies and statistics of tables.

use super::options;

/// An entry per constraint of a table, except NOT NULL, which is in the column's entry (without its
/// name: that of a server that was upgraded from version 17 may be another), and the
/// additional foreign keys to the partitions of a partitioned table.
pub(super) fn constraints() -> String {
    let exclusion = options::without_hidden("pg_get_constraintdef(k.oid, true)");
    let hidden = options::hidden();
    format!(
        "
SELECT 'constraint', name || '.' || conname, kind || ' ' || name, concat_ws(' ',
    CASE contype WHEN 'x' THEN
        (SELECT {exclusion} FROM pg_class c CROSS JOIN {hidden} WHERE c.oid = conindid)
        ELSE pg_get_constraintdef(k.oid, true) END,
    CASE WHEN contype = 'f' AND EXISTS (SELECT FROM pg_trigger
        WHERE tgconstraint = k.oid AND tgenabled <> 'O') THEN 'TRIGGERS DISABLED' END)
FROM rel JOIN pg_constraint k ON conrelid = rel.oid
WHERE contype NOT IN ('n', 't')
AND NOT EXISTS (SELECT FROM pg_constraint p
    WHERE k.contype = 'f' AND p.oid = k.conparentid AND p.conrelid = k.conrelid)"
    )
}

/// A line per index. The index of a constraint comes and goes with it.
pub(super) fn indexes() -> String {
    let definition = options::without_hidden("pg_get_indexdef(indexrelid, 0, true)");
    let hidden = options::hidden();
    format!(
        "
SELECT 'index', c.relname::text,
    coalesce(
        (SELECT 'constraint ' || name || '.' || conname FROM pg_constraint
            WHERE conrelid = indrelid AND conindid = indexrelid AND contype IN ('p', 'u', 'x')),
        kind || ' ' || name),
    concat_ws(' ',
    CASE WHEN indisunique THEN 'UNIQUE' END,
    substr({definition}, length(
        CASE WHEN indisunique THEN 'CREATE UNIQUE INDEX ' ELSE 'CREATE INDEX ' END
        || quote_ident(c.relname) || ' ') + 1),
    (SELECT 'TABLESPACE ' || spcname FROM pg_tablespace s WHERE s.oid = c.reltablespace),
    (SELECT 'STATISTICS ' || string_agg(attnum || ' ' || attstattarget, ', ' ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = c.oid AND coalesce(attstattarget, -1) <> -1),
    CASE WHEN indisclustered THEN 'CLUSTERED' END,
    CASE WHEN indisreplident THEN 'REPLICA IDENTITY' END,
    CASE WHEN NOT indisvalid THEN 'INVALID' END,
    CASE WHEN NOT indisready THEN 'NOT READY' END)
FROM rel JOIN pg_index ON indrelid = rel.oid JOIN pg_class c ON c.oid = indexrelid
CROSS JOIN {hidden}"
    )
}

/// A line per trigger, rule, policy and extended statistics.
pub(super) const MISC_OBJECTS: &str = "
SELECT 'trigger', name || '.' || tgname, kind || ' ' || name, concat_ws(' ',
    substr(def, strpos(def, ' ' || quote_ident(tgname) || ' ')
        + length(quote_ident(tgname)) + 2),
    CASE tgenabled WHEN 'D' THEN 'DISABLED' WHEN 'R' THEN 'REPLICA' WHEN 'A' THEN 'ALWAYS' END)
FROM rel JOIN pg_trigger t ON tgrelid = rel.oid AND NOT tgisinternal
CROSS JOIN LATERAL pg_get_triggerdef(t.oid, true) def
UNION ALL
SELECT 'rule', name || '.' || rulename, kind || ' ' || name, concat_ws(' ',
    substr(def, strpos(def, ' ' || quote_ident(rulename) || ' ')
        + length(quote_ident(rulename)) + 2),
    CASE ev_enabled WHEN 'D' THEN 'DISABLED' WHEN 'R' THEN 'REPLICA' WHEN 'A' THEN 'ALWAYS' END)
FROM rel JOIN pg_rewrite r ON ev_class = rel.oid AND rulename <> '_RETURN'
CROSS JOIN LATERAL pg_get_ruledef(r.oid, true) def
UNION ALL
SELECT 'policy', name || '.' || polname, kind || ' ' || name, concat_ws(' ',
    CASE WHEN NOT polpermissive THEN 'restrictive' END,
    'for ' || CASE polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update'
        WHEN 'd' THEN 'delete' ELSE 'all' END,
    'to ' || (SELECT string_agg(name, ', ' ORDER BY name) FROM unnest(polroles) role,
        LATERAL (SELECT CASE role WHEN 0 THEN 'public' ELSE role::regrole::text END) it (name)),
    'using (' || pg_get_expr(polqual, polrelid) || ')',
    'with check (' || pg_get_expr(polwithcheck, polrelid) || ')')
FROM rel JOIN pg_policy ON polrelid = rel.oid
UNION ALL
SELECT 'statistics', stxname::text, 'table ' || t.relname,
    concat_ws(' ', substr(pg_get_statisticsobjdef(s.oid),
        length(format('CREATE STATISTICS %I.%I ', n.nspname, stxname)) + 1),
    CASE WHEN coalesce(stxstattarget, -1) <> -1 THEN 'statistics ' || stxstattarget END)
FROM member JOIN pg_statistic_ext s ON s.oid = objid JOIN pg_class t ON t.oid = stxrelid
WHERE classid = 'pg_statistic_ext'::regclass";
