//! What can go wrong before a server answers, as sentences that name the remedy.

use std::{io, path::PathBuf};

use super::Version;

/// Why no server could be started, or joined.
///
/// Every message says what was wrong, with the path, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// `PG_BIN` is set, but is no folder that the server could be started from.
    #[error(
        "PG_BIN is {}, but {reason}; set it to the folder that holds initdb and postgres, \
         or unset it",
        .path.display()
    )]
    PgBin {
        /// The value of `PG_BIN`.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// This machine has no PostgreSQL server where one is looked for.
    #[error(
        "no PostgreSQL server found on this machine: install one (Debian, Ubuntu: `apt install \
         postgresql`; Fedora: `dnf install postgresql-server`; macOS: `brew install \
         postgresql`), name the folder of its programs in PG_BIN, or set DATABASE_URL to use a \
         server that runs already"
    )]
    NotInstalled,

    /// Only servers older than [`MIN_VERSION`](super::MIN_VERSION) were found.
    #[error(
        "PostgreSQL {version} in {} is too old: version {} or newer is needed; install one, name \
         the folder of its programs in PG_BIN, or set DATABASE_URL",
        .path.display(),
        super::MIN_VERSION
    )]
    TooOld {
        /// The newest version found.
        version: Version,
        /// The folder of its programs.
        path: PathBuf,
    },

    /// Run as root on a machine that has neither a user `postgres` nor `nobody`.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither a user `postgres` nor \
         `nobody` to run it as; create one (`useradd --system postgres`), or set DATABASE_URL"
    )]
    NoServerUser,

    /// Run as root, and the user that the server runs as may not reach the data folder.
    #[error(
        "the user {user}, as whom the server runs, may not enter {}; choose a data folder \
         elsewhere, or allow it (`chmod o+x {0}`)",
        .path.display()
    )]
    Inaccessible {
        /// The folder that it may not enter.
        path: PathBuf,
        /// The name of the server's user.
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
        /// The user it belongs to.
        user: String,
    },

    /// The folder is neither empty nor a PostgreSQL cluster. Nothing in it was changed.
    #[error(
        "{} holds something that is not a PostgreSQL data folder; choose another data folder, or \
         move that one away",
        .path.display()
    )]
    NotACluster {
        /// The folder.
        path: PathBuf,
    },

    /// The folder was made by another major version, whose programs are not installed.
    #[error(
        "{} was made by PostgreSQL {folder}, and only PostgreSQL {installed} is installed here; \
         install version {folder}, or move the folder away to begin with an empty one",
        .path.display()
    )]
    OtherVersion {
        /// The data folder.
        path: PathBuf,
        /// The major version that made it.
        folder: u32,
        /// The newest version installed.
        installed: Version,
    },

    /// Another program is the owner of the folder's server ([`Access::Exclusive`](super::Access::Exclusive)).
    #[error(
        "the data folder {} is in use by {program} (pid {pid}); stop that program, or choose \
         another data folder",
        .path.display()
    )]
    InUse {
        /// The data folder.
        path: PathBuf,
        /// The owner's process.
        pid: u32,
        /// The owner's program name.
        program: String,
    },

    /// A server that this module did not start runs on the folder.
    #[error(
        "a PostgreSQL server that was started by hand (pid {pid}) runs on {}; stop it \
         (`pg_ctl stop -D {0}`), or set DATABASE_URL to use it",
        .path.display()
    )]
    UnmanagedServer {
        /// The data folder.
        path: PathBuf,
        /// The server's process.
        pid: u32,
    },

    /// The server of an owner that has ended did not end.
    #[error(
        "the last server on {} (pid {pid}) is still shutting down; try again, or end it \
         (`kill -QUIT {pid}`)",
        .path.display()
    )]
    StillStopping {
        /// The data folder.
        path: PathBuf,
        /// The server's process.
        pid: u32,
    },

    /// Another program is the owner, but its server did not become ready.
    #[error(
        "{program} (pid {pid}) has the data folder {}, but its server does not answer; see {} \
         and stop that program",
        .path.display(),
        .log.display()
    )]
    OwnerNotResponding {
        /// The data folder.
        path: PathBuf,
        /// The owner's process.
        pid: u32,
        /// The owner's program name.
        program: String,
        /// The server's log file.
        log: PathBuf,
    },

    /// `initdb`, or the first statement after it, failed.
    #[error("could not make a PostgreSQL data folder at {}: {output}", .path.display())]
    Init {
        /// The data folder.
        path: PathBuf,
        /// The last lines that the program printed.
        output: String,
    },

    /// The server ended, or did not accept connections in time.
    #[error("PostgreSQL did not start on {}: {log}", .path.display())]
    Start {
        /// The data folder.
        path: PathBuf,
        /// The last lines of the server's log.
        log: String,
    },

    /// The operating system refused something.
    #[error("could not {doing} {}", .path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// What it was tried with.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
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

/// The last lines of a program's output, on one line: enough to see why it failed.
pub(super) fn tail(text: &str) -> String {
    const LINES: usize = 8;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    if last.is_empty() { "it printed nothing".to_owned() } else { last.join(" | ") }
}
