//! Where this machine keeps its PostgreSQL programs.

use std::{
    collections::BTreeSet,
    env, fmt, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{error::ServerError, os_user::OsUser};

/// The oldest major version that is used: `initdb --no-instructions` and the statements of the
/// tests need it, and older ones get no fixes any more.
pub const MIN_VERSION: u32 = 14;

/// Folders that distributions and Homebrew use, as parent, beginning of a name, rest. Debian and
/// Homebrew keep the server's programs out of `PATH`.
const KNOWN_LOCATIONS: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// A version of PostgreSQL, such as `15.13`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major version: a data folder belongs to one.
    pub major: u32,
    /// The minor version; 0 for betas.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

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

    /// The newest usable server on this machine; what `PG_BIN` names wins outright.
    pub(super) fn newest(user: &OsUser) -> Result<Self, ServerError> {
        Self::all(user)?.pop().ok_or(ServerError::NotInstalled)
    }

    /// The newest server of the major version that made the data folder at `path`.
    pub(super) fn of_folder(user: &OsUser, path: &Path, major: u32) -> Result<Self, ServerError> {
        let mut all = Self::all(user)?;
        if let Some(at) = all.iter().rposition(|b| b.version.major == major) {
            return Ok(all.swap_remove(at));
        }
        let newest = all.pop().ok_or(ServerError::NotInstalled)?;
        Err(ServerError::OtherVersion {
            path: path.to_owned(),
            folder: major,
            installed: newest.version,
        })
    }

    /// Every usable server, the newest last.
    fn all(user: &OsUser) -> Result<Vec<Self>, ServerError> {
        if let Some(path) = env::var_os("PG_BIN").filter(|v| !v.is_empty()).map(PathBuf::from) {
            let reason = if !path.is_dir() {
                "there is no such folder"
            } else if user.first_inaccessible(&path).is_some() {
                "the user that the server runs as may not enter it"
            } else if let Some(found) = Self::at(&path) {
                return Self::new_enough(vec![found]);
            } else {
                "initdb and postgres are not both in it, or do not run"
            };
            return Err(ServerError::PgBin { path, reason });
        }
        let mut found: Vec<Self> = candidates()
            .iter()
            .filter(|dir| user.first_inaccessible(dir).is_none())
            .filter_map(|dir| Self::at(dir))
            .collect();
        found.sort_by_key(|b| b.version);
        Self::new_enough(found)
    }

    /// Leaves out what is too old; an error when that is all there is.
    fn new_enough(mut found: Vec<Self>) -> Result<Vec<Self>, ServerError> {
        let too_old = found.last().map(|b| (b.version, b.dir.clone()));
        found.retain(|b| b.version.major >= MIN_VERSION);
        match too_old {
            Some((version, path)) if found.is_empty() => Err(ServerError::TooOld { version, path }),
            _ => Ok(found),
        }
    }

    /// The server in this folder, when both programs are there and tell their version.
    fn at(dir: &Path) -> Option<Self> {
        if !executable(&dir.join("initdb")) || !executable(&dir.join("postgres")) {
            return None;
        }
        let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
        let version = parse_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { dir: dir.to_owned(), version })
    }
}

/// Every folder worth a look, each once. `pg_config` comes last in cost, not in rank: the newest
/// version wins wherever it was found.
fn candidates() -> BTreeSet<PathBuf> {
    let mut dirs: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    for (parent, beginning, rest) in KNOWN_LOCATIONS {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        dirs.extend(
            entries
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
                .map(|entry| entry.path().join(rest)),
        );
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    dirs.iter().filter(|dir| dir.is_absolute()).map(|dir| home_of(dir)).collect()
}

/// Where the programs really are when `dir` holds links to them, so that one installation is not
/// asked twice, and a link in a private folder does not hide a reachable one.
fn home_of(dir: &Path) -> PathBuf {
    fs::canonicalize(dir.join("postgres"))
        .ok()
        .and_then(|program| program.parent().map(Path::to_owned))
        .filter(|home| executable(&home.join("initdb")) && executable(&home.join("postgres")))
        .unwrap_or_else(|| dir.to_owned())
}

fn executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Reads `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`.
fn parse_version(line: &str) -> Option<Version> {
    let (_, rest) = line.split_once("(PostgreSQL) ")?;
    let number = |text: &str| {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..digits].parse().ok()
    };
    let minor = rest.split_whitespace().next()?.split_once('.').and_then(|(_, m)| number(m));
    Some(Version { major: number(rest)?, minor: minor.unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::{Version, parse_version};

    #[test]
    fn the_version_is_read_from_releases_betas_and_packages() {
        let version = |major, minor| Some(Version { major, minor });
        assert_eq!(
            parse_version("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)"),
            version(15, 13)
        );
        assert_eq!(parse_version("postgres (PostgreSQL) 17.5\n"), version(17, 5));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1"), version(18, 0));
        assert_eq!(parse_version("postgres (PostgreSQL) 9.6.24"), version(9, 6));
        assert_eq!(parse_version("usage: postgres"), None);
    }
}
