//! The connection to shared tables.

use std::{borrow::Cow, sync::Arc};

use sea_orm::{DbErr, TransactionOptions};
use tenantry_migrate::sql::qualify;
use tenantry_registry::PLACEHOLDER;

use super::{
    Misuse, OtherSchema, Tenant, TenantTransaction,
    connection::{Binding, BoundConnection},
    pool::{Executor, PoolHandle, Transaction},
    schemas::Schemas,
    statement::{Analysis, Analyzer},
    statement_epoch::Epoch,
};

/// A connection for tables that exist once, from [`Tenancy::shared`](super::Tenancy::shared).
///
/// It implements SeaORM's connection traits like a [`Tenant`], with the same checks, timeouts and
/// clean sessions. Its entities name their schema: `schema_name = "shared"`. A statement with the
/// placeholder is refused ([`Misuse::PlaceholderWithoutTenant`]), and so is one that names the schema
/// of a tenant ([`OtherSchema`]). In the pool it is one owner, like a tenant.
///
/// ```no_run
/// # async fn example<Plan: sea_orm::EntityTrait>(
/// #     tenancy: tenantry::Tenancy,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let plans = Plan::find().all(&tenancy.shared()).await?; // … FROM "shared"."plans"
/// # Ok(()) }
/// ```
pub type Shared = SharedConnection<PoolHandle>;

/// A transaction of [`Shared`]. A transaction on it is a savepoint. Rolled back when dropped.
pub type SharedTransaction = SharedConnection<Transaction>;

/// A [`Shared`] or a [`SharedTransaction`].
pub type SharedConnection<C> = BoundConnection<C, SharedState>;

impl SharedTransaction {
    /// Begins work of a tenant in this transaction: a savepoint whose statements go to the tenant's
    /// schema. If it fails or is dropped, the tenant's work alone is rolled back, and this
    /// transaction can go on, such as to mark a job as failed. Its commit takes effect with that of
    /// this transaction.
    ///
    /// ```no_run
    /// # use sea_orm::{EntityTrait, TransactionTrait};
    /// # async fn example<Guard: EntityTrait>(
    /// #     tenancy: tenantry::Tenancy,
    /// #     tenant: tenantry::Tenant,
    /// # ) -> Result<(), sea_orm::DbErr> {
    /// let txn = tenancy.shared().begin().await?;
    /// // Takes a job with FOR UPDATE SKIP LOCKED …
    /// let work = txn.for_tenant(&tenant).await?;
    /// let guards = Guard::find().all(&work).await?;
    /// work.commit().await?;
    /// txn.commit().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TenantUnavailable`](super::TenantUnavailable) if the tenant may not be used,
    /// [`Misuse::OtherTenancy`] if it is of another [`Tenancy`](super::Tenancy), and database errors.
    pub async fn for_tenant(&self, tenant: &Tenant) -> Result<TenantTransaction, DbErr> {
        if !tenant.state.has_schemas(&self.state.schemas) {
            return Err(Misuse::OtherTenancy { slug: tenant.slug().clone() }.into());
        }
        tenant.state.check().await?;
        let mut db = self.db.begin_transaction(TransactionOptions::default()).await?;
        db.set_tenant(Arc::clone(&tenant.state));
        Ok(TenantTransaction { db, state: Arc::clone(&tenant.state) })
    }
}

/// The binding of shared tables.
#[derive(Debug)]
pub struct SharedState {
    epoch: Epoch,
    /// The schemas of all tenants.
    schemas: Schemas,
}

impl SharedState {
    pub(super) fn new(epoch: Epoch, schemas: Schemas) -> Self {
        Self { epoch, schemas }
    }
}

impl Binding for SharedState {
    fn name(&self) -> &str {
        "shared tables"
    }

    async fn check(&self) -> Result<(), DbErr> {
        Ok(())
    }

    async fn qualify_sql<'a>(&self, sql: &'a str) -> Result<(Cow<'a, str>, Analysis), DbErr> {
        let is_tenants = |name: &str| self.schemas.contains(name);
        let mut analyzer = Analyzer::new(sql);
        let qualified = qualify(sql, PLACEHOLDER, is_tenants, |token| analyzer.push(token))
            .map_err(|schema| OtherSchema { slug: None, schema })?;
        if let Cow::Owned(_) = qualified {
            return Err(Misuse::PlaceholderWithoutTenant.into());
        }
        match analyzer.control() {
            Some(keyword) => Err(Misuse::TransactionControl { keyword }.into()),
            None => Ok((qualified, analyzer.analysis())),
        }
    }

    fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    async fn recheck(&self, error: DbErr) -> DbErr {
        Misuse::in_answer(&error).map_or(error, Into::into)
    }
}
