//! Functions, types and rarely used objects.

/// The functions and types of a schema; `kind` and `name` are those of the entries.
pub(super) const CTES: &str = "
routine AS MATERIALIZED (
    SELECT p.*, format('%s(%s)', proname, pg_get_function_identity_arguments(p.oid)) AS name,
        CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate'
            WHEN 'w' THEN 'window function' ELSE 'function' END AS kind
    FROM member JOIN pg_proc p ON p.oid = objid WHERE classid = 'pg_proc'::regclass
), typ AS MATERIALIZED (
    SELECT t.*, typname::text AS name, 'type'::text AS kind
    FROM member JOIN pg_type t ON t.oid = objid WHERE classid = 'pg_type'::regclass
    -- The type of an array says nothing that the type of its elements does not.
    AND NOT (typcategory = 'A' AND typelem <> 0)
)";

/// An entry per function, procedure and aggregate.
pub(super) const ROUTINES: &str = "
SELECT kind, name, NULL, concat_ws(' ',
    '(' || pg_get_function_arguments(routine.oid) || ')',
    'returns ' || pg_get_function_result(routine.oid),
    (SELECT 'language ' || lanname FROM pg_language l WHERE l.oid = prolang),
    CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' END,
    CASE WHEN proisstrict THEN 'strict' END,
    CASE WHEN prosecdef THEN 'security definer' END,
    CASE WHEN proleakproof THEN 'leakproof' END,
    CASE proparallel WHEN 's' THEN 'parallel safe' WHEN 'r' THEN 'parallel restricted' END,
    'cost ' || procost,
    'rows ' || nullif(prorows, 0),
    -- The schema's own name in a search_path is replaced: it belongs to no structure.
    'set ' || (SELECT string_agg(CASE WHEN setting LIKE 'search_path=%' THEN 'search_path=' || (
            SELECT string_agg(CASE WHEN btrim(part, ' \"') = n.nspname THEN '(own schema)'
                ELSE btrim(part, ' \"') END, ', ' ORDER BY place)
            FROM unnest(string_to_array(
                -- A quoted name may contain a comma.
                replace(substr(setting, 13), '\"' || replace(n.nspname, '\"', '\"\"') || '\"', '(own schema)'),
                ',')) WITH ORDINALITY p (part, place))
        ELSE setting END, ', ' ORDER BY setting) FROM unnest(proconfig) setting),
    CASE WHEN prosupport <> 0 THEN 'support ' || prosupport END,
    (SELECT concat_ws(', ', aggkind, aggnumdirectargs, aggtransfn, aggfinalfn, aggcombinefn,
            aggserialfn, aggdeserialfn, aggmtransfn, aggminvtransfn, aggmfinalfn, aggfinalextra,
            aggmfinalextra, aggfinalmodify, aggmfinalmodify, aggsortop::regoper,
            format_type(aggtranstype, NULL), format_type(nullif(aggmtranstype, 0), NULL),
            'initially ' || agginitval, 'initially ' || aggminitval)
        FROM pg_aggregate WHERE aggfnoid = routine.oid),
    CASE WHEN prokind <> 'a'
        THEN 'as ' || coalesce(pg_get_function_sqlbody(routine.oid), prosrc) END,
    probin)
FROM routine";

/// An entry per type, except row types of tables, and per constraint of a domain.
pub(super) const TYPES: &str = "
SELECT kind, name, NULL, CASE typtype
    WHEN 'e' THEN (SELECT 'enum (' || string_agg(quote_literal(enumlabel), ', '
        ORDER BY enumsortorder) || ')' FROM pg_enum WHERE enumtypid = typ.oid)
    WHEN 'd' THEN concat_ws(' ', 'domain over', format_type(typbasetype, typtypmod),
        CASE WHEN typcollation NOT IN (0,
            (SELECT b.typcollation FROM pg_type b WHERE b.oid = typ.typbasetype))
            THEN 'collate ' || typcollation::regcollation END,
        CASE WHEN typnotnull THEN 'not null' END,
        'default ' || pg_get_expr(typdefaultbin, 0))
    WHEN 'r' THEN (SELECT concat_ws(' ', 'range of', format_type(rngsubtype, NULL),
        'collate ' || nullif(rngcollation, 0)::regcollation,
        (SELECT opcname FROM pg_opclass o WHERE o.oid = rngsubopc),
        nullif(rngcanonical, 0)::regproc, nullif(rngsubdiff, 0)::regproc)
        FROM pg_range WHERE rngtypid = typ.oid)
    WHEN 'm' THEN 'multirange' WHEN 'b' THEN concat_ws(', ', 'base', typlen, typbyval, typalign,
        typstorage, typinput, typoutput) ELSE 'shell' END
FROM typ WHERE typtype <> 'c'
UNION ALL
SELECT 'constraint', name || '.' || conname, kind || ' ' || name, pg_get_constraintdef(k.oid, true)
FROM typ JOIN pg_constraint k ON contypid = typ.oid AND contypid <> 0
WHERE contype <> 'n'";

/// An entry without a definition per operator, collation, text search configuration and so on.
pub(super) const MISC_OBJECTS: &str = "
SELECT it.type, CASE WHEN it.schema IS NULL THEN it.identity
    ELSE substr(it.identity, length(quote_ident(n.nspname)) + 2) END, NULL, ''
FROM member CROSS JOIN LATERAL pg_identify_object(classid, objid, 0) it
WHERE classid NOT IN ('pg_class'::regclass, 'pg_type'::regclass, 'pg_proc'::regclass,
    'pg_statistic_ext'::regclass, 'pg_default_acl'::regclass)
AND it.type NOT LIKE 'publication%'";
