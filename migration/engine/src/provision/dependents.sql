WITH RECURSIVE
-- Everything that DROP SCHEMA … CASCADE drops: what depends on something that goes, and the object
-- that such a part belongs to (the view of a rule). Of a column that goes, only what depends on it.
gone (classid, objid, objsubid) AS (
    SELECT 'pg_catalog.pg_namespace'::regclass::oid, n.oid, 0
    FROM pg_catalog.pg_namespace n WHERE n.nspname = $1
    UNION
    SELECT next.* FROM gone g CROSS JOIN LATERAL (
        SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d
        WHERE d.refclassid = g.classid AND d.refobjid = g.objid
        AND (g.objsubid = 0 OR d.refobjsubid = g.objsubid)
        UNION ALL
        SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d
        WHERE d.classid = g.classid AND d.objid = g.objid AND d.objsubid = g.objsubid
        AND d.deptype IN ('i', 'e')
    ) next
),
placed AS (
    SELECT g.*, CASE
        WHEN g.classid = 'pg_catalog.pg_namespace'::regclass
            THEN (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid = g.objid)
        -- A cast from or to one of the schema's types belongs to the schema.
        WHEN g.classid = 'pg_catalog.pg_cast'::regclass
            THEN (SELECT $1 FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_type t
                      ON t.oid IN (c.castsource, c.casttarget)
                  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
                  WHERE c.oid = g.objid AND n.nspname = $1 LIMIT 1)
        WHEN part.relid IS NOT NULL
            THEN (SELECT n.nspname FROM pg_catalog.pg_class c
                  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = part.relid)
        WHEN g.classid = 'pg_catalog.pg_constraint'::regclass
            THEN (SELECT n.nspname FROM pg_catalog.pg_constraint c
                  JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace WHERE c.oid = g.objid)
        ELSE (SELECT CASE i.schema WHEN quote_ident($1) THEN $1 ELSE i.schema END
              FROM pg_catalog.pg_identify_object(g.classid, g.objid, g.objsubid) i)
        END AS schema
    FROM gone g CROSS JOIN LATERAL (SELECT CASE g.classid
        WHEN 'pg_catalog.pg_class'::regclass THEN g.objid
        WHEN 'pg_catalog.pg_rewrite'::regclass
            THEN (SELECT r.ev_class FROM pg_catalog.pg_rewrite r WHERE r.oid = g.objid)
        WHEN 'pg_catalog.pg_attrdef'::regclass
            THEN (SELECT a.adrelid FROM pg_catalog.pg_attrdef a WHERE a.oid = g.objid)
        WHEN 'pg_catalog.pg_trigger'::regclass
            THEN (SELECT t.tgrelid FROM pg_catalog.pg_trigger t WHERE t.oid = g.objid)
        WHEN 'pg_catalog.pg_policy'::regclass
            THEN (SELECT p.polrelid FROM pg_catalog.pg_policy p WHERE p.oid = g.objid)
        WHEN 'pg_catalog.pg_constraint'::regclass
            THEN (SELECT nullif(c.conrelid, 0) FROM pg_catalog.pg_constraint c WHERE c.oid = g.objid)
        END AS relid) part
),
outside AS MATERIALIZED (SELECT * FROM placed WHERE schema IS DISTINCT FROM $1)
-- Without the parts of what is named already, and what has no schema and is a part of something
-- inside (the membership of a table in a publication).
SELECT DISTINCT pg_catalog.pg_describe_object(o.classid, o.objid, o.objsubid)
FROM outside o
-- Counted, as PostgreSQL would make a join of NOT EXISTS, over everything that is dropped.
WHERE 0 = (
    SELECT count(*) FROM pg_catalog.pg_depend d
    WHERE d.classid = o.classid AND d.objid = o.objid AND d.objsubid = o.objsubid
    AND CASE WHEN d.deptype IN ('i', 'e', 'P', 'S') OR d.deptype = 'a' AND o.schema IS NULL
            THEN (d.refclassid, d.refobjid) IN (SELECT g.classid, g.objid FROM gone g)
        WHEN d.deptype = 'a'
            THEN (d.refclassid, d.refobjid, d.refobjsubid) IN
                    (SELECT p.classid, p.objid, p.objsubid FROM outside p)
                OR (d.refclassid, d.refobjid, 0) IN
                    (SELECT p.classid, p.objid, p.objsubid FROM outside p)
        END
)
-- A column of a table that is dropped as a whole.
AND (o.objsubid = 0 OR (o.classid, o.objid, 0) NOT IN
    (SELECT g.classid, g.objid, g.objsubid FROM gone g))
ORDER BY 1
