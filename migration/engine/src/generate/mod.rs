//! New migrations: a file beside the migrator's `lib.rs`, which lists it.

mod error;
mod folder;
mod name;
mod register;
mod template;

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use sea_orm::prelude::ChronoUtc;
use tempfile::{Builder, NamedTempFile};

pub use error::GenerateError;
use folder::Folder;
pub use name::{BadName, NewName};

/// What [`generate`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The new file.
    pub file: PathBuf,
    /// The file that now lists it.
    pub registered_in: PathBuf,
}

/// Makes a migration `mYYYYMMDD_NNNNNN_name` that comes after all there are, and registers it.
///
/// The crate is `crate_dir`, or else found from the current folder upwards. A name like
/// `create_books` begins with a table `books`, `add_title_to_books` with a column. Either both
/// files are written or none.
///
/// # Errors
/// [`GenerateError`]; nothing has changed then.
pub fn generate(name: &NewName, crate_dir: Option<&Path>) -> Result<Generated, GenerateError> {
    let folder = Folder::find(crate_dir)?;
    // A second one at the same moment waits, and sees this one's file.
    let lock = File::open(&folder.path).map_err(|error| GenerateError::io(&folder.path, error))?;
    lock.lock().map_err(|error| GenerateError::io(&folder.path, error))?;

    let today = ChronoUtc::now().format("%Y%m%d").to_string();
    let module = folder.next(name, &today)?;
    let list = folder.list();
    let text = fs::read_to_string(&list).map_err(|error| GenerateError::io(&list, error))?;
    let listed = register::register(&text, &module)
        .ok_or_else(|| GenerateError::NoPlace { list: list.clone(), module: module.clone() })?;
    let file = folder.path.join(format!("{module}.rs"));
    write(&file, &template::fill(name), &list, &listed)?;
    Ok(Generated { file, registered_in: list })
}

/// Both texts are on disk before the first of them gets its name.
fn write(file: &Path, migration: &str, list: &Path, listed: &str) -> Result<(), GenerateError> {
    let permissions = fs::metadata(list).map_err(|error| GenerateError::io(list, error))?;
    let permissions = permissions.permissions();
    let new_file = prepared(file, migration, &permissions)?;
    let new_list = prepared(list, listed, &permissions)?;
    new_file.persist_noclobber(file).map_err(|error| GenerateError::io(file, error.error))?;
    new_list.persist(list).map_err(|error| {
        // Best effort: the file is not listed, so it does nothing.
        let _ = fs::remove_file(file);
        GenerateError::io(list, error.error)
    })?;
    Ok(())
}

fn prepared(
    path: &Path,
    text: &str,
    permissions: &fs::Permissions,
) -> Result<NamedTempFile, GenerateError> {
    let failed = |error| GenerateError::io(path, error);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = Builder::new().prefix(".generate").tempfile_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().set_permissions(permissions.clone()).map_err(failed)?;
    Ok(file)
}
