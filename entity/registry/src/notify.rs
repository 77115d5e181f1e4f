//! Notifications that processes send each other with `NOTIFY` when tenants change.
//!
//! The payload is the tenant's id, followed by the keys – slugs and host names – whose cache entries
//! are no longer valid. The schema of a new tenant is one of the keys, see [`schema_key`]. A heartbeat is a notification that a process sends to itself.

use std::str::Split;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value, sea_query::ArrayType};
use uuid::Uuid;

use crate::{SchemaName, TenantId};

/// Channel of the notifications.
pub const CHANNEL: &str = "tenantry_tenants";

/// Longest payload, in bytes: PostgreSQL takes less than 8000 (manual, NOTIFY).
const MAX_PAYLOAD: usize = 7999;

/// Begins the payload of a heartbeat.
const HEARTBEAT: &str = "heartbeat ";

/// Marks a schema among the keys: no slug and no host name begins with it.
const SCHEMA_MARK: char = '@';

/// The key of a new tenant's schema.
#[must_use]
pub fn schema_key(schema: &SchemaName) -> String {
    // Keys are separated by blanks.
    format!("{SCHEMA_MARK}{}", schema.as_str().replace('%', "%25").replace(' ', "%20"))
}

/// The name of the schema, if the key is one of [`schema_key`].
#[must_use]
pub fn schema_of_key(key: &str) -> Option<String> {
    let name = key.strip_prefix(SCHEMA_MARK)?;
    Some(name.replace("%20", " ").replace("%25", "%"))
}

/// Notifies all processes that a tenant has changed and that their cache entries for `keys` are no
/// longer valid, in one round trip. In a transaction the notification is sent when that commits.
///
/// # Errors
/// The errors of the database.
pub async fn notify(
    db: &impl ConnectionTrait,
    id: TenantId,
    keys: impl IntoIterator<Item = String>,
) -> Result<(), DbErr> {
    let notify = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload",
        [CHANNEL.into(), tenant_changed(id, keys).into()],
    );
    db.execute_raw(notify).await.map(drop)
}

/// The payloads of [`notify`]: more than one if the keys do not fit.
#[must_use]
pub fn tenant_changed(id: TenantId, keys: impl IntoIterator<Item = String>) -> Vec<String> {
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
    payloads
}

/// Notifies all processes that these tenants have changed, in one round trip.
///
/// # Errors
/// The errors of the database.
pub async fn notify_all(db: &impl ConnectionTrait, ids: &[TenantId]) -> Result<(), DbErr> {
    let ids = ids.iter().map(|id| Value::from(id.as_uuid())).collect();
    let notify = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT pg_notify($1, id::text) FROM unnest($2) AS id",
        [CHANNEL.into(), Value::Array(ArrayType::Uuid, Some(Box::new(ids)))],
    );
    db.execute_raw(notify).await?;
    Ok(())
}

/// Begins the payload of a change of an API key. No id of a tenant is like it.
const API_KEY: &str = "key";

/// The payload of a change of the API key with this prefix: it was created or revoked. The prefix is
/// the only key of a change of no tenant.
#[must_use]
pub fn api_key_changed(prefix: &str) -> Vec<String> {
    vec![format!("{API_KEY} {prefix}")]
}

/// The payload of an entry of the audit log that describes no change of a tenant or a key.
#[must_use]
pub fn entry_inserted() -> Vec<String> {
    vec!["audit".to_owned()]
}

/// A payload that was received.
#[derive(Debug, Clone)]
pub enum Notification<'a> {
    /// A tenant has changed.
    Changed {
        /// The tenant; `None` if the payload does not begin with an id.
        id: Option<TenantId>,
        /// Keys whose cache entries are no longer valid.
        keys: Split<'a, char>,
    },
    /// A heartbeat.
    Heartbeat {
        /// Id of the process that sent it.
        process: &'a str,
        /// Time of that process's clock when it was sent.
        at: u64,
    },
}

impl<'a> Notification<'a> {
    /// Parses a payload. One of an unknown form is a change of an unknown tenant.
    #[must_use]
    pub fn parse(payload: &'a str) -> Self {
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

    /// Payload of a heartbeat.
    #[must_use]
    pub fn heartbeat(process: &str, at: u64) -> String {
        format!("{HEARTBEAT}{process} {at}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_tenant_and_the_keys() {
        let id = TenantId::generate();
        let payload = format!("{id} acme acme.example.org");
        let Notification::Changed { id: Some(found), keys } = Notification::parse(&payload) else {
            panic!("no change: {payload}");
        };
        assert_eq!((found, keys.collect::<Vec<_>>()), (id, vec!["acme", "acme.example.org"]));
        let Notification::Changed { id: None, keys } = Notification::parse("key tnt_0a") else {
            panic!("a change of a tenant");
        };
        assert_eq!(keys.collect::<Vec<_>>(), ["tnt_0a"]);
        for payload in ["", "acme", "heartbeat", "heartbeat x", "heartbeat x y"] {
            let parsed = Notification::parse(payload);
            assert!(matches!(parsed, Notification::Changed { id: None, .. }), "{payload}");
        }
    }

    #[test]
    fn reads_every_schema_back() {
        for name in ["acme", "Acme Corp", "100%", "a%20b", "%25 %", "ü@\""] {
            let key = schema_key(&name.parse().unwrap());
            assert!(!key.contains(' '), "{key}");
            assert_eq!(schema_of_key(&key).as_deref(), Some(name));
        }
        assert_eq!(schema_of_key("acme.example.org"), None);
    }

    #[test]
    fn parses_a_heartbeat() {
        let payload = Notification::heartbeat("some-process", 17);
        let Notification::Heartbeat { process, at } = Notification::parse(&payload) else {
            panic!("no heartbeat: {payload}");
        };
        assert_eq!((process, at), ("some-process", 17));
    }
}
