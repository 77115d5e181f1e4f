//! The proof that a pooler keeps the prepared statements of its clients apart.
//!
//! Two clients prepare different statements, which the driver gives the same name. Both execute them
//! while they take sessions of the server from each other, until a client has executed its statement
//! in a session in which it did not prepare it. A pooler that keeps no statements answers with an
//! error, or with the answer to the other client's statement: so the two have the same types of
//! parameter and answer.

use std::{collections::HashSet, time::Duration};

use sea_orm::sqlx::{
    self, AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Row,
    postgres::PgConnectOptions,
};
use tenantry_migrate::connect::{Opening, SessionOptions};
use tokio::time::{Instant, timeout, timeout_at};

use super::{PoolerError, RoleSettings};

/// For the whole proof, which takes some hundred round trips at most.
const WITHIN: Duration = Duration::from_secs(30);

/// For the answer to one statement. A pooler without a free session delays it.
const ANSWER: Duration = Duration::from_secs(3);

/// Rounds in which sessions may change. With own sessions, all of them are needed.
const ROUNDS: usize = 12;

/// Why the proof has ended early.
enum Failure {
    Refused(PoolerError),
    Driver(sqlx::Error),
}

/// A client of the pooler.
struct Client {
    connection: PgConnection,
    /// Added to the parameter by its statement.
    number: i64,
    /// The server process in which the statement was prepared first, and all in which it ran.
    first: Option<i32>,
    processes: HashSet<i32>,
    /// Whether it ran in a process other than the first.
    has_moved: bool,
}

/// Confirms that the pooler keeps prepared statements apart, and that its sessions have the settings.
pub(in super::super) async fn prove(
    options: &SessionOptions,
    settings: &RoleSettings,
    acquire_timeout: Duration,
) -> Result<Result<(), PoolerError>, sqlx::Error> {
    // One statement is kept, so that the next one closes it by its name. Slow ones are expected.
    let driver = options.driver().clone().statement_cache_capacity(1).disable_statement_logging();
    let mut clients = Vec::new();
    for number in [1, 2] {
        clients.push(Client::connect(&driver, number, acquire_timeout).await?);
    }
    let [one, other] = &mut clients[..] else { return Ok(Ok(())) };
    let proof = timeout_at(Instant::now() + WITHIN, async {
        interleave(one, other).await?;
        // Two sessions at once.
        one.batch("BEGIN").await?;
        one.confirm(settings).await?;
        other.confirm(settings).await?;
        one.batch("COMMIT").await
    });
    let result = match proof.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Failure::Refused(refused))) => Err(refused),
        Ok(Err(Failure::Driver(error))) => return Err(error),
        Err(_) => Err(PoolerError::Unproven { within: WITHIN }),
    };
    for client in clients {
        // Errors are irrelevant here. After a failure, a statement may be in progress.
        let _ = timeout(ANSWER, client.connection.close()).await;
    }
    Ok(result)
}

async fn interleave(one: &mut Client, other: &mut Client) -> Result<(), Failure> {
    let mut rounds_since_proof = 0;
    for round in 0..ROUNDS {
        // While one client holds a session by a transaction, the other needs a second one. They end
        // in different orders, with different numbers of statements in between, so that sessions
        // change whether the pooler assigns them in turn or prefers the last one.
        let (holder, user) = match round % 2 {
            0 => (&mut *other, &mut *one),
            _ => (&mut *one, &mut *other),
        };
        if round % 3 == 2 {
            holder.execute().await?;
        }
        holder.batch("BEGIN").await?;
        holder.execute().await?;
        for _ in 0..=round % 3 {
            user.execute().await?;
        }
        if round % 4 < 2 {
            holder.batch("COMMIT").await?;
            user.execute().await?;
        } else {
            user.batch("BEGIN").await?;
            user.execute().await?;
            holder.batch("COMMIT").await?;
            user.batch("COMMIT").await?;
        }
        if one.has_moved && other.has_moved {
            rounds_since_proof += 1;
        }
        // Closed by name, which must not close that of the other client.
        if rounds_since_proof == 1 {
            one.replace().await?;
        }
        if rounds_since_proof > 2 {
            return Ok(());
        }
    }
    let have_own = one.processes.is_disjoint(&other.processes)
        && [one, other].iter().all(|it| it.processes.len() == 1);
    match have_own {
        true => Ok(()),
        false if rounds_since_proof > 0 => Ok(()),
        false => Err(Failure::Refused(PoolerError::Unproven { within: WITHIN })),
    }
}

impl Client {
    async fn connect(
        driver: &PgConnectOptions,
        number: i64,
        within: Duration,
    ) -> Result<Self, sqlx::Error> {
        let opening = Opening::within(within);
        let mut connection = opening.connect(driver).await?;
        opening.first(connection.execute(sqlx::raw_sql("SELECT 1"))).await?;
        let processes = HashSet::new();
        Ok(Self { connection, number, first: None, processes, has_moved: false })
    }

    async fn confirm(&mut self, settings: &RoleSettings) -> Result<(), Failure> {
        match bounded(settings.confirm_all(&mut self.connection)).await? {
            Some(refused) => Err(Failure::Refused(refused)),
            None => Ok(()),
        }
    }

    /// Executes the prepared statement, and checks that it was the own one.
    async fn execute(&mut self) -> Result<(), Failure> {
        let Self { number, .. } = *self;
        let sql = format!("SELECT $1 + {number}::bigint, pg_backend_pid()");
        let parameter = 40_i64;
        let query = sqlx::query(AssertSqlSafe(sql)).bind(parameter);
        let row = match bounded(query.fetch_one(&mut self.connection)).await {
            Err(Failure::Driver(sqlx::Error::Database(error))) if is_name(&*error) => {
                return Err(mixed(error.message().to_owned()));
            }
            row => row?,
        };
        let (answer, process): (i64, i32) = (column(&row, 0)?, column(&row, 1)?);
        if answer != parameter + number {
            let reason = "a client got the answer to the statement of another one".to_owned();
            return Err(mixed(reason));
        }
        self.has_moved |= *self.first.get_or_insert(process) != process;
        self.processes.insert(process);
        Ok(())
    }

    /// Executes another statement, for which the driver closes the first one.
    async fn replace(&mut self) -> Result<(), Failure> {
        let query = sqlx::query("SELECT $1::bigint").bind(0_i64);
        match bounded(query.fetch_one(&mut self.connection)).await {
            Err(Failure::Driver(sqlx::Error::Database(error))) if is_name(&*error) => {
                Err(mixed(error.message().to_owned()))
            }
            row => row.map(drop),
        }
    }

    async fn batch(&mut self, sql: &'static str) -> Result<(), Failure> {
        bounded(self.connection.execute(sqlx::raw_sql(sql))).await.map(drop)
    }
}

/// Whether an error is about a prepared statement: it exists, it does not, or it is another one.
fn is_name(error: &dyn sqlx::error::DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("42P05" | "26000" | "08P01" | "0A000"))
}

fn mixed(reason: String) -> Failure {
    Failure::Refused(PoolerError::MixesStatements { reason })
}

fn column<'r, T>(row: &'r sqlx::postgres::PgRow, index: usize) -> Result<T, Failure>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(index).map_err(|_| mixed("an answer has other types than its statement".to_owned()))
}

async fn bounded<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Failure> {
    match timeout(ANSWER, answer).await {
        Ok(answer) => answer.map_err(Failure::Driver),
        Err(_) => Err(Failure::Refused(PoolerError::OneSession { within: ANSWER })),
    }
}
