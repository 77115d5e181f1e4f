//! What clients of a running server see.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Client, StatusCode, header};
use sea_orm::{ConnectionTrait, TransactionTrait};
use tenantry::NewTenant;

use super::PROMPT;
use crate::support::{TestDb, http_server::HttpServer, slug};

#[tokio::test]
async fn a_tenant_that_hangs_is_answered_503_and_the_others_are_answered() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    for n in 1..=8 {
        tenancy.create(NewTenant::new(slug(&format!("tenant-{n}")))).await.unwrap();
    }
    tenancy.close().await;
    let mut command = HttpServer::command(&db.url());
    command.env("TENANTRY_MAX_CONNECTIONS", "10").env("TENANTRY_MAX_WAITING", "20");
    let serving = HttpServer::launch(&mut command);
    let url = format!("http://{}/guards?count=true&search=a", serving.address());
    let client = Client::builder().no_proxy().build().unwrap();
    let get = async |number: usize| {
        let started = Instant::now();
        let host = format!("tenant-{number}.localhost");
        let answer = client.get(&url).header(header::HOST, host).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        (status, headers, answer.text().await.unwrap(), started.elapsed())
    };
    // Every statement of this tenant waits for the lock.
    let plain = db.plain().await;
    let lock = plain.begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE tenant_1.guards").await.unwrap();
    let flood = join_all((0..60).map(|_| get(1)));
    let others = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for _ in 0..5 {
            for (status, _, text, took) in join_all((2..=8).map(get)).await {
                assert_eq!(status, StatusCode::OK, "{text}");
                assert!(took < PROMPT, "it took {took:?}");
            }
        }
        lock.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(flood, others);
    let (served, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(status, ..)| *status == StatusCode::OK);
    assert!(served.len() >= 27, "{} are served: those in progress and those waiting", served.len());
    assert!(refused.len() >= 30, "{} are refused", refused.len());
    for (status, headers, text, took) in refused {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
        assert!(text.contains("urn:tenantry:problem:tenant-busy"), "{text}");
        assert_eq!(headers[header::RETRY_AFTER], "1");
        assert!(took < PROMPT, "refused only after {took:?}");
    }
    assert_eq!(get(1).await.0, StatusCode::OK);
}
