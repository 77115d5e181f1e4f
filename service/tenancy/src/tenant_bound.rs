use tenantry_registry::TenantId;
use thiserror::Error;

use super::TenantScope;

/// A value that remembers whose it is, and opens only for the same tenant.
///
/// For values that are carried from one call to another – through a queue, a cache, a form – where
/// nothing else says which tenant they came from.
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

/// A value was to be used for another tenant than the one it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a value of tenant {value} was to be used for tenant {scope}")]
pub struct WrongTenant {
    /// Whose the value is.
    pub value: TenantId,
    /// For whom it was to be used.
    pub scope: TenantId,
}

impl<T> TenantBound<T> {
    /// Notes that `value` belongs to the tenant of `scope`.
    pub fn new(scope: &impl TenantScope, value: T) -> Self {
        Self { tenant: scope.tenant_id(), value }
    }

    /// The value, for the tenant it belongs to.
    ///
    /// # Errors
    /// [`WrongTenant`] when `scope` is of another tenant.
    pub fn open(&self, scope: &impl TenantScope) -> Result<&T, WrongTenant> {
        self.check(scope)?;
        Ok(&self.value)
    }

    /// As [`open`](Self::open), and gives the value away.
    ///
    /// # Errors
    /// [`WrongTenant`] when `scope` is of another tenant.
    pub fn into_inner(self, scope: &impl TenantScope) -> Result<T, WrongTenant> {
        self.check(scope)?;
        Ok(self.value)
    }

    fn check(&self, scope: &impl TenantScope) -> Result<(), WrongTenant> {
        let scope = scope.tenant_id();
        if scope == self.tenant { Ok(()) } else { Err(WrongTenant { value: self.tenant, scope }) }
    }
}
