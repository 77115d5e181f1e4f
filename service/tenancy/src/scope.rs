use sea_orm::{ConnectionTrait, StreamTrait, TransactionTrait};
use tenantry_registry::TenantId;

use super::{TenantConnection, TenantTransaction};

mod sealed {
    pub trait Sealed {}
    impl<C> Sealed for super::TenantConnection<C> {}
}

/// A [`Tenant`](super::Tenant) or a [`TenantTransaction`]. No other type implements it, so a
/// function with a parameter `&impl TenantScope` cannot be called without a tenant.
///
/// ```
/// use sea_orm::{DbErr, EntityTrait, PaginatorTrait};
/// use tenantry::{TenantScope, TenantTransaction};
///
/// async fn count<E>(tenant: &impl TenantScope) -> Result<u64, DbErr>
/// where
///     E: EntityTrait<Model: Send + Sync>,
/// {
///     E::find().count(tenant).await
/// }
///
/// async fn in_my_transaction<E>(txn: &TenantTransaction) -> Result<u64, DbErr>
/// where
///     E: EntityTrait<Model: Send + Sync>,
/// {
///     count::<E>(txn).await
/// }
/// ```
///
/// A plain connection does not compile:
///
/// ```compile_fail,E0277
/// # use tenantry::TenantScope;
/// # async fn count(tenant: &impl TenantScope) {}
/// async fn without_a_tenant(db: &sea_orm::DatabaseConnection) {
///     count(db).await
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not bound to a tenant",
    label = "not a tenant's connection",
    note = "pass a `&Tenant`, from `Tenancy::tenant`, or a `&TenantTransaction`, from `begin()` on one",
    note = "for tables that belong to no tenant, take an `&impl ConnectionTrait` instead"
)]
pub trait TenantScope:
    ConnectionTrait + TransactionTrait<Transaction = TenantTransaction> + StreamTrait + sealed::Sealed
{
    /// The id of the tenant.
    fn tenant_id(&self) -> TenantId;
}

impl<C> TenantScope for TenantConnection<C>
where
    Self: ConnectionTrait + TransactionTrait<Transaction = TenantTransaction> + StreamTrait,
{
    fn tenant_id(&self) -> TenantId {
        self.id()
    }
}
