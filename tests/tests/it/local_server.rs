//! `migration::postgres`: the machine's own server, its owners, and what is refused.
//!
//! An owner that is killed has to be a process of its own: this test binary again, running only
//! [`owner_process`], which starts a server, tells its URL on a line, and waits.

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use migration::postgres::{DATABASE, Role, Server, ServerError, lasting_dir};
use nix::{
    sys::signal::{SIGKILL, SIGQUIT, kill},
    unistd::Pid,
};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbErr, Statement};

type TestResult = Result<(), Box<dyn Error>>;

/// Tells [`owner_process`] what to do: `temporary`, or a data folder.
const TASK: &str = "TENANTRY_TEST_OWNER";

#[tokio::test]
async fn kept_data_survives_a_killed_owner_and_its_server_ends() -> TestResult {
    let scratch = Scratch::new()?;
    let mut owner = Owner::of(&scratch.data())?;
    let before = Server::lasting(&scratch.data(), Role::Share)?;
    let db = connect(&before.url(DATABASE)).await?;
    db.execute_unprepared("CREATE TABLE kept (n bigint)").await?;
    drop(before);

    // Rows are written one by one until the kill breaks the connection: each one acknowledged.
    let writer = tokio::spawn(async move {
        let mut acknowledged = 0_i64;
        while db
            .execute_unprepared(&format!("INSERT INTO kept VALUES ({})", acknowledged + 1))
            .await
            .is_ok()
        {
            acknowledged += 1;
        }
        acknowledged
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    owner.kill()?;
    let acknowledged = writer.await?;
    assert!(acknowledged > 0, "nothing was written before the kill");
    owner.assert_server_gone();

    let after = Server::lasting(&scratch.data(), Role::Own)?;
    assert!(after.owner());
    let db = connect(&after.url(DATABASE)).await?;
    let rows = number(&db, "SELECT count(*) FROM kept").await?;
    // The last one may have been committed without its answer getting through.
    assert!((acknowledged..=acknowledged + 1).contains(&rows), "{rows} of {acknowledged} rows");
    db.close().await?;
    Ok(())
}

#[tokio::test]
async fn kept_data_survives_the_death_of_everything_at_once() -> TestResult {
    let scratch = Scratch::new()?;
    let mut owner = Owner::of(&scratch.data())?;
    let db = connect(&owner.url).await?;
    db.execute_unprepared("CREATE TABLE kept AS SELECT generate_series(1, 100) AS n").await?;

    // The whole server: its watcher has nobody to stop, `postmaster.pid` and the socket stay.
    for pid in owner.processes_of_server() {
        let _ = kill(pid, SIGKILL);
    }
    owner.kill()?;
    owner.assert_server_gone();
    assert!(scratch.data().join("postmaster.pid").exists(), "this was no crash");

    let after = Server::lasting(&scratch.data(), Role::Own)?;
    let db = connect(&after.url(DATABASE)).await?;
    assert_eq!(number(&db, "SELECT count(*) FROM kept").await?, 100);
    db.close().await?;
    Ok(())
}

#[test]
fn a_temporary_folder_is_gone_after_its_owner_is_killed() -> TestResult {
    let mut owner = Owner::start("temporary")?;
    let folder = owner.data.parent().ok_or("no parent")?.to_owned();
    assert!(folder.exists());
    owner.kill()?;
    owner.assert_server_gone();
    assert!(soon(|| !folder.exists()), "{} is still there", folder.display());
    Ok(())
}

#[test]
fn a_temporary_server_is_gone_when_it_is_dropped() -> TestResult {
    let server = Server::temporary(&[])?;
    let folder = server.data_dir().parent().ok_or("no parent")?.to_owned();
    assert!(server.owner() && folder.exists());
    drop(server);
    assert!(!folder.exists(), "{} is still there", folder.display());
    Ok(())
}

#[test]
fn the_folders_of_crashed_runs_are_swept() -> TestResult {
    let first = Server::temporary(&[])?;
    let ours = fs::metadata(first.data_dir())?;
    let base = first.data_dir().ancestors().nth(2).ok_or("no base")?.to_owned();
    let leftover = base.join(format!("tenantry-pg-leftover{}", std::process::id()));
    fs::create_dir_all(leftover.join("data"))?;
    std::os::unix::fs::chown(&leftover, Some(ours.uid()), Some(ours.gid()))?;
    let hour = Duration::from_secs(3600);
    fs::File::open(&leftover)?.set_modified(SystemTime::now() - hour)?;
    fs::File::open(first.data_dir().parent().ok_or("no parent")?)?
        .set_modified(SystemTime::now() - hour)?;

    let second = Server::temporary(&[])?;
    assert!(!leftover.exists(), "{} is still there", leftover.display());
    assert!(first.data_dir().exists(), "the folder of a living run was swept");
    drop(second);
    Ok(())
}

#[tokio::test]
async fn settings_of_a_temporary_server_win() -> TestResult {
    let server = Server::temporary(&[("max_connections", "17"), ("log_statement", "all")])?;
    let db = connect(&server.url("postgres")).await?;
    let sql = "SELECT current_setting('max_connections')::bigint";
    assert_eq!(number(&db, sql).await?, 17);
    assert!(fs::read_to_string(server.log_file())?.contains(sql), "the log lacks the statement");
    let encoding = "SELECT count(*) FROM pg_database WHERE encoding = 6 AND lower('Ä') = 'ä'
        AND current_setting('TimeZone') = 'UTC' AND 'Z' < 'a'";
    assert_eq!(number(&db, encoding).await?, 3, "not UTF-8, or not sorted by bytes");
    db.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_second_program_shares_the_server_of_the_first() -> TestResult {
    let scratch = Scratch::new()?;
    let owner = Owner::of(&scratch.data())?;
    let shared = Server::lasting(&scratch.data(), Role::Share)?;
    assert!(!shared.owner());
    assert_eq!(shared.url(DATABASE), owner.url);
    let db = connect(&shared.url(DATABASE)).await?;
    assert_eq!(number(&db, "SELECT 1::bigint").await?, 1);
    db.close().await?;
    Ok(())
}

#[test]
fn programs_that_start_together_share_one_server() -> TestResult {
    let scratch = Scratch::new()?;
    let dir = scratch.data();
    let servers = thread::scope(|scope| {
        let start = || Server::lasting(&dir, Role::Share);
        let starts = [(); 4].map(|()| scope.spawn(start));
        starts.map(thread::ScopedJoinHandle::join)
    });
    let mut owners = 0;
    let mut kept = Vec::new();
    for server in servers {
        let server = server.map_err(|_| "a start panicked")??;
        owners += u32::from(server.owner());
        kept.push(server);
    }
    assert_eq!(owners, 1);
    // The owner waits for its users when it is dropped: they go first.
    kept.sort_by_key(Server::owner);
    Ok(())
}

#[tokio::test]
async fn an_owner_that_ends_waits_for_those_who_joined() -> TestResult {
    let scratch = Scratch::new()?;
    let owner = Server::lasting(&scratch.data(), Role::Share)?;
    let joined = Server::lasting(&scratch.data(), Role::Share)?;
    assert!(owner.owner() && !joined.owner());
    let ending = thread::spawn(move || drop(owner));
    let db = connect(&joined.url(DATABASE)).await?;
    number(&db, "SELECT count(*) FROM pg_sleep(0.5)").await?;
    assert!(!ending.is_finished(), "the owner did not wait");
    db.close().await?;
    drop(joined);
    ending.join().map_err(|_| "the owner panicked")?;
    assert!(Server::lasting(&scratch.data(), Role::Own)?.owner());
    Ok(())
}

#[test]
fn a_second_owner_is_refused_by_the_pid_of_the_first() -> TestResult {
    let scratch = Scratch::new()?;
    let owner = Owner::of(&scratch.data())?;
    let error = refused(Server::lasting(&scratch.data(), Role::Own))?;
    let pid = owner.child.id();
    assert!(matches!(error, ServerError::Owned { pid: by, .. } if by == pid), "{error}");
    let text = error.to_string();
    assert!(text.contains(&pid.to_string()), "{text}");
    assert!(text.contains(&scratch.data().display().to_string()), "{text}");
    Ok(())
}

#[test]
fn a_folder_that_holds_something_else_is_refused_and_untouched() -> TestResult {
    let scratch = Scratch::new()?;
    let dir = scratch.data();
    fs::create_dir(&dir)?;
    fs::write(dir.join("thesis.txt"), "the only copy")?;
    let error = refused(Server::lasting(&dir, Role::Own))?;
    assert!(matches!(error, ServerError::NotACluster { .. }), "{error}");
    assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
    assert_eq!(names(&dir)?, ["thesis.txt"]);
    assert_eq!(names(scratch.path())?, ["postgres"], "files appeared beside the folder");

    let file = scratch.path().join("file");
    fs::write(&file, "")?;
    let error = refused(Server::lasting(&file, Role::Share))?;
    assert!(matches!(error, ServerError::NotACluster { .. }), "{error}");
    Ok(())
}

#[test]
fn a_folder_of_another_major_version_is_refused() -> TestResult {
    let scratch = Scratch::new()?;
    let dir = scratch.data();
    fs::create_dir(&dir)?;
    fs::write(dir.join("PG_VERSION"), "12\n")?;
    let error = refused(Server::lasting(&dir, Role::Own))?;
    assert!(matches!(error, ServerError::OtherVersion { folder: 12, .. }), "{error}");
    assert!(error.to_string().contains("12"), "{error}");
    assert_eq!(names(&dir)?, ["PG_VERSION"]);
    Ok(())
}

#[test]
fn a_server_that_was_started_by_hand_is_left_alone() -> TestResult {
    let scratch = Scratch::new()?;
    let mut owner = Owner::of(&scratch.data())?;
    // To this module a server is its own when the lock file says so.
    let lock = scratch.path().join("postgres.lock");
    fs::write(&lock, "1\nsomebody\n\n")?;
    let watcher = owner.watcher()?;
    kill(watcher, SIGKILL)?;
    owner.kill()?;
    let error = refused(Server::lasting(&scratch.data(), Role::Own))?;
    assert!(matches!(error, ServerError::Foreign { pid, .. } if pid == owner.server), "{error}");
    kill(pid(owner.server)?, SIGQUIT)?;
    owner.assert_server_gone();
    Ok(())
}

#[test]
fn a_server_without_a_watcher_is_ended_by_the_next_owner() -> TestResult {
    let scratch = Scratch::new()?;
    let mut owner = Owner::of(&scratch.data())?;
    kill(owner.watcher()?, SIGKILL)?;
    owner.kill()?;
    let next = Server::lasting(&scratch.data(), Role::Own)?;
    assert!(next.owner());
    assert_ne!(server_of(next.data_dir())?, owner.server);
    let log = fs::read_to_string(next.log_file())?;
    assert!(log.contains("database system is shut down"), "not ended in order: {log}");
    Ok(())
}

#[test]
fn a_number_that_came_back_for_another_program_does_not_stop_the_start() -> TestResult {
    let scratch = Scratch::new()?;
    let mut owner = Owner::of(&scratch.data())?;
    for pid in owner.processes_of_server() {
        let _ = kill(pid, SIGKILL);
    }
    owner.kill()?;
    owner.assert_server_gone();
    let file = scratch.data().join("postmaster.pid");
    let old = fs::read_to_string(&file)?;
    let (_, rest) = old.split_once('\n').ok_or("no line")?;
    fs::write(&file, format!("{}\n{rest}", std::process::id()))?;
    assert!(Server::lasting(&scratch.data(), Role::Own)?.owner());
    Ok(())
}

#[tokio::test]
async fn a_data_folder_too_deep_for_a_socket_works() -> TestResult {
    let scratch = Scratch::new()?;
    let deep = scratch.path().join("a folder, \"deep\"".repeat(6)).join("postgres");
    let server = Server::lasting(&deep, Role::Own)?;
    assert_ne!(server.socket_dir(), server.data_dir());
    let mode = fs::metadata(server.socket_dir())?.permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let joined = Server::lasting(&deep, Role::Share)?;
    let db = connect(&joined.url(DATABASE)).await?;
    assert_eq!(number(&db, "SELECT 1::bigint").await?, 1);
    db.close().await?;
    drop(joined);
    let socket_dir = server.socket_dir().to_owned();
    drop(server);
    assert!(soon(|| !socket_dir.exists()), "{} is still there", socket_dir.display());
    Ok(())
}

#[test]
fn a_server_that_does_not_start_says_why() -> TestResult {
    let error = refused(Server::temporary(&[("shared_buffers", "none at all")]))?;
    assert!(matches!(error, ServerError::Start { .. }), "{error}");
    assert!(error.to_string().contains("invalid value for parameter"), "{error}");
    Ok(())
}

#[test]
fn a_pg_bin_that_points_nowhere_is_refused_by_its_name() -> TestResult {
    let output = owner_command("temporary")?.env("PG_BIN", "/nowhere/at/all").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("PG_BIN is /nowhere/at/all"), "{text}");
    Ok(())
}

#[test]
fn root_keeps_data_elsewhere_when_the_server_may_not_enter_the_folder() -> TestResult {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    assert_eq!(lasting_dir(&scratch.data())?.moved_because, None);
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o700))?;

    let error = refused(Server::lasting(&scratch.data(), Role::Own))?;
    assert!(matches!(error, ServerError::NotEnterable { .. }), "{error}");

    let place = lasting_dir(&scratch.data())?;
    assert_eq!(place.moved_because.as_deref(), Some(scratch.path()));
    assert_eq!(place, lasting_dir(&scratch.data())?);
    let own = place.path.parent().ok_or("no parent")?.to_owned();
    let _clean_up = RemoveAtEnd(own.clone());
    assert_eq!(own.parent(), Some(Path::new("/var/lib/tenantry")));
    let server = Server::lasting(&place.path, Role::Own)?;
    let meta = fs::metadata(server.data_dir())?;
    assert_ne!(meta.uid(), 0);
    assert_eq!(meta.mode() & 0o777, 0o700);
    Ok(())
}

/// Not a test: the process that the tests above kill.
#[test]
#[ignore = "run by other tests, in a process of its own"]
fn owner_process() -> TestResult {
    let Some(task) = env::var_os(TASK) else {
        return Ok(());
    };
    let (server, database) = if task == "temporary" {
        (Server::temporary(&[]), "postgres")
    } else {
        (Server::lasting(Path::new(&task), Role::Own), DATABASE)
    };
    // Not `println!`, which the test harness holds back.
    let mut out = std::io::stdout();
    match server {
        Ok(server) => {
            writeln!(out, "\nserver {} {}", server.data_dir().display(), server.url(database))?;
            // Until the other end is closed, or SIGKILL comes.
            std::io::stdin().read_line(&mut String::new())?;
            Ok(())
        }
        Err(error) => {
            writeln!(out, "\nrefused {error}")?;
            Err(error.into())
        }
    }
}

/// A process that owns a server; killed at the end.
struct Owner {
    child: Child,
    server: u32,
    data: PathBuf,
    url: String,
}

impl Owner {
    fn of(data: &Path) -> Result<Self, Box<dyn Error>> {
        Self::start(data.to_str().ok_or("not UTF-8")?)
    }

    fn start(task: &str) -> Result<Self, Box<dyn Error>> {
        let mut child = owner_command(task)?.spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut said = String::new();
        for line in output.lines() {
            let line = line?;
            if let Some((data, url)) = line.strip_prefix("server ").and_then(|l| l.rsplit_once(' '))
            {
                let data = PathBuf::from(data);
                let server = server_of(&data)?;
                return Ok(Self { child, server, data, url: url.to_owned() });
            }
            said.push_str(&line);
        }
        Err(format!("the owner did not start: {said}").into())
    }

    fn kill(&mut self) -> TestResult {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn processes_of_server(&self) -> Vec<Pid> {
        let mut found = children_of(self.server);
        found.extend(pid(self.server));
        found
    }

    /// The shell among the owner's children.
    fn watcher(&self) -> Result<Pid, Box<dyn Error>> {
        children_of(self.child.id())
            .into_iter()
            .find(|child| child.as_raw().unsigned_abs() != self.server)
            .ok_or("no watcher".into())
    }

    /// By its socket, not its process number: where no init process collects the dead, a server
    /// that has ended keeps its number.
    fn assert_server_gone(&self) {
        let socket = self.data.join(".s.PGSQL.5432");
        let gone = soon(|| UnixStream::connect(&socket).is_err());
        assert!(gone, "PostgreSQL (pid {}) outlived its owner", self.server);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn owner_command(task: &str) -> Result<Command, Box<dyn Error>> {
    let name = format!("{}::owner_process", module_path!().split_once("::").ok_or("no module")?.1);
    let mut command = Command::new(env::current_exe()?);
    command
        .args([&name, "--exact", "--ignored", "--nocapture"])
        .env(TASK, task)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    Ok(command)
}

/// A folder that the server's user may enter; removed at the end.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Result<Self, Box<dyn Error>> {
        let dir = tempfile::Builder::new().prefix("tenantry-test-").tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn data(&self) -> PathBuf {
        self.path().join("postgres")
    }
}

struct RemoveAtEnd(PathBuf);

impl Drop for RemoveAtEnd {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        // The folder above too, unless somebody else's data is in it.
        let _ = self.0.parent().map(fs::remove_dir);
    }
}

#[expect(clippy::disallowed_methods, reason = "the server is tested here, nothing above it")]
async fn connect(url: &str) -> Result<DatabaseConnection, DbErr> {
    Database::connect(url).await
}

async fn number(db: &DatabaseConnection, sql: &str) -> Result<i64, Box<dyn Error>> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await?.ok_or("no row")?;
    Ok(row.try_get_by_index(0)?)
}

fn refused(answer: Result<Server, ServerError>) -> Result<ServerError, Box<dyn Error>> {
    match answer {
        Ok(server) => Err(format!("not refused: {server:?}").into()),
        Err(error) => Ok(error),
    }
}

fn names(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    names.sort();
    Ok(names)
}

/// The process number of the server that runs on the folder.
fn server_of(data: &Path) -> Result<u32, Box<dyn Error>> {
    let file = fs::read_to_string(data.join("postmaster.pid"))?;
    Ok(file.lines().next().ok_or("empty file")?.parse()?)
}

fn children_of(pid: u32) -> Vec<Pid> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.trim().split_once(' '))
        .filter(|(_, parent)| parent.trim() == pid.to_string())
        .filter_map(|(child, _)| child.parse().ok().map(Pid::from_raw))
        .collect()
}

fn pid(number: u32) -> Result<Pid, std::num::TryFromIntError> {
    i32::try_from(number).map(Pid::from_raw)
}

/// Whether the condition comes to hold within five seconds.
fn soon(condition: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        if condition() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    condition()
}
