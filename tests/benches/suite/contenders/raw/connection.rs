//! A connection that many tasks use at the same time.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::FutureExt;
use tokio::sync::{RwLockReadGuard, RwLockWriteGuard};
use tokio_postgres::{
    Client, NoTls, Row, Statement,
    types::{ToSql, Type},
};

use super::Key;

/// A value and its type, which the statement does not infer.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Statements {
    /// Prepared at their first use and never closed.
    Prepared,
    /// Parsed and executed in one round trip, as the unnamed statement.
    Unnamed,
}

pub struct Connection {
    client: Client,
    statements: Statements,
    prepared: RwLock<HashMap<Key, Statement>>,
    turns: tokio::sync::RwLock<()>,
    /// Number of transactions that wait or are in progress.
    transactions: AtomicUsize,
}

impl Connection {
    pub async fn open(url: &str, statements: Statements) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        // Its end is seen by the client's next statement.
        tokio::spawn(async move { drop(connection.await) });
        Self {
            client,
            statements,
            prepared: RwLock::default(),
            turns: tokio::sync::RwLock::default(),
            transactions: AtomicUsize::new(0),
        }
    }

    /// Lets a task send statements, pipelined with those of other tasks.
    pub async fn share(&self) -> Turn<'_, RwLockReadGuard<'_, ()>> {
        Turn { connection: self, lock: self.turns.read().await }
    }

    /// Begins a transaction, once the statements of other tasks have ended. They wait for its end.
    pub async fn begin(&self) -> Turn<'_, Exclusive<'_>> {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        let lock = Exclusive { _lock: self.turns.write().await, transactions: &self.transactions };
        // Sent; the answer comes with that of the first statement.
        let _ = self.client.batch_execute("BEGIN").now_or_never();
        Turn { connection: self, lock }
    }

    pub fn transactions(&self) -> usize {
        self.transactions.load(Ordering::Relaxed)
    }

    async fn prepare(
        &self,
        key: Key,
        text: impl FnOnce() -> String,
        parameters: &[Parameter<'_>],
    ) -> Statement {
        let known = self.prepared.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(statement) = known {
            return statement;
        }
        let types: Vec<_> = parameters.iter().map(|(_, of)| of.clone()).collect();
        let statement = self.client.prepare_typed(&text(), &types).await.unwrap();
        let mut prepared = self.prepared.write().unwrap_or_else(PoisonError::into_inner);
        prepared.entry(key).or_insert(statement).clone()
    }
}

/// The right to send statements: shared with other tasks, or in a transaction.
pub struct Turn<'a, L> {
    connection: &'a Connection,
    lock: L,
}

pub struct Exclusive<'a> {
    _lock: RwLockWriteGuard<'a, ()>,
    transactions: &'a AtomicUsize,
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        self.transactions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<L> Turn<'_, L> {
    /// Executes a statement. `text` is called unless it is prepared.
    pub async fn query(
        &self,
        key: Key,
        text: impl FnOnce() -> String,
        parameters: &[Parameter<'_>],
    ) -> Vec<Row> {
        let connection = self.connection;
        match connection.statements {
            Statements::Unnamed => {
                connection.client.query_typed(&text(), parameters).await.unwrap()
            }
            Statements::Prepared => {
                let statement = connection.prepare(key, text, parameters).await;
                let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
                connection.client.query(&statement, &values).await.unwrap()
            }
        }
    }
}

impl Turn<'_, Exclusive<'_>> {
    pub async fn commit(self) {
        self.connection.client.batch_execute("COMMIT").await.unwrap();
        drop(self.lock);
    }
}
