//! Adoption of schemas that exist already.

use std::time::Duration;

use tenantry_migrate::{
    adopt::{AdoptError, Adoption, ListedTenant, TenantList},
    drift::{Allowlist, Change},
    lock_holders,
};
use tenantry_registry::{SchemaName, audit::Action};
use tracing::info;

use super::{
    Error, NewTenant, Tenancy, TenantInfo,
    lifecycle::{Creation, MAX_ATTEMPTS, SCHEMA_KEY, Structure, is_taken},
    locked_row::{LOCK_TIMEOUT, LockRetry, is_blocked, limit_lock_wait},
    naming::free_name,
    pool::{MigrationTransaction, bounded},
};

/// The schema that is adopted, and under which conditions.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AdoptOptions {
    /// The schema.
    pub source: AdoptSource,
    /// The version of the schema: its newest migration. Without it, the schema's migrations table
    /// decides, and if that is missing or empty, the schema has all migrations.
    pub at: Option<String>,
    /// Adopt the schema even if it differs from what the migrations create.
    pub allow_differences: bool,
    /// Differences that are allowed in any case.
    pub allowed: Allowlist,
    /// Do everything and roll it back.
    pub dry_run: bool,
    /// How long to repeat attempts while other sessions have locks. The default is 10 seconds.
    pub lock_timeout: Duration,
}

/// The schema that is adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdoptSource {
    /// This schema becomes the schema of the tenant.
    Schema(SchemaName),
    /// The objects of this schema, such as `public`, are moved into a new schema.
    ObjectsOf(String),
}

/// An adopted tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adopted {
    /// The tenant; in a dry run, the tenant that would be created.
    pub tenant: TenantInfo,
    /// The differences of its schema from what the migrations create, all of which were allowed.
    pub differences: Vec<Change>,
}

impl AdoptOptions {
    /// A schema that becomes the schema of the tenant.
    #[must_use]
    pub fn schema(schema: SchemaName) -> Self {
        Self::of(AdoptSource::Schema(schema))
    }

    /// A schema whose objects are moved into a new schema.
    #[must_use]
    pub fn objects_of(schema: impl Into<String>) -> Self {
        Self::of(AdoptSource::ObjectsOf(schema.into()))
    }

    fn of(source: AdoptSource) -> Self {
        Self {
            source,
            at: None,
            allow_differences: false,
            allowed: Allowlist::default(),
            dry_run: false,
            lock_timeout: Duration::from_secs(10),
        }
    }

    fn source(&self) -> &str {
        match &self.source {
            AdoptSource::Schema(schema) => schema.as_str(),
            AdoptSource::ObjectsOf(schema) => schema,
        }
    }
}

impl Tenancy {
    /// Creates a tenant of a schema that exists already, in one transaction: registry row, hostnames,
    /// and the schema's migrations table, if it is missing. With [`AdoptSource::ObjectsOf`] the
    /// objects of the schema – tables, sequences, types, functions, views and so on, except those of
    /// extensions – are moved into a new schema, whose name is chosen as by [`create`](Self::create).
    ///
    /// The schema has to be what the migrations of its version create in an empty schema. The seed
    /// does not run.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), Box<dyn std::error::Error>> {
    /// use tenantry::{AdoptOptions, NewTenant};
    ///
    /// let mut options = AdoptOptions::schema("Acme Corp".parse()?);
    /// options.at = Some("m20260101_000001_create_guards".to_owned());
    /// let adopted = tenancy.adopt(NewTenant::new("acme".parse()?), &options).await?;
    /// assert_eq!(adopted.tenant.schema.as_str(), "Acme Corp");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Adopt`] if the schema cannot be adopted or differs, [`Error::AdoptBlocked`] if other
    /// sessions use it, and [`Error::SlugTaken`], [`Error::SlugReserved`], [`Error::HostTaken`], [`Error::HostBelowBase`],
    /// [`Error::TooManyTags`], [`Error::SchemaTaken`] as for [`create`](Self::create). Nothing is
    /// changed then.
    pub async fn adopt(&self, new: NewTenant, options: &AdoptOptions) -> Result<Adopted, Error> {
        let base = match &options.source {
            AdoptSource::Schema(schema) => schema.clone(),
            AdoptSource::ObjectsOf(_) => {
                SchemaName::for_slug(&self.inner.schema_prefix, &new.slug)?
            }
        };
        let mut creation = self.new_creation(new, base.clone(), Action::Adopted)?;
        let retry = LockRetry::within(options.lock_timeout);
        let adoption = loop {
            match bounded(self.prepare_adoption(options)).await {
                Ok(adoption) => break adoption,
                Err(error) => self.pause_adoption(&retry, error, options).await?,
            }
        };
        adoption.set_version(&mut creation.row);
        let moved = matches!(options.source, AdoptSource::ObjectsOf(_));
        if moved && self.inner.migrator.is_shared(&base) {
            creation.row.schema = free_name(&self.inner.db, &self.inner.migrator, &base).await?;
        }
        let mut attempts = 0;
        let differences = loop {
            let error = match bounded(self.adopt_once(&creation, &adoption, options)).await {
                Ok(differences) => break differences,
                Err(error) => error,
            };
            if matches!(&error, Error::Database(error) if is_taken(error, SCHEMA_KEY)) {
                attempts += 1;
                if moved && attempts < MAX_ATTEMPTS {
                    creation.row.schema =
                        free_name(&self.inner.db, &self.inner.migrator, &base).await?;
                    continue;
                }
                // Adopted by another program since it was checked, so the check names the tenant.
                return Err(bounded(self.prepare_adoption(options)).await.err().unwrap_or(error));
            }
            self.pause_adoption(&retry, error, options).await?;
        };
        let Creation { new, row, .. } = creation;
        if !options.dry_run {
            info!(tenant = %new.slug, schema = %row.schema, moved, "tenant adopted");
        }
        let tenant =
            TenantInfo::new(row, new.domains, Vec::new()).ok_or(Error::UnknownTenant(new.slug))?;
        Ok(Adopted { tenant, differences })
    }

    /// Reads the tenants that another framework lists in the same database.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// use tenantry::{AdoptOptions, Framework, NewTenant, TenantList};
    ///
    /// let list = TenantList::new(Framework::DjangoTenants);
    /// for listed in tenancy.read_tenant_list(&list).await? {
    ///     let new = NewTenant::new(listed.schema.replace('_', "-").parse()?);
    ///     tenancy.adopt(new, &AdoptOptions::schema(listed.schema.parse()?)).await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Adopt`] if the table is not found.
    pub async fn read_tenant_list(&self, list: &TenantList) -> Result<Vec<ListedTenant>, Error> {
        // As the owner of schemas, who adopts them.
        let txn = self.inner.lifecycle.begin_for_ddl().await?;
        let listed = list.read(&txn).await;
        txn.rollback().await?;
        Ok(listed?)
    }

    /// Waits until the next attempt; returns the error if there is to be none.
    async fn pause_adoption(
        &self,
        retry: &LockRetry,
        error: Error,
        options: &AdoptOptions,
    ) -> Result<(), Error> {
        match retry.pause(error).await {
            Err(error) if is_blocked(&error) => {
                let schema = options.source().to_owned();
                let holders = lock_holders(&self.inner.db, &schema).await?;
                Err(Error::AdoptBlocked { schema, holders })
            }
            paused => paused,
        }
    }

    async fn prepare_adoption<'a>(
        &'a self,
        options: &'a AdoptOptions,
    ) -> Result<Adoption<'a>, Error> {
        let txn = self.inner.lifecycle.begin_for_migrations().await?;
        limit_lock_wait(&txn, LOCK_TIMEOUT).await?;
        let (scratch, at) = (MigrationTransaction(&txn), options.at.as_deref());
        let adoption =
            Adoption::prepare(&scratch, &self.inner.migrator, options.source(), at).await?;
        txn.rollback().await?;
        Ok(adoption)
    }

    /// Adopts the schema in one transaction. Returns the differences, which are allowed.
    async fn adopt_once(
        &self,
        creation: &Creation,
        adoption: &Adoption<'_>,
        options: &AdoptOptions,
    ) -> Result<Vec<Change>, Error> {
        let Creation { new, row, .. } = creation;
        let txn = self.begin_ddl_attempt().await?;
        let adopt = async {
            adoption.lock(&txn, options.lock_timeout).await?;
            self.insert_rows(&txn, creation, &Structure::Migrations).await?;
            if let AdoptSource::ObjectsOf(_) = options.source {
                adoption.move_to(&txn, &row.schema).await?;
            }
            let differences = adoption.take_over(&txn, &row.schema).await?;
            let allows = |it: &Change| options.allowed.allows(&new.slug, &row.schema, it);
            match options.allow_differences || differences.iter().all(allows) {
                true => Ok(differences),
                false => {
                    let changes = differences.into_iter().filter(|it| !allows(it)).collect();
                    let (schema, version) = (options.source().to_owned(), adoption.version());
                    Err(Error::from(AdoptError::Differences { schema, version, changes }))
                }
            }
        };
        let adopted = adopt.await;
        if adopted.is_err() || options.dry_run {
            // The tables may be locked, so the rollback is awaited. If it fails, so has the
            // connection, and the server rolls back.
            let rolled_back = txn.rollback().await;
            let differences = adopted?;
            return rolled_back.map(|()| differences).map_err(Error::from);
        }
        self.announce(txn, creation).await?;
        adopted
    }
}
