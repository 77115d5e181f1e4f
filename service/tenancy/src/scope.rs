use sea_orm::{ConnectionTrait, StreamTrait, TransactionTrait};
use tenantry_registry::TenantId;

use super::{Scope, TenantTransaction};

mod sealed {
    pub trait Sealed {}
    impl<C> Sealed for super::Scope<C> {}
}

/// Where the statements of one tenant may be sent: a [`Tenant`](super::Tenant) or a
/// [`TenantTransaction`], and nothing else, so that a function which takes `&impl TenantScope`
/// cannot be called without one.
///
/// ```
/// # use service::{guard, tenancy::TenantTransaction};
/// async fn in_my_transaction(txn: &TenantTransaction) -> Result<u64, service::Error> {
///     guard::count_in(txn, &guard::Filter::default()).await
/// }
/// ```
///
/// A plain connection does not compile:
///
/// ```compile_fail,E0277
/// # use service::guard;
/// async fn without_a_tenant(db: &sea_orm::DatabaseConnection) -> Result<u64, service::Error> {
///     guard::count_in(db, &guard::Filter::default()).await
/// }
/// ```
pub trait TenantScope:
    ConnectionTrait + TransactionTrait<Transaction = TenantTransaction> + StreamTrait + sealed::Sealed
{
    /// Key of the tenant.
    fn tenant_id(&self) -> TenantId;
}

impl<C> TenantScope for Scope<C>
where
    Self: ConnectionTrait + TransactionTrait<Transaction = TenantTransaction> + StreamTrait,
{
    fn tenant_id(&self) -> TenantId {
        self.id()
    }
}
