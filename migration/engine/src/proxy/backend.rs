use sea_orm::{DbErr, ExecResult, ProxyExecResult, QueryResult, Statement};

use crate::sql::{Kind, SqlStatement};

/// What answers the statements of a migration.
pub(crate) trait Backend: Send {
    /// Whether a statement that begins or ends a transaction is refused before it comes here.
    const REFUSES_CONTROL: bool = true;

    fn query(
        &mut self,
        statement: Statement,
    ) -> impl Future<Output = Result<Vec<QueryResult>, DbErr>> + Send;

    /// A statement without values may hold several.
    fn execute(
        &mut self,
        statement: Statement,
    ) -> impl Future<Output = Result<ExecResult, DbErr>> + Send;

    /// Begins a transaction, or a savepoint in one.
    fn begin(&mut self) -> impl Future<Output = Result<(), DbErr>> + Send;

    /// Ends the innermost transaction or savepoint.
    fn commit(&mut self) -> impl Future<Output = Result<(), DbErr>> + Send;

    /// Undoes the innermost transaction or savepoint.
    fn rollback(&mut self) -> impl Future<Output = Result<(), DbErr>> + Send;
}

/// Whether the text of a statement is all there is of it: then it may hold several.
pub(crate) fn is_plain(statement: &Statement) -> bool {
    statement.values.as_ref().is_none_or(|values| values.0.is_empty())
}

/// The result of a statement that affects so many rows.
pub(crate) fn rows_affected(rows_affected: u64) -> ExecResult {
    ProxyExecResult::new(0, rows_affected).into()
}

/// A text that a migration sends outside a transaction, as it is sent inside one; None if it is the
/// same. On tables that are empty or locked anyway, `CONCURRENTLY` makes no difference, and there
/// is nothing to vacuum or to build again.
pub(crate) fn in_one(sql: &str) -> Option<String> {
    let pieces = SqlStatement::split(sql);
    let texts: Vec<Option<String>> = pieces.iter().map(piece_in_one).collect();
    if texts.iter().all(Option::is_none) {
        return None;
    }
    let texts = pieces.into_iter().zip(texts).map(|(piece, text)| text.unwrap_or(piece.sql));
    Some(texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n;\n"))
}

/// One statement, likewise; nothing if it is left out.
fn piece_in_one(piece: &SqlStatement) -> Option<String> {
    let all_tables = piece.starts_with(&["cluster"]) && piece.words.len() == 1;
    if piece.starts_with(&["vacuum"]) || piece.starts_with(&["reindex"]) || all_tables {
        return Some(String::new());
    }
    if piece.starts_with(&["do"]) {
        return without_commits(piece);
    }
    let at = piece.concurrently()?;
    let mut text = piece.remove_token(at);
    if let Some(partition) = piece.find(&["detach", "partition"])
        && partition + 2 < at
    {
        let name = &piece.sql[piece.words[partition + 1].at.end..piece.words[at].at.start];
        text = format!("{}\n;\n{text}", add_check_sql(name.trim_ascii()));
    }
    Some(text)
}

/// `DETACH PARTITION … CONCURRENTLY` leaves the partition with its bounds as a constraint
/// (PostgreSQL manual, ALTER TABLE).
fn add_check_sql(partition: &str) -> String {
    let literal = partition.replace('\'', "''");
    format!(
        "DO $detach$ BEGIN EXECUTE format('ALTER TABLE %s ADD CHECK (%s)', '{literal}'::regclass,
    pg_catalog.pg_get_partition_constraintdef('{literal}'::regclass)); END $detach$"
    )
}

/// A block whose body commits, without that; None if it does not.
fn without_commits(block: &SqlStatement) -> Option<String> {
    let body = block.words.iter().find(|word| word.kind == Kind::Text)?;
    let (before, rest) = block.sql.split_at(body.at.start);
    let (quoted, after) = rest.split_at(body.at.len());
    let tag = quoted.starts_with('$').then(|| quoted.split_inclusive('$').take(2))?;
    let tag: String = tag.collect();
    let inner = SqlStatement::one(quoted.strip_prefix(&tag)?.strip_suffix(&tag)?);
    let begins = |at: usize| {
        inner.symbol(at) == Some(";")
            || ["begin", "then", "else", "loop"].iter().any(|word| inner.word(at) == Some(word))
    };
    let commits = (1..inner.words.len()).filter(|at| {
        inner.word(*at) == Some("commit") && inner.symbol(at + 1) == Some(";") && begins(at - 1)
    });
    let (mut text, mut copied) = (String::new(), 0);
    for at in commits.map(|at| &inner.words[at].at) {
        text.push_str(&inner.sql[copied..at.start]);
        text.push_str("NULL");
        copied = at.end;
    }
    let rest = &inner.sql[copied..];
    (copied > 0).then(|| format!("{before}{tag}{text}{rest}{tag}{after}"))
}

#[cfg(test)]
mod tests {
    use super::in_one;

    #[test]
    fn what_a_transaction_refuses_is_left_out() {
        for (sql, expected) in [
            ("INSERT INTO t VALUES ('create index concurrently')", None),
            ("CREATE INDEX i ON t (a); SELECT 1", None),
            ("DROP INDEX CONCURRENTLY IF EXISTS i", Some("DROP INDEX  IF EXISTS i")),
            (
                "Create UNIQUE index\nConcurrently i ON t (concurrently); SELECT 1 -- a",
                Some("Create UNIQUE index\n i ON t (concurrently)\n;\nSELECT 1 -- a"),
            ),
            ("VACUUM t; ANALYZE t", Some("ANALYZE t")),
            ("VACUUM", Some("")),
            ("REINDEX (VERBOSE, CONCURRENTLY) TABLE t; SELECT 1", Some("SELECT 1")),
            ("CLUSTER; CLUSTER t USING i", Some("CLUSTER t USING i")),
            ("DO $a$ BEGIN NULL; END $a$", None),
            (
                "DO $a$ BEGIN COMMIT; LOOP commit ; END LOOP; PERFORM 'COMMIT;'; END $a$; SELECT 1",
                Some(
                    "DO $a$BEGIN NULL; LOOP NULL ; END LOOP; PERFORM 'COMMIT;'; END$a$\n;\nSELECT 1",
                ),
            ),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", None),
        ] {
            assert_eq!(in_one(sql).as_deref(), expected, "{sql}");
        }
    }
}
