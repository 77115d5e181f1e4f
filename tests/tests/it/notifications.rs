//! What other processes change counts at once, whatever state this process is in.

mod busy;
mod paused;
mod silence;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tenantry::{Availability, Slug, Tenant, TenantUnavailable};

/// Changes a tenant's state from outside, and notifies of it as a process does.
async fn set_status(plain: &DatabaseConnection, slug: &Slug, status: &str) {
    let sql = format!(
        "WITH changed AS (
             UPDATE registry.tenants SET status = '{status}' WHERE slug = '{slug}' RETURNING id
         )
         SELECT pg_notify('tenantry_tenants', id || ' {slug}') FROM changed"
    );
    plain.execute_unprepared(&sql).await.unwrap();
}

/// How a statement of the tenant is refused, if it is.
async fn refusal(tenant: &Tenant) -> Option<Availability> {
    let asked = tenant.execute_unprepared("SELECT 1").await;
    asked.err().map(|error| {
        TenantUnavailable::find(&error).unwrap_or_else(|| panic!("{error}")).availability
    })
}
