//! Which statements have an answer that is known before they are sent.

use crate::sql::{Piece, Word};

/// What the tables may hold by the time a recorded statement is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Ground {
    /// Nothing: the schema is new.
    Empty,
    /// Rows.
    #[default]
    Rows,
}

/// First words of statements that tell of no rows, whatever they do.
const TELL_NOTHING: [&str; 17] = [
    "alter", "analyze", "cluster", "comment", "create", "do", "drop", "grant", "import", "lock",
    "refresh", "reindex", "reset", "revoke", "security", "set", "truncate",
];

/// Why the answer to `piece` is not known: PostgreSQL is expected to say "no rows".
///
/// `ground` becomes [`Ground::Rows`] when the statement may bring rows into reach.
pub(crate) fn refusal(
    piece: &Piece,
    ground: &mut Ground,
    migrations_table: Option<&str>,
) -> Option<String> {
    let first = piece.word(0).unwrap_or_default();
    if let Some(table) = migrations_table.filter(|table| piece.sql.contains(*table)) {
        return Some(format!("it is about {table}, which is written last"));
    }
    if reads_strings_otherwise(piece) {
        return Some("it changes how PostgreSQL reads strings".to_owned());
    }
    if ["update", "delete"].contains(&first) {
        return match ground {
            Ground::Rows => Some(format!("its {first} may find rows")),
            Ground::Empty if is_elsewhere(piece) => {
                Some(format!("its {first} is about another schema"))
            }
            Ground::Empty => None,
        };
    }
    if !TELL_NOTHING.contains(&first) {
        return Some(format!("only the database knows the outcome of its {first}"));
    }
    if is_filled(piece) {
        return Some("it makes a table out of rows".to_owned());
    }
    if brings_rows(piece) {
        *ground = Ground::Rows;
    }
    None
}

/// Whether a backslash in a string may mean something else afterwards than it does here.
fn reads_strings_otherwise(piece: &Piece) -> bool {
    let setting = |word: &Word| word.text.eq_ignore_ascii_case("standard_conforming_strings");
    let Some(at) = piece.words.iter().position(setting) else { return false };
    let on = piece.words.get(at + 2).is_some_and(|word| word.text.eq_ignore_ascii_case("on"));
    !(on && piece.word(0) == Some("set") && piece.words.len() == at + 3)
}

/// Whether an `UPDATE` or a `DELETE` names the schema of its table.
fn is_elsewhere(piece: &Piece) -> bool {
    let table = (1..).find(|at| !matches!(piece.word(*at), Some("from" | "only")));
    table.is_some_and(|at| piece.symbol(at + 1) == Some("."))
}

/// `CREATE TABLE … AS` and `CREATE MATERIALIZED VIEW` tell how many rows they have made.
fn is_filled(piece: &Piece) -> bool {
    let makes = ["table", "materialized"].iter().any(|what| {
        let before = ["global", "local", "temp", "temporary", "unlogged"];
        let at = (1..).find(|at| !piece.word(*at).is_some_and(|word| before.contains(&word)));
        at.and_then(|at| piece.word(at)) == Some(what)
    });
    let empty = piece.find(&["with", "no", "data"]).is_some();
    piece.begins(&["create"]) && makes && piece.outside_parentheses("as") && !empty
}

/// Whether there may be rows afterwards: put in by a block, or those of a table elsewhere.
fn brings_rows(piece: &Piece) -> bool {
    ["do", "import", "refresh", "set"].iter().any(|word| piece.begins(&[word]))
        || piece.begins(&["create", "foreign", "table"])
        || piece.begins(&["create"]) && piece.find(&["view"]).is_some()
        || piece.begins(&["alter"]) && piece.find(&["attach", "partition"]).is_some()
}

#[cfg(test)]
mod tests {
    use super::{Ground, Piece, refusal};

    fn known(sql: &str, ground: Ground) -> bool {
        let mut ground = ground;
        Piece::all(sql)
            .iter()
            .all(|it| refusal(it, &mut ground, Some("seaql_migrations")).is_none())
    }

    #[test]
    fn only_statements_whose_answer_is_known_are_recorded() {
        for (sql, empty, rows) in [
            ("CREATE TABLE a (b int, c int GENERATED ALWAYS AS (b) STORED)", true, true),
            ("CREATE INDEX CONCURRENTLY i ON a (b)", true, true),
            ("/* check: allow rename because x */ ALTER TABLE a RENAME TO b", true, true),
            ("DO $$ BEGIN INSERT INTO a VALUES (1); END $$", true, true),
            ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", true, true),
            ("UPDATE a SET b = c.d FROM c WHERE c.e = a.e", true, false),
            ("DELETE FROM ONLY a", true, false),
            ("UPDATE ONLY x.a SET b = 1", false, false),
            ("DELETE FROM \"x\".\"a\"", false, false),
            ("DO $$ BEGIN INSERT INTO a VALUES (1); END $$; DELETE FROM a", false, false),
            ("CREATE OR REPLACE VIEW v AS SELECT 1; UPDATE v SET a = 1", false, false),
            ("INSERT INTO a VALUES (1)", false, false),
            ("WITH x AS (DELETE FROM a RETURNING b) DELETE FROM c", false, false),
            ("SELECT 1", false, false),
            ("CREATE UNLOGGED TABLE a AS SELECT 1", false, false),
            ("CREATE MATERIALIZED VIEW a AS SELECT 1", false, false),
            ("CREATE MATERIALIZED VIEW a AS SELECT 1 WITH NO DATA", true, true),
            ("COMMIT", false, false),
            ("SAVEPOINT a", false, false),
            ("ALTER TABLE \"seaql_migrations\" ADD a int", false, false),
            ("\"create\" TABLE", false, false),
            ("SET LOCAL standard_conforming_strings TO on", true, true),
            ("SET standard_conforming_strings = off", false, false),
            ("ALTER ROLE r SET standard_conforming_strings = on", false, false),
        ] {
            assert_eq!(known(sql, Ground::Empty), empty, "{sql}");
            assert_eq!(known(sql, Ground::Rows), rows, "{sql}");
        }
    }
}
