use serde::{Deserialize, Serialize};
use tenantry_registry::TenantId;
use thiserror::Error;

use super::TenantScope;

/// A value of one tenant, which can be read only with a connection of the same tenant.
///
/// For values that pass through a queue, a cache or a form, where nothing else records their
/// tenant. As JSON it is `{"tenant": "0199…", "value": …}`. The id is never given to another tenant,
/// even if the slug is. The JSON is not signed: if other programs can write to the queue, they can
/// name any tenant.
///
/// ```no_run
/// # use tenantry::{Tenancy, Tenant, TenantBound};
/// # async fn example(
/// #     (tenancy, one, two): (Tenancy, Tenant, Tenant),
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let name = TenantBound::new(&one, "Abu".to_owned());
/// assert!(name.open(&two).is_err());
/// assert_eq!(name.open(&one)?, "Abu");
///
/// let job = serde_json::to_string(&name)?; // through a queue, to a worker:
/// let name: TenantBound<String> = serde_json::from_str(&job)?;
/// let tenant = tenancy.tenant_by_id(name.tenant_id()).await?;
/// assert_eq!(name.open(&tenant)?, "Abu");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TenantBound<T> {
    tenant: TenantId,
    value: T,
}

/// A value of one tenant was requested for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a value of tenant {value} was requested for tenant {scope}")]
pub struct WrongTenant {
    /// The tenant of the value.
    pub value: TenantId,
    /// The tenant for which it was requested.
    pub scope: TenantId,
}

impl<T> TenantBound<T> {
    /// Binds `value` to the tenant of `scope`.
    pub fn new(scope: &impl TenantScope, value: T) -> Self {
        Self { tenant: scope.tenant_id(), value }
    }

    /// The id of the tenant, for [`Tenancy::tenant_by_id`](super::Tenancy::tenant_by_id).
    #[must_use]
    pub fn tenant_id(&self) -> TenantId {
        self.tenant
    }

    /// Returns the value.
    ///
    /// # Errors
    /// [`WrongTenant`] if `scope` is of another tenant.
    pub fn open(&self, scope: &impl TenantScope) -> Result<&T, WrongTenant> {
        self.check(scope)?;
        Ok(&self.value)
    }

    /// Returns the value by move, as [`open`](Self::open) does by reference.
    ///
    /// # Errors
    /// [`WrongTenant`] if `scope` is of another tenant.
    pub fn into_inner(self, scope: &impl TenantScope) -> Result<T, WrongTenant> {
        self.check(scope)?;
        Ok(self.value)
    }

    fn check(&self, scope: &impl TenantScope) -> Result<(), WrongTenant> {
        let scope = scope.tenant_id();
        if scope == self.tenant { Ok(()) } else { Err(WrongTenant { value: self.tenant, scope }) }
    }
}
