//! A tenant over SeaORM's mock.

use std::{ops::Deref, sync::Arc, time::Duration};

use sea_orm::{ConnectOptions, DatabaseConnection, MockDatabase, Transaction};
use tenantry_migrate::connect::SessionOptions;
use tenantry_registry::{SchemaName, Slug, TenantId};
use tokio::time::timeout;

use crate::{
    Tenant,
    pool::{PoolOptions, TenantPool},
    schemas::Schemas,
    statement_epoch::Epochs,
    tenant_state::TenantState,
};

/// How long dropped transactions may take to be rolled back.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);

/// A [`Tenant`] over SeaORM's [`MockDatabase`], for unit tests of functions that take a tenant or a
/// [`TenantScope`](crate::TenantScope): no server is needed.
///
/// The mock answers with the results that were appended to it, and its log has the statements as
/// they would be sent: with the schema of the tenant in place of the placeholder, and with the
/// transactions and savepoints in which they were. What PostgreSQL would say about a statement is
/// not known: [`TestTenancy`](super::TestTenancy) tests that.
///
/// ```
/// use sea_orm::{ConnectionTrait, DbBackend, DbErr, MockDatabase, MockExecResult};
/// use sea_orm::{Statement, Transaction, TransactionTrait};
/// use tenantry::{TenantScope, testing::MockTenant};
///
/// async fn burn(tenant: &impl TenantScope) -> Result<u64, DbErr> {
///     let txn = tenant.begin().await?;
///     let burnt = txn.execute_unprepared(r#"DELETE FROM "@tenant"."books""#).await?;
///     txn.commit().await?;
///     Ok(burnt.rows_affected())
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let result = MockExecResult { rows_affected: 451, ..Default::default() };
/// let database = MockDatabase::new(DbBackend::Postgres).append_exec_results([result]);
/// let tenant = MockTenant::new("acme", database).await;
/// assert_eq!(burn(&*tenant).await, Ok(451));
/// let log = tenant.into_transaction_log().await;
/// let sent = |sql| Statement::from_string(DbBackend::Postgres, sql);
/// let expected = ["BEGIN", r#"DELETE FROM "acme"."books""#, "COMMIT"].map(sent);
/// assert_eq!(log, [Transaction::many(expected)]);
/// # });
/// ```
pub struct MockTenant {
    tenant: Tenant,
    pool: Arc<TenantPool>,
    database: DatabaseConnection,
}

impl MockTenant {
    /// A tenant with this slug, whose schema has the name that a new tenant's has.
    ///
    /// # Panics
    /// If the slug is not valid.
    pub async fn new(slug: &str, database: MockDatabase) -> Self {
        let names = slug.parse().map_err(Into::into).and_then(|slug: Slug| {
            let schema = SchemaName::for_slug("", &slug)?;
            Ok::<_, super::Failure>((slug, schema))
        });
        let (slug, schema) =
            names.unwrap_or_else(|error| panic!("no tenant {slug:?} for the test: {error}"));
        // Nothing connects to it.
        let options = ConnectOptions::new("postgres://localhost/mock");
        let session = SessionOptions::new(&options, |driver| driver).await;
        let session = session.unwrap_or_else(|error| panic!("no tenant for the test: {error}"));
        let database = database.into_connection();
        let pool = TenantPool::new(session, &PoolOptions::default()).on_mock(database.clone());
        let pool = Arc::new(pool);
        let of = (TenantId::generate(), slug, schema);
        let state = TenantState::detached(of, Epochs::default().join(), Schemas::default());
        let state = Arc::new(state);
        let tenant = Tenant { db: pool.of_tenant(Arc::clone(&state)), state };
        Self { tenant, pool, database }
    }

    /// The statements that were sent, as SeaORM's `into_transaction_log` returns them, after
    /// transactions that were dropped are rolled back.
    pub async fn into_transaction_log(self) -> Vec<Transaction> {
        let Self { pool, database, .. } = self;
        // Not all if the test still holds a transaction.
        let _ = timeout(ROLLBACK_TIMEOUT, pool.close()).await;
        database.into_transaction_log()
    }
}

impl Deref for MockTenant {
    type Target = Tenant;

    fn deref(&self) -> &Tenant {
        &self.tenant
    }
}

impl std::fmt::Debug for MockTenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MockTenant").field(self.tenant.slug()).finish()
    }
}
