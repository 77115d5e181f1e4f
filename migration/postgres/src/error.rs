use std::{io, path::PathBuf};

use super::Version;

/// Why a server could not be started or joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// `PG_BIN` is set to a folder without usable programs.
    #[error(
        "PG_BIN is {}, but {reason}; set it to the folder that holds initdb and postgres, \
         or unset it",
        .path.display()
    )]
    PgBin {
        /// Value of `PG_BIN`.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// No PostgreSQL server is installed in a known location.
    #[error(
        "no PostgreSQL server found on this machine: install one (Debian, Ubuntu: `apt install \
         postgresql`; Fedora: `dnf install postgresql-server`; macOS: `brew install \
         postgresql`), or name the folder of its programs in PG_BIN"
    )]
    NotInstalled,

    /// All servers found are older than [`MIN_VERSION`](super::MIN_VERSION).
    #[error(
        "PostgreSQL {version} in {} is too old; install version {} or newer, or name the folder \
         of its programs in PG_BIN",
        .path.display(),
        super::MIN_VERSION
    )]
    TooOld {
        /// Newest version found.
        version: Version,
        /// Folder of its programs.
        path: PathBuf,
    },

    /// This program is root, and the machine has neither a user `postgres` nor `nobody`.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither a user `postgres` nor \
         `nobody` to run it as; create one (`useradd --system postgres`)"
    )]
    NoServerUser,

    /// This program is root, and the server's user may not enter the data folder.
    #[error(
        "the user {user}, as whom the server runs, may not enter {}; choose another data folder, \
         or allow it (`chmod o+x {0}`)",
        .path.display()
    )]
    Inaccessible {
        /// The folder that it may not enter.
        path: PathBuf,
        /// Name of the server's user.
        user: String,
    },

    /// The data folder belongs to another user, and this one is not root.
    #[error(
        "the data folder {} belongs to the user {user}; run this as {user} or as root, or \
         choose another data folder",
        .path.display()
    )]
    OtherUser {
        /// The data folder.
        path: PathBuf,
        /// Its owner.
        user: String,
    },

    /// The folder is neither empty nor a PostgreSQL cluster. It was not changed.
    #[error(
        "{} is not empty and not a PostgreSQL data folder; choose another data folder, or move \
         that one away",
        .path.display()
    )]
    NotACluster {
        /// The folder.
        path: PathBuf,
    },

    /// The data folder is that of a major version that is not installed.
    #[error(
        "{} was created by PostgreSQL {data_dir}, but the newest version installed is \
         {installed}; install version {data_dir}, or move the folder away to start with an \
         empty one",
        .path.display()
    )]
    OtherVersion {
        /// The data folder.
        path: PathBuf,
        /// Major version of the data folder.
        data_dir: u32,
        /// Newest version installed.
        installed: Version,
    },

    /// [`Access::Exclusive`](super::Access::Exclusive) was asked for, and another program owns the
    /// folder's server.
    #[error(
        "the data folder {} is in use by {program} (pid {pid}); stop that program, or choose \
         another data folder",
        .path.display()
    )]
    InUse {
        /// The data folder.
        path: PathBuf,
        /// Process id of the owner.
        pid: u32,
        /// Name of the owner's program.
        program: String,
    },

    /// A server that this crate has not started runs on the folder.
    #[error(
        "a PostgreSQL server that was started by other means (pid {pid}) runs on {}; stop it \
         (`pg_ctl stop -D {0}`), or connect to it",
        .path.display()
    )]
    UnmanagedServer {
        /// The data folder.
        path: PathBuf,
        /// Process id of the server.
        pid: u32,
    },

    /// The server of the previous owner does not end.
    #[error(
        "the previous server on {} (pid {pid}) is still shutting down; try again, or end it \
         (`kill -QUIT {pid}`)",
        .path.display()
    )]
    StillStopping {
        /// The data folder.
        path: PathBuf,
        /// Process id of the server.
        pid: u32,
    },

    /// The server of another owner did not become ready.
    #[error(
        "{program} (pid {pid}) owns the data folder {}, but its server does not respond; see {} \
         and stop that program",
        .path.display(),
        .log.display()
    )]
    OwnerNotResponding {
        /// The data folder.
        path: PathBuf,
        /// Process id of the owner.
        pid: u32,
        /// Name of the owner's program.
        program: String,
        /// The server's log file.
        log: PathBuf,
    },

    /// `initdb`, or `CREATE DATABASE` after it, failed.
    #[error("could not create a PostgreSQL data folder at {}: {output}", .path.display())]
    Init {
        /// The data folder.
        path: PathBuf,
        /// Last lines of the program's output.
        output: String,
    },

    /// The server ended, or did not accept connections in time.
    #[error("PostgreSQL did not start on {}: {log}", .path.display())]
    Start {
        /// The data folder.
        path: PathBuf,
        /// Last lines of the server's log.
        log: String,
    },

    /// A call of the operating system failed.
    #[error("could not {doing} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// File, folder or program.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

impl ServerError {
    /// For `map_err`: an I/O error with what was tried.
    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

/// The last lines of a program's output, on one line.
pub(super) fn tail(text: &str) -> String {
    const LINES: usize = 8;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    if last.is_empty() { "no output".to_owned() } else { last.join(" | ") }
}
