//! `registry.audit`: who changed what, and when.
//!
//! An entry is inserted in the transaction of the change that it describes. It outlives its tenant.

use std::{fmt, str::FromStr};

use sea_orm::{DbBackend, Statement, Value, entity::prelude::*};

use crate::{Slug, TenantId, notify::CHANNEL};

/// One entry. The table has one more column, `xact`: the transaction that inserted it.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "registry", table_name = "audit")]
pub struct Model {
    /// Key: a UUID of version 7, made by the program that inserts the entry.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// When it was inserted, by the server's clock.
    pub at: DateTimeUtc,
    /// The user or program that made the change.
    pub actor: String,
    /// What was done: the text of an [`Action`].
    pub action: String,
    /// The tenant that was changed, if it was one.
    pub tenant_id: Option<TenantId>,
    /// Its slug after the change.
    pub slug: Option<Slug>,
    /// Id of the HTTP request that made the change.
    pub request_id: Option<String>,
    /// What was changed, as it was before: a JSON object.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub before: Option<Json>,
    /// The same afterwards.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub after: Option<Json>,
}

impl ActiveModelBehavior for ActiveModel {}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// A tenant was created.
    Created,
    /// A tenant was made of an existing schema.
    Adopted,
    /// The name, the tags, the metadata or the HTTP settings of a tenant were changed.
    Updated,
    /// The limits of a tenant were set.
    Limited,
    /// A hostname was added to a tenant.
    DomainAdded,
    /// A hostname was removed from a tenant.
    DomainRemoved,
    /// Migrations of a tenant were applied or rolled back.
    Migrated,
    /// A tenant was suspended.
    Suspended,
    /// A suspended tenant was resumed.
    Resumed,
    /// A tenant got another slug.
    Renamed,
    /// A tenant was archived.
    Archived,
    /// An archived tenant was restored.
    Restored,
    /// A tenant was made read-only, or writable again.
    ReadOnly,
    /// A drop began: the tenant is refused from now on.
    Dropping,
    /// A tenant was dropped.
    Dropped,
    /// A tenant was created as a copy of another one.
    Cloned,
    /// The data of a tenant was exported.
    Exported,
    /// A tenant was created from an export.
    Imported,
    /// A tenant was moved.
    Moved,
    /// The doctor has removed something that was left.
    Repaired,
    /// A key was created.
    KeyCreated,
    /// A key was revoked.
    KeyRevoked,
    /// A key was refused.
    KeyRefused,
    /// An action that this version does not know.
    Other(String),
}

impl Action {
    /// All actions that this version knows.
    pub const ALL: [Self; 23] = [
        Self::Created,
        Self::Adopted,
        Self::Updated,
        Self::Limited,
        Self::DomainAdded,
        Self::DomainRemoved,
        Self::Migrated,
        Self::Suspended,
        Self::Resumed,
        Self::Renamed,
        Self::Archived,
        Self::Restored,
        Self::ReadOnly,
        Self::Dropping,
        Self::Dropped,
        Self::Cloned,
        Self::Exported,
        Self::Imported,
        Self::Moved,
        Self::Repaired,
        Self::KeyCreated,
        Self::KeyRevoked,
        Self::KeyRefused,
    ];

    /// The action as stored and shown, such as `domain_added`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Created => "created",
            Self::Adopted => "adopted",
            Self::Updated => "updated",
            Self::Limited => "limited",
            Self::DomainAdded => "domain_added",
            Self::DomainRemoved => "domain_removed",
            Self::Migrated => "migrated",
            Self::Suspended => "suspended",
            Self::Resumed => "resumed",
            Self::Renamed => "renamed",
            Self::Archived => "archived",
            Self::Restored => "restored",
            Self::ReadOnly => "read_only",
            Self::Dropping => "dropping",
            Self::Dropped => "dropped",
            Self::Cloned => "cloned",
            Self::Exported => "exported",
            Self::Imported => "imported",
            Self::Moved => "moved",
            Self::Repaired => "repaired",
            Self::KeyCreated => "key_created",
            Self::KeyRevoked => "key_revoked",
            Self::KeyRefused => "key_refused",
            Self::Other(action) => action,
        }
    }
}

impl From<String> for Action {
    /// A stored action, which may be one of a newer program.
    fn from(text: String) -> Self {
        text.parse().unwrap_or(Self::Other(text))
    }
}

impl FromStr for Action {
    type Err = UnknownAction;

    /// An action that this version knows.
    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        let known = Self::ALL.into_iter().find(|action| action.as_str() == text);
        known.ok_or_else(|| UnknownAction(text.chars().take(80).collect()))
    }
}

/// The text names no [`Action`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an action; use one of {all}", all = Action::ALL.map(|it| it.to_string()).join(", "))]
pub struct UnknownAction(String);

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Action {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An entry to be inserted.
#[derive(Clone, Debug)]
pub struct Entry {
    id: Uuid,
    actor: String,
    action: Action,
    tenant: Option<(TenantId, Option<Slug>)>,
    request_id: Option<String>,
    before: Option<Json>,
    after: Option<Json>,
}

/// Columns of an [`Entry`], in the order of its values.
const COLUMNS: &str = "id, actor, action, tenant_id, slug, request_id, before, after";

impl Entry {
    /// Number of values of [`insert_from`](Self::insert_from).
    pub const VALUES: usize = 8;

    /// An entry without a tenant.
    #[must_use]
    pub fn new(action: Action, actor: impl Into<String>) -> Self {
        let actor = actor.into();
        let (tenant, request_id, before, after) = (None, None, None, None);
        Self { id: Uuid::now_v7(), actor, action, tenant, request_id, before, after }
    }

    /// Sets the tenant that is changed.
    #[must_use]
    pub fn tenant(mut self, id: TenantId, slug: Option<Slug>) -> Self {
        self.tenant = Some((id, slug));
        self
    }

    /// Sets the HTTP request that makes the change.
    #[must_use]
    pub fn request_id(mut self, id: Option<String>) -> Self {
        self.request_id = id;
        self
    }

    /// Sets what is changed, as it was before: a small JSON object without secrets.
    #[must_use]
    pub fn before(mut self, before: Json) -> Self {
        self.before = Some(before);
        self
    }

    /// Sets the same afterwards.
    #[must_use]
    pub fn after(mut self, after: Json) -> Self {
        self.after = Some(after);
        self
    }

    /// An `INSERT` of an entry for each row of `source`: SQL of the program for a function or a common
    /// table expression. The [values](Self::values) are the parameters from `$first` on.
    #[must_use]
    pub fn insert_from(source: &str, first: usize) -> String {
        let values: Vec<String> =
            (first..first + Self::VALUES).map(|number| format!("${number}")).collect();
        format!("INSERT INTO registry.audit ({COLUMNS}) SELECT {} FROM {source}", values.join(", "))
    }

    /// The parameters of [`insert_from`](Self::insert_from).
    #[must_use]
    pub fn values(self) -> [Value; Self::VALUES] {
        let (tenant, slug) = self.tenant.unzip();
        [
            self.id.into(),
            self.actor.into(),
            self.action.as_str().into(),
            tenant.into(),
            slug.flatten().into(),
            self.request_id.into(),
            self.before.into(),
            self.after.into(),
        ]
    }
}

/// Inserts the entry of a change and notifies all processes of the change, and so of the entry, in
/// one round trip. The payloads are those of [`notify`](crate::notify), such as [`tenant_changed`];
/// none if the transaction sends others. In the transaction of the change, the entry becomes visible
/// and the notification is sent when that commits.
///
/// [`tenant_changed`]: crate::notify::tenant_changed
///
/// # Errors
/// The errors of the database.
pub async fn record(
    db: &impl ConnectionTrait,
    entry: Entry,
    payloads: Vec<String>,
) -> Result<(), DbErr> {
    let sent = "(SELECT count(pg_notify($1, payload)) FROM unnest($2::text[]) AS payload) AS sent";
    let values = [CHANNEL.into(), payloads.into()].into_iter().chain(entry.values());
    let insert = Entry::insert_from(sent, 3);
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, insert, values))
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_as_they_were_stored() {
        for action in Action::ALL {
            assert!(!matches!(Action::from(action.to_string()), Action::Other(_)), "{action}");
            assert_eq!(Action::from(action.to_string()), action);
        }
        assert_eq!(Action::from("teleported".to_owned()).as_str(), "teleported");
        let unknown = "teleported".parse::<Action>().unwrap_err().to_string();
        assert!(
            unknown.starts_with("\"teleported\" is not an action; use one of created, adopted, ")
        );
    }
}
