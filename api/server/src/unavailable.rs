//! Tenants that are answered as if they did not exist.

use tenantry::{Availability, Tenancy, TenantUnavailable};

use crate::{api_error::ApiError, problem::Problem};

/// Whether a tenant is answered as if it did not exist. One that is behind or ahead is not: that
/// passes by itself, and clients are to try again.
pub(crate) fn hides(tenancy: &Tenancy, refused: &TenantUnavailable) -> bool {
    let passes = matches!(refused.availability, Availability::Behind | Availability::Ahead);
    !tenancy.reveals_unavailable() && !passes
}

/// The answer for a host without a tenant. The log names the tenant.
pub(crate) fn hidden_host(host: &str, refused: &TenantUnavailable) -> ApiError {
    ApiError::from(Problem::unknown_host(host)).about(refused.clone())
}
