use std::{io, path::PathBuf};

use tenantry::Slug;
use tenantry_migrate::connect::{ConnectError, LocateError, SecretError};
use thiserror::Error;

use super::import::HeaderError;
use crate::admin::TokenError;

/// Why a command failed.
#[derive(Debug, Error)]
pub(super) enum Error {
    /// To be told as clap tells its own.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Locate(#[from] LocateError),
    #[error(transparent)]
    Tenancy(#[from] tenantry::Error),
    #[error(transparent)]
    Migration(#[from] tenantry_migrate::Error),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(
        "{} holds no usable operator's token (at least 16 characters, printable ASCII without \
         blanks); remove it to have a new one made", path.display()
    )]
    KeptToken { path: PathBuf },
    #[error(
        "the PostgreSQL server of this program has ended by itself; its log says why: {}",
        log.display()
    )]
    ServerEnded { log: PathBuf },
    #[error(
        "the limit on open files is {limit}, too low to serve with {database} connections to the \
         database; raise it to {needed} or more (`ulimit -n`), or lower --max-connections"
    )]
    FewFiles { limit: u64, needed: u64, database: u32 },
    #[error("the limit on open files cannot be read: {0}")]
    Limit(#[from] nix::errno::Errno),
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen { address: std::net::SocketAddr, source: io::Error },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Header { path: PathBuf, source: HeaderError },
    #[error(
        "the database cannot be reached any more: {0}; run the same command again to go on when it \
         is there"
    )]
    Gone(#[source] tenantry::Error),
    #[error("not confirmed: {typed:?} is not {slug}; nothing was changed")]
    NotConfirmed { slug: Slug, typed: String },
    #[error(
        "drop deletes all data and asks first; there is no terminal to ask, so pass --yes to confirm"
    )]
    NoTerminal,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}
