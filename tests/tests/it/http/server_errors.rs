//! Answers and log lines for errors of the server.

use local_postgres::Server;
use tokio::task::spawn_blocking;

use super::{Answer, Caller, Site, execute, heard};
use crate::support::{
    catalog::texts,
    database::admin,
    http_server::{HttpServer, eventually},
    process::Ran,
};

#[tokio::test]
async fn the_cause_of_a_500_is_logged_once_and_not_sent() {
    let (site, one, _) = Site::with_tenants().await;
    let db = site.db.plain().await;
    execute(&db, "ALTER TABLE tenant_1.guards RENAME position TO place").await;

    let request = one.request("GET", "/guards").header("x-request-id", "broken-1");
    let answer = heard(request).await;
    answer.problem(500, "internal");
    assert_eq!(answer.header("x-request-id"), "broken-1");
    tells_no_cause(&answer);
    let lines = site.serving.logged("broken-1").await;
    let [line] = lines.as_slice() else {
        panic!("not one line: {lines:#?}");
    };
    assert!(line.contains("ERROR"), "{line}");
    assert!(line.contains("tenant=tenant-1}"), "{line}");
    let cause = "column guards.position does not exist";
    assert_eq!(line.matches(cause).count(), 1, "{line}");
    assert_eq!(site.serving.stderr().matches(cause).count(), 1);

    // Later requests are answered.
    execute(&db, "ALTER TABLE tenant_1.guards RENAME place TO position").await;
    one.get("/guards").await.is(200);
}

#[tokio::test]
async fn a_tenant_whose_tables_are_missing_is_503_until_they_are_there() {
    let (site, one, two) = Site::with_tenants().await;
    let db = site.db.plain().await;
    execute(&db, "ALTER TABLE tenant_1.guards RENAME TO hidden").await;
    let answer = one.get("/guards").await;
    answer.problem(503, "not-ready");
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    tells_no_cause(&answer);
    let lines = site.serving.logged(answer.header("x-request-id")).await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(r#"relation "tenant_1.guards" does not exist"#), "{lines:#?}");
    two.get("/guards").await.is(200);

    execute(&db, "ALTER TABLE tenant_1.hidden RENAME TO guards").await;
    one.get("/guards").await.is(200);
}

#[tokio::test]
async fn a_database_outage_is_answered_without_its_cause_until_the_database_is_back() {
    let (site, one, _) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    let db = site.db.plain().await;
    let name = texts(&db, "SELECT current_database()::text").await.remove(0);
    db.close().await.unwrap();
    admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    let end =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    admin(&end).await;

    for (number, path) in ["/guards", "/shifts", "/health"].into_iter().enumerate() {
        let id = format!("gone-{number}");
        let request = one.request("GET", path).header("x-request-id", &id);
        let answer = heard(request).await;
        assert!([500, 503].contains(&answer.status), "{answer:#?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        tells_no_cause(&answer);
        let lines = site.serving.logged(&id).await;
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("cause="), "{lines:#?}");
    }

    admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    eventually("the guards are back", async || one.get("/guards").await.status == 200).await;
    assert_eq!(one.names("/guards").await, ["Abu"]);
}

#[tokio::test]
async fn without_a_database_server_the_answer_is_503_and_says_to_come_back() {
    let server = spawn_blocking(|| Server::temporary(&[])).await.unwrap().unwrap();
    let url = server.url("postgres");
    Ran::on("migration", &url, &["up", "--registry"]).exits(0);
    Ran::on("tenantry", &url, &["tenant", "create", "tenant-1"]).exits(0);
    let serving = HttpServer::start(&url);
    let one = Caller {
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        base: format!("http://{}", serving.address()),
        host: "tenant-1.localhost".to_owned(),
    };
    one.get("/guards").await.is(200);
    one.get("/health").await.is(204);

    spawn_blocking(move || drop(server)).await.unwrap();
    for path in ["/guards", "/health"] {
        let answer = one.get(path).await;
        answer.problem(503, "unavailable");
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
        tells_no_cause(&answer);
    }
}

/// Nothing that comes from the database, from SQL or from the code.
#[track_caller]
fn tells_no_cause(answer: &Answer) {
    let text = answer.text.to_lowercase();
    for word in [
        "sql",
        "select",
        "relation",
        "postgres",
        "guards",
        "tenant_1",
        "error returned",
        "socket",
        "pool",
        "terminat",
        ".rs",
        "panick",
    ] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}
