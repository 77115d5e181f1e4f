-- Functions of schema $1 whose bodies are parsed when they are called, and the objects that call
-- them.
WITH here AS (
    SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1
), body AS (
    SELECT p.oid, p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS function,
        p.prosrc
    FROM pg_catalog.pg_proc p
    JOIN here ON p.pronamespace = here.oid
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL
    AND NOT EXISTS (SELECT FROM unnest(p.proconfig) setting WHERE setting LIKE 'search_path=%')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
), caller AS (
    -- Triggers, defaults, policies, indexes, constraints and rules (a view is a rule).
    SELECT DISTINCT d.refobjid AS oid, pg_describe_object(d.classid, d.objid, d.objsubid) AS what
    FROM pg_catalog.pg_depend d
    WHERE d.refclassid = 'pg_catalog.pg_proc'::regclass AND d.refobjid IN (SELECT oid FROM body)
    AND d.classid <> 'pg_catalog.pg_proc'::regclass
)
SELECT json_build_object(
    'relations', (SELECT coalesce(json_agg(c.relname), '[]') FROM pg_catalog.pg_class c
        JOIN here ON c.relnamespace = here.oid WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')),
    'functions', (SELECT coalesce(json_agg(DISTINCT p.proname), '[]') FROM pg_catalog.pg_proc p
        JOIN here ON p.pronamespace = here.oid),
    'types', (SELECT coalesce(json_agg(t.typname), '[]') FROM pg_catalog.pg_type t
        JOIN here ON t.typnamespace = here.oid LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
        WHERE t.typtype IN ('e', 'd', 'r', 'm') OR t.typtype = 'c' AND c.relkind = 'c'),
    'bodies', (SELECT coalesce(json_agg(json_build_object(
            'function', b.function,
            'source', b.prosrc,
            'callers', (SELECT coalesce(json_agg(what ORDER BY what), '[]') FROM caller
                WHERE caller.oid = b.oid)) ORDER BY b.function), '[]') FROM body b)
)::text
