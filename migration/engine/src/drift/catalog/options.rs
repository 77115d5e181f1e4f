//! Storage parameters and other options of the form `name=value` in the catalog.
//!
//! A server may store internal options, too: PostgreSQL 15.20 has a version in
//! `pg_attribute.attoptions`, different for each column. `pg_dump` omits them. So only options that
//! users can set are compared.

/// Options of tables, views and indexes of PostgreSQL's own access methods (`CREATE TABLE`,
/// `CREATE VIEW`, `CREATE INDEX`; PostgreSQL 14 to 18). An option that a later version adds is
/// compared from the moment it is listed here.
const RELATION: &[&str] = &[
    "autosummarize",
    "autovacuum_analyze_scale_factor",
    "autovacuum_analyze_threshold",
    "autovacuum_enabled",
    "autovacuum_freeze_max_age",
    "autovacuum_freeze_min_age",
    "autovacuum_freeze_table_age",
    "autovacuum_multixact_freeze_max_age",
    "autovacuum_multixact_freeze_min_age",
    "autovacuum_multixact_freeze_table_age",
    "autovacuum_vacuum_cost_delay",
    "autovacuum_vacuum_cost_limit",
    "autovacuum_vacuum_insert_scale_factor",
    "autovacuum_vacuum_insert_threshold",
    "autovacuum_vacuum_max_threshold",
    "autovacuum_vacuum_scale_factor",
    "autovacuum_vacuum_threshold",
    "buffering",
    "check_option",
    "deduplicate_items",
    "fastupdate",
    "fillfactor",
    "gin_pending_list_limit",
    "log_autovacuum_min_duration",
    "pages_per_range",
    "parallel_workers",
    "security_barrier",
    "security_invoker",
    "toast_tuple_target",
    "user_catalog_table",
    "vacuum_index_cleanup",
    "vacuum_max_eager_freeze_failure_rate",
    "vacuum_truncate",
];

/// Options of columns (`ALTER TABLE … ALTER COLUMN … SET`).
const COLUMN: &[&str] = &["n_distinct", "n_distinct_inherited"];

/// The first OID of objects that users and extensions create (`FirstNormalObjectId`).
const FIRST_NORMAL: u32 = 16384;

/// An SQL expression for the options of a column.
pub(super) fn of_column() -> String {
    let set_by_users = is_one_of(COLUMN);
    written(&format!("SELECT it FROM unnest(attoptions) it WHERE {set_by_users}"))
}

/// An SQL expression for the options of the relation `rel` and its TOAST table.
pub(super) fn of_relation() -> String {
    let set_by_users = is_set_by_users("rel.relam");
    written(&format!(
        "SELECT it FROM unnest(rel.reloptions) it WHERE {set_by_users}
        UNION ALL
        SELECT 'toast.' || it FROM pg_class toast CROSS JOIN unnest(toast.reloptions) it
        WHERE toast.oid = rel.reltoastrelid AND {set_by_users}"
    ))
}

/// A `LATERAL` item `hidden (options)`: a regular expression for the names of those options of the
/// index `c` and of its columns that users cannot set, or null. An operator class has parameters
/// of its own; of these only names in PostgreSQL's own form are hidden.
pub(super) fn hidden() -> String {
    let set_by_users = is_set_by_users("c.relam");
    format!(
        r"LATERAL (SELECT string_agg(
        regexp_replace(split_part(it, '=', 1), '([^a-zA-Z0-9_])', E'\\\\\\1', 'g'), '|')
    FROM (SELECT it FROM unnest(c.reloptions) it WHERE NOT {set_by_users}
        UNION ALL
        SELECT it FROM pg_attribute CROSS JOIN unnest(attoptions) it
        WHERE attrelid = c.oid AND attnum > 0 AND starts_with(it, 'pg_')) each
    ) hidden (options)"
    )
}

/// The definition of an index or of an exclusion constraint, as PostgreSQL writes it, without the
/// options in `hidden`: an SQL expression.
pub(super) fn without_hidden(definition: &str) -> String {
    format!(
        r#"CASE WHEN hidden.options IS NULL THEN {definition}
        ELSE regexp_replace(regexp_replace(regexp_replace({definition},
            E'"?\\m(' || hidden.options || E')"?=(''([^'']|'''')*''|[^,)]*)(, )?', '', 'g'),
            ', [)]', ')', 'g'), '( WITH)? [(][)]', '', 'g') END"#
    )
}

/// The options that `each` returns, sorted.
fn written(each: &str) -> String {
    format!(
        "(SELECT 'with (' || string_agg(it, ', ' ORDER BY it COLLATE \"C\") || ')'
        FROM ({each}) each)"
    )
}

/// Whether users can set the option `it` on a relation of this access method. Access methods of
/// extensions have their own options.
fn is_set_by_users(method: &str) -> String {
    let listed = is_one_of(RELATION);
    format!("({listed} OR {method} >= {FIRST_NORMAL} AND NOT starts_with(it, 'pg_'))")
}

fn is_one_of(names: &[&str]) -> String {
    format!("split_part(it, '=', 1) IN ('{}')", names.join("', '"))
}
