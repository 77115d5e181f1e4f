use sea_orm::{DbErr, ExecResult, ProxyExecResult, QueryResult, Statement};

use crate::sql::{Kind, SqlStatement};

/// Executes the statements of a migration.
pub(crate) trait Backend: Send {
    /// Whether statements that begin or end a transaction are refused.
    const REFUSES_CONTROL: bool = true;

    fn query(
        &mut self,
        statement: Statement,
    ) -> impl Future<Output = Result<Vec<QueryResult>, DbErr>> + Send;

    /// A statement without values may contain several.
    fn execute(
        &mut self,
        statement: Statement,
    ) -> impl Future<Output = Result<ExecResult, DbErr>> + Send;

    /// Begins a transaction, or a savepoint in one.
    fn begin(&mut self) -> impl Future<Output = Result<(), DbErr>> + Send;

    /// Ends the innermost transaction or savepoint.
    fn commit(&mut self) -> impl Future<Output = Result<(), DbErr>> + Send;

    /// Rolls back the innermost transaction or savepoint.
    fn rollback(&mut self) -> impl Future<Output = Result<(), DbErr>> + Send;
}

/// Whether a statement has no values, so that it may contain several.
pub(crate) fn has_no_values(statement: &Statement) -> bool {
    statement.values.as_ref().is_none_or(|values| values.0.is_empty())
}

/// The result of a statement that affects this number of rows.
pub(crate) fn rows_affected(rows_affected: u64) -> ExecResult {
    ProxyExecResult::new(0, rows_affected).into()
}

/// Rewrites SQL of a non-transactional migration to run in a transaction; `None` if it can run as it
/// is. For tables that are empty or locked, `CONCURRENTLY` makes no difference, and `VACUUM` and
/// `REINDEX` have nothing to do.
pub(crate) fn without_non_transactional(sql: &str) -> Option<String> {
    let statements = SqlStatement::split(sql);
    let rewritten: Vec<Option<String>> = statements.iter().map(rewrite).collect();
    if rewritten.iter().all(Option::is_none) {
        return None;
    }
    let sql = statements.into_iter().zip(rewritten).map(|(it, new)| new.unwrap_or(it.sql));
    Some(sql.filter(|sql| !sql.is_empty()).collect::<Vec<_>>().join("\n;\n"))
}

/// Rewrites one statement; empty if it is omitted.
fn rewrite(statement: &SqlStatement) -> Option<String> {
    let all_tables = statement.starts_with(&["cluster"]) && statement.words.len() == 1;
    if statement.starts_with(&["vacuum"]) || statement.starts_with(&["reindex"]) || all_tables {
        return Some(String::new());
    }
    if statement.starts_with(&["do"]) {
        return without_commits(statement);
    }
    let at = statement.concurrently()?;
    let mut text = statement.remove_token(at);
    if let Some(partition) = statement.find(&["detach", "partition"])
        && partition + 2 < at
    {
        let name =
            &statement.sql[statement.words[partition + 1].at.end..statement.words[at].at.start];
        text = format!("{}\n;\n{text}", add_check_sql(name.trim_ascii()));
    }
    Some(text)
}

/// `DETACH PARTITION … CONCURRENTLY` adds the partition's bounds as a constraint
/// (PostgreSQL manual, ALTER TABLE).
fn add_check_sql(partition: &str) -> String {
    let literal = partition.replace('\'', "''");
    format!(
        "DO $detach$ BEGIN EXECUTE format('ALTER TABLE %s ADD CHECK (%s)', '{literal}'::regclass,
    pg_catalog.pg_get_partition_constraintdef('{literal}'::regclass)); END $detach$"
    )
}

/// Removes `COMMIT` from the body of a `DO` block; `None` if it has none.
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
    use super::without_non_transactional;

    #[test]
    fn removes_what_cannot_run_in_a_transaction() {
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
            assert_eq!(without_non_transactional(sql).as_deref(), expected, "{sql}");
        }
    }
}
