//! Clients that use little of the machine.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};

use crate::interleaved::Work;

/// The bytes of an HTTP/1.1 request.
#[derive(Clone)]
pub struct Request {
    text: Arc<str>,
    status: &'static str,
}

impl Request {
    pub fn get(host: &str, path: &str) -> Self {
        let text = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        Self { text: text.into(), status: "HTTP/1.1 200 " }
    }

    pub fn post(host: &str, path: &str, json: &str) -> Self {
        let text = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{json}",
            json.len()
        );
        Self { text: text.into(), status: "HTTP/1.1 201 " }
    }

    /// Method and path.
    pub fn name(&self) -> String {
        self.text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }
}

/// Connections to one server, one for each client.
#[derive(Clone)]
pub struct Clients(Arc<[Mutex<TcpStream>]>);

impl Clients {
    pub async fn connect(address: SocketAddr, clients: usize) -> Self {
        let mut streams = Vec::new();
        for _ in 0..clients {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            streams.push(Mutex::new(stream));
        }
        Self(streams.into())
    }

    pub fn work(self, request: &Request) -> Work {
        let request = request.clone();
        Arc::new(move |client| {
            let (clients, request) = (self.clone(), request.clone());
            Box::pin(async move {
                clients.ask(client, &request).await;
            })
        })
    }

    /// Sends a request and reads the answer to its end; returns the body.
    pub async fn ask(&self, client: usize, request: &Request) -> Vec<u8> {
        let mut stream = self.0[client].lock().await;
        stream.write_all(request.text.as_bytes()).await.unwrap();
        let mut answer = Vec::with_capacity(1024);
        loop {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "the server hung up");
            if let Some(begin) = body(&answer, request.status) {
                return answer.split_off(begin);
            }
        }
    }
}

/// The start of the body, once it is complete.
fn body(answer: &[u8], status: &str) -> Option<usize> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    assert!(head.starts_with(status), "{head}");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    let length: usize = length.unwrap();
    (answer.len() - end - 4 >= length).then_some(end + 4)
}
