//! Migrations that cannot run in a transaction, run in one all the same.

use std::sync::Arc;

use sea_orm::{
    ConnectionTrait, Database, DatabaseTransaction, DbBackend, DbErr, ProxyDatabaseTrait,
    ProxyExecResult, ProxyRow, Statement, from_query_result_to_proxy_row,
};

use crate::{AnyMigrator, Error, Target, plan::Step};

/// Runs a step that is to run alone in this transaction, without the `CONCURRENTLY` that is the
/// reason: on empty tables nobody waits, and the index is the same.
pub(super) async fn run_together(
    txn: &Arc<DatabaseTransaction>,
    target: &Target,
    migrator: &AnyMigrator,
    step: &Step,
) -> Result<(), Error> {
    let through: Box<dyn ProxyDatabaseTrait> = Box::new(Through(Arc::clone(txn)));
    let db = Database::connect_proxy(DbBackend::Postgres, Arc::new(through)).await?;
    step.run(&db, migrator).await.map_err(|source| step.failed(target, source))
}

#[derive(Debug)]
struct Through(Arc<DatabaseTransaction>);

#[async_trait::async_trait]
impl ProxyDatabaseTrait for Through {
    async fn query(&self, statement: Statement) -> Result<Vec<ProxyRow>, DbErr> {
        let rows = self.0.query_all_raw(statement).await?;
        Ok(rows.iter().map(from_query_result_to_proxy_row).collect())
    }

    async fn execute(&self, mut statement: Statement) -> Result<ProxyExecResult, DbErr> {
        if let Some(sql) = without_concurrently(&statement.sql) {
            statement.sql = sql;
        }
        let rows_affected = self.0.execute_raw(statement).await?.rows_affected();
        Ok(ProxyExecResult { last_insert_id: 0, rows_affected })
    }
}

/// A statement about an index without the word, if it has it where the grammar does.
fn without_concurrently(sql: &str) -> Option<String> {
    const WORD: &str = "concurrently";
    let lower = sql.to_ascii_lowercase();
    let at = lower.find(WORD)?;
    let before = lower[..at].split_whitespace();
    let verbs = ["create", "unique", "drop", "reindex", "index", "table"];
    let plain = before.into_iter().all(|word| verbs.contains(&word));
    plain.then(|| format!("{}{}", &sql[..at], &sql[at + WORD.len()..]))
}

#[cfg(test)]
mod tests {
    use super::without_concurrently;

    #[test]
    fn only_the_key_word_is_left_out() {
        let without = |sql| without_concurrently(sql).unwrap_or_default();
        assert_eq!(
            without("Create UNIQUE index\nConcurrently i ON t (concurrently)"),
            "Create UNIQUE index\n i ON t (concurrently)"
        );
        assert_eq!(without("DROP INDEX CONCURRENTLY IF EXISTS i"), "DROP INDEX  IF EXISTS i");
        assert_eq!(without("CREATE INDEX i ON concurrently (a)"), "");
        assert_eq!(without("INSERT INTO t VALUES ('create index concurrently')"), "");
        assert_eq!(without("CREATE INDEX i ON t (a)"), "");
    }
}
