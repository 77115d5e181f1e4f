//! Whether SQL writes, as far as its first words show.

use tenantry_migrate::sql::{Kind, tokens};

use super::effect::{LONGEST, lowered};

/// Whether one of the statements begins with a word of those that write. Others may write too, such
/// as `WITH` or a call of a function.
pub(crate) fn begins_with_write(sql: &str) -> bool {
    let bytes = sql.as_bytes();
    let (mut is_first, mut depth) = (true, 0_u32);
    for token in tokens(sql) {
        match (token.kind, bytes[token.at.start]) {
            (Kind::Comment, _) => {}
            (Kind::Other, b'(') => depth += 1,
            (Kind::Other, b')') => depth = depth.saturating_sub(1),
            (Kind::Other, b';') if depth == 0 => is_first = true,
            (Kind::Word, _) if is_first => {
                is_first = false;
                let mut lower = [0; LONGEST];
                let word = lowered(&bytes[token.at], &mut lower);
                if is_write(word) || is_setting(word) && names_access_mode(sql) {
                    return true;
                }
            }
            _ => is_first = false,
        }
    }
    false
}

/// Which executions of a statement without an effect on the session may have literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiteralUse {
    /// None: it may see how its values were sent.
    Never,
    /// Those whose rows are ignored: it may write, so it cannot be sent again for them.
    WithoutRows,
    Always,
}

impl LiteralUse {
    pub(crate) fn of(sql: &str) -> Self {
        match only_reads(sql) {
            _ if sees_parameters(sql) => Self::Never,
            true => Self::Always,
            false => Self::WithoutRows,
        }
    }

    /// Whether an execution is among them whose rows are read, or ignored.
    pub(crate) fn allows(self, rows: bool) -> bool {
        self == Self::Always || self == Self::WithoutRows && !rows
    }
}

/// Whether a statement reads and does nothing else, so that it may be sent again. False if that is not
/// certain.
fn only_reads(sql: &str) -> bool {
    let mut is_first = true;
    for token in tokens(sql) {
        let text = sql[token.at].to_ascii_lowercase();
        match token.kind {
            _ if text.trim_matches('"') == "pg_notify" => return false,
            // FOR UPDATE is among them.
            Kind::Word if is_write(text.as_bytes()) => return false,
            Kind::Word => {
                let reads = matches!(&*text, "select" | "values" | "table" | "with");
                if std::mem::take(&mut is_first) && !reads {
                    return false;
                }
            }
            _ => {}
        }
    }
    !is_first
}

/// Whether a statement may see how its values were sent: in its own text, or in the name of a column
/// that is only a parameter: `?column?`, while that of a literal is its type. False if it certainly does
/// not.
fn sees_parameters(sql: &str) -> bool {
    let mut name = String::new();
    tokens(sql).filter(|token| token.kind != Kind::Comment).any(|token| {
        let text = sql[token.at].to_ascii_lowercase();
        match token.kind {
            Kind::Word | Kind::Quoted => {
                name = text;
                // Functions with names of columns in their results are known by `json` and so on.
                ["current_query", "?column?", "\\"].iter().any(|part| name.contains(part))
            }
            _ => {
                let name = std::mem::take(&mut name);
                text == "(" && ["json", "xml", "hstore"].iter().any(|part| name.contains(part))
            }
        }
    })
}

/// Statements that a read-only transaction refuses (PostgreSQL manual, SET TRANSACTION).
fn is_write(word: &[u8]) -> bool {
    matches!(
        word,
        b"insert"
            | b"update"
            | b"delete"
            | b"merge"
            | b"truncate"
            | b"create"
            | b"alter"
            | b"drop"
            | b"comment"
            | b"grant"
            | b"revoke"
            | b"reindex"
            | b"cluster"
            | b"refresh"
            | b"vacuum"
    )
}

fn is_setting(word: &[u8]) -> bool {
    matches!(word, b"set" | b"reset" | b"do")
}

/// Before version 16, `RESET transaction_read_only` makes a read-only transaction writable.
fn names_access_mode(sql: &str) -> bool {
    sql.to_ascii_lowercase().contains("transaction_read_only")
}

/// Whether SQL is one `SET TRANSACTION` without an access mode, which has to come before the first
/// query of a transaction.
pub(crate) fn sets_isolation_only(sql: &str) -> bool {
    let mut words = Vec::new();
    for token in tokens(sql) {
        match token.kind {
            Kind::Comment => {}
            Kind::Word => words.push(sql[token.at].to_ascii_lowercase()),
            _ => return false,
        }
    }
    words.first().is_some_and(|word| word == "set")
        && words.get(1).is_some_and(|word| word == "transaction")
        && !words.iter().any(|word| word == "write")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_statements_that_begin_with_a_write() {
        for (sql, writes) in [
            ("SELECT 1", false),
            ("insert into t values (1)", true),
            ("-- note\n/* x */ UPDATE t SET a = 1", true),
            ("SELECT 1; DELETE FROM t", true),
            ("SELECT 1; -- DELETE FROM t", false),
            ("SELECT 'x; DELETE FROM t'", false),
            ("SELECT \"delete\" FROM t", false),
            (";; TRUNCATE t", true),
            ("(SELECT 1) UNION (SELECT 2)", false),
            ("WITH gone AS (DELETE FROM t RETURNING id) SELECT 1", false),
            ("EXPLAIN DELETE FROM t", false),
            ("VALUES (1)", false),
            ("RESET transaction_read_only", true),
            ("set Transaction_Read_Only to default", true),
            ("SHOW transaction_read_only", false),
            ("SET LOCAL statement_timeout = 1", false),
            ("Create TEMP TABLE t ()", true),
            ("", false),
        ] {
            assert_eq!(begins_with_write(sql), writes, "{sql}");
        }
    }

    #[test]
    fn knows_statements_that_only_read() {
        for (sql, expected) in [
            ("SELECT 1", true),
            ("(select 1) UNION (SELECT 2)", true),
            ("WITH a AS (SELECT 1) SELECT * FROM a", true),
            ("VALUES (1)", true),
            ("SELECT 'delete' AS \"update\" -- insert", true),
            ("WITH gone AS (DELETE FROM t RETURNING at) SELECT at FROM gone", false),
            ("SELECT at FROM t FOR UPDATE", false),
            ("SELECT at FROM t, pg_notify('a', 'b')", false),
            ("SELECT at FROM t, \"pg_notify\"('a', 'b')", false),
            ("INSERT INTO t VALUES (1) RETURNING at", false),
            ("EXPLAIN SELECT 1", false),
            ("", false),
        ] {
            assert_eq!(only_reads(sql), expected, "{sql}");
        }
    }

    #[test]
    fn knows_statements_that_may_see_their_parameters() {
        for (sql, expected) in [
            ("SELECT json, 'current_query' FROM t WHERE a IN ($1) -- xml(", false),
            ("SELECT $1::text::json", false),
            ("SELECT Current_Query()", true),
            ("SELECT \"?column?\" FROM (SELECT $1) AS t", true),
            ("SELECT row_to_json (t) FROM (SELECT $1) AS t", true),
            ("SELECT \"jsonb_agg\"/**/(t) FROM (SELECT $1) AS t", true),
            ("SELECT hstore(t) FROM (SELECT $1) AS t", true),
            ("SELECT query_to_XML('SELECT 1', true, true, $1)", true),
            ("SELECT U&\"\\0074o_json\"(t) FROM (SELECT $1) AS t", true),
        ] {
            assert_eq!(sees_parameters(sql), expected, "{sql}");
        }
    }

    #[test]
    fn knows_a_change_of_the_isolation_level() {
        for (sql, is_only) in [
            ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", true),
            ("set transaction isolation level serializable /* x */", true),
            ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY", true),
            ("SET TRANSACTION READ WRITE", false),
            ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE", false),
            ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT 1", false),
            ("SET transaction_read_only = off", false),
            ("SELECT 1", false),
        ] {
            assert_eq!(sets_isolation_only(sql), is_only, "{sql}");
        }
    }
}
