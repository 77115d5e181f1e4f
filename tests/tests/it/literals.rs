//! Cold statements that are sent with literals.

use entity::guard;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectOptions, ConnectionTrait, DbBackend, EntityTrait,
    QueryFilter, Statement, Value,
};
use tenantry::{ColdStatements, Config, NewTenant, Tenancy, Tenant};

use crate::support::{TestDb, abu, database::server, slug, statement_log::Mark};

struct Fixture {
    one: Tenant,
    two: Tenant,
    tenancy: Tenancy,
    db: TestDb,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(ColdStatements::Literal).await
    }

    /// Two tenants on one connection, which keeps no statement prepared.
    async fn with(cold_statements: ColdStatements) -> Self {
        let db = TestDb::new().await;
        let tenancy = Tenancy::connect(&config(&db, cold_statements)).await.unwrap();
        let mut tenants = Vec::new();
        for name in ["tenant-1", "tenant-2"] {
            tenancy.create(NewTenant::new(slug(name))).await.unwrap();
            tenants.push(tenancy.tenant(&slug(name)).await.unwrap());
        }
        let [one, two] = tenants.try_into().unwrap();
        Self { one, two, tenancy, db }
    }
}

fn config(db: &TestDb, cold_statements: ColdStatements) -> Config {
    let mut options = ConnectOptions::new(db.url());
    options.sqlx_logging(false);
    Config {
        connect_options: options,
        max_connections: 1,
        statement_cache: Some(0),
        cold_statements,
        ..db.config()
    }
}

#[tokio::test]
async fn a_shape_that_one_tenant_has_used_takes_one_trip_for_all() {
    let it = Fixture::new().await;
    let log = Mark::now(server());
    for tenant in [&it.one, &it.two] {
        abu().insert(tenant).await.unwrap();
        let find = guard::Entity::find().filter(guard::Column::Name.eq("Abu"));
        assert_eq!(find.clone().all(tenant).await.unwrap().len(), 1);
        assert_eq!(find.one(tenant).await.unwrap().unwrap().position, "Gate");
    }
    for line in log.statements(it.db.name()) {
        eprintln!("{line:?}");
    }
}
