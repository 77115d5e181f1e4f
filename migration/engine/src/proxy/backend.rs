use sea_orm::{DbErr, ExecResult, ProxyExecResult, QueryResult, Statement};

use crate::sql::Piece;

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
/// is nothing to vacuum.
pub(crate) fn in_one(sql: &str) -> Option<String> {
    let pieces = Piece::all(sql);
    let differs = |piece: &Piece| piece.concurrently().is_some() || piece.begins(&["vacuum"]);
    if !pieces.iter().any(differs) {
        return None;
    }
    let kept = pieces.into_iter().filter(|piece| !piece.begins(&["vacuum"]));
    let texts = kept.map(|piece| match piece.concurrently() {
        Some(at) => piece.without(at),
        None => piece.sql,
    });
    Some(texts.collect::<Vec<_>>().join("\n;\n"))
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
            ("REINDEX TABLE CONCURRENTLY t", Some("REINDEX TABLE  t")),
            (
                "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
                Some("ALTER TABLE t DETACH PARTITION p "),
            ),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", None),
        ] {
            assert_eq!(in_one(sql).as_deref(), expected, "{sql}");
        }
    }
}
