//! A look at the registry when a statement of a tenant has failed.
//!
//! While a breaking migration is applied, or a tenant is dropped, a statement may be under way
//! that the process would refuse a moment later. PostgreSQL then reports that a table or a column
//! is missing. Before the error is returned, the tenant's row tells whether that is the reason.

use std::time::Duration;

use sea_orm::DbErr;
use tenantry_migrate::DbErrorKind;
use tokio::time::timeout;
use tracing::debug;

use super::{TenantConnection, TenantUnavailable, tenant_state::TenantState};

/// How long the caller waits for the registry before it gets the error as it is.
const WITHIN: Duration = Duration::from_secs(2);

impl TenantState {
    /// Why the tenant may not be used, as the registry has it at this moment.
    async fn refusal(&self) -> Option<TenantUnavailable> {
        match timeout(WITHIN, self.look()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                debug!(%error, "the row of a tenant whose statement failed could not be read");
                return None;
            }
            Err(_) => return None,
        }
        self.refused()
    }
}

impl<C> TenantConnection<C> {
    /// The error of a statement; the refusal of the tenant, if that is what it comes from.
    pub(super) async fn explain(&self, error: DbErr) -> DbErr {
        if !may_come_of_a_change(&error) {
            return error;
        }
        match self.state.refusal().await {
            Some(refused) => refused.into(),
            None => error,
        }
    }
}

/// Whether a schema that has been changed or dropped meanwhile gives such an error: all of class 42
/// (a name that is missing, ambiguous or of another kind or type; a privilege that is missing) and
/// 3F (the schema itself), constraints that the statement did not know (23502, 23514), an object
/// that is no longer what it was (55000), and what PostgreSQL reports of a relation that goes while
/// it is opened (XX000).
fn may_come_of_a_change(error: &DbErr) -> bool {
    // Of a connection that could not be opened they say something else.
    let of_a_statement = matches!(error, DbErr::Exec(_) | DbErr::Query(_));
    of_a_statement
        && DbErrorKind::sqlstate(error).is_some_and(|code| {
            code.starts_with("42")
                || code.starts_with("3F")
                || ["23502", "23514", "55000", "XX000"].contains(&code.as_str())
        })
}
