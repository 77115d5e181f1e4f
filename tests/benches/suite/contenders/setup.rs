//! A server whose tenants all have the same rows.

use std::sync::Arc;

use local_postgres::Server;
use sea_orm::{ConnectOptions, ConnectionTrait, DbBackend, Statement};
use tenantry::{Config, NewTenant, Tenancy, TenantTransaction};

use super::{
    job::{BOSSES, Named},
    named, shop,
};
use crate::{common, workload::Workload};

/// Number of guards in the first tenant, which is used most; the others have only bosses.
pub const GUARDS: usize = 1000;

pub struct Setup {
    pub server: Server,
    pub tenants: Vec<Arc<Named>>,
    workload: Workload,
    tenancy: Tenancy,
}

impl Setup {
    pub async fn new() -> Self {
        Self::of(Workload::Reads).await
    }

    /// A server whose tenants have the tables of this workload.
    pub async fn of(workload: Workload) -> Self {
        let server = common::server().await;
        let config = config_of(workload, &server.url("postgres"), "setup", 8);
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let mut setup = Self { server, tenants: Vec::new(), workload, tenancy };
        setup.grow(1).await;
        setup
    }

    /// Creates tenants up to this number, and analyses all tables, since autovacuum is off.
    pub async fn grow(&mut self, tenants: usize) {
        let first = self.tenants.len();
        self.tenants.extend((first..tenants).map(|number| Arc::new(Named::new(number))));
        let (new, tenancy) = (&self.tenants[first..], &self.tenancy);
        let clients = new.len().clamp(1, 8);
        common::rate(clients, new.len().div_ceil(clients), |piece| {
            let (tenant, tenancy) = (new.get(piece).cloned(), tenancy.clone());
            async move {
                let Some(tenant) = tenant else { return };
                tenancy.create(NewTenant::new(tenant.slug.clone())).await.unwrap();
            }
        })
        .await;
        let db = common::pool(&self.server, 1).await;
        db.execute_unprepared("ANALYZE").await.unwrap();
        db.close().await.unwrap();
    }

    /// A configuration for these tenants whose connections have this `application_name`.
    pub fn config(&self, url: &str, name: &str, connections: u32) -> Config {
        config_of(self.workload, url, name, connections)
    }

    pub async fn stop(self) {
        self.tenancy.close().await;
        common::stop(self.server).await;
    }
}

/// A tenancy whose connections have this `application_name`.
pub async fn tenancy(url: &str, name: &str, connections: u32) -> Tenancy {
    Tenancy::connect(&config(url, name, connections)).await.unwrap()
}

pub fn config(url: &str, name: &str, connections: u32) -> Config {
    config_of(Workload::Reads, url, name, connections)
}

fn config_of(workload: Workload, url: &str, name: &str, connections: u32) -> Config {
    let mut options = ConnectOptions::new(named(url, name));
    options.sqlx_logging(false);
    let config = match workload {
        Workload::Reads => Config::new(options, migration::Migrator).seed(rows),
        Workload::Application => {
            Config::new(options, shop::tables::Migrator).seed(shop::tables::rows)
        }
    };
    // One tenant may use all connections, as with the other contenders.
    Config { max_connections: connections, tenant_share: 100, reserved_connections: 0, ..config }
}

/// Inserts guards with the same ids in every tenant and with the tenant's name. The first guard has
/// shifts.
async fn rows(tenant: &TenantTransaction) -> Result<(), sea_orm::DbErr> {
    let first = tenant.slug().as_str() == "tenant-0";
    let guards = if first { GUARDS as i64 } else { BOSSES as i64 };
    let sql = r#"INSERT INTO "@tenant"."guards"
        SELECT lpad(to_hex(n), 32, '0')::uuid, $1, CASE WHEN n < $2 THEN 'Boss' ELSE 'Guard' END,
            now(), now() FROM generate_series(0, $3 - 1) AS n"#;
    let values = [tenant.slug().to_string().into(), (BOSSES as i64).into(), guards.into()];
    tenant.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    let sql = r#"INSERT INTO "@tenant"."shifts"
        SELECT lpad(to_hex(n), 32, '0')::uuid, lpad('', 32, '0')::uuid, now(),
            now() + interval '1 hour', now(), now() FROM generate_series(0, $1 - 1) AS n"#;
    let values = [(BOSSES as i64).into()];
    tenant.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}
