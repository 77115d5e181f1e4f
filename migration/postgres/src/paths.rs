//! Where data and sockets go: folders that the server's user may enter, and paths short enough.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use super::{error::ServerError, os_user::OsUser, pid_file::SOCKET};

/// Longest path of a socket: macOS has room for 104 bytes with the final zero, Linux for 108.
const MAX_SOCKET_PATH: usize = 103;

/// Prefix of the names of temporary folders.
pub(super) const TEMPORARY: &str = "local-postgres-data-";

/// Prefix of the names of the folders of shared servers and of their lock files.
pub(super) const SHARED: &str = "local-postgres-shared-";

/// Prefix of the names of socket folders, which must not begin with the other one.
const SOCKET_DIR: &str = "local-postgres-socket-";

/// Free memory that a temporary server needs: a migrated template and some hundred copies.
const MIN_MEMORY: u64 = 1 << 30;

/// Where the data of a persistent server goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    /// Absolute path for [`Server::persistent`](super::Server::persistent).
    pub path: PathBuf,
    /// The folder that the server's user may not enter, if `path` is therefore not the one that
    /// was asked for. A program should tell its user.
    pub inaccessible: Option<PathBuf>,
}

/// Decides where the data folder `wanted` can be. Creates nothing.
///
/// The answer is `wanted`, made absolute, unless this program is root and the server's user
/// (`postgres`, else `nobody`) may not enter a folder on the way, such as `/root`. Then it is the
/// same path below `fallback`: `/root/shop/.data` becomes `/var/lib/shop/root/shop/.data`.
///
/// # Errors
/// - [`ServerError::NoServerUser`]: root, without such a user.
/// - [`ServerError::OtherUser`]: the folder belongs to another user, and this one is not root.
/// - [`ServerError::Io`]: the working folder of this program is gone.
pub fn resolve_data_dir(wanted: &Path, fallback: &Path) -> Result<DataDir, ServerError> {
    let path = absolute(wanted)?;
    let inaccessible = OsUser::for_folder(&path)?.first_inaccessible(&path);
    let path = match inaccessible {
        Some(_) => fallback.join(path.strip_prefix("/").unwrap_or(&path)),
        None => path,
    };
    Ok(DataDir { path, inaccessible })
}

/// The absolute path with the links of its existing part resolved, so that a folder has one name
/// for all programs.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, ServerError> {
    let full = std::path::absolute(path).map_err(ServerError::io("find", path))?;
    for part in full.ancestors() {
        if let (Ok(real), Ok(rest)) = (fs::canonicalize(part), full.strip_prefix(part)) {
            // `join("")` would add a slash.
            return Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) });
        }
    }
    Ok(full)
}

/// The folder for temporary servers: in memory if there is room, else for temporary files.
pub(super) fn temporary_base(user: &OsUser) -> PathBuf {
    let memory = Path::new("/dev/shm");
    // The numbers have other types on other systems.
    fn wide(number: impl Into<u64>) -> u64 {
        number.into()
    }
    let has_room = statvfs(memory)
        .is_ok_and(|disk| wide(disk.blocks_available()) * wide(disk.fragment_size()) >= MIN_MEMORY);
    let is_writable = has_room && tempfile::tempdir_in(memory).is_ok();
    if is_writable && user.first_inaccessible(memory).is_none() {
        return memory.to_owned();
    }
    temporary_files(user)
}

/// The first folder for temporary files that the server's user may enter and whose path leaves
/// room for that of a socket.
pub(super) fn temporary_files(user: &OsUser) -> PathBuf {
    let fits = |dir: &Path| holds_socket(&dir.join(format!("{TEMPORARY}XXXXXX/data")));
    [env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")]
        .into_iter()
        .filter_map(|dir| fs::canonicalize(dir).ok())
        .find(|dir| fits(dir) && user.first_inaccessible(dir).is_none())
        .unwrap_or(PathBuf::from("/tmp"))
}

/// Whether a socket in this folder has a path that clients can use.
pub(super) fn holds_socket(dir: &Path) -> bool {
    dir.join(SOCKET).as_os_str().len() <= MAX_SOCKET_PATH
}

/// A new private folder for the socket of a server whose data folder has too long a path.
pub(super) fn new_socket_dir(user: &OsUser) -> Result<TempDir, ServerError> {
    user.new_folder(&temporary_files(user), SOCKET_DIR)
}

/// Entries of `parent` whose names begin with `prefix` and that have not changed for `age`.
pub(super) fn leftovers(
    parent: &Path,
    prefix: &str,
    age: Duration,
) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let modified = entry.metadata().and_then(|meta| meta.modified()).ok()?;
        let is_old = modified.elapsed().is_ok_and(|elapsed| elapsed > age);
        let is_named = entry.file_name().to_string_lossy().starts_with(prefix);
        (is_old && is_named).then(|| entry.path())
    })
}

/// Removes what a killed run has left. A failure does not prevent a start.
pub(super) fn remove_leftover(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        tracing::debug!(path = %path.display(), %error, "cannot remove the folder of a killed run");
    }
}
