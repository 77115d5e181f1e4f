//! Finds the PostgreSQL programs of this machine.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{MIN_VERSION, Version, error::ServerError, os_user::OsUser};

/// Folders of distributions and Homebrew, which keep the server's programs out of `PATH`: parent,
/// prefix of a name, rest.
const KNOWN_LOCATIONS: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// One installed server.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    dir: PathBuf,
    pub(super) version: Version,
}

impl Binaries {
    /// The full path of one of the programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The newest usable server, or that of `PG_BIN`.
    pub(super) fn newest(user: &OsUser) -> Result<Self, ServerError> {
        Self::all(user)?.pop().ok_or(ServerError::NotInstalled)
    }

    /// The newest server of the major version that made the data folder at `path`.
    pub(super) fn for_data_dir(
        user: &OsUser,
        path: &Path,
        major: u32,
    ) -> Result<Self, ServerError> {
        let mut all = Self::all(user)?;
        if let Some(at) = all.iter().rposition(|b| b.version.major == major) {
            return Ok(all.swap_remove(at));
        }
        let installed = all.pop().ok_or(ServerError::NotInstalled)?.version;
        Err(ServerError::OtherVersion { path: path.to_owned(), data_dir: major, installed })
    }

    /// All usable servers, the newest last.
    fn all(user: &OsUser) -> Result<Vec<Self>, ServerError> {
        if let Some(path) = env::var_os("PG_BIN").filter(|v| !v.is_empty()).map(PathBuf::from) {
            let reason = if !path.is_dir() {
                "that folder does not exist"
            } else if user.first_inaccessible(&path).is_some() {
                "the user that the server runs as may not enter it"
            } else if let Some(found) = Self::at(&path) {
                return Self::supported(vec![found]);
            } else {
                "initdb and postgres are not both in it, or do not run"
            };
            return Err(ServerError::PgBin { path, reason });
        }
        let dirs = candidates().into_iter();
        let accessible = dirs.filter(|dir| user.first_inaccessible(dir).is_none());
        let mut found: Vec<Self> = accessible.filter_map(|dir| Self::at(&dir)).collect();
        found.sort_by_key(|b| b.version);
        Self::supported(found)
    }

    /// Leaves out versions that are too old; an error if none is left.
    fn supported(mut found: Vec<Self>) -> Result<Vec<Self>, ServerError> {
        let newest = found.last().map(|b| (b.version, b.dir.clone()));
        found.retain(|b| b.version.major >= MIN_VERSION);
        match newest {
            Some((version, path)) if found.is_empty() => Err(ServerError::TooOld { version, path }),
            _ => Ok(found),
        }
    }

    fn at(dir: &Path) -> Option<Self> {
        if !has_programs(dir) {
            return None;
        }
        let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
        let version = Version::parse(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { dir: dir.to_owned(), version })
    }
}

fn candidates() -> BTreeSet<PathBuf> {
    let mut dirs: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    for (parent, prefix, rest) in KNOWN_LOCATIONS {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let named = entries.filter(|e| e.file_name().to_string_lossy().starts_with(prefix));
        dirs.extend(named.map(|entry| entry.path().join(rest)));
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    dirs.iter().filter(|dir| dir.is_absolute()).map(|dir| without_links(dir)).collect()
}

/// The folder that the links in `dir` point to: one installation is tried once, and a link in a
/// private folder does not hide an accessible one.
fn without_links(dir: &Path) -> PathBuf {
    let program = fs::canonicalize(dir.join("postgres")).ok();
    let home = program.as_deref().and_then(Path::parent).filter(|home| has_programs(home));
    home.unwrap_or(dir).to_owned()
}

fn has_programs(dir: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|name| {
        fs::metadata(dir.join(name))
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    })
}
