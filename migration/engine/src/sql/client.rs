use super::{Kind, SqlStatement};

/// How much of a statement is shown.
const SHOWN: usize = 80;

/// Why the first statement of `sql` that only a client can carry out is not sent, and what to write
/// instead: `COPY … FROM stdin`, `COPY … TO stdout`, and commands of psql.
///
/// ```
/// use tenantry_migrate::sql::needs_client;
///
/// assert_eq!(needs_client("COPY t FROM '/file'; SELECT 'COPY t FROM stdin'"), None);
/// assert!(needs_client("COPY t (a) FROM stdin").unwrap().contains("INSERT"));
/// assert!(needs_client("\\connect other").unwrap().contains("psql"));
/// ```
#[must_use]
pub fn needs_client(sql: &str) -> Option<String> {
    SqlStatement::split(sql).iter().find_map(SqlStatement::needs_client)
}

impl SqlStatement {
    /// See [`needs_client`].
    pub(crate) fn needs_client(&self) -> Option<String> {
        let backslash = |word: &&super::Word| word.kind == Kind::Other && word.text == "\\";
        if let Some(word) = self.words.iter().find(backslash) {
            let line = start(&self.sql[word.at.start..]);
            return Some(format!(
                "{line} is a command of psql and nothing that PostgreSQL understands; remove the \
                 line, and the rows of a COPY before it (it was not sent)"
            ));
        }
        let copies = self.starts_with(&["copy"])
            && (1..self.words.len()).any(|at| {
                let place = matches!(self.word(at), Some("stdin" | "stdout"));
                place
                    && matches!(self.word(at - 1), Some("from" | "to"))
                    && self.words[at].depth == 0
            });
        copies.then(|| {
            let line = start(&self.sql[self.words.first().map_or(0, |word| word.at.start)..]);
            format!(
                "{line} needs a client that sends or takes the rows, which a migration has not; \
                 write INSERT INTO … VALUES (pg_dump --inserts does) (it was not sent)"
            )
        })
    }
}

/// The beginning of the first line.
fn start(sql: &str) -> String {
    let line = sql.lines().next().unwrap_or_default().trim_end();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::needs_client;

    #[test]
    fn what_only_a_client_can_do_is_found() {
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
