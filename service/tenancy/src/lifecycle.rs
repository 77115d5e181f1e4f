use std::sync::Arc;

use sea_orm::DbErr;
use tenantry_migrate::{create_schema, delete_tenant, insert_tenant, rename_schema};
use tenantry_registry::{SchemaName, Slug, tenant};
use tracing::info;

use tenantry_registry::notify::{SCHEMA_MARK, notify};

use super::{
    Error, NewTenant, Tenancy, TenantInfo, TenantTransaction, metadata,
    naming::free_name,
    pool::{MigrationTransaction, Transaction, bounded},
    recording::record,
    spares,
};
use crate::DbErrorKind;

/// Attempts to choose a name for the schema, since other creations may choose the same.
const MAX_ATTEMPTS: u32 = 20;

const SLUG_KEY: &str = "tenants_slug_key";
const SCHEMA_KEY: &str = "tenants_schema_key";

impl Tenancy {
    /// Creates a tenant in one transaction: registry row, schema, tables, applied migrations,
    /// hostnames and the rows of the application's [seed](super::Config::seed). If there are
    /// [spares](super::Config::spares), one of them becomes the tenant's schema.
    ///
    /// The schema is named after the slug. If another tenant has or had a schema of that name, it is
    /// `name_2`, `name_3` and so on.
    ///
    /// # Errors
    /// [`Error::SlugTaken`], [`Error::SchemaTaken`], [`Error::HostTaken`], [`Error::HostBelowBase`],
    /// [`Error::Name`] if the slug makes no valid schema name, [`Error::TooManyTags`],
    /// [`Error::Migration`], [`Error::Seed`]. Nothing is changed then.
    pub async fn create(&self, mut new: NewTenant) -> Result<TenantInfo, Error> {
        new.normalize()?;
        let base = SchemaName::for_slug(&self.inner.schema_prefix, &new.slug)?;
        let mut row = spares::new_row(&self.inner.migrator, base.clone());
        row.slug = Some(new.slug.clone());
        row.metadata = metadata::of(new.name.as_ref(), &new.tags);
        let keys = keys(&new.slug, new.domains.iter().map(ToString::to_string));
        // Before the transaction, since it may take a connection.
        let with_spares = self.inner.spares.is_supported().await;
        let mut attempts = 0;
        let from_spare = loop {
            match self.create_with_retries(&new, &row, &keys, with_spares).await {
                // The name is usually free, so the insertion is tried first. A name that was found
                // free may be taken before it is inserted.
                Err(Error::Database(error))
                    if attempts < MAX_ATTEMPTS && is_taken(&error, SCHEMA_KEY) =>
                {
                    row.schema = free_name(&self.inner.db, &base).await?;
                    attempts += 1;
                }
                other => break other?,
            }
        };
        self.inner.cache.invalidate(keys.iter().map(String::as_str));
        self.inner.spares.taken.notify_one();
        info!(tenant = %new.slug, schema = %row.schema, from_spare, "tenant created");
        TenantInfo::new(row, new.domains).ok_or(Error::UnknownTenant(new.slug))
    }

    /// Creates a tenant in one transaction. Returns whether it was made of a spare.
    pub(super) async fn create_in_one(
        &self,
        new: &NewTenant,
        row: &tenant::Model,
        keys: &[String],
        with_spares: bool,
    ) -> Result<bool, Error> {
        record(&self.inner.lifecycle, &self.inner.migrator).await;
        let create = async {
            let txn = self.inner.lifecycle.begin_for_ddl().await?;
            let spare = self.insert_rows(&txn, new, row, with_spares).await?;
            match &spare {
                Some(spare) => rename_schema(&txn, spare, &row.schema).await?,
                None => {
                    let txn = MigrationTransaction(&txn);
                    create_schema(&txn, &row.schema, &self.inner.migrator).await?;
                }
            }
            self.finish(txn, new, row, keys).await?;
            Ok(spare.is_some())
        };
        let created = bounded(create).await;
        if let Err(Error::Migration(tenantry_migrate::Error::TransactionEnded { .. })) = &created {
            self.take_back(row).await?;
        }
        created
    }

    /// Inserts the rows of the registry. Returns the schema of the spare that the tenant is made of.
    pub(super) async fn insert_rows(
        &self,
        txn: &Transaction,
        new: &NewTenant,
        row: &tenant::Model,
        with_spares: bool,
    ) -> Result<Option<SchemaName>, Error> {
        // The unique index on the slug makes other creations of it wait for this transaction.
        let taken = |error| match is_taken(&error, SLUG_KEY) {
            true => Error::SlugTaken(new.slug.clone()),
            false => error.into(),
        };
        let spare = match with_spares {
            true => spares::take_spare(txn, row).await.map_err(taken)?,
            false => None,
        };
        if spare.is_none() {
            insert_tenant(txn, row).await.map_err(taken)?;
        }
        for hostname in &new.domains {
            self.insert_domain(txn, row.id, hostname).await?;
        }
        Ok(spare)
    }

    /// Seeds the tenant, notifies other processes and commits.
    pub(super) async fn finish(
        &self,
        txn: Transaction,
        new: &NewTenant,
        row: &tenant::Model,
        keys: &[String],
    ) -> Result<(), Error> {
        let txn = self.seed(txn, row, &new.slug).await?;
        let schema = format!("{SCHEMA_MARK}{}", row.schema);
        notify(&txn, row.id, keys.iter().cloned().chain([schema])).await?;
        txn.commit().await?;
        self.inner.view.schemas.add(row.schema.as_str());
        Ok(())
    }

    /// Removes what a migration has committed of a tenant whose creation failed.
    async fn take_back(&self, row: &tenant::Model) -> Result<(), Error> {
        let txn = self.inner.lifecycle.begin_for_ddl().await?;
        delete_tenant(&txn, row).await?;
        Ok(txn.commit().await?)
    }

    async fn seed(
        &self,
        txn: Transaction,
        row: &tenant::Model,
        slug: &Slug,
    ) -> Result<Transaction, Error> {
        let Some(seed) = &self.inner.seed else { return Ok(txn) };
        let state = self.inner.cache.detached(row.id, slug.clone(), row.schema.clone());
        let scope = TenantTransaction { db: txn, state: Arc::new(state) };
        match seed.run(&scope).await {
            Ok(()) => Ok(scope.db),
            Err(source) => Err(Error::Seed { slug: slug.clone(), source }),
        }
    }
}

fn is_taken(error: &DbErr, key: &str) -> bool {
    matches!(DbErrorKind::of(error), DbErrorKind::Unique(name) if name == key)
}

/// The keys of a tenant in the cache: its slug and its hostnames.
pub(super) fn keys(slug: &Slug, hostnames: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(slug.to_string()).chain(hostnames).collect()
}
