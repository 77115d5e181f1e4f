//! Where data and sockets go: folders that the server's user may enter, and paths short enough.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use nix::sys::statvfs::statvfs;

use super::{error::ServerError, os_user::OsUser, pid_file::SOCKET};

/// Where data goes that root cannot keep where it was wanted.
const SYSTEM: &str = "/var/lib/tenantry";

/// The longest path of a socket: macOS has room for 104 bytes with the final zero, Linux for 108.
const SOCKET_PATH: usize = 103;

/// The beginning of the names of socket folders.
const SOCKET_DIR: &str = "tenantry-socket-";

/// Room that a temporary server must find in memory: a migrated template and some hundred copies.
const ROOM: u64 = 1 << 30;

/// Where persistent data goes; the answer of [`resolve_data_dir`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    /// The absolute path of the data folder, for [`Server::persistent`](super::Server::persistent).
    pub path: PathBuf,
    /// When the data goes elsewhere than was wanted: the folder that the server's user may not
    /// enter. A program should tell its user.
    pub inaccessible: Option<PathBuf>,
}

/// Finds out where the data folder `wanted` can be.
///
/// That is at `wanted`, made absolute – unless this program runs as root and the user as whom the
/// server then runs (`postgres`, else `nobody`) may not enter a folder on the way, as below
/// `/root`. Then it is in a folder of its own below `/var/lib/tenantry`, whose name is made from
/// `wanted`: the same for every program that wants the same folder, and no other. Nothing is
/// created.
///
/// # Errors
/// - [`ServerError::NoServerUser`]: root, without such a user.
/// - [`ServerError::OtherUser`]: the folder belongs to another user, and this one is not root.
/// - [`ServerError::Io`]: the working folder of this program is gone.
pub fn resolve_data_dir(wanted: &Path) -> Result<DataDir, ServerError> {
    let path = absolute(wanted)?;
    let inaccessible = OsUser::for_folder(&path)?.first_inaccessible(&path);
    let path = if inaccessible.is_some() { system_dir(&path) } else { path };
    Ok(DataDir { path, inaccessible })
}

/// `/root/src/shop/.data/postgres` → `/var/lib/tenantry/root-src-shop-1b0c54b2/postgres`.
fn system_dir(wanted: &Path) -> PathBuf {
    // Room for the socket's path, wherever the clone lies.
    const READABLE: usize = 40;
    let parent = wanted.parent().unwrap_or(wanted);
    let words: Vec<String> = parent
        .components()
        .filter(|part| part.as_os_str() != ".data")
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        })
        .map(|name| name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-"))
        .collect();
    let mut name = words.join("-").trim_start_matches('.').to_owned();
    name.truncate(READABLE);
    // FNV-1a, since std's hasher may differ from one Rust to the next: `a/b` and `a-b` differ.
    let hash =
        wanted.as_os_str().as_bytes().iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
    let last = wanted.file_name().unwrap_or(OsStr::new("postgres"));
    Path::new(SYSTEM).join(format!("{name}-{hash:08x}")).join(last)
}

/// The path from the root, with the links of its existing part resolved, so that two programs
/// that reach a folder by different ways know it under one name.
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

/// The folder for temporary data: in memory when there is room, else the first folder for
/// temporary files that the server's user may enter.
pub(super) fn temporary_base(user: &OsUser) -> PathBuf {
    let memory = Path::new("/dev/shm");
    // The numbers are of other types on other systems.
    fn wide(number: impl Into<u64>) -> u64 {
        number.into()
    }
    let roomy = statvfs(memory)
        .is_ok_and(|disk| wide(disk.blocks_available()) * wide(disk.fragment_size()) >= ROOM);
    let writable = roomy && tempfile::tempdir_in(memory).is_ok();
    if writable && user.first_inaccessible(memory).is_none() {
        return memory.to_owned();
    }
    temporary_files(user)
}

fn temporary_files(user: &OsUser) -> PathBuf {
    [env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")]
        .into_iter()
        .filter_map(|dir| fs::canonicalize(dir).ok())
        .find(|dir| user.first_inaccessible(dir).is_none())
        .unwrap_or(PathBuf::from("/tmp"))
}

/// Whether a socket in this folder has a path that clients can use.
pub(super) fn holds_socket(dir: &Path) -> bool {
    dir.join(SOCKET).as_os_str().len() <= SOCKET_PATH
}

/// A fresh private folder of the user, for the socket of a server whose data lies too deep.
pub(super) fn new_socket_dir(user: &OsUser) -> Result<PathBuf, ServerError> {
    let name = format!("{SOCKET_DIR}XXXXXX");
    let usual = temporary_files(user);
    let base = if holds_socket(&usual.join(name)) { usual } else { PathBuf::from("/tmp") };
    user.new_folder(&base, SOCKET_DIR).map(tempfile::TempDir::keep)
}

/// Removes the socket folder of a server that was killed together with its supervisor.
pub(super) fn remove_socket_dir(dir: &Path) {
    let name = dir.file_name().unwrap_or_default();
    if name.as_bytes().starts_with(SOCKET_DIR.as_bytes()) {
        let _ = fs::remove_dir_all(dir);
    }
}

#[cfg(test)]
mod tests {
    use super::system_dir;
    use std::path::Path;

    #[test]
    fn the_name_below_var_lib_is_readable_unique_and_short() {
        let of = |path: &str| system_dir(Path::new(path)).display().to_string();
        let name = of("/root/src/tenantry/.data/postgres");
        assert!(name.starts_with("/var/lib/tenantry/root-src-tenantry-"), "{name}");
        assert!(name.ends_with("/postgres"), "{name}");
        assert_ne!(of("/root/a/b/.data/postgres"), of("/root/a-b/.data/postgres"));
        assert_eq!(name, of("/root/src/tenantry/.data/postgres"));
        assert!(super::holds_socket(&system_dir(Path::new(&format!("/{}/x", "ä".repeat(200))))));
    }
}
