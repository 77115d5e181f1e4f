//! Closes a connection so that the client can read the last answer.
//!
//! Closing a socket with unread bytes of the client resets the connection, and the client's system
//! then discards what it has received. So a client whose body is rejected before it is read would
//! see a broken connection instead of the answer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};

/// A stream that is passed to a [`Returned`] when it is dropped.
pub(super) struct ReturningStream {
    // `None` once it is dropped.
    stream: Option<TcpStream>,
    back: Option<oneshot::Sender<TcpStream>>,
}

/// Receives the stream.
pub(super) struct Returned(oneshot::Receiver<TcpStream>);

impl ReturningStream {
    pub(super) fn new(stream: TcpStream) -> (Self, Returned) {
        let (back, returned) = oneshot::channel();
        (Self { stream: Some(stream), back: Some(back) }, Returned(returned))
    }

    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        let stream = self.get_mut().stream.as_mut();
        stream.map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for ReturningStream {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Without a receiver it is closed at once.
            let _ = back.send(stream);
        }
    }
}

impl Returned {
    /// Waits for the stream, then discards what the client sends until it closes the connection or
    /// `time` is over.
    pub(super) async fn close(self, time: Duration) {
        let Ok(mut stream) = self.0.await else { return };
        let drain = async {
            stream.shutdown().await?;
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await? > 0 {}
            io::Result::Ok(())
        };
        // The connection is closed in any case.
        let _ = timeout(time, drain).await;
    }
}

impl AsyncRead for ReturningStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for ReturningStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
