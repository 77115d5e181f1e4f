//! Rechecks a tenant's availability after one of its statements has failed.
//!
//! While a breaking migration is applied or a tenant is dropped, a statement may be in progress that
//! would be refused a moment later. PostgreSQL then reports that a table or a column is missing.
//! Before that error is returned, the tenant's row is read to see whether this is the reason.

use std::time::Duration;

use sea_orm::DbErr;
use tenantry_migrate::DbErrorKind;
use tokio::time::timeout;
use tracing::debug;

use super::{Misuse, ReadOnlyTenant, tenant_state::TenantState};

/// How long the caller waits for the registry before it gets the original error.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The tenant's unavailability, a [`ReadOnlyTenant`] or a [`Misuse`] if that explains the error of a
/// statement, otherwise the error.
pub(super) async fn recheck(tenant: &TenantState, error: DbErr) -> DbErr {
    if let Some(misuse) = Misuse::in_answer(&error) {
        return misuse.into();
    }
    if DbErrorKind::of(&error) == DbErrorKind::ReadOnly && tenant.is_read_only() {
        return ReadOnlyTenant::new(tenant.slug.clone()).into();
    }
    if !may_be_caused_by_change(&error) {
        return error;
    }
    match timeout(TIMEOUT, tenant.refresh_now()).await {
        Ok(Ok(())) => tenant.unavailable().map_or(error, Into::into),
        Ok(Err(registry)) => {
            debug!(error = %registry, "the tenant of a failed statement could not be rechecked");
            error
        }
        Err(_) => error,
    }
}

/// Whether a schema that was changed or dropped meanwhile may cause this error: class 42 (names that
/// are missing, ambiguous or of another kind or type; missing privileges), 3F (a missing schema),
/// constraints that are new (23502, 23514), an object that has changed (55000), and the internal
/// error for a relation that vanishes while it is opened (XX000).
fn may_be_caused_by_change(error: &DbErr) -> bool {
    // The same codes have other causes when a connection is opened.
    let of_statement = matches!(error, DbErr::Exec(_) | DbErr::Query(_));
    of_statement
        && DbErrorKind::sqlstate(error).is_some_and(|code| {
            code.starts_with("42")
                || code.starts_with("3F")
                || ["23502", "23514", "55000", "XX000"].contains(&code.as_str())
        })
}
