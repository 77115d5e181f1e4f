//! Which database a command works on: the one named by `DATABASE_URL`, or else the machine's own
//! PostgreSQL with its data below the data folder.

mod cause;
mod opening;
mod secret;
mod sessions;
mod url;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use sea_orm::{
    ConnectOptions, DatabaseConnection, DbErr, RuntimeErr,
    sqlx::{self, ConnectOptions as _, Connection},
};
use thiserror::Error;

pub use cause::Cause;
pub(crate) use cause::explain;
pub(crate) use opening::POOLER_IS_FULL;
pub use opening::{Opening, held_back};
pub use secret::{Secret, SecretError, given};
pub(crate) use sessions::{is_shared, new_mark};

use local_postgres::{Role, Server, ServerError};

/// Variables of the environment that have no option of their own: name and meaning.
pub const VARIABLES: [(&str, &str); 2] = [
    (
        "PG_BIN",
        "Folder of the PostgreSQL programs to use for the machine's own server, when they are not \
         found by themselves",
    ),
    ("RUST_LOG", "How much to log, such as `debug` or `info,sqlx=debug`"),
];

/// Why sessions are shared, and what to do.
pub(crate) const TRANSACTION_MODE: &str = "goes through a pooler in transaction mode; connect to \
     PostgreSQL itself, or to a pooler in session mode";

/// How long the first connection may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What every command's help ends with.
#[must_use]
pub fn variables_help() -> String {
    let mut help = "Other variables:\n".to_owned();
    for (name, meaning) in VARIABLES {
        help.push_str(&format!("  {name:<10}{meaning}\n"));
    }
    help
}

/// A variable that is empty counts as unset, as containers and `.env` files mean it.
#[must_use]
pub fn without_empty_variables(command: clap::Command) -> clap::Command {
    let empty = |arg: &clap::Arg| {
        arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty())
    };
    command
        .mut_args(|arg| if empty(&arg) { arg.env(None::<&str>) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// The options that every command shares.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// Database to use, as postgres://user:password@host:port/name. Without it the machine's own
    /// PostgreSQL server is started and keeps its data below the data folder. Other users of the
    /// machine can see a program's arguments: give a URL with a password by the variable or the
    /// file.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<Secret>,

    /// File that holds the database URL and nothing else.
    #[arg(long, global = true, env = "DATABASE_URL_FILE", value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,

    /// Folder for the data of the machine's own PostgreSQL server. Not used with a database URL.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_DATA_DIR",
        value_name = "FOLDER",
        default_value = ".data"
    )]
    pub data_dir: PathBuf,
}

/// Where a command's database is.
#[derive(Debug)]
pub struct Located {
    /// URL for SeaORM.
    pub url: Secret,
    /// The machine's own server, when that is what is used. It ends when this is dropped, unless
    /// another program owns it.
    pub server: Option<Server>,
    /// The folder that the data was wanted below but that the server's user may not enter, when
    /// it therefore lies elsewhere.
    pub moved_because: Option<PathBuf>,
}

/// An open database.
#[derive(Debug)]
pub struct Connected {
    /// A small pool.
    pub connection: DatabaseConnection,
    /// The machine's own server, when that is what is used.
    pub server: Option<Server>,
}

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not one. Its text is not repeated: it may hold a password.
    #[error(
        "DATABASE_URL is not a PostgreSQL URL: write it as postgres://user:password@host:port/name, \
         with %40 for @, %2F for / and so on in user, password and name"
    )]
    BadUrl,
    /// The server does not answer, or does not let us in.
    #[error("cannot connect to database {database:?} at {host}:{port}: {}", explain(source))]
    Unreachable {
        /// Host, or folder of the Unix socket.
        host: String,
        /// TCP port.
        port: u16,
        /// Name of the database.
        database: String,
        /// What the driver says; [`Cause::of`] sorts it.
        #[source]
        source: DbErr,
    },
    /// A pooler gives the sessions of the server to its clients in turn.
    #[error("the connection {TRANSACTION_MODE}")]
    SharedSessions,
    /// The URL cannot be taken from its file.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The machine's own server could not be started.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl DatabaseArgs {
    /// Finds the database; starts the machine's own server when no URL is given.
    ///
    /// # Errors
    /// [`ConnectError::BadUrl`], [`ConnectError::Secret`], or [`ConnectError::Server`] when the
    /// server cannot be started.
    pub async fn locate(&self, role: Role) -> Result<Located, ConnectError> {
        let file = self.database_url_file.as_deref();
        if let Some(url) = given(self.database_url.as_ref(), file, "DATABASE_URL")? {
            url::check(url.expose())?;
            return Ok(Located { url, server: None, moved_because: None });
        }
        let wanted = self.data_dir.join("postgres");
        // Starting a server waits for processes and files.
        tokio::task::spawn_blocking(move || {
            let place = local_postgres::lasting_dir(&wanted)?;
            let server = Server::lasting(&place.path, role)?;
            Ok(Located {
                url: server.url(local_postgres::DATABASE).into(),
                server: Some(server),
                moved_because: place.moved_because,
            })
        })
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Finds the database as [`locate`](Self::locate) does, sharing a server that already runs,
    /// and connects to it with a pool of so many connections.
    ///
    /// # Errors
    /// As for [`locate`](Self::locate), and those of [`small_pool`].
    pub async fn connect(&self, connections: u32) -> Result<Connected, ConnectError> {
        let located = self.locate(Role::Share).await?;
        let connection = small_pool(located.url.expose(), connections).await?;
        Ok(Connected { connection, server: located.server })
    }
}

/// Options for connections to the database of a URL, without parameters that the driver does not
/// read: it would log them with their values.
///
/// # Errors
/// [`ConnectError::BadUrl`].
pub fn options(url: &str) -> Result<ConnectOptions, ConnectError> {
    let checked = url::check(url)?;
    if checked.cut {
        tracing::warn!("DATABASE_URL has parameters that are not known here; they are ignored");
    }
    Ok(ConnectOptions::new(checked.text))
}

/// So many connections, for a command.
///
/// # Errors
/// [`ConnectError::BadUrl`], [`ConnectError::Unreachable`] and [`ConnectError::SharedSessions`].
pub async fn small_pool(url: &str, connections: u32) -> Result<DatabaseConnection, ConnectError> {
    let mut options = options(url)?;
    options
        .max_connections(connections)
        .acquire_timeout(TIMEOUT)
        // Not before each statement: that would be one more round trip.
        .test_before_acquire_if_idle_for(Duration::from_secs(1))
        .sqlx_logging(false)
        // A pool bounds how long a connection may take to open, so its first statement is part of
        // that.
        .map_sqlx_postgres_pool_opts(|options| {
            options.after_connect(|connection, _| {
                Box::pin(
                    async move { sqlx::raw_sql("SELECT 1").execute(connection).await.map(drop) },
                )
            })
        });
    open_own(options).await
}

/// Connects as [`open`] does, where every connection has a session of the server to itself.
///
/// # Errors
/// As for [`open`], and [`ConnectError::SharedSessions`].
pub async fn open_own(options: ConnectOptions) -> Result<DatabaseConnection, ConnectError> {
    open_as(options, true).await
}

/// Connects, with errors that say where to but never the password.
///
/// # Errors
/// [`ConnectError::BadUrl`] and [`ConnectError::Unreachable`].
pub async fn open(options: ConnectOptions) -> Result<DatabaseConnection, ConnectError> {
    open_as(options, false).await
}

async fn open_as(options: ConnectOptions, own: bool) -> Result<DatabaseConnection, ConnectError> {
    let conn = |error: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(error.into()));
    let parsed = url::check(options.get_url())?.options.disable_statement_logging();
    let unreachable = |source| ConnectError::Unreachable {
        host: match parsed.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => parsed.get_host().to_owned(),
        },
        port: parsed.get_port(),
        // PostgreSQL's own default is the name of the user.
        database: parsed.get_database().unwrap_or(parsed.get_username()).to_owned(),
        source,
    };
    // A pool tries until its time is over and then says only that; one connection says why.
    let first = async {
        let opening = Opening::within(options.get_acquire_timeout().unwrap_or(TIMEOUT));
        let mut connection = opening.connect(&parsed).await?;
        opening.first(sqlx::raw_sql("SELECT 1").execute(&mut connection)).await?;
        let shared = own && is_shared(&mut connection, &new_mark(), &parsed).await?;
        // Whether it is closed in good order matters to nobody.
        let _ = connection.close().await;
        Ok(shared)
    };
    if first.await.map_err(|error| unreachable(conn(error)))? {
        return Err(ConnectError::SharedSessions);
    }
    #[expect(clippy::disallowed_methods, reason = "the one place where connections are made")]
    sea_orm::Database::connect(options).await.map_err(unreachable)
}
