//! Effects of a statement, as far as its tokens show them.

use crate::sql::{SqlStatement, Word};

/// First keywords of statements that return neither rows nor a row count.
const STATEMENTS_WITHOUT_RESULT: [&str; 17] = [
    "alter", "analyze", "cluster", "comment", "create", "do", "drop", "grant", "import", "lock",
    "refresh", "reindex", "reset", "revoke", "security", "set", "truncate",
];

/// Words that may precede a parenthesis in a read without side effects: functions of PostgreSQL
/// without side effects, keywords and types.
const PURE: &str = "
    and any array array_agg array_length array_position as avg bool_and bool_or cast char char_length
    character coalesce col_description concat concat_ws count current_schema current_schemas decimal
    exists extract filter format format_type from generate_series greatest having in join
    json_agg jsonb_agg lateral least left length like lower max md5 min not now nullif numeric
    obj_description on or over partition pg_get_constraintdef pg_get_expr pg_get_functiondef
    pg_get_indexdef pg_get_serial_sequence pg_get_viewdef pg_table_is_visible position quote_ident
    quote_literal regexp_replace replace right round row_number select split_part starts_with
    string_agg strpos substring sum to_char to_regclass to_regproc to_regtype trim unnest upper using
    values varchar when where with";

/// Whether the row count that the statement returns is independent of the contents of tables.
pub(crate) fn has_known_result(statement: &SqlStatement) -> bool {
    let first = statement.word(0).unwrap_or_default();
    if first == "insert" {
        let outside = |word| statement.has_top_level(word);
        return outside("values") && !["on", "returning", "select"].into_iter().any(outside);
    }
    STATEMENTS_WITHOUT_RESULT.contains(&first) && !creates_table_from_query(statement)
}

/// Whether the statement only reads and has no side effects.
pub(crate) fn is_pure_read(statement: &SqlStatement) -> bool {
    let locks_or_writes = ["for", "into", "insert", "update", "delete", "merge"];
    statement.starts_with(&["select"])
        && !locks_or_writes.iter().any(|word| statement.find(&[word]).is_some())
        && (1..statement.words.len())
            .filter(|at| statement.symbol(*at) == Some("("))
            .all(|at| is_pure_before(statement, at - 1))
}

/// Whether a read returns the name of the schema. Without a table: a query of the catalog for the
/// current schema returns the same in every schema with the same contents.
pub(crate) fn asks_for_schema(statement: &SqlStatement) -> bool {
    let asks =
        ["current_schema", "current_schemas"].iter().any(|it| statement.find(&[it]).is_some());
    asks && statement.starts_with(&["select"]) && statement.find(&["from"]).is_none()
}

/// Whether the parenthesis after the token at `at` does not call a function with side effects.
fn is_pure_before(statement: &SqlStatement, at: usize) -> bool {
    let Some(name) = statement.name(at) else { return true };
    let qualified = at > 1 && statement.symbol(at - 1) == Some(".");
    (!qualified || statement.name(at - 2) == Some("pg_catalog"))
        && PURE.split_ascii_whitespace().any(|pure| pure == name)
}

/// Whether the statement may change the meaning of backslashes in strings.
pub(crate) fn changes_string_syntax(statement: &SqlStatement) -> bool {
    let setting = |word: &Word| word.text.eq_ignore_ascii_case("standard_conforming_strings");
    let Some(at) = statement.words.iter().position(setting) else { return false };
    let on = statement.words.get(at + 2).is_some_and(|word| word.text.eq_ignore_ascii_case("on"));
    !(on && statement.word(0) == Some("set") && statement.words.len() == at + 3)
}

/// Whether the statement is `CREATE TABLE … AS` or `CREATE MATERIALIZED VIEW`, which return a row
/// count.
fn creates_table_from_query(statement: &SqlStatement) -> bool {
    let makes = ["table", "materialized"].iter().any(|what| {
        let before = ["global", "local", "temp", "temporary", "unlogged"];
        let at = (1..).find(|at| !statement.word(*at).is_some_and(|word| before.contains(&word)));
        at.and_then(|at| statement.word(at)) == Some(what)
    });
    let empty = statement.find(&["with", "no", "data"]).is_some();
    statement.starts_with(&["create"]) && makes && statement.has_top_level("as") && !empty
}

#[cfg(test)]
mod tests {
    use super::{SqlStatement, changes_string_syntax, has_known_result, is_pure_read};

    fn all(sql: &str, holds: fn(&SqlStatement) -> bool) -> bool {
        SqlStatement::split(sql).iter().all(holds)
    }

    #[test]
    fn result_is_known_for_ddl_and_literal_rows() {
        for (sql, known) in [
            ("CREATE TABLE a (b int, c int GENERATED ALWAYS AS (b) STORED)", true),
            ("CREATE INDEX CONCURRENTLY i ON t (b)", true),
            ("/* check: allow rename because x */ ALTER TABLE a RENAME TO b", true),
            ("DO $$ BEGIN INSERT INTO a VALUES (1); END $$", true),
            ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", true),
            ("INSERT INTO a (b) VALUES (1), ((SELECT 2))", true),
            ("INSERT INTO a DEFAULT VALUES", true),
            ("INSERT INTO a VALUES (1) ON CONFLICT DO NOTHING", false),
            ("INSERT INTO a VALUES (1) RETURNING b", false),
            ("INSERT INTO a SELECT 1", false),
            ("INSERT INTO a TABLE b", false),
            ("UPDATE a SET b = 1", false),
            ("DELETE FROM a", false),
            ("WITH x AS (DELETE FROM a RETURNING b) DELETE FROM c", false),
            ("SELECT 1", false),
            ("CREATE UNLOGGED TABLE a AS SELECT 1", false),
            ("CREATE MATERIALIZED VIEW a AS SELECT 1", false),
            ("CREATE MATERIALIZED VIEW a AS SELECT 1 WITH NO DATA", true),
            ("\"create\" TABLE", false),
        ] {
            assert_eq!(all(sql, has_known_result), known, "{sql}");
        }
    }

    #[test]
    fn distinguishes_pure_reads() {
        for (sql, pure) in [
            (
                "SELECT COUNT(*) > 0 AS \"has_table\" FROM information_schema.tables t
              WHERE table_schema = CURRENT_SCHEMA() AND table_name IN ('a')",
                true,
            ),
            ("SELECT a FROM b WHERE c = ANY (ARRAY[1]) AND (d OR e)", true),
            ("SELECT pg_catalog.count(*) FROM a", true),
            ("SELECT x.count(*) FROM a", false),
            ("SELECT nextval('a')", false),
            ("SELECT \"nextval\"('a')", false),
            ("SELECT pg_notify('a', 'b')", false),
            ("SELECT set_config('a', 'b', true)", false),
            ("SELECT a INTO b FROM c", false),
            ("SELECT a FROM b FOR UPDATE", false),
            ("WITH x AS (SELECT 1) SELECT * FROM x", false),
            ("INSERT INTO a VALUES (1)", false),
        ] {
            assert_eq!(all(sql, is_pure_read), pure, "{sql}");
        }
    }

    #[test]
    fn detects_change_of_string_syntax() {
        for (sql, otherwise) in [
            ("SET LOCAL standard_conforming_strings TO on", false),
            ("SET standard_conforming_strings = off", true),
            ("ALTER ROLE r SET standard_conforming_strings = on", true),
        ] {
            assert_eq!(all(sql, changes_string_syntax), otherwise, "{sql}");
        }
    }
}
