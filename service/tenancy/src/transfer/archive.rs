//! The container of an export: a tar archive (POSIX.1-1988 ustar) that is written and read as a
//! stream, entry by entry.
//!
//! A reader accepts exactly the headers that the writer writes, so that no two readers can
//! understand an archive differently, and a changed byte is noticed.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::error::TransferError;
use crate::pool::STALLED;

const BLOCK: usize = 512;

/// Bytes that are read or written at a time.
const CHUNK: usize = 256 * 1024;

/// Longest entry whose text is kept in memory: the manifest and the end of an export.
const MAX_TEXT: u64 = 16 * 1024 * 1024;

/// Zeros that may follow the archive, as some programs pad it.
const MAX_PADDING: usize = 64 * 1024;

/// Writes entries one after another.
pub(super) struct ArchiveWriter<W> {
    writer: W,
    /// Time of all entries, in seconds since 1970.
    time: u64,
}

impl<W: AsyncWrite + Send + Unpin> ArchiveWriter<W> {
    pub(super) fn new(writer: W, time: u64) -> Self {
        Self { writer, time }
    }

    pub(super) async fn entry(&mut self, path: &str, data: &[u8]) -> Result<(), TransferError> {
        let header = header(path, data.len() as u64, self.time).ok_or_else(|| {
            io::Error::other(format!("entry {path:?} of {} bytes does not fit", data.len()))
        });
        self.write(&header.map_err(TransferError::Write)?).await?;
        for chunk in data.chunks(CHUNK) {
            self.write(chunk).await?;
        }
        self.write(&[0; BLOCK][..padding(data.len() as u64)]).await
    }

    /// Writes the end of the archive.
    pub(super) async fn finish(mut self) -> Result<(), TransferError> {
        self.write(&[0; 2 * BLOCK]).await?;
        let end = async {
            self.writer.flush().await?;
            self.writer.shutdown().await
        };
        within(STALLED, end).await.map_err(TransferError::Write)
    }

    async fn write(&mut self, data: &[u8]) -> Result<(), TransferError> {
        within(STALLED, self.writer.write_all(data)).await.map_err(TransferError::Write)
    }
}

/// Reads entries one after another.
pub(super) struct ArchiveReader<R> {
    reader: R,
    /// The entry whose data follow, once its header was read.
    entry: Option<Entry>,
    /// Bytes of it that were not read yet.
    left: u64,
    buffer: Vec<u8>,
    /// Number of bytes in the buffer that were read last.
    filled: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: String,
    size: u64,
}

impl<R: AsyncRead + Send + Unpin> ArchiveReader<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, entry: None, left: 0, buffer: vec![0; CHUNK], filled: 0 }
    }

    /// The whole of the next entry, which must have this path.
    pub(super) async fn text(&mut self, path: &str) -> Result<Vec<u8>, TransferError> {
        if !self.begin(path).await? {
            let found = self.entry.take().map(|entry| entry.path).unwrap_or_default();
            return Err(TransferError::WrongEntry { expected: path.to_owned(), found });
        }
        confirm_length(path, self.left)?;
        let mut text = Vec::new();
        while self.fill().await? {
            text.extend_from_slice(self.filled());
        }
        Ok(text)
    }

    /// Begins the next entry if it has this path.
    pub(super) async fn begin(&mut self, path: &str) -> Result<bool, TransferError> {
        if self.entry.is_none() {
            let mut block = [0; BLOCK];
            self.read(&mut block, path).await?;
            let entry = parse(&block).ok_or_else(|| match block.iter().all(|byte| *byte == 0) {
                true => TransferError::Truncated { expected: path.to_owned() },
                false => TransferError::NotAnExport { expected: path.to_owned() },
            })?;
            self.left = entry.size;
            self.entry = Some(entry);
        }
        Ok(self.entry.as_ref().is_some_and(|entry| entry.path == path))
    }

    /// Reads the next bytes of the entry. Returns false at its end.
    pub(super) async fn fill(&mut self) -> Result<bool, TransferError> {
        self.filled = 0;
        let Some(Entry { path, size }) = self.entry.clone() else { return Ok(false) };
        if self.left == 0 {
            let mut rest = [0; BLOCK];
            let rest = &mut rest[..padding(size)];
            self.read(rest, &path).await?;
            if rest.iter().any(|byte| *byte != 0) {
                let reason = "it is not padded with zeros".to_owned();
                return Err(TransferError::Malformed { entry: path, reason });
            }
            self.entry = None;
            return Ok(false);
        }
        let wanted = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        let read = self.reader.read(&mut self.buffer[..wanted]);
        let read = within(STALLED, read).await.map_err(TransferError::Read)?;
        if read == 0 {
            return Err(TransferError::Truncated { expected: path });
        }
        self.left -= read as u64;
        self.filled = read;
        Ok(true)
    }

    /// The bytes that were read last.
    pub(super) fn filled(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// Reads the end of the archive.
    pub(super) async fn finish(&mut self) -> Result<(), TransferError> {
        const END: &str = "end of the archive";
        let mut end = [0; 2 * BLOCK];
        self.read(&mut end, END).await?;
        let (mut zeros, mut padding) = (end.iter().all(|byte| *byte == 0), 0);
        while zeros && padding <= MAX_PADDING {
            let read = within(STALLED, self.reader.read(&mut self.buffer)).await;
            let read = read.map_err(TransferError::Read)?;
            if read == 0 {
                return Ok(());
            }
            padding += read;
            zeros = self.buffer[..read].iter().all(|byte| *byte == 0);
        }
        let reason = "other data follow it".to_owned();
        Err(TransferError::Malformed { entry: END.to_owned(), reason })
    }

    async fn read(&mut self, data: &mut [u8], expected: &str) -> Result<(), TransferError> {
        match within(STALLED, self.reader.read_exact(data)).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(TransferError::Truncated { expected: expected.to_owned() })
            }
            Err(error) => Err(TransferError::Read(error)),
        }
    }
}

/// Checks that an entry can be kept in memory, in an import and in the export before it.
pub(super) fn confirm_length(entry: &str, bytes: u64) -> Result<(), TransferError> {
    if bytes <= MAX_TEXT {
        return Ok(());
    }
    let reason = format!("it has {bytes} bytes, and at most {MAX_TEXT} are allowed");
    Err(TransferError::Malformed { entry: entry.to_owned(), reason })
}

async fn within<T>(bound: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(bound, work).await.unwrap_or_else(|_| {
        let text = format!("no progress within {} seconds", bound.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

/// Zeros that follow data of this length.
fn padding(size: u64) -> usize {
    (size.next_multiple_of(BLOCK as u64) - size) as usize
}

/// The header of an entry; `None` if the path or a number does not fit.
fn header(path: &str, size: u64, time: u64) -> Option<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str, most: usize| {
        let fits = text.len() <= most && !text.contains('\0');
        fits.then(|| block[at..at + text.len()].copy_from_slice(text.as_bytes()))
    };
    put(0, path, 100)?;
    put(100, "0000644", 7)?;
    put(108, "0000000", 7)?;
    put(116, "0000000", 7)?;
    put(124, &format!("{size:011o}"), 11)?;
    put(136, &format!("{time:011o}"), 11)?;
    put(148, "        ", 8)?;
    put(156, "0", 1)?;
    put(257, "ustar", 5)?;
    put(263, "00", 2)?;
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(block)
}

/// The entry of a header that [`header`] makes.
fn parse(block: &[u8; BLOCK]) -> Option<Entry> {
    let text = |from: usize, to: usize| {
        let field = block[from..to].split(|byte| *byte == 0).next()?;
        std::str::from_utf8(field).ok()
    };
    let number = |from, to| u64::from_str_radix(text(from, to)?, 8).ok();
    let (path, size, time) = (text(0, 100)?, number(124, 136)?, number(136, 148)?);
    (header(path, size, time)? == *block).then(|| Entry { path: path.to_owned(), size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = ArchiveWriter::new(&mut bytes, 1_796_000_000);
        for (path, data) in entries {
            writer.entry(path, data).await.unwrap();
        }
        writer.finish().await.unwrap();
        bytes
    }

    async fn read(bytes: &[u8], paths: &[&str]) -> Result<Vec<Vec<u8>>, TransferError> {
        let mut reader = ArchiveReader::new(bytes);
        let mut found = Vec::new();
        for path in paths {
            found.push(reader.text(path).await?);
        }
        reader.finish().await?;
        Ok(found)
    }

    fn now<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    #[test]
    fn other_tar_headers_are_refused() {
        let valid = header("manifest.json", 3, 0).unwrap();
        assert!(parse(&valid).is_some());
        assert_eq!(header(&"x".repeat(101), 0, 0), None);
        assert_eq!(header("x", 1 << 33, 0), None);
        for (at, byte) in [(0, b'/'), (156, b'2'), (156, b'5'), (345, b'x'), (124, b'-'), (511, 1)]
        {
            let mut changed = valid;
            changed[at] = byte;
            assert_eq!(parse(&changed), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn an_archive_reads_as_it_was_written(
            entries in prop::collection::vec(
                ("[a-z/_.]{1,30}", prop::collection::vec(any::<u8>(), 0..1500)), 1..5,
            ),
        ) {
            let bytes = now(archive(&entries));
            let paths: Vec<&str> = entries.iter().map(|(path, _)| path.as_str()).collect();
            let expected: Vec<Vec<u8>> = entries.iter().map(|(_, data)| data.clone()).collect();
            prop_assert_eq!(now(read(&bytes, &paths)).unwrap(), expected);
        }

        #[test]
        fn an_archive_that_is_cut_off_anywhere_is_refused(at in 0_usize..3584) {
            let entries = [("a".to_owned(), vec![1; 600]), ("b".to_owned(), vec![2; 10])];
            let bytes = now(archive(&entries));
            prop_assert_eq!(bytes.len(), 3584);
            prop_assert!(now(read(&bytes[..at], &["a", "b"])).is_err());
        }

        #[test]
        fn a_changed_byte_outside_the_data_is_refused(at in 0_usize..3072, to in any::<u8>()) {
            let entries = [("a".to_owned(), vec![1; 600])];
            let mut bytes = now(archive(&entries));
            prop_assert_eq!(bytes.len(), 2560);
            let at = at % bytes.len();
            prop_assume!(bytes[at] != to && !(512..1112).contains(&at));
            bytes[at] = to;
            prop_assert!(now(read(&bytes, &["a"])).is_err());
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..3000),
        ) {
            prop_assert!(now(read(&bytes, &["manifest.json"])).is_err());
        }
    }
}
