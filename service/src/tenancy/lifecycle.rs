use entity::registry::{SchemaName, Slug, TenantId, domain, tenant};
use migration::{drop_schema, provision};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr,
    EntityTrait, ModelTrait, QueryFilter, QuerySelect, Set, Statement, TransactionTrait,
};
use tracing::info;

use super::{Error, NewTenant, Tenancy, TenantRecord, announce::announce, shared::Access};
use crate::Fault;

impl Tenancy {
    /// Creates a tenant: registry row, schema, tables, migration records and host names, in one
    /// transaction. They appear together or not at all.
    ///
    /// # Errors
    /// [`Error::SlugTaken`], [`Error::SchemaTaken`], [`Error::HostTaken`], [`Error::HostBelowBase`],
    /// [`Error::Name`] when the slug gives no schema name, [`Error::Migration`]. Nothing is changed
    /// in any of these cases.
    pub async fn create(&self, mut new: NewTenant) -> Result<TenantRecord, Error> {
        new.domains.sort_unstable();
        new.domains.dedup();
        let schema = SchemaName::for_slug(&self.inner.schema_prefix, &new.slug)?;
        let txn = self.inner.db.begin().await?;
        let now = entity::now();
        let row = tenant::ActiveModel {
            id: Set(TenantId::generate()),
            slug: Set(Some(new.slug.clone())),
            schema: Set(schema.clone()),
            status: Set(tenant::Status::Active),
            metadata: Set(serde_json::json!({})),
            inserted_at: Set(now),
            updated_at: Set(now),
            ..Default::default()
        };
        // The unique index on the slug makes everybody else who wants it wait for this transaction.
        let row = row.insert(&txn).await.map_err(|error| match Fault::of(&error) {
            Fault::Unique(name) if name == "tenants_slug_key" => Error::SlugTaken(new.slug.clone()),
            Fault::Unique(name) if name == "tenants_schema_key" => {
                Error::SchemaTaken(schema.clone())
            }
            _ => error.into(),
        })?;
        for hostname in &new.domains {
            self.insert_domain(&txn, row.id, hostname).await?;
        }
        provision(&txn, &schema, &self.inner.migrator).await?;
        let row = reload(&txn, row.id).await?;
        let keys = keys(&new.slug, new.domains.iter().map(ToString::to_string));
        announce(&txn, row.id, keys.clone()).await?;
        txn.commit().await?;
        self.inner.cache.forget(keys.iter().map(String::as_str)).await;
        info!(tenant = %new.slug, %schema, "tenant created");
        TenantRecord::new(row, new.domains).ok_or(Error::UnknownTenant(new.slug))
    }

    /// Drops a tenant: its schema with everything in it, its host names, its registry row, in one
    /// transaction. Open handles refuse their next statement.
    ///
    /// Waits for the tenant's transactions that are under way, 10 seconds at most.
    ///
    /// # Errors
    /// [`Error::UnknownTenant`]; [`Error::Database`] with [`Fault::LockTimeout`] when the tenant is
    /// busy. Nothing is changed then.
    pub async fn drop(&self, slug: &Slug) -> Result<(), Error> {
        let txn = self.inner.db.begin().await?;
        let patience = "SELECT set_config('lock_timeout', '10s', true)";
        txn.execute_raw(Statement::from_string(DbBackend::Postgres, patience)).await?;
        // The lock on the row makes a migration of this tenant and the drop wait for each other.
        let row = tenant::Entity::find()
            .filter(tenant::Column::Slug.eq(slug.clone()))
            .lock_exclusive()
            .one(&txn)
            .await?
            .ok_or_else(|| Error::UnknownTenant(slug.clone()))?;
        let domains = row.find_related(domain::Entity).all(&txn).await?;
        drop_schema(&txn, &row.schema).await?;
        let (id, schema) = (row.id, row.schema.clone());
        row.delete(&txn).await?;
        let keys = keys(slug, domains.into_iter().map(|domain| domain.hostname.to_string()));
        announce(&txn, id, keys.clone()).await?;
        txn.commit().await?;
        self.inner.cache.set(id, Access::Dropped);
        self.inner.cache.forget(keys.iter().map(String::as_str)).await;
        info!(tenant = %slug, %schema, "tenant dropped");
        Ok(())
    }
}

fn keys(slug: &Slug, hostnames: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(slug.to_string()).chain(hostnames).collect()
}

/// The row as provisioning has left it.
async fn reload(txn: &DatabaseTransaction, id: TenantId) -> Result<tenant::Model, DbErr> {
    tenant::Entity::find_by_id(id)
        .one(txn)
        .await?
        .ok_or_else(|| DbErr::RecordNotFound(format!("registry.tenants {id}")))
}
