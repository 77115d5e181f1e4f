//! Bodies that are too long, or come too slowly.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use serde_json::{Value, json};

use super::{Answer, Site, fields, heard, raw::read_answer};
use crate::support::{http_server::eventually, process::Ran};

const HEAD: &str = "POST /guards HTTP/1.1\r\nhost: tenant-1.localhost\r\n\
                    content-type: application/json\r\n";

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_408_and_no_error_of_the_server() {
    let (site, one, _) = Site::with_tenants().await;
    // One that stops, one that trickles, in a length given ahead and in chunks.
    let whole = slow(&site, "content-length: 100", "{\"name\":", "");
    let stops = slow(&site, "transfer-encoding: chunked", "8\r\n{\"name\":\r\n", "");
    let trickles = slow(&site, "content-length: 60000", "{\"name\":", " ");
    let chunks = slow(&site, "transfer-encoding: chunked", "8\r\n{\"name\":\r\n", "1\r\n \r\n");
    let (whole, stops, trickles, chunks) = tokio::join!(whole, stops, trickles, chunks);
    for answer in [whole, stops, trickles, chunks] {
        answer.problem(408, "slow-body");
        // Later bytes on this connection are not parsed as a request.
        assert_eq!(answer.header("connection"), "close");
        let lines = site.serving.logged(answer.header("x-request-id")).await;
        assert!(lines.iter().all(|line| !line.contains("ERROR")), "{lines:#?}");
    }
    assert!(one.names("/guards").await.is_empty());
}

#[tokio::test]
async fn a_length_above_the_limit_is_413_at_once() {
    let (site, one, _) = Site::with_tenants().await;
    for length in ["65537", "1000000", "99999999999", "9999999999999999999"] {
        for expect in ["", "expect: 100-continue\r\n"] {
            let started = Instant::now();
            let mut stream = TcpStream::connect(site.serving.address()).await.unwrap();
            // Nothing of the body is ever sent.
            let head = format!("{HEAD}{expect}content-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let answer = read_answer(&mut stream).await;
            let problem = answer.problem(413, "too-large");
            assert!(problem["detail"].as_str().unwrap().contains("65536"), "{problem}");
            assert_eq!(answer.header("connection"), "close");
            assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        }
    }
    assert!(one.names("/guards").await.is_empty());
}

#[tokio::test]
async fn a_client_that_sends_a_long_body_all_the_same_reads_the_413() {
    let (_site, one, _) = Site::with_tenants().await;
    for length in [100_000, 1_000_000, 20_000_000] {
        for _ in 0..5 {
            let request = one.request("POST", "/guards").body(vec![b' '; length]);
            let answer = heard(request.header("content-type", "application/json")).await;
            answer.problem(413, "too-large");
        }
    }
}

#[tokio::test]
async fn a_tenant_may_have_a_limit_of_its_own_up_to_that_of_the_server() {
    let (site, one, two) = Site::with_tenants().await;
    // Valid, however long it is.
    let long = |length: usize| {
        let body = format!("{{\"name\":\"Abu\",\"position\":\"Gate\"{}}}", " ".repeat(length));
        one.request("POST", "/guards").header("content-type", "application/json").body(body)
    };
    let chunked = async |length: usize| {
        let chunk = format!("{length:x}\r\n{}\r\n", " ".repeat(length));
        let mut stream = TcpStream::connect(site.serving.address()).await.unwrap();
        let head = format!("{HEAD}transfer-encoding: chunked\r\n\r\n{chunk}");
        stream.write_all(head.as_bytes()).await.unwrap();
        read_answer(&mut stream).await
    };
    let change = async |bytes: Value| {
        let change = json!({ "max_body_bytes": bytes });
        heard(site.operator("PATCH", "/admin/tenants/tenant-1").json(&change)).await
    };
    let named = |answer: &Answer, limit: &str| {
        let problem = answer.problem(413, "too-large");
        assert!(problem["detail"].as_str().unwrap().contains(limit), "{problem}");
    };
    named(&heard(long(66_000)).await, "65536");
    assert_eq!(change(json!(200_000)).await.is(200).json()["max_body_bytes"], 200_000);
    heard(long(190_000)).await.is(201);
    named(&heard(long(200_000)).await, "200000");
    named(&chunked(200_001).await, "200000");
    assert_eq!(change(json!(100)).await.is(200).json()["max_body_bytes"], 100);
    heard(long(0)).await.is(201);
    named(&heard(long(100)).await, "100 bytes");
    named(&chunked(101).await, "100 bytes");
    let other = json!({ "name": "Bea", "position": "Gate".repeat(40) });
    two.post("/guards", other).await.is(201);

    // Not above the server's maximum of 1 MiB.
    let arguments = ["tenant", "update", "tenant-1", "--max-body", "4294967295"];
    Ran::on("tenantry", &site.db.url(), &arguments).exits(0).says(["4294967295"]);
    eventually("it is known", async || heard(long(900_000)).await.status == 201).await;
    named(&heard(long(1_048_576)).await, "1048576");
    for wrong in [json!(0), json!(-1), json!(4_294_967_296_u64), json!("1")] {
        assert_eq!(change(wrong).await.invalid(), fields([("max_body_bytes", "type")]));
    }
    let arguments = ["tenant", "update", "tenant-1", "--clear-max-body"];
    Ran::on("tenantry", &site.db.url(), &arguments).exits(0);
    eventually("the default is back", async || heard(long(66_000)).await.status == 413).await;
    assert_eq!(change(Value::Null).await.is(200).json()["max_body_bytes"], Value::Null);
}

/// A request whose body begins with `first` and goes on, if at all, with a piece a second.
async fn slow(site: &Site, framing: &str, first: &str, piece: &str) -> Answer {
    let stream = TcpStream::connect(site.serving.address()).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    to.write_all(format!("{HEAD}{framing}\r\n\r\n{first}").as_bytes()).await.unwrap();
    let piece = piece.to_owned();
    let sending = tokio::spawn(async move {
        loop {
            sleep(Duration::from_secs(1)).await;
            if !piece.is_empty() && to.write_all(piece.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let answer = read_answer(&mut from).await;
    sending.abort();
    answer
}
