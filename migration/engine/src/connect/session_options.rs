//! SeaORM's connection options for connections that are opened one by one.

use std::{future::ready, time::Duration};

use sea_orm::{
    ConnAcquireErr, ConnectOptions, Database, DatabaseConnection, DbErr,
    sqlx::{self, ConnectOptions as _, PgConnection, postgres::PgConnectOptions},
};
use tokio::time::timeout;
use tracing::{Dispatch, instrument::WithSubscriber, log::LevelFilter};

use super::{ConnectError, Opening, url};
use crate::db_error::connection_error;

/// For a callback that is tried without a server.
const CALLBACK: Duration = Duration::from_secs(1);

/// The session that SeaORM's [`ConnectOptions`] describe, for connections outside a pool of sqlx.
///
/// SeaORM shows neither its `after_connect` callback nor what `map_sqlx_postgres_opts` does, and
/// runs the callback once for each of its pools. So every connection is opened by a pool of its own,
/// from which it is taken when the callback has run.
#[derive(Clone)]
pub struct SessionOptions {
    /// For a pool of one connection that is opened when the callback first uses it.
    sea_orm: ConnectOptions,
    driver: PgConnectOptions,
    /// Whether the URL has parameters that the driver would log with their values.
    is_quiet: bool,
}

impl SessionOptions {
    /// Reads the options, and applies `change` to those of the driver. Sends nothing.
    ///
    /// # Errors
    /// [`ConnectError::BadUrl`].
    pub async fn new(
        options: &ConnectOptions,
        change: impl FnOnce(PgConnectOptions) -> PgConnectOptions,
    ) -> Result<Self, ConnectError> {
        let checked = url::check(options.get_url())?;
        let mut single = options.clone();
        single
            .connect_lazy(true)
            .max_connections(1)
            .min_connections(0)
            .max_lifetime(None)
            .idle_timeout(None)
            .test_before_acquire(false)
            .map_sqlx_postgres_pool_opts(|options| options)
            .map_sqlx_postgres_before_acquire(|_, _| Box::pin(ready(Ok(true))));
        let mut plain = single.clone();
        plain.after_connect(|_| Box::pin(ready(Ok(()))));
        let pool = connect(plain, checked.cut).await.map_err(|_| ConnectError::BadUrl)?;
        let mut driver = (*pool.get_postgres_connection_pool().connect_options()).clone();
        if !options.get_sqlx_logging() {
            driver = driver.disable_statement_logging();
        }
        Ok(Self { sea_orm: single, driver, is_quiet: checked.cut }.map(change))
    }

    fn map(mut self, change: impl FnOnce(PgConnectOptions) -> PgConnectOptions) -> Self {
        self.driver = change(self.driver);
        let driver = self.driver.clone();
        self.sea_orm.map_sqlx_postgres_opts(move |_| driver.clone());
        self
    }

    /// The options of the driver, for connections on which `after_connect` does not run.
    #[must_use]
    pub fn driver(&self) -> &PgConnectOptions {
        &self.driver
    }

    /// The name of the database; by default, that of the user (PostgreSQL manual, 34.1.2).
    #[must_use]
    pub fn database(&self) -> &str {
        self.driver.get_database().unwrap_or(self.driver.get_username())
    }

    /// The same for connections whose statements no caller has asked for, such as heartbeats: they
    /// are logged at the level `DEBUG` or below.
    #[must_use]
    pub fn for_background(&self) -> Self {
        let level = self.sea_orm.get_sqlx_logging_level();
        let is_loud = self.sea_orm.get_sqlx_logging()
            && level != LevelFilter::Off
            && level < LevelFilter::Debug;
        let quiet = |driver: PgConnectOptions| driver.log_statements(LevelFilter::Debug);
        if is_loud { self.clone().map(quiet) } else { self.clone() }
    }

    /// Whether statements are written to the log of this process, at any level. Without
    /// `sqlx_logging` the driver writes none, whatever `map_sqlx_postgres_opts` says.
    #[must_use]
    pub fn logs_statements(&self) -> bool {
        self.sea_orm.get_sqlx_logging()
    }

    /// Whether there is an `after_connect` callback that sends statements. It is tried without a
    /// server.
    pub async fn has_callback(&self) -> bool {
        let mut options = self.sea_orm.clone();
        // A socket in a folder that does not exist, which the driver does not wait for.
        let nowhere = PgConnectOptions::new_without_pgpass()
            .socket("/nonexistent/after_connect")
            .disable_statement_logging();
        options.acquire_timeout(CALLBACK).map_sqlx_postgres_opts(move |_| nowhere.clone());
        !matches!(timeout(CALLBACK, connect(options, true)).await, Ok(Ok(_)))
    }

    /// Opens a pool of SeaORM's with the options that this was made from.
    pub(super) async fn open_pool(
        &self,
        options: ConnectOptions,
    ) -> Result<DatabaseConnection, DbErr> {
        connect(options, self.is_quiet).await
    }

    /// Opens a connection, and runs `after_connect` on it. Returns whether that has sent statements,
    /// so that the session may differ from a new one.
    ///
    /// With a callback that does, the driver repeats an attempt that is refused until the time is
    /// up.
    ///
    /// # Errors
    /// Those of the driver and of the callback, and a timeout.
    pub async fn open(&self, opening: &Opening) -> Result<(PgConnection, bool), DbErr> {
        let mut options = self.sea_orm.clone();
        options.acquire_timeout(opening.remaining());
        let customised = async {
            let db = connect(options, self.is_quiet).await.map_err(as_connection_error)?;
            let pool = db.get_postgres_connection_pool();
            if pool.size() == 0 {
                return Ok::<_, DbErr>(None);
            }
            let connection = pool.acquire().await.map_err(connection_error)?.detach();
            // The callback may have kept a clone, which must not open another connection.
            pool.close().await;
            Ok(Some(connection))
        };
        match timeout(opening.remaining(), customised).await {
            Ok(Ok(Some(connection))) => Ok((connection, true)),
            Ok(Ok(None)) => {
                let connection = opening.connect(&self.driver).await.map_err(connection_error)?;
                Ok((connection, false))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(connection_error(opening.late())),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "its callers set the options and bound the wait")]
async fn connect(options: ConnectOptions, is_quiet: bool) -> Result<DatabaseConnection, DbErr> {
    let connecting = Database::connect(options);
    match is_quiet {
        true => connecting.with_subscriber(Dispatch::none()).await,
        false => connecting.await,
    }
}

/// An error of the callback as one of the connection: the statement that the connection is opened
/// for is not at fault.
fn as_connection_error(error: DbErr) -> DbErr {
    match error {
        DbErr::Exec(source) | DbErr::Query(source) => DbErr::Conn(source),
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => {
            connection_error(sqlx::Error::PoolTimedOut)
        }
        other => other,
    }
}
