//! The database of a command: `DATABASE_URL`, or else a local PostgreSQL server with its data in the
//! data folder.

use std::path::PathBuf;

use clap::Args;
use local_postgres::{Access, Server, ServerError, resolve_data_dir};
use sea_orm::{DatabaseConnection, DbErr, TransactionTrait};
use thiserror::Error;

use crate::describe;

use super::{
    ConnectError, DIRECT_VARIABLE, Secret, SecretError, connect_pool, given, is_same_database, url,
};

/// Database of the local server.
const DATABASE: &str = "tenantry";

/// Names of the variables with the URLs.
const VARIABLE: &str = "DATABASE_URL";
const OWNER_VARIABLE: &str = "TENANTRY_OWNER_URL";

/// Where root keeps the data if the server's user may not enter the data folder.
const SYSTEM_DIR: &str = "/var/lib/tenantry";

/// Environment variables without an option: name and meaning.
pub const VARIABLES: [(&str, &str); 2] = [
    (
        "PG_BIN",
        "Directory with `initdb` and `postgres` for the local PostgreSQL server, if they are not \
         found automatically",
    ),
    ("RUST_LOG", "Log filter, such as `debug` or `info,sqlx=debug`"),
];

/// End of the help of every command.
#[must_use]
pub fn variables_help() -> String {
    let mut help = "Other variables:\n".to_owned();
    for (name, meaning) in VARIABLES {
        help.push_str(&format!("  {name:<10}{meaning}\n"));
    }
    help
}

/// Treats empty variables as unset, as is usual in containers and `.env` files.
#[must_use]
pub fn without_empty_variables(command: clap::Command) -> clap::Command {
    let empty = |arg: &clap::Arg| {
        arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty())
    };
    command
        .mut_args(|arg| if empty(&arg) { arg.env(None::<&str>) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// Options of all commands.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// Database to use, as postgres://user:password@host:port/name. Without it a local PostgreSQL
    /// server is started, which keeps its data in the data folder. Other users of the machine can
    /// see a program's arguments: pass a URL with a password by the variable or the file.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<Secret>,

    /// File that contains the database URL and nothing else.
    #[arg(long, global = true, env = "DATABASE_URL_FILE", value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,

    /// URL of the same database for the role that owns schemas and tables. Creations, drops and
    /// migrations use it if it is given, everything else uses the database URL.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_OWNER_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub owner_url: Option<Secret>,

    /// File that contains the owner's URL and nothing else.
    #[arg(long, global = true, env = "TENANTRY_OWNER_URL_FILE", value_name = "FILE")]
    pub owner_url_file: Option<PathBuf>,

    /// URL of the same database past the pooler, if the database URL leads through one in
    /// transaction mode. A server then uses the database URL for tenants' statements only, and this
    /// one for everything else; other commands use this one.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_DIRECT_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub direct_url: Option<Secret>,

    /// File that contains the direct URL and nothing else.
    #[arg(long, global = true, env = "TENANTRY_DIRECT_URL_FILE", value_name = "FILE")]
    pub direct_url_file: Option<PathBuf>,

    /// Folder for the data of the local PostgreSQL server. Not used with a database URL.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_DATA_DIR",
        value_name = "FOLDER",
        default_value = ".data"
    )]
    pub data_dir: PathBuf,
}

/// A command's database.
#[derive(Debug)]
pub struct Located {
    /// URL for SeaORM.
    pub url: Secret,
    /// The local server, if it is used. It ends when this is dropped, unless another program owns
    /// it.
    pub server: Option<Server>,
    /// The folder that the server's user may not enter, if the data is elsewhere for that reason.
    pub inaccessible_dir: Option<PathBuf>,
}

/// An open database.
#[derive(Debug)]
pub struct Connected {
    /// A small pool.
    pub connection: DatabaseConnection,
    /// The local server, if it is used.
    pub server: Option<Server>,
}

/// Why a command cannot use its database.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocateError {
    /// Connecting failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Connecting as the owner failed.
    #[error("{}", .0.to_string().replace(VARIABLE, OWNER_VARIABLE))]
    Owner(#[source] ConnectError),
    /// The owner's URL is given without the database URL, so it would be compared with nothing.
    #[error(
        "TENANTRY_OWNER_URL is given without DATABASE_URL, so it would be the owner of another \
         server than the local one; set DATABASE_URL to the URL of the application's role"
    )]
    OwnerOfOther,
    /// The owner's URL leads to another database.
    #[error(
        "TENANTRY_OWNER_URL leads to another database than DATABASE_URL; nothing was changed, \
         correct one of them"
    )]
    OtherDatabase,
    /// The two databases cannot be compared.
    #[error("the databases of DATABASE_URL and TENANTRY_OWNER_URL cannot be compared: {}", describe(.0))]
    Compare(#[source] DbErr),
    /// Connecting past the pooler failed.
    #[error("{}", .0.of_direct_url(DIRECT_VARIABLE))]
    Direct(#[source] ConnectError),
    /// The URL cannot be read from its file.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The local server could not be started.
    #[error("{0}; or set DATABASE_URL to use another server")]
    Server(#[from] ServerError),
}

impl DatabaseArgs {
    /// Locates the database; starts the local server if no URL is given.
    ///
    /// # Errors
    /// [`ConnectError::BadUrl`], [`LocateError::Secret`], or [`LocateError::Server`] if the server
    /// cannot be started.
    pub async fn locate(&self, access: Access) -> Result<Located, LocateError> {
        let file = self.database_url_file.as_deref();
        if let Some(url) = given(self.database_url.as_ref(), file, VARIABLE)? {
            url::check(url.expose())?;
            return Ok(Located { url, server: None, inaccessible_dir: None });
        }
        let wanted = self.data_dir.join("postgres");
        // Blocks on processes and files.
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

    /// Whether a URL is given, directly or by a file; otherwise the local server is used.
    #[must_use]
    pub fn is_given(&self) -> bool {
        let text = self.database_url.as_ref().is_some_and(|url| !url.expose().is_empty());
        let file = self.database_url_file.as_ref().is_some_and(|it| !it.as_os_str().is_empty());
        text || file
    }

    /// The URL for the owner's role, if one is given.
    ///
    /// # Errors
    /// [`LocateError::Owner`] if it is not one, [`LocateError::OwnerOfOther`],
    /// [`LocateError::Secret`].
    pub fn owner(&self) -> Result<Option<Secret>, LocateError> {
        let file = self.owner_url_file.as_deref();
        let url = given(self.owner_url.as_ref(), file, OWNER_VARIABLE)?;
        if let Some(url) = &url {
            url::check(url.expose()).map_err(LocateError::Owner)?;
            if !self.is_given() && self.direct()?.is_none() {
                return Err(LocateError::OwnerOfOther);
            }
        }
        Ok(url)
    }

    /// The URL past the pooler, if one is given.
    ///
    /// # Errors
    /// [`LocateError::Direct`] if it is not one, [`LocateError::Secret`].
    pub fn direct(&self) -> Result<Option<Secret>, LocateError> {
        let file = self.direct_url_file.as_deref();
        let url = given(self.direct_url.as_ref(), file, DIRECT_VARIABLE)?;
        if let Some(url) = &url {
            url::check(url.expose()).map_err(LocateError::Direct)?;
        }
        Ok(url)
    }

    /// Locates the database as [`locate`](Self::locate) does, but past the pooler if its URL is
    /// given.
    ///
    /// # Errors
    /// As for [`locate`](Self::locate) and [`direct`](Self::direct).
    pub async fn locate_direct(&self, access: Access) -> Result<Located, LocateError> {
        match self.direct()? {
            None => self.locate(access).await,
            Some(url) => Ok(Located { url, server: None, inaccessible_dir: None }),
        }
    }

    /// Connects as [`connect`](Self::connect) does, but with the owner's URL if one is given, which
    /// must lead to the same database.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect) and [`owner`](Self::owner), [`LocateError::OtherDatabase`],
    /// and [`LocateError::Compare`].
    pub async fn connect_as_owner(&self, connections: u32) -> Result<Connected, LocateError> {
        let Some(url) = self.owner()? else { return self.connect(connections).await };
        let connection = connect_pool(url.expose(), connections).await;
        let connection = connection.map_err(LocateError::Owner)?;
        let application = self.connect(1).await?.connection;
        let compare = async {
            let txn = application.begin().await?;
            let same = is_same_database(&txn, &connection).await?;
            txn.rollback().await?;
            application.close_by_ref().await?;
            Ok(same)
        };
        match compare.await.map_err(LocateError::Compare)? {
            true => Ok(Connected { connection, server: None }),
            false => Err(LocateError::OtherDatabase),
        }
    }

    /// Locates the database as [`locate_direct`](Self::locate_direct) does, joining a local server
    /// that already runs, and connects to it with a pool of `connections`.
    ///
    /// # Errors
    /// As for [`locate_direct`](Self::locate_direct), and those of [`connect_pool`].
    pub async fn connect(&self, connections: u32) -> Result<Connected, LocateError> {
        if let Some(url) = self.direct()? {
            let connection = connect_pool(url.expose(), connections).await;
            let connection = connection.map_err(LocateError::Direct)?;
            return Ok(Connected { connection, server: None });
        }
        let located = self.locate(Access::Shared).await?;
        let connection = connect_pool(located.url.expose(), connections).await?;
        Ok(Connected { connection, server: located.server })
    }
}
