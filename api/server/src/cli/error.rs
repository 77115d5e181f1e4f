use std::{io, net::SocketAddr, path::PathBuf};

use tenantry::{
    AdoptError, Availability, Hostname, PoolerError, Slug, TenantUnavailable, TransferError,
    Transition,
};
use tenantry_migrate::{
    cli::terminal::ConfirmError,
    connect::{ConnectError, LocateError, SecretError},
    drift::AllowlistError,
};
use thiserror::Error;

use super::import::HeaderError;
use crate::{JwtError, TokenError};

/// Why a command failed.
#[derive(Debug, Error)]
pub(super) enum Error {
    /// Printed as clap prints its own errors.
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
    Jwt(#[from] JwtError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(
        "{} does not contain a valid admin token (at least 16 characters, printable ASCII without \
         blanks); remove the file to create a new one", path.display()
    )]
    KeptToken { path: PathBuf },
    #[error("the local PostgreSQL server exited unexpectedly; see its log: {}", log.display())]
    ServerEnded { log: PathBuf },
    #[error(
        "the limit on open files is {limit}, too low for {database} connections to the database; \
         raise it to {needed} or more (`ulimit -n`), or lower --max-connections"
    )]
    FewFiles { limit: u64, needed: u64, database: u32 },
    #[error(
        "TENANTRY_DIRECT_URL is given without DATABASE_URL, the URL of the pooler; set DATABASE_URL, \
         or without a pooler DATABASE_URL alone"
    )]
    DirectOfOther,
    #[error("the limit on open files cannot be read: {0}")]
    Limit(#[from] nix::errno::Errno),
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen { address: String, source: io::Error },
    #[error(
        "anonymous access is not possible on {address}, which other machines can reach; listen on a \
         loopback address, such as 127.0.0.1:3000, or leave out --anonymous and give the clients \
         credentials"
    )]
    AnonymousOn { address: SocketAddr },
    #[error(
        "with --anonymous every caller is admitted, and {other} would not be asked for; leave out one          of them"
    )]
    AnonymousWith { other: &'static str },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Header { path: PathBuf, source: HeaderError },
    #[error("{}: {source}", path.display())]
    Allowlist { path: PathBuf, source: AllowlistError },
    #[error(
        "schema {schema:?} differs from what the migrations create (version {}) in {number} {}; nothing \
         was changed. Give the version that the schema has (`--at`), change the schema, or allow the \
         differences (`--allow-differences`, `--allow FILE`)",
        version.as_deref().unwrap_or("no migration"), if *number == 1 { "place" } else { "places" }
    )]
    Differs { schema: String, version: Option<String>, number: usize },
    #[error("the database can no longer be reached: {0}; rerun the same command to resume")]
    DatabaseLost(#[source] tenantry::Error),
    #[error("hostname {hostname} belongs to tenant {tenant}; remove it from that tenant first")]
    HostOfOther { hostname: Hostname, tenant: Slug },
    #[error("{failed} of {all} tenants were not purged; the reasons are above")]
    NotPurged { failed: usize, all: usize },
    #[error(transparent)]
    Confirm(#[from] ConfirmError),
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Of the application's own commands and routes.
    #[error(transparent)]
    Application(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The error itself, where this one only passes it on.
    pub(super) fn cause(&self) -> &(dyn std::error::Error + 'static) {
        match self {
            Self::Io(error)
            | Self::Tenancy(tenantry::Error::Transfer(TransferError::Write(error))) => error,
            Self::Application(error) => &**error,
            error => error,
        }
    }

    /// The message, with the command of the application that helps, which the library does not
    /// know.
    pub(super) fn with_hint(&self, application: &str) -> String {
        match self {
            Self::HostOfOther { hostname, tenant } => {
                format!("{self} (`{application} tenant domain remove {tenant} {hostname}`)")
            }
            Self::Tenancy(tenantry::Error::Pooler(PoolerError::Direct(source))) => {
                source.of_direct_url("TENANTRY_DIRECT_URL")
            }
            Self::Tenancy(error) | Self::DatabaseLost(error) => match hint(error) {
                Some(Hint::Command(words)) => format!("{self} (`{application} {words}`)"),
                Some(Hint::Option(option)) => format!("{self} (`{option}`)"),
                None => self.to_string(),
            },
            _ => self.to_string(),
        }
    }
}

/// A name as an argument of a shell.
pub(super) fn shell_quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match name.chars().all(plain) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', "'\\''")),
    }
}

enum Hint {
    Command(String),
    Option(&'static str),
}

fn hint(error: &tenantry::Error) -> Option<Hint> {
    Some(match error {
        tenantry::Error::RegistryBehind { .. } | tenantry::Error::SharedBehind { .. } => {
            Hint::Command("migration up --registry".into())
        }
        tenantry::Error::Adopt(AdoptError::NoList { .. }) => {
            Hint::Option("--table`, `--schema-column")
        }
        tenantry::Error::Adopt(AdoptError::SeveralLists { .. }) => Hint::Option("--table"),
        tenantry::Error::SchemaTaken(schema) => {
            Hint::Command(format!("tenant adopt SLUG --schema {}", shell_quoted(schema.as_str())))
        }
        tenantry::Error::HasDependents { .. } => Hint::Option("--cascade"),
        tenantry::Error::GraceNotOver { .. } => Hint::Option("tenant purge --force"),
        tenantry::Error::InvalidTransition(refused) => {
            let next = match refused.refused {
                Transition::Purge => Transition::Archive,
                _ => *refused.possible.first()?,
            };
            Hint::Command(format!("tenant {next} {}", refused.slug))
        }
        tenantry::Error::Pooler(PoolerError::Settings { .. }) => {
            Hint::Command("setup --apply".into())
        }
        tenantry::Error::Owner(_) => Hint::Option("--owner-url`, or `TENANTRY_OWNER_URL"),
        tenantry::Error::UnknownApiKey(_) => Hint::Command("key list".into()),
        tenantry::Error::Unavailable(TenantUnavailable {
            slug,
            availability: Availability::Behind,
            ..
        }) => Hint::Command(format!("migration up --tenant {slug}")),
        _ => return None,
    })
}
