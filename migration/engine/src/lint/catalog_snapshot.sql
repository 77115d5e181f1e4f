-- Everything that a statement may have changed, as one JSON document. $1 is the schema, $2 the
-- second schema of the same check, $3 the schema of the tables that exist once, or ''.
WITH here AS (
    SELECT oid FROM pg_namespace WHERE nspname = $1
),
relation AS (
    SELECT c.* FROM pg_class c JOIN here ON c.relnamespace = here.oid
),
-- Objects that have dependencies: relations, defaults, constraints, triggers, rules (a view is a
-- rule) and functions.
dependent (classid, objid) AS (
    SELECT 'pg_class'::regclass, oid FROM relation
    UNION ALL SELECT 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d JOIN relation r ON adrelid = r.oid
    UNION ALL SELECT 'pg_constraint'::regclass, k.oid FROM pg_constraint k JOIN here ON connamespace = here.oid
    UNION ALL SELECT 'pg_trigger'::regclass, g.oid FROM pg_trigger g JOIN relation r ON tgrelid = r.oid
    UNION ALL SELECT 'pg_rewrite'::regclass, w.oid FROM pg_rewrite w JOIN relation r ON ev_class = r.oid
    UNION ALL SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p JOIN here ON pronamespace = here.oid
),
-- Relations, functions and types of other schemas, except PostgreSQL's own and those of extensions.
foreign_schema AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname NOT IN ($1, $2, 'information_schema') AND nspname !~ '^pg_'
),
outsider (classid, objid) AS (
    SELECT 'pg_class'::regclass, c.oid FROM pg_class c JOIN foreign_schema n ON relnamespace = n.oid
    UNION ALL SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p JOIN foreign_schema n ON pronamespace = n.oid
    UNION ALL SELECT 'pg_type'::regclass, t.oid FROM pg_type t JOIN foreign_schema n ON typnamespace = n.oid
),
-- Foreign keys to tables that exist once.
shared_key AS (
    SELECT k.oid, k.conname, conrelid, n.nspname || '.' || c.relname AS "to"
    FROM pg_constraint k JOIN here ON connamespace = here.oid
    JOIN pg_class c ON c.oid = confrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE contype = 'f' AND n.nspname = $3
),
line (name, value) AS (
    SELECT 'relations', json_build_object(
        'oid', r.oid::bigint,
        'name', relname,
        'kind', relkind,
        'table', i.indrelid::bigint,
        'relfilenode', coalesce(pg_relation_filenode(r.oid), 0)::bigint,
        'seq_scans', pg_stat_get_xact_numscans(r.oid),
        'partition', relispartition,
        'has_primary_key', EXISTS (SELECT FROM pg_index k WHERE k.indrelid = r.oid AND k.indisprimary),
        'inherits', relkind = 'r' AND NOT relispartition
            AND EXISTS (SELECT FROM pg_inherits WHERE inhrelid = r.oid))
    FROM relation r LEFT JOIN pg_index i ON i.indexrelid = r.oid
    WHERE relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'i', 'I')
    UNION ALL
    SELECT 'columns', json_build_object(
        'table', attrelid::bigint,
        'number', attnum,
        'name', attname,
        'type_name', format_type(atttypid, atttypmod),
        'not_null', attnotnull,
        'has_default', atthasdef OR attidentity <> '',
        'generated', attgenerated <> '')
    FROM pg_attribute JOIN relation r ON attrelid = r.oid
    WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'f')
    UNION ALL
    SELECT 'constraints', json_build_object(
        'oid', k.oid::bigint,
        'table', conrelid::bigint,
        'name', conname,
        'kind', contype,
        'validated', convalidated,
        'deferrable', condeferrable,
        'index', conindid::bigint,
        'columns', conkey)
    FROM pg_constraint k JOIN relation r ON conrelid = r.oid
    WHERE contype IN ('c', 'f', 'n', 'p', 'u', 'x') AND conparentid = 0
    UNION ALL
    SELECT 'triggers', to_json(tgname || ' on ' || relname)
    FROM pg_trigger JOIN relation r ON tgrelid = r.oid WHERE NOT tgisinternal
    UNION ALL
    SELECT 'types', to_json(typname)
    FROM pg_type JOIN here ON typnamespace = here.oid LEFT JOIN pg_class c ON c.oid = typrelid
    WHERE typtype IN ('e', 'd', 'r') OR typtype = 'c' AND relkind = 'c'
    UNION ALL
    SELECT 'external_dependencies', to_json(pg_describe_object(d.classid, d.objid, d.objsubid)
        || ' depends on ' || pg_describe_object(d.refclassid, d.refobjid, 0))
    FROM pg_depend d
    JOIN dependent USING (classid, objid)
    JOIN outsider o ON o.classid = d.refclassid AND o.objid = d.refobjid
    -- The type of an array belongs to that of its elements, and with it to an extension.
    WHERE (d.classid, d.objid) NOT IN (SELECT 'pg_constraint'::regclass, oid FROM shared_key)
    AND NOT EXISTS (
        SELECT FROM pg_depend e
        WHERE e.classid = d.refclassid AND e.deptype = 'e' AND e.objid IN (
            SELECT d.refobjid UNION ALL SELECT i.refobjid FROM pg_depend i
            WHERE i.classid = d.refclassid AND i.objid = d.refobjid AND i.deptype = 'i'))
    UNION ALL
    SELECT 'shared_keys', json_build_object(
        'name', conname, 'table', relname, 'to', "to")
    FROM shared_key JOIN relation r ON r.oid = conrelid
    UNION ALL
    -- A table that was read or written is locked until the transaction ends.
    SELECT 'external_relations', to_json(nspname || '.' || relname)
    FROM pg_locks l
    JOIN pg_class c ON c.oid = l.relation
    JOIN foreign_schema n ON n.oid = relnamespace
    WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend e
          WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT json_build_object(
    'search_path', current_setting('search_path'),
    'track_counts', current_setting('track_counts')::boolean,
    'relations', coalesce(json_agg(value) FILTER (WHERE name = 'relations'), '[]'),
    'columns', coalesce(json_agg(value) FILTER (WHERE name = 'columns'), '[]'),
    'constraints', coalesce(json_agg(value) FILTER (WHERE name = 'constraints'), '[]'),
    'triggers', coalesce(json_agg(value) FILTER (WHERE name = 'triggers'), '[]'),
    'types', coalesce(json_agg(value) FILTER (WHERE name = 'types'), '[]'),
    'external_dependencies', coalesce(json_agg(value) FILTER (WHERE name = 'external_dependencies'), '[]'),
    'shared_keys', coalesce(json_agg(value) FILTER (WHERE name = 'shared_keys'), '[]'),
    'external_relations', coalesce(json_agg(value) FILTER (WHERE name = 'external_relations'), '[]')
)::text
FROM line
