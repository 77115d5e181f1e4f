//! Texts of errors.

use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::DbErr;
use tenantry_migrate::LockHolder;
use tenantry_registry::Slug;

use super::Error;

pub(super) fn seconds(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Until when the data of an archived tenant is kept, and what helps.
pub(super) fn kept(purge_after: Option<&DateTime<Utc>>) -> String {
    match purge_after {
        Some(end) => format!("until {}; restore it, wait", seconds(end)),
        None => "without an end; restore it, archive it again with a grace".to_owned(),
    }
}

pub(super) fn by(holders: &[LockHolder]) -> String {
    let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
    if holders.is_empty() { String::new() } else { format!(" by {}", holders.join(", ")) }
}

pub(super) fn not_migrated(failures: &[(String, String)], not_started: usize) -> String {
    let mut text = format!("{} tenants could not be migrated", failures.len() + not_started);
    if let Some((tenant, error)) = failures.first() {
        text.push_str(&format!(": {tenant}: {error}"));
    }
    if failures.len() > 1 {
        text.push_str(&format!(" (and {} more)", failures.len() - 1));
    }
    text
}

pub(super) fn of_tenant(slug: &Slug, error: &Error) -> String {
    match error {
        Error::Unavailable(_)
        | Error::ReadOnlyTenant(_)
        | Error::Busy(_)
        | Error::OtherSchema(_) => error.to_string(),
        other => format!("tenant {slug}: {other}"),
    }
}

pub(super) fn read_only(standby: bool) -> &'static str {
    match standby {
        true => {
            "this server is a standby and accepts no writes; connect to the primary, or promote \
             this server"
        }
        false => {
            "this server is read-only (default_transaction_read_only is on); connect to the \
             primary, or turn the setting off"
        }
    }
}

pub(super) fn message(error: &DbErr) -> String {
    match error {
        DbErr::Conn(_) => tenantry_migrate::describe(error),
        _ => format!("database error: {}", tenantry_migrate::describe(error)),
    }
}
