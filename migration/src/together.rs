//! Migrations that cannot run in a transaction, run in one all the same.

use std::sync::Arc;

use sea_orm::{
    ConnectionTrait, Database, DatabaseTransaction, DbBackend, DbErr, ProxyDatabaseTrait,
    ProxyExecResult, ProxyRow, Statement, from_query_result_to_proxy_row,
};
use tokio::sync::{mpsc, oneshot};

use crate::{AnyMigrator, Error, Target, plan::Step};

/// Runs a step in the transaction that makes the schema. One that is to run alone runs without the
/// `CONCURRENTLY` that is the reason: on empty tables nobody waits, and the index is the same.
pub(crate) async fn run_together(
    txn: &DatabaseTransaction,
    target: &Target,
    migrator: &AnyMigrator,
    step: &Step,
) -> Result<(), Error> {
    if !step.alone() {
        return step.run_in(txn, target, migrator).await;
    }
    let (sender, mut requests) = mpsc::channel(1);
    let through: Box<dyn ProxyDatabaseTrait> = Box::new(Through(sender));
    let db = Database::connect_proxy(DbBackend::Postgres, Arc::new(through)).await?;
    let run = step.run(&db, migrator);
    tokio::pin!(run);
    loop {
        tokio::select! {
            result = &mut run => return result.map_err(|source| step.failed(target, source)),
            Some(request) = requests.recv() => answer(txn, request).await,
        }
    }
}

/// A statement of the migration, and where its result is waited for.
#[derive(Debug)]
enum Request {
    Query(Statement, oneshot::Sender<Result<Vec<ProxyRow>, DbErr>>),
    Execute(Statement, oneshot::Sender<Result<ProxyExecResult, DbErr>>),
}

async fn answer(txn: &DatabaseTransaction, request: Request) {
    // Nobody waits any more only when the migration was given up.
    match request {
        Request::Query(statement, sender) => {
            let rows = txn.query_all_raw(statement).await;
            let rows = rows.map(|rows| rows.iter().map(from_query_result_to_proxy_row).collect());
            let _ = sender.send(rows);
        }
        Request::Execute(mut statement, sender) => {
            if let Some(sql) = without_concurrently(&statement.sql) {
                statement.sql = sql;
            }
            let _ = sender.send(txn.execute_raw(statement).await.map(Into::into));
        }
    }
}

/// A connection that hands every statement to the one who has the transaction: SeaORM's proxies
/// must live for ever, and the transaction is only lent.
#[derive(Debug)]
struct Through(mpsc::Sender<Request>);

impl Through {
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, DbErr>>) -> Request,
    ) -> Result<T, DbErr> {
        let gone = || DbErr::Custom("the transaction of the migration is gone".to_owned());
        let (sender, answer) = oneshot::channel();
        self.0.send(request(sender)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

#[async_trait::async_trait]
impl ProxyDatabaseTrait for Through {
    async fn query(&self, statement: Statement) -> Result<Vec<ProxyRow>, DbErr> {
        self.ask(|sender| Request::Query(statement, sender)).await
    }

    async fn execute(&self, statement: Statement) -> Result<ProxyExecResult, DbErr> {
        self.ask(|sender| Request::Execute(statement, sender)).await
    }
}

/// A statement about an index without the word, if it has it where the grammar does.
pub(crate) fn without_concurrently(sql: &str) -> Option<String> {
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
