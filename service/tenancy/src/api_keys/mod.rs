//! API keys: credentials of tenants' programs and of operators.
//!
//! A key is found by its prefix and proved by its secret, of which only the hash is stored. Verified
//! keys are cached under the same rules as tenants: until a change is notified, for a second while
//! notifications may be missing ([`freshness`](super::freshness)).

mod background;
mod cache;
mod stored;
mod text;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QuerySelect, Select, Set,
    sea_query::{Expr, LockType},
};
use serde::Serialize;
use serde_json::json;
use tenantry_registry::{
    DisplayName, Scope, Scopes, Slug, TenantId, api_key,
    audit::{self, Action, Entry},
    notify::api_key_changed,
    tenant,
};
use uuid::Uuid;

pub(crate) use background::{Background, Event};
pub(crate) use cache::KeyCache;
pub(crate) use stored::{StoredKey, find_all};
pub(crate) use text::Prefix;
#[cfg(fuzzing)]
pub use text::fuzz_key;

use super::{Error, Tenancy, locked_row::lock_living};
use crate::page::{self, Page, PageRequest};
use text::{KeyText, shown};

/// A key to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Name for people, which logs and audit entries show.
    pub name: DisplayName,
    /// The tenant whose routes it opens; none for a key of an operator, which opens the admin API.
    pub tenant: Option<Slug>,
    /// What it may do; at least one scope. An operator's key has `read`, `admin` or both.
    pub scopes: Scopes,
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiKeyInfo {
    /// Id.
    pub id: Uuid,
    /// The beginning of the key, by which it is recognized.
    pub prefix: String,
    /// Name for people.
    pub name: String,
    /// Slug of the tenant whose routes it opens; none for an operator's.
    pub tenant: Option<String>,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, give or take a minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was created.
    pub inserted_at: DateTime<Utc>,
}

/// A key that was just created. `Debug` does not show the secret.
#[derive(Serialize)]
pub struct CreatedApiKey {
    /// The whole key with its secret, which is stored nowhere: the only occasion to read it.
    pub key: String,
    /// The rest.
    #[serde(flatten)]
    pub info: ApiKeyInfo,
}

/// The owner of a key that was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedKey {
    /// Id of the key.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The tenant whose routes it opens; none for an operator's.
    pub tenant: Option<(TenantId, Slug)>,
    /// What it may do.
    pub scopes: Scopes,
}

/// The answer to [`Tenancy::key_verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCheck {
    /// It is valid.
    Valid(VerifiedKey),
    /// The text is not a key: it is cut, or mistyped.
    Malformed,
    /// There is no such key, or its secret is another one, or its tenant was dropped.
    Unknown,
    /// It was revoked.
    Revoked,
    /// It has expired.
    Expired(DateTime<Utc>),
}

/// The owners whose keys are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeyOwner {
    /// All of them.
    #[default]
    Any,
    /// Operators.
    Operator,
    /// One tenant.
    Tenant(Slug),
}

impl ApiKeyInfo {
    /// `active`, `expired` or `revoked`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.revoked_at, self.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(at)) if at <= Utc::now() => "expired",
            (None, _) => "active",
        }
    }

    fn new(row: api_key::Model, tenant: Option<Slug>) -> Self {
        Self {
            id: row.id,
            prefix: row.prefix,
            name: row.name,
            tenant: tenant.map(|slug| slug.to_string()),
            scopes: scopes(&row.scopes),
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            inserted_at: row.inserted_at,
        }
    }

    /// The object of an audit entry.
    fn described(&self) -> serde_json::Value {
        json!({ "prefix": self.prefix, "name": self.name, "scopes": self.scopes,
            "operator": self.tenant.is_none(), "expires_at": self.expires_at,
            "revoked_at": self.revoked_at })
    }
}

impl std::fmt::Debug for CreatedApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedApiKey").field("info", &self.info).finish_non_exhaustive()
    }
}

/// The scopes in a column; unknown ones, of a newer program, give nothing.
fn scopes(texts: &[String]) -> Scopes {
    texts.iter().filter_map(|text| text.parse::<Scope>().ok()).collect()
}

impl NewApiKey {
    fn check(&self) -> Result<(), Error> {
        let rule = match self {
            Self { scopes, .. } if scopes.is_empty() => "it has no scope; give it at least one",
            Self { tenant: None, scopes, .. } if scopes.contains(Scope::Write) => {
                "scope write is one of tenants' keys; an operator's key has the scopes read and admin"
            }
            Self { expires_at: Some(at), .. } if *at <= Utc::now() => {
                "it would have expired already; choose a time in the future"
            }
            _ => return Ok(()),
        };
        Err(Error::InvalidApiKey { rule })
    }
}

impl Tenancy {
    /// Creates a key. Its secret is in the answer and nowhere else.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// use tenantry::{NewApiKey, Scope};
    ///
    /// let new = NewApiKey {
    ///     name: "report of the night".parse()?,
    ///     tenant: Some("acme".parse()?),
    ///     scopes: [Scope::Read].into(),
    ///     expires_at: None,
    /// };
    /// let created = tenancy.key_create(new).await?;
    /// println!("{}", created.key);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidApiKey`], [`Error::UnknownTenant`].
    pub async fn key_create(&self, new: NewApiKey) -> Result<CreatedApiKey, Error> {
        new.check()?;
        let key = KeyText::generate().map_err(|error| Error::NoRandomNumbers(error.into()))?;
        let txn = self.inner.lifecycle.begin().await?;
        let tenant_id = match &new.tenant {
            Some(slug) => Some(lock_living(&txn, slug).await?),
            None => None,
        };
        let row = api_key::ActiveModel {
            id: Set(Uuid::now_v7()),
            prefix: Set(key.prefix.as_str().to_owned()),
            hash: Set(key.hash().to_vec()),
            tenant_id: Set(tenant_id),
            scopes: Set(new.scopes.iter().map(|scope| scope.as_str().to_owned()).collect()),
            name: Set(new.name.as_str().to_owned()),
            expires_at: Set(new.expires_at.map(tenantry_registry::microseconds)),
            last_used_at: Set(None),
            revoked_at: Set(None),
            inserted_at: Set(tenantry_registry::now()),
        };
        let row = row.insert(&txn).await?;
        let info = ApiKeyInfo::new(row, new.tenant.clone());
        let entry = self.entry(Action::KeyCreated).after(info.described());
        let entry = of_owner(entry, tenant_id, new.tenant);
        audit::record(&txn, entry, api_key_changed(&info.prefix)).await?;
        txn.commit().await?;
        self.inner.keys.changed(&key.prefix);
        Ok(CreatedApiKey { key: key.expose(), info })
    }

    /// One page of keys, ordered by id, also of revoked and expired ones.
    ///
    /// # Errors
    /// [`Error::UnknownTenant`].
    pub async fn key_list(
        &self,
        owner: &KeyOwner,
        request: PageRequest,
    ) -> Result<Page<ApiKeyInfo>, Error> {
        let select = match owner {
            KeyOwner::Any => api_key::Entity::find(),
            KeyOwner::Operator => {
                api_key::Entity::find().filter(api_key::Column::TenantId.is_null())
            }
            KeyOwner::Tenant(slug) => {
                let tenant = self.get(slug).await?;
                let tenant = tenant.ok_or_else(|| Error::UnknownTenant(slug.clone()))?;
                api_key::Entity::find().filter(api_key::Column::TenantId.eq(tenant.id))
            }
        };
        let id = |row: &api_key::Model| row.id;
        let page = page::fetch(&self.inner.db, select, api_key::Column::Id, request, id).await?;
        let ids: Vec<TenantId> = page.items.iter().filter_map(|row| row.tenant_id).collect();
        let slugs = slugs_of(&self.inner.db, ids).await?;
        Ok(page.map(|row| {
            let slug = row.tenant_id.and_then(|id| slugs.get(&id).cloned());
            ApiKeyInfo::new(row, slug)
        }))
    }

    /// The key with an id or a prefix.
    ///
    /// # Errors
    /// [`Error::UnknownApiKey`].
    pub async fn key_get(&self, id_or_prefix: &str) -> Result<ApiKeyInfo, Error> {
        let (select, unknown) = find(id_or_prefix)?;
        let row = select.one(&self.inner.db).await?.ok_or(unknown)?;
        let slugs = slugs_of(&self.inner.db, row.tenant_id.into_iter().collect()).await?;
        Ok(ApiKeyInfo::new(row, slugs.into_values().next()))
    }

    /// Revokes a key, by its id or its prefix: from then on every process refuses it. One that is
    /// revoked already stays as it is. A text that begins with the prefix, such as the whole key,
    /// names the key as well.
    ///
    /// # Errors
    /// [`Error::UnknownApiKey`], which does not contain a secret.
    pub async fn key_revoke(&self, id_or_prefix: &str) -> Result<ApiKeyInfo, Error> {
        let (select, unknown) = find(id_or_prefix)?;
        let txn = self.inner.lifecycle.begin().await?;
        let row = select.lock(LockType::Update).one(&txn).await?.ok_or(unknown)?;
        let tenant_id = row.tenant_id;
        let slug = slugs_of(&txn, tenant_id.into_iter().collect()).await?.into_values().next();
        if row.revoked_at.is_some() {
            txn.rollback().await?;
            return Ok(ApiKeyInfo::new(row, slug));
        }
        let now = tenantry_registry::now();
        api_key::Entity::update_many()
            .col_expr(api_key::Column::RevokedAt, Expr::value(now))
            .filter(api_key::Column::Id.eq(row.id))
            .exec(&txn)
            .await?;
        let before = ApiKeyInfo::new(row, slug.clone());
        let info = ApiKeyInfo { revoked_at: Some(now), ..before.clone() };
        let entry = self.entry(Action::KeyRevoked).before(before.described());
        let entry = of_owner(entry.after(info.described()), tenant_id, slug);
        audit::record(&txn, entry, api_key_changed(&info.prefix)).await?;
        txn.commit().await?;
        if let Some(prefix) = Prefix::parse(&info.prefix) {
            self.inner.keys.changed(&prefix);
        }
        Ok(info)
    }

    /// Verifies a key that a client has presented. The registry is queried unless a current answer is
    /// cached; a text that is not a key is refused without a query.
    ///
    /// # Errors
    /// [`Error::Database`] if the registry does not respond.
    pub async fn key_verify(&self, key: &str) -> Result<KeyCheck, Error> {
        let Some(key) = KeyText::parse(key) else { return Ok(KeyCheck::Malformed) };
        Ok(self.inner.keys.verify(&key).await?)
    }

    /// Whether a key was valid when this process verified it last, so that it is certainly no guess. Said
    /// without a query: whether it is still valid, [`key_verify`](Self::key_verify) says.
    #[must_use]
    pub fn key_is_known(&self, key: &str) -> bool {
        KeyText::parse(key).is_some_and(|key| self.inner.keys.is_known(&key))
    }

    /// Records in `registry.audit` that a caller of one tenant was refused by another, at most once
    /// a minute for the same two, under the current actor. Nothing waits for it.
    pub fn record_refusal(&self, of: TenantId, by: Option<(TenantId, Slug)>) {
        let (tenant, slug) = by.unzip();
        let entry = self.entry(Action::KeyRefused).after(json!({ "tenant_of_key": of }));
        self.inner.keys.refused(of, tenant, of_owner(entry, tenant, slug));
    }
}

/// An entry about a key of a tenant, or of an operator.
fn of_owner(entry: Entry, tenant: Option<TenantId>, slug: Option<Slug>) -> Entry {
    match tenant {
        Some(id) => entry.tenant(id, slug),
        None => entry,
    }
}

/// The query of the key that a text names, and the error if there is none.
fn find(text: &str) -> Result<(Select<api_key::Entity>, Error), Error> {
    let (key, shown) = match (text.parse::<Uuid>(), Prefix::named(text)) {
        (Ok(id), _) => (api_key::Column::Id.eq(id), id.to_string()),
        (Err(_), Some(prefix)) => {
            (api_key::Column::Prefix.eq(prefix.as_str()), prefix.as_str().to_owned())
        }
        (Err(_), None) => return Err(Error::UnknownApiKey(shown(text))),
    };
    Ok((api_key::Entity::find().filter(key), Error::UnknownApiKey(shown)))
}

async fn slugs_of(
    db: &impl sea_orm::ConnectionTrait,
    ids: Vec<TenantId>,
) -> Result<std::collections::HashMap<TenantId, Slug>, Error> {
    let rows: Vec<(TenantId, Option<Slug>)> = tenant::Entity::find()
        .select_only()
        .columns([tenant::Column::Id, tenant::Column::Slug])
        .filter(tenant::Column::Id.eq_any(ids))
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().filter_map(|(id, slug)| Some((id, slug?))).collect())
}
