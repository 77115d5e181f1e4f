//! Bodies that are too long, or come too slowly.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use super::{Answer, Site, heard, raw::read_answer};

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
