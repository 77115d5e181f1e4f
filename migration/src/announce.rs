//! Changes of tenants, told to the processes that serve them.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value, sea_query::ArrayType};
use tenantry_registry::TenantId;

/// The channel of `LISTEN` on which changes of tenants are announced. A message is the tenant's
/// id, followed by the slugs and host names under which it is no longer to be believed, if any.
pub const CHANNEL: &str = "tenantry_tenants";

/// Announces that tenants have changed, in one round trip. Inside a transaction it is sent when
/// that commits, and not at all otherwise.
///
/// # Errors
/// The errors of the database.
pub async fn announce(db: &impl ConnectionTrait, ids: &[TenantId]) -> Result<(), DbErr> {
    let ids = ids.iter().map(|id| Value::from(id.as_uuid())).collect();
    let notify = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT pg_notify($1, id::text) FROM unnest($2) AS id",
        [CHANNEL.into(), Value::Array(ArrayType::Uuid, Some(Box::new(ids)))],
    );
    db.execute_raw(notify).await?;
    Ok(())
}
