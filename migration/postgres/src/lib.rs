//! A private PostgreSQL server as a child process.
//!
//! A program and its tests run on a machine with PostgreSQL installed and nothing set up: no
//! database user, no password, no TCP port. `initdb` and `postgres` are found where distributions
//! install them, or in the folder that the variable `PG_BIN` names. Clients connect through a Unix
//! socket in a folder that only the server's own user and root may enter.
//!
//! **The server ends with its owner**, the program that started it, also if that is killed with
//! SIGKILL. There are two kinds of these:
//!
//! - [`Server::persistent`]: keeps its data, with fsync on. One program is the owner; others on the
//!   same folder join its server.
//! - [`Server::temporary`]: for tests. In memory where there is room, and removed at the end.
//!
//! A third kind has no owner: [`Server::shared`] is a temporary server of several programs, such as
//! the processes of a test run, and ends after the last of them.
//!
//! All functions block on processes and files. In asynchronous code, call them through
//! `tokio::task::spawn_blocking`, and drop the [`Server`] there too.
//!
//! ```no_run
//! use local_postgres::{Access, Server, resolve_data_dir};
//!
//! # fn main() -> Result<(), local_postgres::ServerError> {
//! let dir = resolve_data_dir(".data/postgres".as_ref(), "/var/lib/shop".as_ref())?.path;
//! let server = Server::persistent(&dir, "shop", Access::Shared)?;
//! assert!(server.url("shop").starts_with("postgres://postgres@localhost:5432/shop?"));
//! # Ok(())
//! # }
//! ```

mod binaries;
mod data_dir;
mod error;
mod lock;
mod os_user;
mod paths;
mod persistent;
mod pid_file;
mod shared;
mod supervisor;
mod temporary;
mod url;
mod version;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

pub use self::{
    error::ServerError,
    paths::{DataDir, resolve_data_dir},
    version::{MIN_VERSION, Version},
};

/// How long an owner that ends waits for the programs that have joined its server. They are
/// command line tools, most of them done within a second.
const USERS_TIMEOUT: Duration = Duration::from_secs(30);

/// How a program uses a persistent server that another program may have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Be the owner, or fail: for a program that others rely on, such as an HTTP server.
    Exclusive,
    /// Join the running server, or start it if none runs: for command line tools.
    Shared,
}

/// A running PostgreSQL server.
///
/// If this program is the owner, dropping it stops the server and waits for its end, for half a
/// minute at most. The owner of a persistent server first waits for programs that have joined it,
/// for another half a minute at most. If a program ends without dropping it, or is killed, its
/// server is stopped within about 0.1 s.
#[derive(Debug)]
pub struct Server {
    data_dir: PathBuf,
    socket_dir: PathBuf,
    version: u32,
    lifecycle: Lifecycle,
}

/// What a [`Server`] keeps until it is dropped, in the order of dropping: the server ends before
/// its folders are removed and the lock is released.
#[derive(Debug)]
enum Lifecycle {
    Temporary {
        postmaster: supervisor::Postmaster,
        _folder: TempDir,
        _lock: File,
    },
    Owner {
        postmaster: supervisor::Postmaster,
        _socket_dir: Option<TempDir>,
        ownership: lock::Ownership,
    },
    Joined {
        _users: File,
    },
    Shared {
        _users: File,
    },
}

impl Server {
    /// Starts a server for one run, such as that of a test binary: on a new folder, below
    /// `/dev/shm` if that has 1 GiB free, without fsync. It has the database `postgres` only.
    ///
    /// `settings` are further server settings by name and value, for example
    /// `[("log_statement", "all")]`; they override those of this crate. Folders that killed runs
    /// have left are removed first.
    ///
    /// # Errors
    /// - [`ServerError::NotInstalled`], [`ServerError::TooOld`], [`ServerError::PgBin`]: no
    ///   usable server on this machine.
    /// - [`ServerError::NoServerUser`]: root, without a user to run the server as.
    /// - [`ServerError::Init`], [`ServerError::Start`]: PostgreSQL failed.
    /// - [`ServerError::Io`]: the operating system failed.
    pub fn temporary(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        temporary::start(settings)
    }

    /// Joins the temporary server of this name, or starts it: for the processes of a test run, which
    /// may start at the same time. It has the settings of [`Server::temporary`] and `settings`;
    /// others, another user or another version of PostgreSQL make another server.
    ///
    /// The server has no owner. It ends ten seconds after the last program that uses it has dropped
    /// this value or has ended, also by SIGKILL. A lock file
    /// of a hundred bytes remains in the folder for temporary files.
    ///
    /// # Errors
    /// Those of [`Server::temporary`]; [`ServerError::Io`] if another program does not finish
    /// starting the server within two minutes.
    pub fn shared(name: &str, settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        shared::open(name, settings)
    }

    /// Starts the server of the data folder `dir`, or joins the one that another program has
    /// started there. A missing or empty folder becomes a cluster with the database `database`.
    ///
    /// As root, call [`resolve_data_dir`] first. The lock files `dir.lock` and `dir.users` are
    /// beside `dir`.
    ///
    /// # Errors
    /// Those of [`Server::temporary`], and:
    /// - [`ServerError::InUse`]: [`Access::Exclusive`], and another program is the owner.
    /// - [`ServerError::OwnerNotResponding`]: [`Access::Shared`], and the owner's server does not
    ///   respond within half a minute.
    /// - [`ServerError::NotACluster`], [`ServerError::OtherVersion`],
    ///   [`ServerError::UnmanagedServer`], [`ServerError::OtherUser`],
    ///   [`ServerError::Inaccessible`]: the folder cannot be used; it was not changed.
    /// - [`ServerError::StillStopping`]: the server of the previous owner does not end.
    pub fn persistent(dir: &Path, database: &str, access: Access) -> Result<Self, ServerError> {
        persistent::open(dir, database, access)
    }

    /// The URL of a database of this server, for `sqlx`, SeaORM and `psql`.
    pub fn url(&self, database: &str) -> String {
        url::socket_url(&self.socket_dir, database)
    }

    /// The absolute path of the data folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The folder of the server's Unix socket: the data folder, unless its path is too long.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The server's log file. The log of the run before has the suffix `.1`.
    pub fn log_file(&self) -> PathBuf {
        supervisor::log_file(&self.data_dir)
    }

    /// PostgreSQL's major version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether the server that this program has started has ended unexpectedly. Always `false` if
    /// this program has joined another one's server, or shares it.
    pub fn has_ended(&mut self) -> bool {
        match &mut self.lifecycle {
            Lifecycle::Temporary { postmaster, .. } | Lifecycle::Owner { postmaster, .. } => {
                postmaster.has_ended()
            }
            Lifecycle::Joined { .. } | Lifecycle::Shared { .. } => false,
        }
    }

    /// Whether this program has started the server, which then ends with it.
    pub fn is_owner(&self) -> bool {
        !matches!(self.lifecycle, Lifecycle::Joined { .. } | Lifecycle::Shared { .. })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Lifecycle::Owner { ownership, .. } = &self.lifecycle {
            ownership.wait_for_users(USERS_TIMEOUT);
        }
    }
}
