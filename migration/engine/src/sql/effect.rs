//! What can be said of a statement without sending it.

use crate::sql::{SqlStatement, Word};

/// First words of statements that tell of no rows, whatever they do.
const TELL_NOTHING: [&str; 17] = [
    "alter", "analyze", "cluster", "comment", "create", "do", "drop", "grant", "import", "lock",
    "refresh", "reindex", "reset", "revoke", "security", "set", "truncate",
];

/// What may stand before a parenthesis in a read that changes nothing: functions of PostgreSQL
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

/// Whether the number of rows that `piece` tells of does not depend on what tables hold.
pub(crate) fn answer_is_known(piece: &SqlStatement) -> bool {
    let first = piece.word(0).unwrap_or_default();
    if first == "insert" {
        let outside = |word| piece.has_top_level(word);
        return outside("values") && !["on", "returning", "select"].into_iter().any(outside);
    }
    TELL_NOTHING.contains(&first) && !is_filled(piece)
}

/// Whether `piece` only reads: without it, everything is as it would be with it.
pub(crate) fn is_pure_read(piece: &SqlStatement) -> bool {
    let locks_or_writes = ["for", "into", "insert", "update", "delete", "merge"];
    piece.starts_with(&["select"])
        && !locks_or_writes.iter().any(|word| piece.find(&[word]).is_some())
        && (1..piece.words.len())
            .filter(|at| piece.symbol(*at) == Some("("))
            .all(|at| is_pure_before(piece, at - 1))
}

/// Whether the name of the schema is all that a read is about. One that looks for something in the
/// schema returns the same in every schema that has the same in it.
pub(crate) fn asks_for_schema(piece: &SqlStatement) -> bool {
    let asks = ["current_schema", "current_schemas"].iter().any(|it| piece.find(&[it]).is_some());
    asks && piece.starts_with(&["select"]) && piece.find(&["from"]).is_none()
}

/// Whether the parenthesis behind the token at `at` does not call a function with side effects.
fn is_pure_before(piece: &SqlStatement, at: usize) -> bool {
    let Some(name) = piece.name(at) else { return true };
    let qualified = at > 1 && piece.symbol(at - 1) == Some(".");
    (!qualified || piece.name(at - 2) == Some("pg_catalog"))
        && PURE.split_ascii_whitespace().any(|pure| pure == name)
}

/// Whether a backslash in a string may mean something else afterwards than it does here.
pub(crate) fn reads_strings_otherwise(piece: &SqlStatement) -> bool {
    let setting = |word: &Word| word.text.eq_ignore_ascii_case("standard_conforming_strings");
    let Some(at) = piece.words.iter().position(setting) else { return false };
    let on = piece.words.get(at + 2).is_some_and(|word| word.text.eq_ignore_ascii_case("on"));
    !(on && piece.word(0) == Some("set") && piece.words.len() == at + 3)
}

/// `CREATE TABLE … AS` and `CREATE MATERIALIZED VIEW` tell how many rows they have made.
fn is_filled(piece: &SqlStatement) -> bool {
    let makes = ["table", "materialized"].iter().any(|what| {
        let before = ["global", "local", "temp", "temporary", "unlogged"];
        let at = (1..).find(|at| !piece.word(*at).is_some_and(|word| before.contains(&word)));
        at.and_then(|at| piece.word(at)) == Some(what)
    });
    let empty = piece.find(&["with", "no", "data"]).is_some();
    piece.starts_with(&["create"]) && makes && piece.has_top_level("as") && !empty
}

#[cfg(test)]
mod tests {
    use super::{SqlStatement, answer_is_known, is_pure_read, reads_strings_otherwise};

    fn all(sql: &str, holds: fn(&SqlStatement) -> bool) -> bool {
        SqlStatement::split(sql).iter().all(holds)
    }

    #[test]
    fn answers_are_known_of_statements_that_tell_nothing_and_of_literal_rows() {
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
            assert_eq!(all(sql, answer_is_known), known, "{sql}");
        }
    }

    #[test]
    fn reads_are_told_from_what_changes_something() {
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
    fn a_change_of_how_strings_are_read_is_noticed() {
        for (sql, otherwise) in [
            ("SET LOCAL standard_conforming_strings TO on", false),
            ("SET standard_conforming_strings = off", true),
            ("ALTER ROLE r SET standard_conforming_strings = on", true),
        ] {
            assert_eq!(all(sql, reads_strings_otherwise), otherwise, "{sql}");
        }
    }
}
