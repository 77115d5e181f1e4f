//! Messages of the frontend/backend protocol (PostgreSQL manual, chapter 55).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Code of a start-up message that asks for TLS, for GSSAPI encryption, or for a cancellation.
pub const SSL_REQUEST: u32 = 80_877_103;
pub const GSSENC_REQUEST: u32 = 80_877_104;
pub const CANCEL_REQUEST: u32 = 80_877_102;

/// A connection that is read in whole messages.
pub struct Frames<S> {
    stream: S,
    bytes: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, bytes: Vec::new() }
    }

    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Reads more bytes, and returns whether there were any. Safe to cancel.
    pub async fn fill(&mut self) -> io::Result<bool> {
        self.bytes.reserve(16 << 10);
        Ok(self.stream.read_buf(&mut self.bytes).await? > 0)
    }

    /// Reads until the other side has closed the connection. Safe to cancel.
    pub async fn closed(&mut self) {
        while let Ok(true) = self.fill().await {}
    }

    /// The next message, if it has arrived.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.cut(1)
    }

    /// The next message.
    pub async fn next(&mut self) -> io::Result<Vec<u8>> {
        self.wait(1).await
    }

    /// The next start-up message, which has no type, and its code.
    pub async fn startup(&mut self) -> io::Result<(u32, Vec<u8>)> {
        let message = self.wait(0).await?;
        Ok((u32::from_be_bytes(message[4..8].try_into().unwrap()), message))
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    async fn wait(&mut self, kind: usize) -> io::Result<Vec<u8>> {
        loop {
            if let Some(message) = self.cut(kind) {
                return Ok(message);
            }
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Removes a message whose type has this number of bytes.
    fn cut(&mut self, kind: usize) -> Option<Vec<u8>> {
        let length = self.bytes.get(kind..kind + 4)?;
        let end = kind + u32::from_be_bytes(length.try_into().unwrap()) as usize;
        (self.bytes.len() >= end).then(|| self.bytes.drain(..end).collect())
    }
}

/// A message of this type.
pub fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

/// ErrorResponse that ends the connection.
pub fn fatal(code: &str, message: &str) -> Vec<u8> {
    framed(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0").as_bytes())
}

/// Splits a text that ends with a zero byte from the bytes behind it.
pub fn text(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap();
    (&bytes[..end], &bytes[end + 1..])
}

/// A start-up message without the parameter `options`, and its user and database.
pub fn without_options(startup: &[u8]) -> (Vec<u8>, String) {
    let mut body = startup[4..8].to_vec();
    let (mut user, mut database) = (String::new(), None);
    let mut rest = &startup[8..];
    while rest.len() > 1 {
        let (name, behind) = text(rest);
        let (value, behind) = text(behind);
        rest = behind;
        match name {
            b"options" => continue,
            b"user" => user = String::from_utf8_lossy(value).into_owned(),
            b"database" => database = Some(String::from_utf8_lossy(value).into_owned()),
            _ => {}
        }
        body.extend([name, b"\0", value, b"\0"].concat());
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap();
    let database = database.unwrap_or_else(|| user.clone());
    ([length.to_be_bytes().as_slice(), &body].concat(), format!("{user} {database}"))
}
