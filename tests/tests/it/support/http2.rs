//! HTTP/2 client.

use std::{net::SocketAddr, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderMap, Request},
};
use h2::{
    SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

/// A connection.
pub struct Http2 {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

/// A complete response.
#[derive(Debug)]
pub struct Heard {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(&Builder::new(), address).await
    }

    pub async fn connect_with(builder: &Builder, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        Self { requests, connection }
    }

    /// The limit for concurrent requests, once the server has sent it.
    pub fn max_streams(&self) -> usize {
        self.requests.current_max_send_streams()
    }

    /// Sends a request without a body.
    pub async fn send(&self, request: Request<()>) -> ResponseFuture {
        let mut ready = self.requests.clone().ready().await.unwrap();
        ready.send_request(request, true).unwrap().0
    }

    /// Sends the head of a request with a body.
    pub async fn begin(&self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        let mut ready = self.requests.clone().ready().await.unwrap();
        ready.send_request(request, false).unwrap()
    }

    /// Sends a request without a body and reads the response.
    pub async fn ask(&self, request: Request<()>) -> Heard {
        heard(self.send(request).await).await.unwrap()
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Reads a complete response.
pub async fn heard(answer: ResponseFuture) -> Result<Heard, h2::Error> {
    // Longer than the deadline of a request.
    let answer = timeout(Duration::from_secs(40), async {
        let (head, mut body) = answer.await?.into_parts();
        let mut text = Vec::new();
        while let Some(piece) = body.data().await.transpose()? {
            body.flow_control().release_capacity(piece.len())?;
            text.extend_from_slice(&piece);
        }
        let text = String::from_utf8(text).unwrap();
        Ok(Heard { status: head.status.as_u16(), headers: head.headers, text })
    });
    answer.await.unwrap()
}
