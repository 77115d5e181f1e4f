//! Clients that hang up, statements that take too long, and a server that accepts no writes.

use std::time::Duration;

use sea_orm::{DatabaseTransaction, TransactionTrait};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{Caller, Site, execute, heard};
use crate::support::{
    TestDb,
    catalog::texts,
    database::{connect, own_server},
    http_server::{HttpServer, TOKEN, eventually},
    process::Ran,
};

/// Statements of the database that wait for a lock.
const WAITING: &str = "SELECT count(*)::text FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()";

/// Locks the guards of the first tenant.
async fn locked(site: &Site) -> DatabaseTransaction {
    let txn = site.db.plain().await.begin().await.unwrap();
    let sql = "LOCK TABLE tenant_1.guards";
    sea_orm::ConnectionTrait::execute_unprepared(&txn, sql).await.unwrap();
    txn
}

#[tokio::test]
async fn clients_that_hang_up_do_not_delay_others() {
    let (site, one, two) = Site::with_tenants().await;
    let lock = locked(&site).await;
    let started = Instant::now();
    for _ in 0..2 {
        // More than there are connections. The client closes its own after that time.
        let hang_up = (0..10).map(|_| {
            let brief = one.request("GET", "/guards").timeout(Duration::from_millis(300));
            async { assert!(brief.send().await.unwrap_err().is_timeout()) }
        });
        futures_util::future::join_all(hang_up).await;
        two.get("/guards").await.is(200);
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let plain = site.db.plain().await;
    eventually("the server has ended them", async || texts(&plain, WAITING).await == ["0"]).await;
    lock.rollback().await.unwrap();
    one.get("/guards").await.is(200);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_answered_before_the_deadline() {
    let db = TestDb::new().await;
    let mut command = HttpServer::command(&db.url());
    let serving = HttpServer::launch(
        command.args(["--statement-timeout", "0.3"]).env("TENANTRY_ADMIN_TOKEN", TOKEN),
    );
    let site = Site { serving, db };
    site.create("tenant-1").await;
    let one = site.caller("tenant-1.localhost");
    let lock = locked(&site).await;
    let answer = timeout(Duration::from_secs(10), one.get("/guards")).await.expect("no answer");
    answer.problem(503, "unavailable");
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    lock.rollback().await.unwrap();
    one.get("/guards").await.is(200);
}

#[tokio::test]
async fn a_server_without_disk_or_memory_is_503_and_not_500() {
    let (site, one, _) = Site::with_tenants().await;
    let db = site.db.plain().await;
    for state in ["53100", "53200", "58030"] {
        let sql = format!(
            "CREATE OR REPLACE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$;
             CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON tenant_1.guards
                 EXECUTE FUNCTION public.fail()"
        );
        execute(&db, &sql).await;
        let abu = json!({ "name": "Abu", "position": "Guard" });
        one.post("/guards", abu).await.problem(503, "unavailable");
    }
}

#[tokio::test]
async fn while_the_server_accepts_no_writes_health_says_so_and_the_service_recovers() {
    let server = own_server().await;
    let url = server.url("postgres");
    Ran::on("tenantry", &url, &["tenant", "create", "tenant-1"]).exits(0);
    let serving = HttpServer::start(&url);
    let [one, operator] = ["tenant-1.localhost", "localhost"].map(|host| Caller {
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        base: format!("http://{}", serving.address()),
        host: host.to_owned(),
    });
    one.guard("Abu", "Guard").await;
    let system = async |setting: &str| {
        let db = connect(&url).await;
        execute(&db, &format!("ALTER SYSTEM SET {setting}")).await;
        execute(&db, "SELECT pg_reload_conf()").await;
        db.close().await.unwrap();
    };
    system("default_transaction_read_only = on").await;
    eventually("health is bad", async || one.get("/health").await.status == 503).await;
    let problem = one.get("/health").await.problem(503, "read-only");
    assert!(
        problem["detail"].as_str().unwrap().contains("the database server is read-only"),
        "{problem}"
    );
    let zoe = || json!({ "name": "Zoe", "position": "Gate" });
    one.post("/guards", zoe()).await.problem(503, "unavailable");
    let create = operator.request("POST", "/admin/tenants").bearer_auth(TOKEN);
    heard(create.json(&json!({ "slug": "tenant-2" }))).await.problem(503, "unavailable");
    assert_eq!(one.names("/guards").await, ["Abu"]);

    system("default_transaction_read_only = off").await;
    let stored = async || one.post("/guards", zoe()).await.status == 201;
    eventually("writes are accepted", stored).await;
    one.get("/health").await.is(204);
    drop(serving);
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}
