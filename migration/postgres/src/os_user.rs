//! The operating system's user that the server runs as.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::{Gid, Uid, User, getegid, geteuid};
use tempfile::TempDir;

use super::error::ServerError;

/// The user that the server runs as: this program's, unless that is root, as which PostgreSQL
/// refuses to run.
#[derive(Debug, Clone)]
pub(super) struct OsUser {
    pub(super) name: String,
    uid: Uid,
    gid: Gid,
}

impl OsUser {
    fn am_root() -> bool {
        geteuid().is_root()
    }

    /// The user for a new data folder: for root `postgres`, else `nobody`.
    pub(super) fn for_new() -> Result<Self, ServerError> {
        if !Self::am_root() {
            return Ok(Self { name: name_of(geteuid()), uid: geteuid(), gid: getegid() });
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self { name: user.name, uid: user.uid, gid: user.gid })
            .ok_or(ServerError::NoServerUser)
    }

    /// The user for the data folder at `dir`. For root that is the folder's owner, as PostgreSQL
    /// starts as no other user.
    pub(super) fn for_folder(dir: &Path) -> Result<Self, ServerError> {
        let Ok(meta) = fs::metadata(dir) else {
            return Self::for_new();
        };
        let owner = Uid::from_raw(meta.uid());
        if !Self::am_root() && owner != geteuid() {
            return Err(ServerError::OtherUser { path: dir.to_owned(), user: name_of(owner) });
        }
        if owner.is_root() || !dir.join("PG_VERSION").exists() {
            return Self::for_new();
        }
        Ok(Self { name: name_of(owner), uid: owner, gid: Gid::from_raw(meta.gid()) })
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// A command that runs as this user, in `/`, without the caller's variables that would change
    /// what PostgreSQL does.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").env("LC_ALL", "C").env("TZ", "UTC");
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if Self::am_root() {
            // With a uid set and the caller root, std itself calls setgroups(0, NULL) before
            // setuid: the server keeps none of root's supplementary groups.
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        command
    }

    /// Creates a private folder of the user, which is removed when dropped.
    pub(super) fn new_folder(&self, parent: &Path, prefix: &str) -> Result<TempDir, ServerError> {
        let dir = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(ServerError::io("create a folder in", parent))?;
        self.chown(dir.path())?;
        Ok(dir)
    }

    /// Makes the user the owner of a folder that this crate has created.
    pub(super) fn chown(&self, path: &Path) -> Result<(), ServerError> {
        if Self::am_root() {
            chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
                .map_err(ServerError::io("change the owner of", path))?;
        }
        Ok(())
    }

    /// The first folder on the way to `path`, or `path` itself, that the user may not enter.
    ///
    /// Ignores parts that do not exist. Reads mode bits for the user and its main group, as the
    /// server has no other groups ([`OsUser::command`]), but no access control lists.
    pub(super) fn first_inaccessible(&self, path: &Path) -> Option<PathBuf> {
        if !Self::am_root() {
            return None;
        }
        let real = path.ancestors().find_map(|part| fs::canonicalize(part).ok())?;
        let folders: Vec<&Path> = real.ancestors().collect();
        folders.into_iter().rev().find(|folder| !self.may_enter(folder)).map(Path::to_owned)
    }

    fn may_enter(&self, folder: &Path) -> bool {
        fs::metadata(folder).is_ok_and(|meta| {
            let bit = if meta.uid() == self.uid.as_raw() {
                0o100
            } else if meta.gid() == self.gid.as_raw() {
                0o010
            } else {
                0o001
            };
            !meta.is_dir() || meta.permissions().mode() & bit != 0
        })
    }
}

/// Creates the folder and its missing parents. If this program is root, every user may enter them,
/// whatever its umask.
pub(super) fn create_accessible(path: &Path) -> Result<(), ServerError> {
    let missing: Vec<&Path> = path.ancestors().take_while(|part| !part.exists()).collect();
    fs::create_dir_all(path).map_err(ServerError::io("create", path))?;
    if OsUser::am_root() {
        for part in missing {
            fs::set_permissions(part, fs::Permissions::from_mode(0o755))
                .map_err(ServerError::io("change the mode of", part))?;
        }
    }
    Ok(())
}

fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}
