//! The process stands still while others go on, and continues.

use std::{thread, time::Duration};

use futures_util::future::join_all;
use nix::sys::signal::Signal;

use crate::support::{TestDb, http_server::HttpServer, process::Ran};

/// Longer than a heartbeat may be missing.
const PAUSE: Duration = Duration::from_secs(8);

/// A server with the tenants `tenant-1`, to which `guards.example.org` leads, and `tenant-2`.
async fn serve() -> (HttpServer, TestDb) {
    let db = TestDb::new().await;
    for arguments in [
        &["tenant", "create", "tenant-1", "--domain", "guards.example.org"][..],
        &["tenant", "create", "tenant-2"],
    ] {
        Ran::on("tenantry", &db.url(), arguments).exits(0);
    }
    (HttpServer::start(&db.url()), db)
}

/// A client with a connection of its own to one host, which it keeps.
struct Client<'a> {
    client: reqwest::Client,
    serving: &'a HttpServer,
    host: &'static str,
}

impl<'a> Client<'a> {
    async fn new(serving: &'a HttpServer, host: &'static str) -> Self {
        let it =
            Self { client: reqwest::Client::builder().no_proxy().build().unwrap(), serving, host };
        assert_eq!(it.get().await.0, 200);
        it
    }

    async fn get(&self) -> (u16, String) {
        self.send(self.client.get(self.url())).await
    }

    async fn post(&self) -> (u16, String) {
        let abu = serde_json::json!({ "name": "Abu", "position": self.host });
        self.send(self.client.post(self.url()).json(&abu)).await
    }

    fn url(&self) -> String {
        format!("http://{}/guards", self.serving.address())
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, String) {
        let answer = request.header("host", self.host).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// What 20 clients are answered who store a guard after `meanwhile` has happened, when the server
/// continues after its pause.
async fn paused(
    serving: &HttpServer,
    host: &'static str,
    meanwhile: impl FnOnce() + Send + 'static,
) -> Vec<(u16, String)> {
    let clients = join_all((0..20).map(|_| Client::new(serving, host))).await;
    serving.signal(Signal::SIGSTOP);
    tokio::task::spawn_blocking(move || {
        meanwhile();
        thread::sleep(PAUSE);
    })
    .await
    .unwrap();
    let continued = async {
        // They have all been sent by then.
        tokio::time::sleep(Duration::from_millis(500)).await;
        serving.signal(Signal::SIGCONT);
    };
    let (answers, ()) = tokio::join!(join_all(clients.iter().map(Client::post)), continued);
    answers
}

#[tokio::test]
async fn a_host_name_that_was_moved_during_a_pause_leads_to_its_new_tenant() {
    let (serving, db) = serve().await;
    let url = db.url();
    let answers = paused(&serving, "guards.example.org", move || {
        for (change, slug) in [("remove", "tenant-1"), ("add", "tenant-2")] {
            let arguments = ["tenant", "domain", change, slug, "guards.example.org"];
            Ran::on("tenantry", &url, &arguments).exits(0);
        }
    })
    .await;
    for (status, body) in answers {
        assert_eq!(status, 201, "{body}");
    }
    let (_, body) = Client::new(&serving, "tenant-1.localhost").await.get().await;
    assert!(!body.contains("Abu"), "written to the old tenant: {body}");
}

#[tokio::test]
async fn a_tenant_that_was_dropped_during_a_pause_is_not_found() {
    let (serving, db) = serve().await;
    let url = db.url();
    let answers = paused(&serving, "tenant-1.localhost", move || {
        Ran::on("tenantry", &url, &["tenant", "drop", "tenant-1", "--yes"]).exits(0);
        Ran::on("tenantry", &url, &["tenant", "create", "tenant-3"]).exits(0);
    })
    .await;
    for (status, body) in answers {
        assert_eq!(status, 404, "{body}");
    }
}
