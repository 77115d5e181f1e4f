//! The file of an export.

use std::{
    fs::{self, OpenOptions},
    io::{self, IsTerminal},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::error::ErrorKind;
use tokio::{fs::File, io::AsyncWrite};
use uuid::Uuid;

use crate::cli::error::Error;

/// A file that appears under its name when it is complete. Only its owner can read it.
pub(super) struct Output {
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// For the regular file: what was opened, its name until it is complete, and its name then.
    file: Option<(std::fs::File, Unfinished, PathBuf)>,
}

/// Removed when it is dropped, unless it was renamed.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Renamed, or removed by someone else.
        let _ = fs::remove_file(&self.0);
    }
}

impl Output {
    /// Opens `path`; - is standard output. A pipe or a device is written to as it is.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            if io::stdout().is_terminal() {
                let message = "an export is not written to a terminal; pass --output FILE, or \
                               redirect standard output\n";
                return Err(clap::Error::raw(ErrorKind::InvalidValue, message).into());
            }
            return Ok(Self { writer: Box::new(tokio::io::stdout()), file: None });
        }
        Self::open(path).map_err(|source| Error::File { path: path.to_owned(), source })
    }

    fn open(path: &Path) -> io::Result<Self> {
        let existing = fs::metadata(path);
        if existing.as_ref().is_ok_and(fs::Metadata::is_dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if existing.is_ok_and(|it| !it.is_file()) {
            let file = OpenOptions::new().write(true).open(path)?;
            return Ok(Self { writer: Box::new(File::from_std(file)), file: None });
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        // A process id is used again, which is always 1 in a container.
        let random = Uuid::new_v4().simple();
        let hidden = path.with_file_name(format!(".{name}.{random}.unfinished"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&hidden)?;
        let writer = Box::new(File::from_std(file.try_clone()?));
        Ok(Self { writer, file: Some((file, Unfinished(hidden), path.to_owned())) })
    }

    pub(super) fn writer(&mut self) -> &mut (dyn AsyncWrite + Send + Unpin) {
        &mut *self.writer
    }

    /// Gives the complete file its name, after its contents are on disk.
    pub(super) async fn keep(self) -> Result<(), Error> {
        let Some((file, hidden, path)) = self.file else { return Ok(()) };
        let target = path.clone();
        let renamed = tokio::task::spawn_blocking(move || {
            file.sync_all()?;
            fs::rename(&hidden.0, &target)
        });
        let renamed = renamed.await.map_err(io::Error::other).and_then(|renamed| renamed);
        renamed.map_err(|source| Error::File { path, source })
    }
}
