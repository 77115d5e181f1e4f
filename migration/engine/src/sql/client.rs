//! Statements that only a client can execute.

use super::{Kind, SqlStatement};

/// Length of the SQL in a message.
const MAX_SHOWN: usize = 80;

impl SqlStatement {
    /// Why a statement is refused that only a client can execute, and what to write instead: `COPY …
    /// FROM stdin`, `COPY … TO stdout`, and psql commands.
    pub(crate) fn needs_client(&self) -> Option<String> {
        let backslash = |word: &&super::Word| word.kind == Kind::Other && word.text == "\\";
        if let Some(word) = self.words.iter().find(backslash) {
            let line = start(&self.sql[word.at.start..]);
            return Some(format!(
                "{line} is a psql command, not SQL. Remove the line, and the rows of a COPY before it"
            ));
        }
        let copies = self.starts_with(&["copy"])
            && (1..self.words.len()).any(|at| {
                let is_client = matches!(self.word(at), Some("stdin" | "stdout"));
                is_client
                    && matches!(self.word(at - 1), Some("from" | "to"))
                    && self.words[at].depth == 0
            });
        copies.then(|| {
            let line = start(&self.sql[self.words.first().map_or(0, |word| word.at.start)..]);
            format!(
                "{line} needs a client that sends or receives the rows. Use INSERT INTO … VALUES \
                 (pg_dump --inserts)"
            )
        })
    }
}

/// The first line, shortened.
fn start(sql: &str) -> String {
    let line = sql.lines().next().unwrap_or_default().trim_end();
    match line.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::SqlStatement;

    fn needs_client(sql: &str) -> Option<String> {
        SqlStatement::split(sql).iter().find_map(SqlStatement::needs_client)
    }

    #[test]
    fn finds_statements_for_clients() {
        for sql in [
            "COPY t FROM stdin",
            "copy t (a, b) from STDIN with (format csv)",
            "SELECT 1; COPY (SELECT 1 FROM t) TO STDOUT",
            "/* rows; */ COPY BINARY t FROM stdin",
            "COPY t FROM stdin;\n1\tit's\n\\.\n",
            "\\restrict aBc\n\nSET statement_timeout = 0;",
            "SELECT 1;\n\\.\n",
            "SELECT 1 \\gexec",
        ] {
            assert!(needs_client(sql).is_some(), "{sql}");
        }
        for sql in [
            "COPY t FROM '/tmp/stdin'",
            "COPY t TO PROGRAM 'cat'",
            "COPY (SELECT a FROM stdin) TO '/file'",
            "SELECT a FROM stdin",
            "INSERT INTO t VALUES ('\\.', E'\\t', $$\\x$$, \"a\\b\")",
            "-- \\restrict\nSELECT 1",
        ] {
            assert_eq!(needs_client(sql), None, "{sql}");
        }
    }
}
