//! Announcements of changes, sent between processes with NOTIFY.
//!
//! The payload is the tenant's id, followed by the slugs and host names under which it must not be
//! looked up in a cache any longer. The schema of a new tenant is among them, marked by an `@`. A
//! heartbeat is an announcement of a process to itself.

use std::str::Split;

use migration::CHANNEL;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tenantry_registry::TenantId;
use uuid::Uuid;

/// Longest payload, in bytes: PostgreSQL takes less than 8000 (manual, NOTIFY).
const MAX_PAYLOAD: usize = 7999;

/// Begins the payload of a heartbeat.
const HEARTBEAT: &str = "heartbeat ";

/// Marks a schema among the keys: no slug and no host name begins with it.
pub(super) const SCHEMA_MARK: char = '@';

/// Announces that `id` has changed, and that cache entries for `keys` (slugs and host names) are
/// no longer valid. Inside a transaction it is sent when that commits, and not at all otherwise.
pub(super) async fn announce(
    db: &impl ConnectionTrait,
    id: TenantId,
    keys: impl IntoIterator<Item = String>,
) -> Result<(), DbErr> {
    let mut payloads = vec![id.to_string()];
    for key in keys {
        if payloads.last().is_none_or(|last| last.len() + 1 + key.len() > MAX_PAYLOAD) {
            payloads.push(id.to_string());
        }
        if let Some(last) = payloads.last_mut() {
            last.push(' ');
            last.push_str(&key);
        }
    }
    for payload in payloads {
        let notify = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT pg_notify($1, $2)",
            [CHANNEL.into(), payload.into()],
        );
        db.execute_raw(notify).await?;
    }
    Ok(())
}

/// What a payload says.
pub(super) enum Announcement<'a> {
    /// A tenant has changed.
    Changed { id: Option<TenantId>, keys: Split<'a, char> },
    /// A heartbeat of the process with this id, sent at this moment of its clock.
    Heartbeat { process: &'a str, at: u64 },
}

impl<'a> Announcement<'a> {
    pub(super) fn parse(payload: &'a str) -> Self {
        let heartbeat = payload.strip_prefix(HEARTBEAT).and_then(|rest| {
            let (process, at) = rest.split_once(' ')?;
            Some(Self::Heartbeat { process, at: at.parse().ok()? })
        });
        heartbeat.unwrap_or_else(|| {
            let mut keys = payload.split(' ');
            let id = keys.next().and_then(|id| id.parse::<Uuid>().ok()).map(TenantId::from);
            Self::Changed { id, keys }
        })
    }

    pub(super) fn heartbeat(process: &str, at: u64) -> String {
        format!("{HEARTBEAT}{process} {at}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_which_tenant_and_which_keys() {
        let id = TenantId::generate();
        let payload = format!("{id} acme acme.example.org");
        let Announcement::Changed { id: Some(found), keys } = Announcement::parse(&payload) else {
            panic!("no change: {payload}");
        };
        assert_eq!((found, keys.collect::<Vec<_>>()), (id, vec!["acme", "acme.example.org"]));
        for payload in ["", "acme", "heartbeat", "heartbeat x", "heartbeat x y"] {
            let parsed = Announcement::parse(payload);
            assert!(matches!(parsed, Announcement::Changed { id: None, .. }), "{payload}");
        }
    }

    #[test]
    fn a_heartbeat_says_of_which_process_it_is_and_when_it_was_sent() {
        let payload = Announcement::heartbeat("some-process", 17);
        let Announcement::Heartbeat { process, at } = Announcement::parse(&payload) else {
            panic!("no heartbeat: {payload}");
        };
        assert_eq!((process, at), ("some-process", 17));
    }
}
