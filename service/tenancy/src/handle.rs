use std::sync::Arc;

use sea_orm::{DbBackend, DbErr, Statement, TransactionTrait};
use tenantry_registry::{SchemaName, Slug, TenantId};

use super::{
    HttpSettings,
    connection::BoundConnection,
    pool::{Executor, PoolHandle, Transaction},
    statement::Effect,
    tenant_state::TenantState,
};

/// A connection whose statements go to the schema of one tenant.
///
/// It implements SeaORM's [`ConnectionTrait`](sea_orm::ConnectionTrait), [`TransactionTrait`] and
/// [`StreamTrait`](sea_orm::StreamTrait), so every operation of SeaORM works on it unchanged, in one
/// round trip, without any state in the session. Cheap to clone. Once any process has suspended,
/// archived or dropped the tenant, the next statement on every handle is refused; so it is while the
/// tenant's schema is not compatible with this build, see [`Availability`](super::Availability).
///
/// A statement that was prepared before a migration changed the type of its result is prepared
/// again, which the caller does not notice. In a transaction and in a stream the error reaches the
/// caller, as [`DbErrorKind::StaleStatement`](crate::DbErrorKind::StaleStatement): the next attempt
/// succeeds.
///
/// ```no_run
/// # async fn example<Guard: sea_orm::EntityTrait>(
/// #     tenancy: tenantry::Tenancy,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let tenant = tenancy.tenant(&"tenant-1".parse()?).await?;
/// let guards = Guard::find().all(&tenant).await?; // … FROM "tenant_1"."guards"
/// # Ok(()) }
/// ```
pub type Tenant = TenantConnection<PoolHandle>;

/// A transaction of one tenant, whose statements go to the tenant's schema like those of a
/// [`Tenant`]. A transaction on it is a savepoint. Rolled back when dropped.
pub type TenantTransaction = TenantConnection<Transaction>;

/// A [`Tenant`] or a [`TenantTransaction`].
pub type TenantConnection<C> = BoundConnection<C, TenantState>;

impl<C> TenantConnection<C> {
    /// The id of the tenant.
    #[must_use]
    pub fn id(&self) -> TenantId {
        self.state.id
    }

    /// The slug of the tenant when it was resolved.
    #[must_use]
    pub fn slug(&self) -> &Slug {
        &self.state.slug
    }

    /// The settings of the tenant for requests over HTTP, as they were last read from the registry.
    #[must_use]
    pub fn http_settings(&self) -> Arc<HttpSettings> {
        self.state.http.get()
    }

    /// The schema of the tenant.
    #[must_use]
    pub fn schema(&self) -> &SchemaName {
        &self.state.schema
    }
}

impl Tenant {
    /// Begins a transaction for SQL that cannot be qualified. Until it ends, `search_path` is the
    /// tenant's schema (followed by the schemas of extensions, which have no tables, and by the
    /// session's temporary tables), so that functions and old queries with unqualified names find
    /// this tenant's tables. Takes one more round trip than [`begin`](TransactionTrait::begin).
    ///
    /// # Errors
    /// Database errors, and [`TenantUnavailable`](super::TenantUnavailable).
    pub async fn begin_with_search_path(&self) -> Result<TenantTransaction, DbErr> {
        let txn = self.begin().await?;
        let set = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT set_config('search_path', $1, true)",
            [self.db.search_path(self.schema()).into()],
        );
        // The tenant's functions may have the names of PostgreSQL's, whose effect is known.
        txn.db.execute_statement(set.into(), Effect::Reset).await?;
        Ok(txn)
    }
}
