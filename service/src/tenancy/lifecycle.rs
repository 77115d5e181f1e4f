use std::sync::Arc;

use entity::registry::{SchemaName, Slug, TenantId, domain, tenant};
use migration::{
    build_at_once, build_schema, drop_relations, drop_schema, register, relations, rename_schema,
    unregister,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, ModelTrait, QueryFilter,
    QuerySelect, Statement, sea_query::Expr,
};
use tracing::info;

use super::{
    Error, NewTenant, Tenancy, TenantRecord, TenantTransaction,
    announce::announce,
    lanes::{Transaction, bounded},
    metadata,
    shared::Known,
    spares,
};
use crate::Fault;

/// A schema with more tables, indexes, views and sequences than these is dropped in several
/// transactions. Each takes about three locks, and the lock table of a server with default
/// settings has room for 6,400, which all its sessions share.
const DROPPED_AT_ONCE: u64 = 500;

impl Tenancy {
    /// Creates a tenant: registry row, schema, tables, migration records, host names and what the
    /// application's [seed](super::Config::seed) puts into it, in one transaction. They appear
    /// together or not at all.
    ///
    /// If there are [spares](super::Config::spares), it takes one of them.
    ///
    /// # Errors
    /// [`Error::SlugTaken`], [`Error::SchemaTaken`], [`Error::HostTaken`], [`Error::HostBelowBase`],
    /// [`Error::Name`] when the slug gives no schema name, [`Error::TooManyTags`],
    /// [`Error::Migration`], [`Error::Seed`]. Nothing is changed in any of these cases.
    pub async fn create(&self, mut new: NewTenant) -> Result<TenantRecord, Error> {
        new.check()?;
        let schema = SchemaName::for_slug(&self.inner.schema_prefix, &new.slug)?;
        let mut row = spares::new_row(&self.inner.migrator, schema.clone());
        row.slug = Some(new.slug.clone());
        row.metadata = metadata::of(&new);
        let keys = keys(&new.slug, new.domains.iter().map(ToString::to_string));
        // Before a transaction is begun, as it may take a connection of its own.
        let with_spares = self.inner.spares.usable().await;
        let mut made = None;
        if self.inner.migrator.is_recordable().await {
            let txn = self.inner.db.begin_for_ddl().await?;
            made = self.create_in(txn, &new, &row, &keys, with_spares).await?;
        }
        let from_spare = match made {
            Some(from_spare) => from_spare,
            None => {
                let txn = self.inner.db.begin_for_migrations().await?;
                let created = self.create_in(txn, &new, &row, &keys, with_spares);
                match bounded(created).await {
                    Err(error @ Error::Migration(migration::Error::TransactionEnded { .. })) => {
                        self.take_back(&row).await?;
                        return Err(error);
                    }
                    created => created?.unwrap_or_default(),
                }
            }
        };
        self.inner.cache.forget(keys.iter().map(String::as_str)).await;
        self.inner.spares.taken.notify_one();
        info!(tenant = %new.slug, %schema, from_spare, "tenant created");
        TenantRecord::new(row, new.domains).ok_or(Error::UnknownTenant(new.slug))
    }

    /// Whether it was made out of a spare; None when nothing was done, because it takes a
    /// transaction for migrations.
    async fn create_in(
        &self,
        txn: Transaction,
        new: &NewTenant,
        row: &tenant::Model,
        keys: &[String],
        with_spares: bool,
    ) -> Result<Option<bool>, Error> {
        // The unique index on the slug makes everybody else who wants it wait for this transaction.
        let taken = |error| taken(error, &new.slug, &row.schema);
        let spare = match with_spares {
            true => spares::claim(&txn, row).await.map_err(taken)?,
            false => None,
        };
        if spare.is_none() {
            register(&txn, row).await.map_err(taken)?;
        }
        for hostname in &new.domains {
            self.insert_domain(&txn, row.id, hostname).await?;
        }
        let migrator = &self.inner.migrator;
        match (&spare, txn.for_migrations()) {
            (Some(spare), _) => rename_schema(&txn, spare, &row.schema).await?,
            (None, Some(txn)) => build_schema(txn, &row.schema, migrator).await?,
            (None, None) if build_at_once(&txn, &row.schema, migrator).await => {}
            (None, None) => {
                txn.rollback().await?;
                return Ok(None);
            }
        }
        let txn = self.seed(txn, row, &new.slug).await?;
        announce(&txn, row.id, keys.iter().cloned()).await?;
        txn.commit().await?;
        Ok(Some(spare.is_some()))
    }

    /// Removes what a migration has committed of a tenant that is not to be.
    async fn take_back(&self, row: &tenant::Model) -> Result<(), Error> {
        let txn = self.inner.db.begin_for_ddl().await?;
        unregister(&txn, row).await?;
        Ok(txn.commit().await?)
    }

    async fn seed(
        &self,
        txn: Transaction,
        row: &tenant::Model,
        slug: &Slug,
    ) -> Result<Transaction, Error> {
        let Some(seed) = &self.inner.seed else { return Ok(txn) };
        let shared = self.inner.cache.unshared(row.id, slug.clone(), row.schema.clone());
        let scope = TenantTransaction { db: txn, shared: Known::new(Arc::new(shared)) };
        match seed.sow(&scope).await {
            Ok(()) => Ok(scope.db),
            Err(source) => Err(Error::Seed { slug: slug.clone(), source }),
        }
    }

    /// Drops a tenant: its schema with everything in it, its host names, its registry row. Open
    /// handles refuse their next statement.
    ///
    /// It is one transaction, but for a schema of hundreds of tables: their locks would fill the
    /// server's lock table. Then the first transaction marks the tenant as being dropped, from
    /// which on everybody refuses it, and the others drop some of the tables each. When that is
    /// interrupted, dropping the tenant again goes on with it.
    ///
    /// Waits for the tenant's transactions that are under way, 10 seconds at most.
    ///
    /// # Errors
    /// [`Error::UnknownTenant`]; [`Error::Database`] with [`Fault::LockTimeout`] when the tenant is
    /// busy. Nothing is changed then, or the tenant is still being dropped.
    pub async fn drop(&self, slug: &Slug) -> Result<(), Error> {
        let txn = self.begin_patiently().await?;
        let row = locked(&txn, tenant::Column::Slug.eq(slug.clone()))
            .await?
            .ok_or_else(|| Error::UnknownTenant(slug.clone()))?;
        let domains = row.find_related(domain::Entity).all(&txn).await?;
        let keys = keys(slug, domains.into_iter().map(|domain| domain.hostname.to_string()));
        let (id, schema) = (row.id, row.schema.clone());
        let is_marked = row.status == tenant::Status::Dropping;
        if !is_marked && relations(&txn, &schema).await? <= DROPPED_AT_ONCE {
            finish(txn, row, &keys).await?;
        } else {
            if !is_marked {
                mark(&txn, id).await?;
                announce(&txn, id, keys.clone()).await?;
            }
            txn.commit().await?;
            self.refuse(id, &keys).await;
            self.drop_bit_by_bit(id, &keys).await?;
        }
        self.refuse(id, &keys).await;
        info!(tenant = %slug, %schema, "tenant dropped");
        Ok(())
    }

    async fn drop_bit_by_bit(&self, id: TenantId, keys: &[String]) -> Result<(), Error> {
        loop {
            let txn = self.begin_patiently().await?;
            // Somebody else who drops the tenant may be done first.
            let Some(row) = locked(&txn, tenant::Column::Id.eq(id)).await? else { return Ok(()) };
            if !drop_relations(&txn, &row.schema).await? {
                return finish(txn, row, keys).await;
            }
            txn.commit().await?;
        }
    }

    /// Begins a transaction that waits for a lock, but not for ever.
    async fn begin_patiently(&self) -> Result<Transaction, DbErr> {
        let txn = self.inner.db.begin_for_ddl().await?;
        let patience = "SELECT set_config('lock_timeout', '10s', true)";
        txn.execute_raw(Statement::from_string(DbBackend::Postgres, patience)).await?;
        Ok(txn)
    }

    /// Makes this process refuse the tenant, as the others do when they hear of it.
    async fn refuse(&self, id: TenantId, keys: &[String]) {
        self.inner.cache.dropped(id);
        self.inner.cache.forget(keys.iter().map(String::as_str)).await;
    }
}

/// A tenant's row. The lock on it makes a migration of this tenant and the drop wait for each other.
async fn locked(txn: &Transaction, which: Expr) -> Result<Option<tenant::Model>, DbErr> {
    tenant::Entity::find().filter(which).lock_exclusive().one(txn).await
}

async fn mark(txn: &Transaction, id: TenantId) -> Result<(), DbErr> {
    tenant::Entity::update_many()
        .col_expr(tenant::Column::Status, Expr::value(tenant::Status::Dropping))
        .col_expr(tenant::Column::UpdatedAt, Expr::value(entity::now()))
        .filter(tenant::Column::Id.eq(id))
        .exec(txn)
        .await?;
    Ok(())
}

/// Drops what is left of a tenant.
async fn finish(txn: Transaction, row: tenant::Model, keys: &[String]) -> Result<(), Error> {
    drop_schema(&txn, &row.schema).await?;
    let id = row.id;
    row.delete(&txn).await?;
    announce(&txn, id, keys.iter().cloned()).await?;
    Ok(txn.commit().await?)
}

fn taken(error: DbErr, slug: &Slug, schema: &SchemaName) -> Error {
    match Fault::of(&error) {
        Fault::Unique(name) if name == "tenants_slug_key" => Error::SlugTaken(slug.clone()),
        Fault::Unique(name) if name == "tenants_schema_key" => Error::SchemaTaken(schema.clone()),
        _ => error.into(),
    }
}

fn keys(slug: &Slug, hostnames: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(slug.to_string()).chain(hostnames).collect()
}
