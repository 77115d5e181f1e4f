use std::sync::Arc;

use sea_orm::DbErr;
use tenantry_migrate::{create_schema, create_schema_batched, register, rename_schema, unregister};
use tenantry_registry::{SchemaName, Slug, tenant};
use tracing::info;

use tenantry_registry::notify::{SCHEMA_MARK, notify};

use super::{
    Error, NewTenant, Tenancy, TenantInfo, TenantTransaction, metadata,
    naming::free_name,
    pool::{Transaction, bounded},
    recording::record,
    spares,
};
use crate::DbErrorKind;

/// How often a name for the schema is chosen, as others may choose the same at the same moment.
const TRIES: u32 = 20;

const SLUG_KEY: &str = "tenants_slug_key";
const SCHEMA_KEY: &str = "tenants_schema_key";

impl Tenancy {
    /// Creates a tenant: registry row, schema, tables, migration records, host names and what the
    /// application's [seed](super::Config::seed) puts into it, in one transaction. They appear
    /// together or not at all.
    ///
    /// If there are [spares](super::Config::spares), it takes one of them.
    ///
    /// The schema has the name of the slug. When another tenant has that name or has ever had it,
    /// it is `name_2`, `name_3` or so on.
    ///
    /// # Errors
    /// [`Error::SlugTaken`], [`Error::SchemaTaken`], [`Error::HostTaken`], [`Error::HostBelowBase`],
    /// [`Error::Name`] when the slug gives no schema name, [`Error::TooManyTags`],
    /// [`Error::Migration`], [`Error::Seed`]. Nothing is changed in any of these cases.
    pub async fn create(&self, mut new: NewTenant) -> Result<TenantInfo, Error> {
        new.check()?;
        let base = SchemaName::for_slug(&self.inner.schema_prefix, &new.slug)?;
        let mut row = spares::new_row(&self.inner.migrator, base.clone());
        row.slug = Some(new.slug.clone());
        row.metadata = metadata::of(&new);
        let keys = keys(&new.slug, new.domains.iter().map(ToString::to_string));
        // Before a transaction is begun, as it may take a connection of its own.
        let with_spares = self.inner.spares.usable().await;
        let mut tries = 0;
        let from_spare = loop {
            match self.create_either_way(&new, &row, &keys, with_spares).await {
                // Mostly the name is free, so it is tried before it is asked for. And between the
                // question and the insertion another tenant may take the one that was found.
                Err(Error::Database(error)) if tries < TRIES && is_taken(&error, SCHEMA_KEY) => {
                    row.schema = free_name(&self.inner.db, &base).await?;
                    tries += 1;
                }
                other => break other?,
            }
        };
        self.inner.cache.forget(keys.iter().map(String::as_str));
        self.inner.spares.taken.notify_one();
        info!(tenant = %new.slug, schema = %row.schema, from_spare, "tenant created");
        TenantInfo::new(row, new.domains).ok_or(Error::UnknownTenant(new.slug))
    }

    /// Whether it was made out of a spare.
    pub(super) async fn create_as(
        &self,
        new: &NewTenant,
        row: &tenant::Model,
        keys: &[String],
        with_spares: bool,
    ) -> Result<bool, Error> {
        if record(&self.inner.lifecycle, &self.inner.migrator).await {
            let txn = self.inner.lifecycle.begin_for_ddl().await?;
            let created = self.create_in(txn, new, row, keys, with_spares);
            if let Some(from_spare) = self.unless_ended(row, bounded(created)).await? {
                return Ok(from_spare);
            }
        }
        let txn = self.inner.lifecycle.begin_for_migrations().await?;
        let created = self.create_in(txn, new, row, keys, with_spares);
        Ok(self.unless_ended(row, bounded(created)).await?.unwrap_or_default())
    }

    /// Removes what was committed of the tenant if a migration has ended the transaction.
    async fn unless_ended<T>(
        &self,
        row: &tenant::Model,
        created: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let created = created.await;
        if let Err(Error::Migration(tenantry_migrate::Error::TransactionEnded { .. })) = &created {
            self.take_back(row).await?;
        }
        created
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
        let spare = self.enter(&txn, new, row, with_spares).await?;
        let migrator = &self.inner.migrator;
        match (&spare, txn.for_migrations()) {
            (Some(spare), _) => rename_schema(&txn, spare, &row.schema).await?,
            (None, Some(txn)) => create_schema(txn, &row.schema, migrator).await?,
            (None, None) if create_schema_batched(&txn, &row.schema, migrator).await? => {}
            (None, None) => {
                txn.rollback().await?;
                return Ok(None);
            }
        }
        self.finish(txn, new, row, keys).await?;
        Ok(Some(spare.is_some()))
    }

    /// Writes the rows of the registry. Returns the schema of the spare that the tenant is made of.
    pub(super) async fn enter(
        &self,
        txn: &Transaction,
        new: &NewTenant,
        row: &tenant::Model,
        with_spares: bool,
    ) -> Result<Option<SchemaName>, Error> {
        // The unique index on the slug makes everybody else who wants it wait for this transaction.
        let taken = |error| match is_taken(&error, SLUG_KEY) {
            true => Error::SlugTaken(new.slug.clone()),
            false => error.into(),
        };
        let spare = match with_spares {
            true => spares::claim(txn, row).await.map_err(taken)?,
            false => None,
        };
        if spare.is_none() {
            register(txn, row).await.map_err(taken)?;
        }
        for hostname in &new.domains {
            self.insert_domain(txn, row.id, hostname).await?;
        }
        Ok(spare)
    }

    /// What is done when the schema is made.
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

    /// Removes what a migration has committed of a tenant that is not to be.
    async fn take_back(&self, row: &tenant::Model) -> Result<(), Error> {
        let txn = self.inner.lifecycle.begin_for_ddl().await?;
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
        let state = self.inner.cache.unseen(row.id, slug.clone(), row.schema.clone());
        let scope = TenantTransaction { db: txn, state: Arc::new(state) };
        match seed.sow(&scope).await {
            Ok(()) => Ok(scope.db),
            Err(source) => Err(Error::Seed { slug: slug.clone(), source }),
        }
    }
}

fn is_taken(error: &DbErr, key: &str) -> bool {
    matches!(DbErrorKind::of(error), DbErrorKind::Unique(name) if name == key)
}

/// What a tenant is known under: its slug and its host names.
pub(super) fn keys(slug: &Slug, hostnames: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(slug.to_string()).chain(hostnames).collect()
}
