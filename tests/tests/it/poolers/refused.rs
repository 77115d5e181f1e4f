//! With a direct URL, a pooler in transaction mode is accepted if it carries prepared statements over,
//! and if its sessions have the settings that the program does not send.

use sea_orm::ConnectionTrait;
use tenantry::{Config, NewTenant, Tenancy};
use tests::pgbouncer::{PgBouncer, PoolMode, Program, ROLE};

use crate::support::{
    TestDb,
    database::server,
    http_server::HttpServer,
    pooler::{Mode, Pooler},
    process::Ran,
    route::Route,
    slug,
};

/// The error of a start through the pooler at this URL.
async fn refusal(db: &TestDb, url: &str) -> String {
    let config = Config { connect_options: url.into(), ..db.config() }.direct_url(db.url());
    Tenancy::connect(&config).await.unwrap_err().to_string()
}

/// Asserts that the library and the server refuse to start through the pooler at this URL.
async fn assert_refused(db: &TestDb, url: String) {
    let error = refusal(db, &url).await;
    assert!(error.contains("max_prepared_statements") && error.contains("1.21"), "{error}");
    let direct = db.url();
    let serve = move || {
        let mut command = HttpServer::command(&url);
        Ran::of(command.env("TENANTRY_DIRECT_URL", direct))
    };
    let ran = tokio::task::spawn_blocking(serve).await.unwrap().exits(1);
    ran.complains(["max_prepared_statements"]);
}

/// Creates a tenant, and uses it, with the pooler at this URL.
async fn assert_accepted(db: &TestDb, url: &str, name: &str) {
    let config = Config { connect_options: url.into(), ..db.config() }.direct_url(db.url());
    let tenancy = Tenancy::connect(&config).await.unwrap();
    tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    let tenant = tenancy.tenant(&slug(name)).await.unwrap();
    for _ in 0..5 {
        tenant.execute_unprepared(r#"SELECT 1 FROM "@tenant"."guards""#).await.unwrap();
        sea_orm::ActiveModelTrait::insert(crate::support::abu(), &tenant).await.unwrap();
    }
    tenancy.close().await;
}

fn transaction_mode(program: &Program, statements: u32) -> PgBouncer {
    program.start(server(), PoolMode::Transaction { statements }, 4, &[ROLE])
}

#[tokio::test]
async fn a_pooler_that_does_not_carry_statements_over_is_refused() {
    Route::create_role().await;
    let db = TestDb::new().await;
    for mode in [Mode::InTurn, Mode::Transaction] {
        let pooler = Pooler::with_room(mode, 4).await;
        assert_refused(&db, pooler.url_of(ROLE, db.name())).await;
    }
    if let Some(old) = Program::that_does_not_prepare("PgBouncer before 1.21 is refused") {
        assert_refused(&db, transaction_mode(&old, 100).url_of(ROLE, db.name())).await;
    }
    if let Some(new) = Program::that_prepares("max_prepared_statements = 0 is refused") {
        assert_refused(&db, transaction_mode(&new, 0).url_of(ROLE, db.name())).await;
    }
}

#[tokio::test]
async fn a_pooler_that_carries_statements_over_is_accepted() {
    for route in Route::poolers("PgBouncer from 1.21 on is accepted").await {
        let db = TestDb::new().await;
        assert_accepted(&db, &route.url(&db), "tenant-1").await;
    }
}

#[tokio::test]
async fn session_mode_is_accepted_beside_a_direct_url() {
    Route::create_role().await;
    let db = TestDb::new().await;
    let pooler = Pooler::new(Mode::Session).await;
    assert_accepted(&db, &pooler.url_of(ROLE, db.name()), "tenant-1").await;
    if let Some(program) = Program::any("session mode of PgBouncer") {
        let pooler = program.start(server(), PoolMode::Session, 20, &[ROLE]);
        assert_accepted(&db, &pooler.url_of(ROLE, db.name()), "tenant-2").await;
    }
}

#[tokio::test]
async fn sessions_without_the_settings_are_refused_with_the_statements_to_run() {
    for route in Route::poolers("settings behind PgBouncer").await {
        let db = TestDb::new().await;
        for (name, wrong, right) in [
            ("search_path", "public", "''"),
            ("statement_timeout", "0", "'25s'"),
            ("idle_in_transaction_session_timeout", "0", "'30s'"),
            ("standard_conforming_strings", "off", "on"),
        ] {
            // PgBouncer gives each client the value that the first session had.
            if name == "standard_conforming_strings" && matches!(route, Route::PgBouncer(_)) {
                continue;
            }
            let alter = format!("ALTER ROLE {ROLE} IN DATABASE {} SET {name}", db.name());
            let plain = db.plain().await;
            plain.execute_unprepared("CREATE TABLE IF NOT EXISTS public.t (n int)").await.unwrap();
            plain.execute_unprepared(&format!("{alter} = {wrong}")).await.unwrap();
            // The pooler opens new sessions for a database that it has not seen.
            let error = refusal(&db, &route.url(&db)).await;
            assert!(error.contains("ALTER ROLE") && error.contains(name), "{error}");
            plain.execute_unprepared(&format!("{alter} = {right}")).await.unwrap();
            let end = format!(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                    WHERE usename = '{ROLE}' AND datname = current_database()"
            );
            plain.execute_unprepared(&end).await.unwrap();
        }
        assert_accepted(&db, &route.url(&db), "tenant-1").await;
    }
}

#[tokio::test]
async fn a_pooler_to_another_database_is_refused() {
    let (db, other) = (TestDb::new().await, TestDb::new().await);
    let route = Route::proxy().await;
    let config = Config { connect_options: route.url(&db).into(), ..db.config() };
    assert!(Tenancy::connect(&config.direct_url(other.url())).await.is_err());
}

#[tokio::test]
async fn a_pooler_with_a_single_server_connection_is_refused_in_a_bounded_time() {
    for route in Route::poolers_with(1, "PgBouncer with one server connection").await {
        let db = TestDb::new().await;
        let started = std::time::Instant::now();
        let error = refusal(&db, &route.url(&db)).await;
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "{error}");
        assert!(
            error.contains("no second session") && error.contains("default_pool_size"),
            "{error}"
        );
    }
}
