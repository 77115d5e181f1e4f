//! Real PgBouncer, where this machine has one: in `PGBOUNCER_BIN`, in `PATH`, or where distributions
//! install it.

use std::{
    env,
    fs::{self, Permissions},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use local_postgres::Server;
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::say;

/// A role for tenants' statements through a pooler, which [`create_role`] creates.
pub const ROLE: &str = "pooled";

/// The first version that carries prepared statements over to other server connections.
const PREPARES: (u32, u32) = (1, 21);

/// Arguments: the log file, the command. Kills it when the test has ended, also by SIGKILL: only the
/// test has the other end of the pipe that the shell reads.
const SCRIPT: &str = r#"
log=$1; shift
exec 3<&0 2>/dev/null
"$@" 3<&- </dev/null >"$log" 2>&1 &
read -r _ <&3
kill -KILL $!
wait $!
"#;

/// Longer than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// An installed PgBouncer.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    version: (u32, u32),
}

/// When a client releases its connection to the server.
#[derive(Debug, Clone, Copy)]
pub enum PoolMode {
    /// On disconnect.
    Session,
    /// After each transaction.
    Transaction {
        /// `max_prepared_statements`, where PgBouncer has this setting.
        statements: u32,
    },
}

/// A running PgBouncer before a server.
pub struct PgBouncer {
    program: Program,
    /// The data folder of the server, whose owner runs it.
    data_dir: PathBuf,
    folder: TempDir,
    port: u16,
    shell: Option<Child>,
}

impl Program {
    /// One that carries prepared statements over, or `None` after a line that says what is skipped.
    pub fn that_prepares(skipped: &str) -> Option<Self> {
        Self::find(skipped, "1.21 or newer", |version| version >= PREPARES)
    }

    /// One that does not.
    pub fn that_does_not_prepare(skipped: &str) -> Option<Self> {
        Self::find(skipped, "before 1.21", |version| version < PREPARES)
    }

    /// Any version.
    pub fn any(skipped: &str) -> Option<Self> {
        Self::find(skipped, "of any version", |_| true)
    }

    fn find(skipped: &str, wanted: &str, fits: impl Fn((u32, u32)) -> bool) -> Option<Self> {
        let found: Vec<Self> = candidates().filter_map(Self::at).collect();
        let program = found.iter().find(|one| fits(one.version)).cloned();
        if program.is_none() {
            say(&format!(
                "skipped: {skipped}: needs PgBouncer {wanted} (in PATH or PGBOUNCER_BIN), and there \
                 is {}",
                match &found[..] {
                    [] => "none".to_owned(),
                    [one, ..] => format!("{}.{}", one.version.0, one.version.1),
                }
            ));
        }
        program
    }

    /// Fails the test if `PGBOUNCER_BIN` is not one.
    fn at(path: PathBuf) -> Option<Self> {
        let is_named = env::var_os("PGBOUNCER_BIN").is_some_and(|named| named == path);
        let output = Command::new(&path).arg("--version").output();
        let version = output.ok().and_then(|output| {
            let text = String::from_utf8(output.stdout).ok()?;
            let mut numbers = text.lines().next()?.strip_prefix("PgBouncer ")?.split('.');
            Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        });
        assert!(version.is_some() || !is_named, "PGBOUNCER_BIN is not PgBouncer: {path:?}");
        Some(Self { path, version: version? })
    }

    /// Starts it with at most `sessions` connections to the server for each user in each database,
    /// which are used in turn. These roles may connect.
    pub fn start(
        &self,
        server: &Server,
        mode: PoolMode,
        sessions: usize,
        roles: &[&str],
    ) -> PgBouncer {
        let folder = tempfile::Builder::new().prefix("tenantry-pgbouncer-").tempdir().unwrap();
        let (own, socket_dir) = (folder.path().display(), server.socket_dir().display());
        let mut settings = format!(
            "[databases]\n* = host={socket_dir} port=5432\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             unix_socket_dir = {own}\nauth_type = trust\nauth_file = {own}/users.txt\n\
             max_client_conn = 500\ndefault_pool_size = {sessions}\nserver_round_robin = 1\n\
             ignore_startup_parameters = extra_float_digits,options\n",
        );
        settings += match mode {
            PoolMode::Session => "pool_mode = session\n",
            PoolMode::Transaction { .. } => "pool_mode = transaction\n",
        };
        if let PoolMode::Transaction { statements } = mode
            && self.version >= PREPARES
        {
            settings += &format!("max_prepared_statements = {statements}\n");
        }
        let users: String = roles.iter().map(|role| format!("\"{role}\" \"\"\n")).collect();
        fs::write(folder.path().join("settings.ini"), settings).unwrap();
        fs::write(folder.path().join("users.txt"), users).unwrap();
        let data_dir = server.data_dir().to_owned();
        let owner = fs::metadata(&data_dir).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        if geteuid().is_root() {
            chown(folder.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let (program, port, shell) = (self.clone(), 0, None);
        let mut started = PgBouncer { program, data_dir, folder, port, shell };
        // Another program may take the free port.
        while !started.listens() {}
        started
    }
}

impl PgBouncer {
    /// The URL of a database for a role.
    pub fn url_of(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Its Unix socket, which root and the server's user may use.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(format!(".s.PGSQL.{}", self.port))
    }

    /// The version of the program.
    pub fn version(&self) -> String {
        let (major, minor) = self.program.version;
        format!("{major}.{minor}")
    }

    /// Kills it: clients lose their connections, and new ones are refused.
    pub fn kill(&mut self) {
        // The shell reads the end of the pipe.
        if let Some(mut shell) = self.shell.take() {
            drop(shell.stdin.take());
            shell.wait().unwrap();
        }
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) {
        assert!(self.launch(), "{}", self.log());
    }

    /// Starts it on a free port, and returns whether it got the port.
    fn listens(&mut self) -> bool {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        self.port = free.local_addr().unwrap().port();
        drop(free);
        let started = self.launch();
        assert!(started || self.log().contains("in use"), "{}", self.log());
        started
    }

    fn launch(&mut self) -> bool {
        let path = |name: &str| self.folder.path().join(name);
        let text = fs::read_to_string(path("settings.ini")).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("listen_port"));
        let mut text: String = lines.map(|line| format!("{line}\n")).collect();
        text += &format!("listen_port = {}\n", self.port);
        fs::write(path("settings.ini"), text).unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "pgbouncer"]).arg(path("log"));
        command.arg(&self.program.path).arg(path("settings.ini"));
        // It does not run as root.
        let owner = fs::metadata(&self.data_dir).unwrap();
        if geteuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        command.current_dir("/").process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        self.shell = Some(command.spawn().unwrap());
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let failed = self.log().contains("FATAL");
            if failed || started.elapsed() > PATIENCE {
                self.kill();
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        true
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The SQL that creates [`ROLE`], with the settings that a program does not send through a pooler.
pub fn create_role() -> String {
    // A superuser, since tests create tables with another role.
    format!(
        "CREATE ROLE {ROLE} LOGIN SUPERUSER; ALTER ROLE {ROLE} SET search_path = '';
         ALTER ROLE {ROLE} SET statement_timeout = '25s';
         ALTER ROLE {ROLE} SET idle_in_transaction_session_timeout = '30s'"
    )
}

fn candidates() -> impl Iterator<Item = PathBuf> {
    let named = env::var_os("PGBOUNCER_BIN").map(PathBuf::from);
    let paths = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&paths).collect();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"].map(PathBuf::from);
    let all = folders.into_iter().chain(usual).map(|folder| folder.join("pgbouncer"));
    named.into_iter().chain(all.filter(|path| Path::exists(path)))
}
