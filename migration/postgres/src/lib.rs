//! The machine's own PostgreSQL server as a child process.
//!
//! So the product and its tests run on a machine with PostgreSQL installed and nothing set up: no
//! database user, no password, no port. The programs `initdb` and `postgres` are found where
//! distributions keep them ([`PG_BIN`](ServerError::PgBin) names another place); the server is
//! reached by a Unix socket in a folder that only its own user and root may enter.
//!
//! The one invariant: **the server ends with its owner**, the program that started it – also when
//! that is killed with SIGKILL. There are two kinds:
//!
//! - [`Server::persistent`]: the data stays, with fsync on. One program is the owner; others on the
//!   same folder join its server.
//! - [`Server::temporary`]: for tests; in memory where there is room, and removed at the end.
//!
//! Everything here waits for processes and files: in asynchronous code call it by
//! `tokio::task::spawn_blocking`, and drop the [`Server`] there too.
//!
//! ```no_run
//! use local_postgres::{Access, Server, resolve_data_dir};
//!
//! # fn main() -> Result<(), local_postgres::ServerError> {
//! let place = resolve_data_dir(".data/postgres".as_ref())?;
//! let server = Server::persistent(&place.path, Access::Shared)?;
//! assert!(server.url("tenantry").starts_with("postgres://postgres@localhost:5432/tenantry?"));
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
mod process;
mod supervisor;
mod temporary;
mod url;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    binaries::{MIN_VERSION, Version},
    error::ServerError,
    paths::{DataDir, resolve_data_dir},
};

/// The database that [`Server::persistent`] makes together with the data folder.
pub const DATABASE: &str = "tenantry";

/// How long an owner that ends waits for the programs that have joined its server. They are
/// command line tools, mostly done in a second.
const FOR_USERS: Duration = Duration::from_secs(30);

/// What a program wants of a persistent server that another program may have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To be the owner, or nothing: for a program that others will rely on, such as `serve`.
    Exclusive,
    /// To use the running server, and to start it only when none runs: for command line tools.
    Shared,
}

/// A running PostgreSQL server.
///
/// Dropping it stops the server when this program is the owner, and waits until it is gone (at
/// most half a minute). The owner of a persistent server first waits for programs that have joined
/// it, at most half a minute as well. A program that ends without dropping it, or is killed, has
/// its server stopped all the same, within about 0.1 s.
#[derive(Debug)]
pub struct Server {
    data_dir: PathBuf,
    socket_dir: PathBuf,
    version: u32,
    lifecycle: Lifecycle,
}

/// What a [`Server`] keeps until it is dropped, in the order of dropping: the server ends before
/// the lock is given back.
#[derive(Debug)]
enum Lifecycle {
    Temporary { postmaster: process::Postmaster, _lock: File },
    Owner { postmaster: process::Postmaster, ownership: lock::Ownership },
    Joined { _users: File },
}

impl Server {
    /// Starts a server for one run, such as that of a test binary: on a fresh folder, below
    /// `/dev/shm` when that has 1 GiB free, without fsync. It has the database `postgres` only.
    ///
    /// `settings` are further server settings by name and value, for example
    /// `[("log_statement", "all")]`; they win over those of this module. Folders that killed runs
    /// left are removed first.
    ///
    /// # Errors
    /// - [`ServerError::NotInstalled`], [`ServerError::TooOld`], [`ServerError::PgBin`]: no
    ///   usable server on this machine.
    /// - [`ServerError::NoServerUser`]: root, without a user to run the server as.
    /// - [`ServerError::Init`], [`ServerError::Start`]: PostgreSQL failed, with its last words.
    /// - [`ServerError::Io`]: the operating system refused something.
    pub fn temporary(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        temporary::start(settings)
    }

    /// Starts the server of the data folder `dir`, or joins the one that another program has
    /// started there. A missing or empty folder becomes a cluster with the database [`DATABASE`].
    ///
    /// As root, find the folder by [`resolve_data_dir`] first. Beside `dir` lie its lock files,
    /// `dir.lock` and `dir.users`.
    ///
    /// # Errors
    /// Those of [`Server::temporary`], and:
    /// - [`ServerError::InUse`]: [`Access::Exclusive`], and another program is the owner.
    /// - [`ServerError::OwnerNotResponding`]: [`Access::Shared`], and the owner's server does not answer
    ///   within half a minute.
    /// - [`ServerError::NotACluster`], [`ServerError::OtherVersion`], [`ServerError::UnmanagedServer`],
    ///   [`ServerError::OtherUser`], [`ServerError::Inaccessible`]: the folder cannot be used; it
    ///   is left as it was.
    /// - [`ServerError::StillStopping`]: the server of an owner that has ended does not end.
    pub fn persistent(dir: &Path, access: Access) -> Result<Self, ServerError> {
        persistent::open(dir, access)
    }

    /// The URL of a database of this server, as `sqlx`, SeaORM and `psql` read it.
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

    /// The server's log file.
    pub fn log_file(&self) -> PathBuf {
        process::log_file(&self.data_dir)
    }

    /// PostgreSQL's major version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether the server that this program started has ended already, by itself or by somebody
    /// else. Always `false` for one that was joined: its owner looks after it.
    pub fn has_ended(&mut self) -> bool {
        match &mut self.lifecycle {
            Lifecycle::Temporary { postmaster, .. } | Lifecycle::Owner { postmaster, .. } => {
                postmaster.has_ended()
            }
            Lifecycle::Joined { .. } => false,
        }
    }

    /// Whether the server ends with this program; `false` when another program's was joined.
    pub fn owner(&self) -> bool {
        !matches!(self.lifecycle, Lifecycle::Joined { .. })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Lifecycle::Owner { ownership, .. } = &self.lifecycle {
            ownership.wait_for_users(FOR_USERS);
        }
    }
}
