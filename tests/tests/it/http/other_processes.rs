//! What other processes change is known to a running server at once.

use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;

use super::{Site, heard};
use crate::support::{catalog::texts, http_server::eventually, process::Ran};

#[tokio::test]
async fn a_host_name_that_another_process_adds_or_removes_counts_at_once() {
    let (site, one, two) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    two.guard("Bea", "Guard").await;
    let custom = site.caller("guards.example.org:8443");
    custom.get("/guards").await.problem(404, "unknown-host");

    tenantry(&site, &["tenant", "domain", "add", "tenant-1", "Guards.Example.org"]);
    becomes(&custom, 200).await;
    assert_eq!(custom.names("/guards").await, ["Abu"]);

    // From one tenant to the other: never both, and not the first one again.
    tenantry(&site, &["tenant", "domain", "remove", "tenant-1", "guards.example.org"]);
    becomes(&custom, 404).await;
    tenantry(&site, &["tenant", "domain", "add", "tenant-2", "guards.example.org"]);
    becomes(&custom, 200).await;
    assert_eq!(custom.names("/guards").await, ["Bea"]);
}

#[tokio::test]
async fn a_tenant_that_another_process_makes_or_drops_comes_and_goes_at_once() {
    let site = Site::new().await;
    let tenant = site.caller("tenant-1.localhost");
    tenant.get("/guards").await.problem(404, "unknown-host");
    tenantry(&site, &["tenant", "create", "tenant-1", "--domain", "guards.example.org"]);
    becomes(&tenant, 200).await;
    tenant.guard("Abu", "Guard").await;
    let custom = site.caller("guards.example.org");
    assert_eq!(custom.names("/guards").await, ["Abu"]);

    tenantry(&site, &["tenant", "drop", "tenant-1", "--yes"]);
    becomes(&tenant, 404).await;
    becomes(&custom, 404).await;
    tenant.get("/guards").await.problem(404, "unknown-host");

    // The next one of that name is another tenant.
    tenantry(&site, &["tenant", "create", "tenant-1"]);
    becomes(&tenant, 200).await;
    assert!(tenant.names("/guards").await.is_empty());
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_until_it_is_active_again() {
    let (site, one, two) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    site.set_status("tenant-1", "suspended").await;
    becomes(&one, 404).await;
    one.get("/guards").await.problem(404, "unknown-host");
    let input = serde_json::json!({ "name": "Bea", "position": "Guard" });
    one.post("/guards", input).await.problem(404, "unknown-host");
    two.get("/guards").await.is(200);

    site.set_status("tenant-1", "active").await;
    becomes(&one, 200).await;
    assert_eq!(one.names("/guards").await, ["Abu"]);
}

#[tokio::test]
async fn an_archived_tenant_is_gone() {
    let (site, one, _) = Site::with_tenants().await;
    one.get("/guards").await.is(200);
    site.set_status("tenant-1", "archived").await;
    becomes(&one, 404).await;
    one.get("/guards").await.problem(404, "unknown-host");
}

#[tokio::test]
async fn notifications_are_received_again_after_their_connection_was_lost() {
    let (site, one, _) = Site::with_tenants().await;
    one.get("/guards").await.is(200);
    let db = site.db.plain().await;
    super::execute(
        &db,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
    site.set_status("tenant-1", "suspended").await;
    becomes(&one, 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_when_its_tenant_is_dropped_is_answered_404_without_an_error_in_the_log()
 {
    let (site, one, two) = Site::with_tenants().await;
    one.get("/guards").await.is(200);
    let plain = site.db.plain().await;
    let drop = plain.begin().await.unwrap();
    drop.execute_unprepared("LOCK TABLE tenant_1.guards, tenant_1.shifts").await.unwrap();
    let input = json!({ "name": "Abu", "position": "Gate" });
    let requests = [
        one.request("GET", "/guards").header("x-request-id", "late-0"),
        one.request("POST", "/guards").json(&input).header("x-request-id", "late-1"),
        one.request("GET", "/shifts").header("x-request-id", "late-2"),
    ];
    let requests: Vec<_> =
        requests.into_iter().map(|request| tokio::spawn(heard(request))).collect();
    // Two in the database, as a tenant holds no more of four connections, the third for one.
    let waiting = "SELECT count(*)::text FROM pg_locks JOIN pg_database d ON d.oid = database
                   WHERE datname = current_database() AND NOT granted";
    eventually("they wait", async || texts(&plain, waiting).await == ["2"]).await;
    // Without a notification, as if it had not arrived yet.
    drop.execute_unprepared(
        "DROP SCHEMA tenant_1 CASCADE; UPDATE registry.tenants SET status = 'dropped',
         dropped_at = now(), dropped_by = 'x' WHERE slug = 'tenant-1'",
    )
    .await
    .unwrap();
    drop.commit().await.unwrap();
    for (number, request) in requests.into_iter().enumerate() {
        let answer = request.await.unwrap();
        let problem = answer.problem(404, "unknown-host");
        assert_eq!(problem["detail"], "no tenant found for host \"tenant-1.localhost\"");
        let lines = site.serving.logged(&format!("late-{number}")).await;
        assert!(lines.iter().any(|line| line.contains("tenant_is=\"dropped\"")), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("ERROR")), "{lines:#?}");
    }
    assert!(!site.serving.stderr().contains("ERROR"), "{}", site.serving.stderr());
    two.get("/guards").await.is(200);
}

#[tokio::test]
async fn a_request_that_meets_a_breaking_migration_is_answered_503_without_an_sql_error() {
    let (site, one, _) = Site::with_tenants().await;
    one.get("/guards").await.is(200);
    let db = site.db.plain().await;
    super::execute(
        &db,
        "BEGIN; ALTER TABLE tenant_1.guards RENAME position TO place;
         UPDATE registry.tenants SET schema_version = 'm2099_place', breaking = '{m2099_place}',
             migrations = migrations || '{m2099_place}' WHERE slug = 'tenant-1'; COMMIT",
    )
    .await;
    let answer = one.get("/guards").await;
    answer.problem(503, "tenant-ahead");
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
}

/// A server that stands still while the tenant is dropped and created again by another process,
/// with requests that wait for one of its connections.
#[tokio::test(flavor = "multi_thread")]
async fn statements_of_a_paused_server_never_reach_the_next_tenant_of_the_slug() {
    let site = Site::new().await;
    let busy = ["busy-1", "busy-2", "busy-3", "busy-4"];
    site.create("q-1").await;
    for name in busy {
        site.create(name).await;
    }
    let one = site.caller("q-1.localhost");
    one.guard("before", "Gate").await;
    // All connections of the server wait for these tables.
    let plain = site.db.plain().await;
    let lock = plain.begin().await.unwrap();
    for name in busy {
        let schema = name.replace('-', "_");
        lock.execute_unprepared(&format!("LOCK TABLE {schema}.guards")).await.unwrap();
    }
    let callers = busy.map(|name| site.caller(&format!("{name}.localhost")));
    let blocked: Vec<_> = callers
        .iter()
        .map(|caller| tokio::spawn(heard(caller.request("GET", "/guards"))))
        .collect();
    let waiting = "SELECT count(*)::text FROM pg_locks WHERE NOT granted";
    eventually("they wait", async || texts(&plain, waiting).await == ["4"]).await;
    let late = |number: usize| {
        let input = json!({ "name": format!("late {number}"), "position": "Gate" });
        tokio::spawn(heard(one.request("POST", "/guards").json(&input)))
    };
    let mut writes: Vec<_> = (0..10).map(late).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;

    site.serving.signal(Signal::SIGSTOP);
    tenantry(&site, &["tenant", "drop", "q-1", "--yes"]);
    tenantry(&site, &["tenant", "create", "q-1"]);
    // These begin after the drop was acknowledged, and are read when the server goes on.
    writes.extend((10..20).map(late));
    lock.rollback().await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    site.serving.signal(Signal::SIGCONT);

    for write in join_all(writes).await {
        let answer = write.unwrap();
        // One that is read when the notification has been received is a new request, for the new
        // tenant; all others are refused.
        assert!([201, 404, 503].contains(&answer.status), "{answer:#?}");
        if answer.status == 404 {
            answer.problem(404, "unknown-host");
        }
    }
    for answer in join_all(blocked).await {
        let status = answer.unwrap().status;
        assert!([200, 503].contains(&status), "{status}");
    }
    let late = "SELECT name FROM q_1_2.guards WHERE name LIKE 'late _'";
    assert_eq!(texts(&plain, late).await, [""; 0], "written by requests of before the drop");
    becomes(&one, 200).await;
    assert!(!one.names("/guards").await.iter().any(|name| name == "before"));
    one.guard("after", "Gate").await;
    assert_eq!(
        texts(&plain, "SELECT name FROM q_1_2.guards WHERE name = 'after'").await,
        ["after"]
    );
}

fn tenantry(site: &Site, arguments: &[&str]) {
    Ran::on("tenantry", &site.db.url(), arguments).exits(0);
}

async fn becomes(caller: &super::Caller, status: u16) {
    eventually(&format!("the answer is {status}"), async || {
        caller.get("/guards").await.status == status
    })
    .await;
}
