//! Catalog queries that find an object by its name alone, and so may find another tenant's.

use crate::sql::{Kind, SqlStatement};

/// Columns of `information_schema` and `pg_catalog` with names of objects in schemas.
const NAMES: [&str; 25] = [
    "attname",
    "column_name",
    "conname",
    "constraint_name",
    "domain_name",
    "indexname",
    "matviewname",
    "parameter_name",
    "policyname",
    "proname",
    "relname",
    "routine_name",
    "rulename",
    "sequence_name",
    "sequencename",
    "specific_name",
    "table_name",
    "tablename",
    "tgname",
    "trigger_name",
    "typname",
    "udt_name",
    "user_defined_type_name",
    "viewname",
    "event_object_table",
];

/// Names that restrict a query to one schema, or to objects found by `search_path`.
const OF_ONE_SCHEMA: [&str; 9] = [
    "current_schema",
    "current_schemas",
    "regclass",
    "regproc",
    "regprocedure",
    "regtype",
    "regnamespace",
    "tg_table_schema",
    "tg_relid",
];

/// The catalogs that `sql` searches by name in all schemas, also in the bodies of `DO` blocks and
/// functions.
pub(super) fn by_name(sql: &str) -> Vec<String> {
    let mut found = Vec::new();
    for statement in SqlStatement::split(sql) {
        found.extend(catalog_by_name(&statement));
        let texts = statement.words.iter().filter(|word| word.kind == Kind::Text);
        for body in texts.filter(|word| word.text.contains(';')) {
            found.extend(by_name(&body.text));
        }
    }
    found.dedup();
    found
}

/// The catalog that one statement searches by name in all schemas.
fn catalog_by_name(statement: &SqlStatement) -> Option<String> {
    let words = || 0..statement.words.len();
    let name = |index: usize| statement.name(index).unwrap_or_default();
    let symbol = |index: usize| statement.symbol(index).unwrap_or_default();
    let says_schema = words().map(name).any(|word| {
        OF_ONE_SCHEMA.contains(&word) || word.starts_with("to_reg") || word.ends_with("_is_visible")
    });
    if says_schema {
        return None;
    }
    let catalog = words().find_map(|index| match name(index) {
        "information_schema" if symbol(index + 1) == "." => {
            Some(format!("information_schema.{}", name(index + 2)))
        }
        "pg_catalog" => None,
        catalog if catalog.starts_with("pg_") && symbol(index + 1) != "(" => {
            Some(catalog.to_owned())
        }
        _ => None,
    })?;
    let compared = words().any(|index| {
        let before = index.checked_sub(1).map_or("", symbol);
        NAMES.contains(&name(index))
            && (before == "="
                || matches!(symbol(index + 1), "=" | "~" | "!" | "<")
                || ["in", "like", "ilike", "is", "not", "similar"].contains(&name(index + 1)))
    });
    let has_value = statement.words.iter().any(|word| word.kind == Kind::Text);
    (compared && has_value).then_some(catalog)
}

#[cfg(test)]
mod tests {
    use super::by_name;

    #[test]
    fn finds_queries_by_name_in_all_schemas() {
        for (sql, found) in [
            ("SELECT FROM information_schema.tables WHERE table_name = 'a'", true),
            (
                r#"SELECT FROM "information_schema"."tables" t WHERE t."table_name" IN ('a', 'b')"#,
                true,
            ),
            ("SELECT FROM pg_catalog.pg_class c WHERE c.relname LIKE 'a%'", true),
            (
                "DO $$ BEGIN IF EXISTS (SELECT FROM pg_type WHERE typname = 'a') THEN RETURN; END IF; END $$",
                true,
            ),
            (
                "SELECT FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = 'a'",
                false,
            ),
            ("SELECT FROM pg_class WHERE oid = to_regclass('a') AND relname = 'a'", false),
            ("SELECT FROM pg_class WHERE relname = 'a' AND pg_table_is_visible(oid)", false),
            ("SELECT count(*) FROM information_schema.columns", false),
            ("SELECT pg_sleep(1) FROM a WHERE table_name = 'b'", false),
            ("SELECT FROM pg_extension WHERE extname = 'citext'", false),
            ("-- pg_class\nUPDATE a SET relname = 'x'", false),
        ] {
            assert_eq!(!by_name(sql).is_empty(), found, "{sql}");
        }
    }

    #[test]
    fn examines_each_statement_of_a_block() {
        let block = "DO $$ BEGIN
            PERFORM FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'a';
            PERFORM FROM pg_indexes WHERE indexname = 'a';
        END $$";
        assert_eq!(by_name(block), ["pg_indexes"]);
    }
}
