use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::error::Error;
use crate::AdminToken;

/// The admin token in a data folder.
pub(super) struct StoredToken {
    pub(super) token: String,
    /// Its file, which only the owner can read.
    pub(super) file: PathBuf,
    /// Whether it was created by this call.
    pub(super) is_new: bool,
}

/// Reads the token of a data folder, or creates it.
pub(super) fn load_or_create(data_dir: &Path) -> Result<StoredToken, Error> {
    let data_dir = std::path::absolute(data_dir)?;
    let path = data_dir.join("admin-token");
    let failed = |source| Error::File { path: path.clone(), source };
    let kept = match fs::read(&path) {
        Ok(kept) => kept,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Two UUIDs of version 4: 244 random bits from the operating system.
            let [one, two] = [(); 2].map(|()| uuid::Uuid::new_v4().simple());
            let token = format!("{one}{two}");
            write(&data_dir, &path, &token).map_err(failed)?;
            return Ok(StoredToken { token, file: path, is_new: true });
        }
        Err(error) => return Err(failed(error)),
    };
    let token = String::from_utf8(kept).unwrap_or_default().trim().to_owned();
    match AdminToken::new(&token) {
        Ok(_) => Ok(StoredToken { token, file: path, is_new: false }),
        Err(_) => Err(Error::KeptToken { path }),
    }
}

/// Writes the file atomically, also if the program or the machine crashes.
fn write(data_dir: &Path, path: &Path, token: &str) -> io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let new = path.with_extension("new");
    // A killed program may have left one, with another mode.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(data_dir)?.sync_all()
}
