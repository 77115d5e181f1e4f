//! What a failure leaves on the tenant's row.

use sea_orm::{
    ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait},
};
use tenantry_registry::tenant;

use super::FleetTenant;
use crate::Error;

/// Writes on the tenant's row what failed and when. It stays until a migration succeeds.
pub(super) async fn record_failure(
    db: &DatabaseConnection,
    member: &FleetTenant,
    error: &Error,
) -> Result<(), DbErr> {
    let note = serde_json::json!({
        "migration": error.migration(),
        "sqlstate": error.sqlstate(),
        "message": error.reason(),
        "at": tenantry_registry::now(),
    });
    tenant::Entity::update_many()
        .col_expr(tenant::Column::MigrationError, Expr::value(note))
        .col_expr(
            tenant::Column::MigrationAttempts,
            Expr::col(tenant::Column::MigrationAttempts).add(1),
        )
        .filter(tenant::Column::Id.eq(member.id))
        .exec(db)
        .await?;
    Ok(())
}
