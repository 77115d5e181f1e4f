use std::str::FromStr;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use tenantry::{DisplayName, Scope, Slug};

use crate::cli::{args::Output, options::TenancyArgs, period::moment};

/// Subcommands and options of `key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: KeyCommand,

    #[command(flatten)]
    pub(in crate::cli) tenancy: TenancyArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Create a key and print it, once: only its hash is stored.
    Create {
        #[command(flatten)]
        owner: Owner,
        /// What the key may do (repeatable): read, write and admin for a tenant's, read and admin
        /// for an operator's. None includes another.
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// Name for people, which the log and audit entries show.
        #[arg(long)]
        name: DisplayName,
        /// When the key ends: after a time such as 90d, 12h or 30m, or at one such as
        /// 2027-01-31T00:00:00Z. By default it has no end.
        #[arg(long, value_name = "TIME")]
        expires: Option<Expiry>,
        #[command(flatten)]
        output: Output,
    },
    /// List keys, also revoked and expired ones. The secrets are not known.
    List {
        /// Only the keys of this tenant.
        #[arg(long, value_name = "SLUG", conflicts_with = "operator")]
        tenant: Option<Slug>,
        /// Only the keys of operators.
        #[arg(long)]
        operator: bool,
        #[command(flatten)]
        output: Output,
        /// Print all columns, also if the terminal is too narrow for them.
        #[arg(long, conflicts_with = "json")]
        wide: bool,
    },
    /// Revoke a key: every server refuses it at once.
    Revoke {
        /// Id or prefix of the key, as `list` shows them.
        #[arg(value_name = "ID|PREFIX")]
        key: String,
    },
}

/// The owner of a new key.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct Owner {
    /// Slug of the tenant whose routes the key opens.
    #[arg(long, value_name = "SLUG")]
    pub(in crate::cli) tenant: Option<Slug>,
    /// A key of an operator, which opens the admin API and no tenant's routes.
    #[arg(long)]
    pub(in crate::cli) operator: bool,
}

/// The end of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Expiry(pub(in crate::cli) DateTime<Utc>);

impl FromStr for Expiry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let end = moment(text, |now, period| {
            now.checked_add_signed(Some(period).filter(|period| !period.is_zero())?)
        });
        end.map(Self).ok_or("write a time such as 90d, 12h, 30m or 2027-01-31T00:00:00Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_key_is_a_time_from_now_or_a_moment() {
        for (text, seconds) in [("90d", 90 * 86_400), ("12h", 43_200), ("1m", 60)] {
            let Expiry(at) = text.parse().unwrap();
            let off = (at - Utc::now()).num_seconds() - seconds;
            assert!((-60..=0).contains(&off), "{text}: {at}");
        }
        let Expiry(at) = "2027-01-31T01:00:00+01:00".parse().unwrap();
        assert_eq!(at.to_rfc3339(), "2027-01-31T00:00:00+00:00");
        for text in ["", "d", "0d", "90", "-1d", "90 d", "1y", "9999999999d", "4294967295d", "ü"] {
            text.parse::<Expiry>().unwrap_err();
        }
    }
}
