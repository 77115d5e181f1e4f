//! Which database a command works on: the one named by `DATABASE_URL`, or else the machine's own
//! PostgreSQL with its data below the data folder.

use std::path::PathBuf;

use clap::Args;
use local_postgres::{Access, Server, ServerError, resolve_data_dir};
use sea_orm::DatabaseConnection;
use thiserror::Error;

use super::{ConnectError, Secret, SecretError, connect_pool, given, url};

/// Database of the machine's own server.
const DATABASE: &str = "tenantry";

/// Where root keeps the data if the server's user may not enter the data folder.
const SYSTEM_DIR: &str = "/var/lib/tenantry";

/// Variables of the environment that have no option of their own: name and meaning.
pub const VARIABLES: [(&str, &str); 2] = [
    (
        "PG_BIN",
        "Folder of the PostgreSQL programs to use for the machine's own server, when they are not \
         found by themselves",
    ),
    ("RUST_LOG", "How much to log, such as `debug` or `info,sqlx=debug`"),
];

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
    pub inaccessible_dir: Option<PathBuf>,
}

/// An open database.
#[derive(Debug)]
pub struct Connected {
    /// A small pool.
    pub connection: DatabaseConnection,
    /// The machine's own server, when that is what is used.
    pub server: Option<Server>,
}

/// Why a command has no database.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocateError {
    /// The database cannot be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The URL cannot be taken from its file.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The machine's own server could not be started.
    #[error("{0}; or set DATABASE_URL to use a server that runs already")]
    Server(#[from] ServerError),
}

impl DatabaseArgs {
    /// Finds the database; starts the machine's own server when no URL is given.
    ///
    /// # Errors
    /// [`ConnectError::BadUrl`], [`LocateError::Secret`], or [`LocateError::Server`] when the server
    /// cannot be started.
    pub async fn locate(&self, access: Access) -> Result<Located, LocateError> {
        let file = self.database_url_file.as_deref();
        if let Some(url) = given(self.database_url.as_ref(), file, "DATABASE_URL")? {
            url::check(url.expose())?;
            return Ok(Located { url, server: None, inaccessible_dir: None });
        }
        let wanted = self.data_dir.join("postgres");
        // Starting a server waits for processes and files.
        tokio::task::spawn_blocking(move || {
            let dir = resolve_data_dir(&wanted, SYSTEM_DIR.as_ref())?;
            let server = Server::persistent(&dir.path, DATABASE, access)?;
            Ok(Located {
                url: server.url(DATABASE).into(),
                server: Some(server),
                inaccessible_dir: dir.inaccessible,
            })
        })
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Finds the database as [`locate`](Self::locate) does, sharing a server that already runs,
    /// and connects to it with a pool of so many connections.
    ///
    /// # Errors
    /// As for [`locate`](Self::locate), and those of [`connect_pool`].
    pub async fn connect(&self, connections: u32) -> Result<Connected, LocateError> {
        let located = self.locate(Access::Shared).await?;
        let connection = connect_pool(located.url.expose(), connections).await?;
        Ok(Connected { connection, server: located.server })
    }
}
