//! Cold statements that are sent with literals. `poolers::selection` runs the tests of handles with
//! them as well.

mod rows;
mod values;

use std::time::Duration;

use entity::guard;
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ColumnTrait, ConnectOptions, ConnectionTrait, DbBackend,
    DbErr, EntityTrait, QueryFilter, Statement, TransactionTrait, Value,
};
use tenantry::{ColdStatements, Config, DbErrorKind, NewTenant, ReadOnlyTenant, Tenancy, Tenant};
use tokio::time::timeout;
use tracing::log::LevelFilter;

use crate::support::{
    TestDb, abu, database::server, log::Log, route::Route, slug, statement_log::Mark,
};

const ONE: &str = "tenant-1";
const TWO: &str = "tenant-2";

/// Two tenants on one connection, which keeps no statement prepared.
struct Fixture {
    one: Tenant,
    two: Tenant,
    tenancy: Tenancy,
    log: Mark,
    db: TestDb,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(ColdStatements::Literal, |_| {}).await
    }

    async fn with(cold: ColdStatements, change: impl FnOnce(&mut Config)) -> Self {
        let db = TestDb::new().await;
        let mut config = config(&db, cold);
        change(&mut config);
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let [one, two] = tenants(&tenancy).await;
        Self { one, two, tenancy, log: Mark::now(server()), db }
    }

    /// Handles of the same tenants that send cold statements in another way.
    async fn again(&self, cold: ColdStatements) -> (Tenancy, Tenant) {
        let tenancy = Tenancy::connect(&config(&self.db, cold)).await.unwrap();
        let one = tenancy.tenant(&slug(ONE)).await.unwrap();
        (tenancy, one)
    }

    /// Whether statements of this tenant were sent with a value as a literal, and as a parameter.
    fn sent(&self, tenant: &Tenant, value: &str) -> (bool, bool) {
        let (schema, literal) = (tenant.schema().quoted(), format!("('{value}'::pg_catalog."));
        let sent = self.log.statements(self.db.name());
        let of_tenant = sent.iter().filter(|(_, sql)| sql.contains(&schema));
        let (literals, others): (Vec<_>, Vec<_>) =
            of_tenant.partition(|(_, sql)| sql.contains(&literal));
        (!literals.is_empty(), !others.is_empty())
    }
}

async fn tenants(tenancy: &Tenancy) -> [Tenant; 2] {
    let mut tenants = Vec::new();
    for name in [ONE, TWO] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
        tenants.push(tenancy.tenant(&slug(name)).await.unwrap());
    }
    tenants.try_into().unwrap()
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

fn raw(sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

async fn find(db: &impl ConnectionTrait, name: &str) -> Option<guard::Model> {
    guard::Entity::find().filter(guard::Column::Name.eq(name)).one(db).await.unwrap()
}

/// Stores a guard whose row is not returned.
async fn store(db: &impl ConnectionTrait) -> Result<u64, DbErr> {
    let guard = abu().before_save(db, true).await?;
    guard::Entity::insert(guard).exec_without_returning(db).await
}

/// Stores a guard, finds it by its name and changes it.
async fn work(db: &impl ConnectionTrait) {
    assert_eq!(store(db).await.unwrap(), 1);
    assert_eq!(find(db, "Abu").await.unwrap().position, "Gate");
    let change = guard::Entity::update_many().col_expr(guard::Column::Position, "Abu".into());
    assert_eq!(change.exec(db).await.unwrap().rows_affected, 1);
    assert_eq!(find(db, "Abu").await.unwrap().position, "Abu");
}

#[tokio::test]
async fn a_shape_that_one_tenant_has_used_is_sent_with_literals_for_all() {
    let it = Fixture::new().await;
    work(&it.one).await;
    work(&it.two).await;
    assert_eq!(it.sent(&it.two, "Abu"), (true, false));
    let it = Fixture::with(ColdStatements::Prepared, |_| {}).await;
    work(&it.one).await;
    work(&it.two).await;
    assert_eq!(it.sent(&it.two, "Abu"), (false, true));
}

#[tokio::test]
async fn a_write_whose_rows_are_read_is_prepared() {
    let it = Fixture::new().await;
    for tenant in [&it.one, &it.two, &it.two] {
        abu().insert(tenant).await.unwrap();
    }
    assert_eq!(it.sent(&it.two, "Abu"), (false, true));
}

#[tokio::test]
async fn a_shape_of_two_statements_is_refused_as_ever() {
    let it = Fixture::new().await;
    let two = r#"SELECT "name" FROM "@tenant"."guards" WHERE "name" = $1; SELECT 1 AS "one""#;
    for _ in 0..2 {
        for tenant in [&it.one, &it.two] {
            let error = tenant.query_all_raw(raw(two, ["Abu".into()])).await.unwrap_err();
            assert_eq!(DbErrorKind::sqlstate(&error).as_deref(), Some("42601"), "{error}");
            let error = tenant.execute_raw(raw(two, ["Abu".into()])).await.unwrap_err();
            assert_eq!(DbErrorKind::sqlstate(&error).as_deref(), Some("42601"), "{error}");
        }
    }
    assert!(!it.sent(&it.two, "Abu").0);
}

#[tokio::test]
async fn settings_of_the_transaction_switch_literals_off() {
    let it = Fixture::new().await;
    work(&it.one).await;
    for set in [
        "SET LOCAL client_encoding = 'SQL_ASCII'",
        "SET LOCAL TimeZone = 'Asia/Kolkata'",
        "SET LOCAL DateStyle = 'SQL, DMY'",
        "SELECT set_config('extra_float_digits', '-5', true)",
    ] {
        let txn = it.two.begin().await.unwrap();
        txn.execute_unprepared(set).await.unwrap();
        work(&txn).await;
        txn.rollback().await.unwrap();
        assert_eq!(it.sent(&it.two, "Abu"), (false, true), "{set}");
    }
    work(&it.two).await;
    assert!(it.sent(&it.two, "Abu").0, "after the transaction");
}

#[tokio::test]
async fn sessions_with_other_settings_get_no_literals() {
    let customised = Fixture::with(ColdStatements::Literal, |config| {
        config.connect_options.after_connect(|connection| {
            Box::pin(async move {
                connection.execute_unprepared("SET work_mem = '9MB'").await.map(drop)
            })
        });
    });
    // As behind a pooler that ignores what a client asks for when it connects.
    let imprecise = Fixture::with(ColdStatements::Literal, |config| {
        config.connect_options.map_sqlx_postgres_opts(|driver| driver.extra_float_digits(0));
    });
    for it in [customised.await, imprecise.await] {
        work(&it.one).await;
        work(&it.two).await;
        assert_eq!(it.sent(&it.two, "Abu"), (false, true));
    }
}

#[tokio::test]
async fn errors_are_those_of_prepared_statements() {
    let it = Fixture::new().await;
    let both = async |sql: &str, values: &[Value]| {
        let send = async |tenant: &Tenant| {
            let statement = raw(sql, values.iter().cloned());
            let executed = tenant.execute_raw(statement.clone()).await.unwrap_err();
            let queried = tenant.query_all_raw(statement).await.unwrap_err();
            [executed, queried].map(|error| (kind(&error), DbErrorKind::sqlstate(&error)))
        };
        let fail = send(&it.one).await;
        assert_eq!(send(&it.two).await, fail, "{sql}");
        fail
    };
    // The shape is known.
    let divide = r#"SELECT "name" FROM "@tenant"."guards" WHERE 1 / $1 = 1"#;
    for tenant in [&it.one, &it.two] {
        abu().insert(tenant).await.unwrap();
        tenant.query_all_raw(raw(divide, [1.into()])).await.unwrap();
    }
    let code = Some("22012".to_owned());
    let expected = [("exec", code.clone()), ("query", code)];
    assert_eq!(both(divide, &[0.into()]).await, expected);
    assert!(it.sent(&it.two, "0").0);

    let insert = r#"INSERT INTO "@tenant"."guards" ("id", "name", "position", "inserted_at",
        "updated_at") VALUES ($1, $2, $3, now(), now())"#;
    let id = uuid::Uuid::from_u128(1);
    for tenant in [&it.one, &it.two] {
        let row = raw(insert, [id.into(), "Bea".into(), "Gate".into()]);
        tenant.execute_raw(row).await.unwrap();
    }
    let again = [id.into(), "Cem".into(), "Gate".into()];
    assert_eq!(both(insert, &again).await[0].1.as_deref(), Some("23505"));
    assert!(it.sent(&it.two, "Cem").0);
    let nul = [uuid::Uuid::from_u128(2).into(), "a\0b".into(), "Gate".into()];
    assert_eq!(both(insert, &nul).await[0].1.as_deref(), Some("22021"));
}

fn kind(error: &DbErr) -> &'static str {
    match error {
        DbErr::Exec(_) => "exec",
        DbErr::Query(_) => "query",
        _ => "other",
    }
}

#[tokio::test]
async fn a_statement_with_literals_is_cancelled_as_any_other() {
    let it = Fixture::with(ColdStatements::Literal, |config| {
        config.statement_timeout = Some(Duration::from_millis(300));
    })
    .await;
    let sleep = async |tenant: &Tenant, seconds: f64| {
        let sql = r#"SELECT count(*) AS n FROM "@tenant"."guards", pg_sleep($1)"#;
        tenant.query_one_raw(raw(sql, [seconds.into()])).await
    };
    for tenant in [&it.one, &it.two] {
        abu().insert(tenant).await.unwrap();
        sleep(tenant, 0.0).await.unwrap();
    }
    let error = sleep(&it.two, 60.5).await.unwrap_err();
    assert_eq!(DbErrorKind::sqlstate(&error).as_deref(), Some("57014"), "{error}");
    let dropped = timeout(Duration::from_millis(50), sleep(&it.two, 61.5)).await;
    assert!(dropped.is_err());
    assert!(find(&it.two, "Abu").await.is_some());
    assert!(it.sent(&it.two, "60.5").0 && it.sent(&it.two, "61.5").0);
}

#[tokio::test]
async fn a_read_only_tenant_refuses_a_write_with_literals() {
    let it = Fixture::new().await;
    work(&it.one).await;
    store(&it.two).await.unwrap();
    it.tenancy.set_read_only(&slug(TWO), true).await.unwrap();
    assert!(find(&it.two, "Abu").await.is_some());
    let error = store(&it.two).await.unwrap_err();
    assert!(ReadOnlyTenant::find(&error).is_some(), "{error}");
    assert!(it.sent(&it.two, "Abu").0);
}

#[tokio::test]
async fn values_never_appear_in_the_log_of_this_process() {
    for is_logged in [false, true] {
        let log = Log::listen();
        let it = Fixture::with(ColdStatements::Literal, |config| {
            config
                .connect_options
                .sqlx_logging(is_logged)
                .sqlx_logging_level(LevelFilter::Info)
                .sqlx_slow_statements_logging_settings(LevelFilter::Warn, Duration::ZERO);
            if !is_logged {
                // What the options of the driver say does not matter then.
                config.connect_options.map_sqlx_postgres_opts(|driver| {
                    use sea_orm::sqlx::ConnectOptions;
                    driver.log_statements(LevelFilter::Info)
                });
            }
        })
        .await;
        for tenant in [&it.one, &it.two] {
            work(tenant).await;
            find(tenant, "Abu' OR 'hunter2").await;
            tenant.query_all_raw(raw("SELECT 1 / $1 AS x", [0.into()])).await.unwrap_err();
        }
        let text = log.text();
        assert!(!text.contains("Abu") && !text.contains("hunter2"), "{text}");
        assert_eq!(text.contains("guards"), is_logged, "{text}");
        // They are not even sent where the driver would log them.
        assert_eq!(it.sent(&it.two, "Abu").0, !is_logged);
    }
}

#[tokio::test]
async fn through_a_pooler_literals_replace_names() {
    let route = Route::proxy().await;
    let db = TestDb::new().await;
    let mut config = Config {
        statement_cache: Some(1),
        cold_statements: ColdStatements::Literal,
        ..route.config(&db)
    };
    config.connect_options.sqlx_logging(false);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let [one, two] = tenants(&tenancy).await;
    let it = Fixture { one, two, tenancy, log: Mark::now(server()), db };
    for tenant in [&it.one, &it.two] {
        work(tenant).await;
        for _ in 0..10 {
            find(tenant, "Abu").await.unwrap();
        }
    }
    // A statement that has recurred is kept under a name.
    assert_eq!(it.sent(&it.two, "Abu"), (true, true));
    // The digits of a number in the text may be those that another client of the session wants.
    for (of, expected) in [("float8", false), ("int8", true)] {
        let sql = format!(r#"SELECT 1::{of} AS n FROM "@tenant"."guards" WHERE "name" <> $1"#);
        for tenant in [&it.one, &it.two, &it.one, &it.two] {
            tenant.query_one_raw(raw(&sql, [of.into()])).await.unwrap().unwrap();
        }
        assert_eq!(it.sent(&it.two, of).0, expected, "{of}");
    }
}
