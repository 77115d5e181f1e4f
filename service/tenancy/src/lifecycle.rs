use std::sync::Arc;

use sea_orm::{
    ActiveModelTrait, DbErr, EntityTrait, IntoActiveModel, ModelTrait,
    sqlx::postgres::PgDatabaseError,
};
use tenantry_migrate::{
    DynMigrator, SLUG_LOCK_TIMEOUT, create_schema, delete_tenant, driver_error, insert_tenant,
    rename_schema,
};
use tenantry_registry::{
    SchemaName, Slug, alias,
    audit::{self, Action},
    domain, tenant,
};
use tracing::{debug, info};

use tenantry_registry::notify::{notify, schema_key, tenant_changed};

use super::{
    Error, NewTenant, Tenancy, TenantInfo, TenantTransaction,
    locked_row::{limit_lock_wait, unlimit_lock_wait},
    naming::free_name,
    pool::{MigrationTransaction, Transaction, bounded},
    recording::record,
    settings::Settings,
    spares,
    stored_metadata::StoredMetadata,
};
use crate::DbErrorKind;

/// Attempts to choose a name for the schema, since other creations may choose the same.
pub(super) const MAX_ATTEMPTS: u32 = 20;

pub(super) const SLUG_KEY: &str = "tenants_slug_key";
pub(super) const SCHEMA_KEY: &str = "tenants_schema_key";

/// A tenant in the transaction that creates it, after the seed.
pub(super) struct Uncommitted {
    pub(super) scope: TenantTransaction,
    pub(super) origin: Origin,
}

/// How a tenant's schema was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Spare,
    Migrations,
    /// With a commit after each migration, so that a rollback does not remove the schema.
    CommittedMigrations,
}

/// How a tenant's schema is to be made.
pub(super) enum Structure {
    /// Of a spare if there is one, else by the migrations.
    Spare,
    /// By the migrations.
    Migrations,
    /// By these migrations and without the seed, for rows that are copied. That may take hours, so
    /// fleet runs do not wait for it.
    Copy(DynMigrator),
}

/// What a tenant is created from.
pub(super) struct Creation {
    pub(super) new: NewTenant,
    pub(super) row: tenant::Model,
    /// How the audit log calls it.
    pub(super) action: Action,
    /// Its keys in the cache.
    pub(super) keys: Vec<String>,
}

impl Tenancy {
    /// Creates a tenant in one transaction: registry row, schema, tables, applied migrations,
    /// hostnames and the rows of the application's [seed](super::Config::seed). If there are
    /// [spares](super::Config::spares), one of them becomes the tenant's schema.
    ///
    /// The schema is named after the slug. If another tenant has or had a schema of that name, or if
    /// it is that of the shared tables, it is `name_2`, `name_3` and so on.
    ///
    /// # Errors
    /// [`Error::SlugTaken`], [`Error::SlugReserved`], [`Error::SchemaTaken`], [`Error::HostTaken`], [`Error::HostBelowBase`],
    /// [`Error::Name`] if the slug makes no valid schema name, [`Error::TooManyTags`],
    /// [`Error::Migration`], [`Error::Seed`]. Nothing is changed then.
    pub async fn create(&self, new: NewTenant) -> Result<TenantInfo, Error> {
        let (creation, uncommitted) = self.begin_creation(new).await?;
        self.commit_creation(creation, uncommitted).await
    }

    /// Creates a tenant as [`create`](Self::create) does, and runs `first` in the same transaction,
    /// after the seed: for rows that belong to this one creation, such as the user who signs up.
    /// Returns the tenant and the value of `first`.
    ///
    /// If `first` fails, or if the future is dropped before it is done, nothing is created. It runs
    /// at most once, since a creation that has to be repeated is repeated before. Meanwhile another
    /// creation of the same slug waits for two seconds, then it is refused as if the slug was taken.
    ///
    /// ```no_run
    /// use sea_orm::{ConnectionTrait, sea_query::Query};
    /// use tenantry::{Error, NewTenant, Tenancy, TenantInfo};
    ///
    /// async fn sign_up(tenancy: &Tenancy, slug: &str, email: String) -> Result<TenantInfo, Error> {
    ///     let new = NewTenant::new(slug.parse()?);
    ///     let (tenant, ()) = tenancy
    ///         .create_with(new, async move |txn| {
    ///             let mut insert = Query::insert();
    ///             insert.into_table(("@tenant", "users")).columns(["email"]);
    ///             txn.execute(insert.values_panic([email.into()])).await?;
    ///             Ok::<_, Error>(())
    ///         })
    ///         .await?;
    ///     Ok(tenant)
    /// }
    ///
    /// # fn spawned(tenancy: Tenancy) {
    /// tokio::spawn(async move { sign_up(&tenancy, "acme", "abu@example.org".to_owned()).await });
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error of `first`, and those of [`create`](Self::create).
    pub async fn create_with<T, E: From<Error>>(
        &self,
        new: NewTenant,
        first: impl AsyncFnOnce(&TenantTransaction) -> Result<T, E>,
    ) -> Result<(TenantInfo, T), E> {
        let (creation, uncommitted) = self.begin_creation(new).await?;
        let first = async { Ok::<_, Error>(first(&uncommitted.scope).await) };
        match bounded(first).await {
            Ok(Ok(value)) => Ok((self.commit_creation(creation, uncommitted).await?, value)),
            Ok(Err(error)) => {
                self.undo_creation(&creation, uncommitted).await;
                Err(error)
            }
            Err(overdue) => {
                self.undo_creation(&creation, uncommitted).await;
                Err(overdue.into())
            }
        }
    }

    /// The rows of a tenant with this schema, at the newest version.
    pub(super) fn new_creation(
        &self,
        mut new: NewTenant,
        schema: SchemaName,
        action: Action,
    ) -> Result<Creation, Error> {
        new.normalize()?;
        let mut row = spares::new_row(&self.inner.migrator, schema);
        row.slug = Some(new.slug.clone());
        row.metadata = StoredMetadata::new(new.name.as_ref(), &new.tags, &new.metadata)?.into();
        let keys = keys(&new.slug, new.domains.iter().map(ToString::to_string));
        Ok(Creation { new, row, action, keys })
    }

    /// Creates a tenant except for the commit.
    async fn begin_creation(&self, new: NewTenant) -> Result<(Creation, Uncommitted), Error> {
        // Before the transaction, since it may take a connection.
        let structure = match self.inner.spares.is_supported().await {
            true => Structure::Spare,
            false => Structure::Migrations,
        };
        let settings = Settings::default();
        self.begin_structure(new, &settings, Action::Created, &structure).await
    }

    /// Creates a tenant with this structure except for the commit.
    pub(super) async fn begin_structure(
        &self,
        new: NewTenant,
        settings: &Settings,
        action: Action,
        structure: &Structure,
    ) -> Result<(Creation, Uncommitted), Error> {
        let base = SchemaName::for_slug(&self.inner.schema_prefix, &new.slug)?;
        let mut creation = self.new_creation(new, base.clone(), action)?;
        settings.store(&mut creation.row);
        if self.inner.migrator.is_shared(&base) {
            creation.row.schema = free_name(&self.inner.db, &self.inner.migrator, &base).await?;
        }
        let mut attempts = 0;
        loop {
            match self.create_with_retries(&creation, structure).await {
                // The name is usually free, so the insertion is tried first. A name that was found
                // free may be taken before it is inserted.
                Err(Error::Database(error))
                    if attempts < MAX_ATTEMPTS && is_taken(&error, SCHEMA_KEY) =>
                {
                    creation.row.schema =
                        free_name(&self.inner.db, &self.inner.migrator, &base).await?;
                    attempts += 1;
                }
                created => return Ok((creation, created?)),
            }
        }
    }

    /// Creates a tenant in one transaction, and does not commit it.
    pub(super) async fn create_in_one(
        &self,
        creation: &Creation,
        structure: &Structure,
    ) -> Result<Uncommitted, Error> {
        let is_copy = matches!(structure, Structure::Copy(_));
        // A test creates few tenants, and a recording takes as long as two of them.
        if !is_copy && !self.inner.spares.are_prepared() {
            record(&self.inner.lifecycle, &self.inner.migrator).await;
        }
        let row = &creation.row;
        let create = async {
            let txn = match is_copy {
                true => self.inner.lifecycle.begin_for_copy().await?,
                false => self.inner.lifecycle.begin_for_ddl().await?,
            };
            let spare = self.insert_rows(&txn, creation, structure).await?;
            match &spare {
                Some(spare) => rename_schema(&txn, spare, &row.schema).await?,
                None => {
                    let txn = MigrationTransaction(&txn);
                    create_schema(&txn, &row.schema, self.migrator_of(structure)).await?;
                }
            }
            let origin = spare.map_or(Origin::Migrations, |_| Origin::Spare);
            Ok(Uncommitted { scope: self.seed(txn, creation, structure).await?, origin })
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
        creation: &Creation,
        structure: &Structure,
    ) -> Result<Option<SchemaName>, Error> {
        let Creation { new, row, .. } = creation;
        let entry = self.creation_entry(creation);
        let taken = |error| match is_taken(&error, SLUG_KEY) || is_held(&error, SLUG_KEY) {
            true => Error::SlugTaken(new.slug.clone()),
            false => error.into(),
        };
        // The unique index on the slug makes each of these wait for another creation of it, which may
        // be an import and take hours: so for a short time.
        let spare = match structure {
            Structure::Spare => spares::take_spare(txn, row, entry.clone()).await.map_err(taken)?,
            Structure::Migrations | Structure::Copy(_) => None,
        };
        if let Structure::Copy(_) = structure {
            limit_lock_wait(txn, SLUG_LOCK_TIMEOUT).await?;
            let row = row.clone().into_active_model().reset_all();
            let insert = tenant::Entity::insert(row).exec_without_returning(txn);
            insert.await.map_err(taken)?;
            unlimit_lock_wait(txn).await?;
        } else if spare.is_none() {
            insert_tenant(txn, row, Some(entry)).await.map_err(taken)?;
        }
        self.claim_slug(txn, &new.slug, row.id).await?;
        for hostname in &new.domains {
            self.insert_domain(txn, row.id, hostname).await?;
        }
        Ok(spare)
    }

    /// Notifies other processes and commits.
    pub(super) async fn commit_creation(
        &self,
        creation: Creation,
        uncommitted: Uncommitted,
    ) -> Result<TenantInfo, Error> {
        let Uncommitted { scope, origin } = uncommitted;
        if let Err(error) = bounded(self.announce(scope.db, &creation)).await {
            self.clear_after_failure(&creation.row, origin).await;
            return Err(error.into());
        }
        let Creation { new, row, .. } = &creation;
        self.inner.spares.taken.notify_one();
        let from_spare = origin == Origin::Spare;
        info!(tenant = %new.slug, schema = %row.schema, from_spare, "tenant created");
        let Creation { new, row, .. } = creation;
        TenantInfo::new(row, new.domains, Vec::new()).ok_or(Error::UnknownTenant(new.slug))
    }

    /// Notifies other processes of a new tenant and commits.
    pub(super) async fn announce(
        &self,
        txn: Transaction,
        Creation { row, keys, .. }: &Creation,
    ) -> Result<(), DbErr> {
        let schema = schema_key(&row.schema);
        notify(&txn, row.id, keys.iter().cloned().chain([schema])).await?;
        txn.commit().await?;
        self.inner.view.schemas.add(row.schema.as_str());
        self.inner.cache.invalidate(keys.iter().map(String::as_str));
        Ok(())
    }

    async fn undo_creation(&self, creation: &Creation, uncommitted: Uncommitted) {
        let Uncommitted { scope, origin } = uncommitted;
        if let Err(error) = scope.rollback().await {
            // The server rolls it back when it notices that the connection is closed.
            debug!(%error, "a creation could not be rolled back");
        }
        self.clear_after_failure(&creation.row, origin).await;
    }

    /// Removes what a migration has committed of a tenant whose creation failed.
    async fn take_back(&self, row: &tenant::Model) -> Result<(), Error> {
        let txn = self.inner.lifecycle.begin_for_ddl().await?;
        delete_tenant(&txn, row).await?;
        let entry = self.tenant_entry(Action::Dropped, row);
        audit::record(&txn, entry, tenant_changed(row.id, [])).await?;
        Ok(txn.commit().await?)
    }

    /// Runs the application's seed in a transaction, unless rows are copied.
    pub(super) async fn seed(
        &self,
        txn: Transaction,
        creation: &Creation,
        structure: &Structure,
    ) -> Result<TenantTransaction, Error> {
        let scope = self.scope(txn, creation);
        if let (Some(seed), Structure::Spare | Structure::Migrations) =
            (&self.inner.seed, structure)
        {
            let seeded = seed.run(&scope).await;
            seeded.map_err(|source| Error::Seed { slug: creation.new.slug.clone(), source })?;
        }
        Ok(scope)
    }

    pub(super) fn scope(
        &self,
        txn: Transaction,
        Creation { new, row, .. }: &Creation,
    ) -> TenantTransaction {
        let state = self.inner.cache.detached(row.id, new.slug.clone(), row.schema.clone());
        TenantTransaction { db: txn, state: Arc::new(state) }
    }

    /// The migrations that create a structure.
    pub(super) fn migrator_of<'a>(&'a self, structure: &'a Structure) -> &'a DynMigrator {
        match structure {
            Structure::Copy(migrator) => migrator,
            Structure::Spare | Structure::Migrations => &self.inner.migrator,
        }
    }
}

pub(super) fn is_taken(error: &DbErr, key: &str) -> bool {
    matches!(DbErrorKind::of(error), DbErrorKind::Unique(name) if name == key)
}

/// Whether another transaction that has not ended holds a value of a unique index. PostgreSQL names
/// the index in the context of the error.
pub(super) fn is_held(error: &DbErr, key: &str) -> bool {
    let context = || {
        let error = driver_error(error)?.as_database_error()?;
        error.try_downcast_ref::<PgDatabaseError>()?.r#where()
    };
    DbErrorKind::of(error) == DbErrorKind::LockTimeout
        && context().is_some_and(|context| context.contains(key))
}

/// The keys of a new tenant in the cache: its slug and its hostnames.
fn keys(slug: &Slug, hostnames: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(slug.to_string()).chain(hostnames).collect()
}

/// The keys of a tenant in the cache: its slugs and its hostnames.
pub(super) async fn keys_of(txn: &Transaction, row: &tenant::Model) -> Result<Vec<String>, DbErr> {
    let domains = row.find_related(domain::Entity).all(txn).await?;
    let aliases = row.find_related(alias::Entity).all(txn).await?;
    let keys = row.slug.iter().map(ToString::to_string);
    let keys = keys.chain(domains.into_iter().map(|domain| domain.hostname.to_string()));
    Ok(keys.chain(aliases.into_iter().map(|alias| alias.slug.to_string())).collect())
}
