//! Changes of a session by one tenant do not reach the next.

mod control;
mod functions;
mod public;
mod remains;
mod values;

use entity::guard;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Set, Statement,
};
use tenantry::{Config, DbErrorKind, NewTenant, Tenancy, Tenant};

use crate::support::{TestDb, slug};

/// Two tenants that share one connection. One has the guard Abu, the other has Xia.
struct Shared {
    one: Tenant,
    two: Tenant,
    /// A plain connection.
    plain: DatabaseConnection,
    tenancy: Tenancy,
    db: TestDb,
}

impl Shared {
    async fn new() -> Self {
        Self::with(|config| config).await
    }

    async fn with(change: impl FnOnce(Config) -> Config) -> Self {
        let db = TestDb::new().await;
        let config = Config { max_connections: 1, ..db.config() };
        let tenancy = Tenancy::connect(&change(config)).await.unwrap();
        let plain = db.plain().await;
        let mut tenants = Vec::new();
        for (name, guard) in [("tenant-1", "Abu"), ("tenant-2", "Xia")] {
            tenancy.create(NewTenant::new(slug(name))).await.unwrap();
            let tenant = tenancy.tenant(&slug(name)).await.unwrap();
            named(guard).insert(&tenant).await.unwrap();
            tenants.push(tenant);
        }
        let [one, two] = tenants.try_into().unwrap();
        Self { one, two, plain, tenancy, db }
    }

    /// Names of the second tenant's guards, as another session sees them.
    async fn guards_of_two(&self) -> String {
        let sql = "SELECT string_agg(name, ' ' ORDER BY name) FROM tenant_2.guards";
        text(&self.plain, sql).await.unwrap().unwrap_or_default()
    }
}

fn named(name: &str) -> guard::ActiveModel {
    guard::ActiveModel {
        name: Set(name.into()),
        position: Set("Gate".into()),
        ..Default::default()
    }
}

fn postgres(sql: impl Into<String>) -> Statement {
    Statement::from_string(DbBackend::Postgres, sql)
}

/// The first column of the first row, as text.
async fn text(db: &impl ConnectionTrait, sql: &str) -> Result<Option<String>, DbErr> {
    let row = db.query_one_raw(postgres(sql)).await?;
    row.map(|row| row.try_get_by_index(0)).transpose().map(Option::flatten)
}

fn sqlstate(error: &DbErr) -> String {
    DbErrorKind::sqlstate(error).unwrap_or_else(|| error.to_string())
}

/// The server process behind the connections.
async fn pid(db: &impl ConnectionTrait) -> String {
    text(db, "SELECT pg_backend_pid()::text").await.unwrap().unwrap()
}
