//! The failure of a migration in the tenant's registry row.

use sea_orm::{DatabaseConnection, DbErr};

use super::FleetTenant;
use crate::{Error, sql::query::execute};

/// Writes the failure to the tenant's row. It stays there until a migration succeeds.
pub(super) async fn record_failure(
    db: &DatabaseConnection,
    tenant: &FleetTenant,
    error: &Error,
) -> Result<(), DbErr> {
    let failure = serde_json::json!({
        "migration": error.migration(),
        "sqlstate": error.sqlstate(),
        "message": error.reason(),
        "at": tenantry_registry::now(),
    });
    let sql = "UPDATE registry.tenants SET migration_error = $1,
         migration_attempts = migration_attempts + 1 WHERE id = $2";
    execute(db, sql, [failure.into(), tenant.id.into()]).await
}
