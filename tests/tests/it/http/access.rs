//! Who may use a tenant's routes.

use super::{Site, heard};
use crate::support::{
    TestDb,
    http_server::{HttpServer, TOKEN, eventually},
    process::Ran,
    scratch::Scratch,
};

/// A server that asks for credentials.
async fn closed() -> Site {
    let db = TestDb::new().await;
    let mut command = HttpServer::command(&db.url());
    command.env("TENANTRY_ADMIN_TOKEN", TOKEN).env_remove("TENANTRY_ANONYMOUS");
    Site { serving: HttpServer::launch(&mut command), db }
}

#[tokio::test]
async fn without_anonymous_access_a_tenants_routes_ask_for_credentials() {
    let site = closed().await;
    site.create("tenant-1").await;
    // Also on the host of a tenant that does not exist.
    for host in ["tenant-1.localhost", "tenant-2.localhost", "localhost"] {
        let caller = site.caller(host);
        for (method, path) in [
            ("GET", "/guards"),
            ("HEAD", "/guards"),
            ("POST", "/guards"),
            ("GET", "/guards/1"),
            ("PATCH", "/guards/1"),
            ("DELETE", "/shifts/1"),
            // The route has no such method.
            ("PUT", "/guards"),
        ] {
            let answer = heard(caller.request(method, path)).await.is(401);
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{host} {method} {path}");
            let request = caller.request(method, path).bearer_auth("not-a-token-of-this-server");
            let answer = heard(request).await.is(401);
            assert_eq!(answer.header("www-authenticate"), r#"Bearer error="invalid_token""#);
        }
        caller.get("/guards").await.problem(401, "unauthorized");
        assert_eq!(heard(caller.request("GET", "/health")).await.status, 204, "{host}");
    }
    assert_eq!(site.stored("SELECT count(*)::text FROM tenant_1.guards").await, ["0"]);
}

#[tokio::test]
async fn the_admin_token_does_not_open_a_tenants_routes() {
    let site = closed().await;
    site.create("tenant-1").await;
    for host in ["tenant-1.localhost", "tenant-2.localhost"] {
        for method in ["GET", "POST"] {
            let request = site.caller(host).request(method, "/guards").bearer_auth(TOKEN);
            heard(request).await.problem(403, "operator-only");
        }
    }
    let log = site.serving.stderr();
    assert!(log.contains("admin token") && !log.contains(TOKEN), "{log}");
}

#[tokio::test]
async fn anonymous_access_is_refused_on_an_address_that_other_machines_reach() {
    // Not reached, so the database need not exist.
    let url = "postgres://localhost:1/none";
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let ran = Ran::of(HttpServer::command(url).env("TENANTRY_LISTEN", listen));
        let ran = ran.exits(1).complains(["anonymous access", "loopback", "127.0.0.1:3000"]);
        assert_eq!(ran.stdout, "");
    }
    for words in [&["--anonymous=perhaps"][..], &["--anonymous", "true"]] {
        Ran::of(HttpServer::command(url).args(words)).exits(2);
    }
}

#[tokio::test]
async fn the_welcome_says_that_tenants_are_open_also_with_a_database_of_ones_own() {
    let site = Site::new().await;
    let text = "anonymous  tenants are open to every program on this machine";
    eventually("the welcome says so", async || site.serving.stdout().contains(text)).await;
    let site = closed().await;
    site.create("tenant-1").await;
    assert!(!site.serving.stdout().contains("anonymous"), "{}", site.serving.stdout());
}

#[tokio::test]
async fn with_the_local_server_a_loopback_address_is_open_and_the_welcome_says_so() {
    let scratch = Scratch::new();
    for (words, listen, is_open) in [
        (&["serve"][..], "127.0.0.1:0", true),
        (&["serve", "--anonymous=false"], "127.0.0.1:0", false),
        (&["serve"], "0.0.0.0:0", false),
    ] {
        let mut command = scratch.tenantry(words);
        let mut serving = HttpServer::launch(command.env("TENANTRY_LISTEN", listen));
        eventually("the welcome is complete", async || {
            serving.stdout().contains("/admin/tenants -H")
        })
        .await;
        let welcome = serving.stdout();
        assert_eq!(welcome.contains("--anonymous=false"), is_open, "{welcome}");
        let url = format!("http://127.0.0.1:{}/guards", serving.address().port());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = || client.get(&url).header("host", "tenant-1.localhost");
        let answer = heard(request()).await;
        assert_eq!(answer.status, if is_open { 200 } else { 401 }, "{words:?} {listen}");
        // Else the welcome says how to get a key, and its lines send it.
        let line = welcome.lines().find_map(|line| line.trim().strip_prefix("KEY=$(tenantry "));
        assert_eq!(line.is_none(), is_open, "{welcome}");
        if let Some(line) = line {
            assert_eq!(welcome.matches("Bearer $KEY").count(), 2, "{welcome}");
            let words: Vec<&str> = line.trim_end_matches(')').split(' ').collect();
            let key = Ran::of(&mut scratch.tenantry(&words)).exits(0).stdout;
            heard(request().bearer_auth(key.trim_end())).await.is(200);
        }
        serving.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(serving.ended().await.code(), Some(0));
    }
}
