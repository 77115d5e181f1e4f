//! Who changes a tenant, and the entries about it in `registry.audit`.

mod entries;
mod events;
pub(super) mod retention;

use std::sync::Arc;

use serde_json::{Map, Value};
use tenantry_registry::{
    alias,
    audit::{Action, Entry},
    tenant,
};

use super::{
    Tenancy,
    lifecycle::Creation,
    metadata::{NAME, TAGS},
};

pub use entries::{AuditEntry, AuditFilter};
pub use events::{Event, EventPosition};

/// The user or program that makes changes, see [`Tenancy::acting_as`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Name, such as that of a user or a key.
    pub name: String,
    /// Id of the HTTP request that makes the changes.
    pub request_id: Option<String>,
}

impl Actor {
    /// An actor of this name, without a request.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), request_id: None }
    }

    /// Without control characters, which PostgreSQL may not store, and not longer than a line: the
    /// texts may come from outside.
    pub(super) fn printable(self) -> Self {
        let clean = |text: String| text.chars().filter(|c| !c.is_control()).take(200).collect();
        Self { name: clean(self.name), request_id: self.request_id.map(clean) }
    }
}

impl Tenancy {
    /// The same tenancy, whose changes are recorded under this actor in place of
    /// [`Config::actor`](super::Config::actor). Cheap.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// use tenantry::{Actor, NewTenant};
    ///
    /// let actor = Actor::new("abu@example.org");
    /// tenancy.acting_as(actor).create(NewTenant::new("acme".parse()?)).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { inner: Arc::clone(&self.inner), actor: Arc::new(actor.printable()) }
    }

    /// An entry of the current actor.
    pub(super) fn entry(&self, action: Action) -> Entry {
        Entry::new(action, self.actor.name.as_str()).request_id(self.actor.request_id.clone())
    }

    /// An entry about a tenant.
    pub(super) fn tenant_entry(&self, action: Action, row: &tenant::Model) -> Entry {
        self.entry(action).tenant(row.id, row.slug.clone())
    }

    /// The entry about a new tenant.
    pub(super) fn creation_entry(&self, creation: &Creation) -> Entry {
        let Creation { new, row, action, .. } = creation;
        let mut after = described(row);
        after.retain(|_, value| !value.is_null());
        let metadata = keys(&row.metadata).collect::<Vec<_>>();
        if !metadata.is_empty() {
            after.insert(METADATA.to_owned(), metadata.into());
        }
        if !new.domains.is_empty() {
            let domains = new.domains.iter().map(ToString::to_string).collect::<Vec<_>>();
            after.insert("domains".to_owned(), domains.into());
        }
        self.tenant_entry(action.clone(), row).after(Value::Object(after))
    }

    /// The entry about the change of a tenant's row.
    pub(super) fn change_entry(
        &self,
        action: Action,
        before: &tenant::Model,
        after: &tenant::Model,
    ) -> Entry {
        let entry = self.tenant_entry(action, after);
        let [before, after] = changes(before, after);
        entry.before(Value::Object(before)).after(Value::Object(after))
    }

    /// The entry about a renaming and what becomes of the earlier slug.
    pub(super) fn renaming_entry(
        &self,
        before: &tenant::Model,
        after: &tenant::Model,
        alias: &alias::Model,
    ) -> Entry {
        let entry = self.tenant_entry(Action::Renamed, after);
        let [before, mut after] = changes(before, after);
        after.insert("alias".to_owned(), alias.redirects.into());
        after.insert("reserved_until".to_owned(), alias.expires_at.to_rfc3339().into());
        entry.before(Value::Object(before)).after(Value::Object(after))
    }
}

const METADATA: &str = "metadata";

/// The columns of a row that entries show. Metadata is the application's: see [`changes`].
fn described(row: &tenant::Model) -> Map<String, Value> {
    let columns = [
        ("slug", row.slug.as_ref().map(ToString::to_string).into()),
        ("schema", row.schema.as_str().into()),
        ("status", row.status.as_str().into()),
        ("status_reason", row.status_reason.clone().into()),
        ("purge_after", row.purge_after.map(|at| at.to_rfc3339()).into()),
        ("read_only", row.read_only.then_some(true).into()),
        ("schema_version", row.schema_version.clone().into()),
        ("max_connections", row.max_connections.into()),
        ("max_waiting", row.max_waiting.into()),
        ("max_body_bytes", row.max_body_bytes.into()),
        ("cors_origins", Some(row.cors_origins.clone()).filter(|it| !it.is_empty()).into()),
        (NAME, row.metadata.get(NAME).cloned().into()),
        (TAGS, row.metadata.get(TAGS).cloned().into()),
    ];
    columns.map(|(name, value): (&str, Value)| (name.to_owned(), value)).into_iter().collect()
}

/// What differs between two rows, before and after. Of metadata, the values may be personal data or
/// secrets, so only the names of the keys that have changed are shown.
fn changes(before: &tenant::Model, after: &tenant::Model) -> [Map<String, Value>; 2] {
    let [mut old, mut new] = [before, after].map(described);
    old.retain(|name, value| new.get(name) != Some(value));
    new.retain(|name, _| old.contains_key(name));
    let value = |row: &tenant::Model, key: &str| row.metadata.get(key).cloned();
    let differs = |key: &&str| value(before, key) != value(after, key);
    let mut changed: Vec<&str> =
        keys(&before.metadata).chain(keys(&after.metadata)).filter(differs).collect();
    changed.sort_unstable();
    changed.dedup();
    if !changed.is_empty() {
        new.insert(METADATA.to_owned(), changed.into());
    }
    [old, new]
}

/// The application's keys.
fn keys(metadata: &Value) -> impl Iterator<Item = &str> {
    let keys = metadata.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
    keys.filter(|key| ![NAME, TAGS].contains(key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{spares::new_row, test_migrator::Migrator};
    use tenantry_migrate::DynMigrator;

    fn row(metadata: Value) -> tenant::Model {
        let row = new_row(&DynMigrator::tenant(Migrator), "acme".parse().unwrap());
        tenant::Model { metadata, ..row }
    }

    #[test]
    fn actors_are_printable() {
        let actor = Actor::new(format!("a\0b\n{}", "x".repeat(1000))).printable();
        assert!(actor.name.starts_with("abxx"), "{actor:?}");
        assert_eq!(actor.name.len(), 200);
    }

    #[test]
    fn entries_show_what_changed_and_no_values_of_metadata() {
        let before = row(json!({ "name": "A", "plan": "gold", "old": 1, "same": 2 }));
        let mut after = row(json!({ "name": "B", "plan": "lead", "new": 1, "same": 2 }));
        after.max_waiting = Some(5);
        let [old, new] = changes(&before, &after).map(Value::Object);
        assert_eq!(old, json!({ "name": "A", "max_waiting": null }));
        let metadata = ["new", "old", "plan"];
        assert_eq!(new, json!({ "name": "B", "max_waiting": 5, "metadata": metadata }));
        assert!(changes(&before, &before).iter().all(Map::is_empty));
    }
}
