//! Requests that no client library would send.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Answer, Site};

impl Site {
    /// Sends `head` line by line, then `body`, and reads the answer until the server closes.
    pub(super) async fn raw(&self, head: &[&str], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.serving.address()).await.unwrap();
        let mut request = head.join("\r\n").into_bytes();
        request.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
        request.extend_from_slice(body);
        stream.write_all(&request).await.unwrap();
        read_answer(&mut stream).await
    }
}

/// Reads an answer until the server closes.
pub(super) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> Answer {
    let mut answer = String::new();
    // Longer than the deadline of a request.
    timeout(Duration::from_secs(40), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    parse(&answer)
}

fn parse(answer: &str) -> Answer {
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.parse().unwrap(), value.parse().unwrap())
    });
    Answer {
        status: status.parse().unwrap(),
        headers: headers.collect::<Vec<_>>().into_iter().collect(),
        text: text.to_owned(),
    }
}
