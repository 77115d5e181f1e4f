//! What the tests of the server share.

use std::{
    error::Error,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use local_postgres::{Server, ServerError};
use nix::unistd::Pid;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbErr, Statement};

pub(super) const DATABASE: &str = "a \"shop\"";

/// Where root keeps data if the server's user may not enter the wanted folder.
pub(super) const SYSTEM_DIR: &str = "/var/lib/local-postgres-test";

/// A folder that the server's user may enter; removed at the end.
pub(super) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(super) fn new() -> Result<Self, Box<dyn Error>> {
        let dir = tempfile::Builder::new().prefix("tenantry-test-").tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self(dir))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path().join("postgres")
    }
}

pub(super) struct RemoveAtEnd(pub(super) PathBuf);

impl Drop for RemoveAtEnd {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[expect(clippy::disallowed_methods, reason = "the server is tested here, nothing above it")]
pub(super) async fn connect(url: &str) -> Result<DatabaseConnection, DbErr> {
    Database::connect(url).await
}

pub(super) async fn number(db: &DatabaseConnection, sql: &str) -> Result<i64, Box<dyn Error>> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await?.ok_or("no row")?;
    Ok(row.try_get_by_index(0)?)
}

pub(super) fn refused(answer: Result<Server, ServerError>) -> Result<ServerError, Box<dyn Error>> {
    match answer {
        Ok(server) => Err(format!("not refused: {server:?}").into()),
        Err(error) => Ok(error),
    }
}

pub(super) fn names(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    names.sort();
    Ok(names)
}

/// The process number of the server that runs on the folder.
pub(super) fn server_of(data: &Path) -> Result<u32, Box<dyn Error>> {
    let file = fs::read_to_string(data.join("postmaster.pid"))?;
    Ok(file.lines().next().ok_or("empty file")?.parse()?)
}

/// The child processes of a process.
pub(super) fn children_of(pid: u32) -> Vec<Pid> {
    let all = processes();
    let own = std::process::id();
    assert!(all.iter().any(|(number, _)| *number == own), "the list of processes lacks this one");
    let children = all.into_iter().filter(|(_, parent)| *parent == pid);
    children.map(|(number, _)| Pid::from_raw(number.try_into().unwrap())).collect()
}

/// Every process with its parent: from `/proc`, or from `ps` where there is none (macOS). A minimal
/// Debian has no `ps`.
fn processes() -> Vec<(u32, u32)> {
    if Path::new("/proc/self/stat").exists() {
        let folders = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
        let numbers = folders.filter_map(|name| name.to_str()?.parse().ok());
        return numbers.filter_map(|number| Some((number, parent_of(number)?))).collect();
    }
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let listed = listed.unwrap_or_else(|error| panic!("neither /proc nor ps: {error}"));
    assert!(listed.status.success(), "ps failed: {listed:?}");
    let text = String::from_utf8(listed.stdout).unwrap();
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok());
    text.lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let pair = number(words.next()).zip(number(words.next()));
            pair.unwrap_or_else(|| panic!("ps printed {line:?}"))
        })
        .collect()
}

/// The fourth field of `stat` (proc(5)), unless the process has ended. The second one is the name
/// in parentheses, which may contain both blanks and parentheses.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, fields) = stat.rsplit_once(')').unwrap();
    Some(fields.split_whitespace().nth(1).unwrap().parse().unwrap())
}

pub(super) fn pid(number: u32) -> Result<Pid, std::num::TryFromIntError> {
    i32::try_from(number).map(Pid::from_raw)
}

/// Whether the condition comes to hold within five seconds.
pub(super) fn soon(condition: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        if condition() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    condition()
}
