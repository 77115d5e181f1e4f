use tenantry_registry::TenantId;
use thiserror::Error;

use super::TenantScope;

/// A value of one tenant, which can be read only with a connection of the same tenant.
///
/// For values that pass through a queue, a cache or a form, where nothing else records their
/// tenant.
///
/// ```no_run
/// # async fn example(one: tenantry::Tenant, two: tenantry::Tenant) {
/// # use tenantry::TenantBound;
/// let name = TenantBound::new(&one, "Abu");
/// assert!(name.open(&two).is_err());
/// assert_eq!(name.open(&one).unwrap(), &"Abu");
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
