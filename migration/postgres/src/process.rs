//! The server process: started, waited for, stopped.

use std::{
    fs,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    binaries::Binaries,
    error::{ServerError, tail},
    os_user::OsUser,
    pid_file::PidFile,
    supervisor::{Shutdown, Supervisor},
};

/// How long a server may take to accept connections: recovery after a crash is part of it.
const START: Duration = Duration::from_secs(60);

/// How long an end may take before it is no longer waited for; the supervisor goes on alone.
const STOP: Duration = Duration::from_secs(30);

/// Waits for a word from the owner, then becomes the server. So the server does not begin before
/// the supervisor knows its number, and an owner killed in between leaves no server behind. The log
/// is opened by the server's user: root writes nothing into a folder of another user.
const LAUNCH: &str =
    r#"umask 077; log=$1; shift; read -r go && exec "$@" </dev/null >>"$log" 2>&1"#;

/// What to start.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub(super) binaries: &'a Binaries,
    pub(super) user: &'a OsUser,
    pub(super) data: &'a Path,
    pub(super) socket_dir: &'a Path,
    pub(super) shutdown: Shutdown,
    pub(super) settings: Vec<(&'a str, &'a str)>,
}

/// A running server of this program; dropping it stops it and waits, at most half a minute.
#[derive(Debug)]
pub(super) struct Postmaster {
    // Until it is waited for the number stays this server's, and the supervisor cannot meet another
    // program under it.
    child: Child,
    supervisor: Supervisor,
}

/// The server's log, in its data folder.
pub(super) fn log_file(data: &Path) -> PathBuf {
    data.join("server.log")
}

impl Launch<'_> {
    /// Starts the server and waits until it accepts connections. `record` is told its process
    /// number before it begins.
    pub(super) fn start(
        &self,
        supervisor: Supervisor,
        record: impl FnOnce(u32) -> Result<(), ServerError>,
    ) -> Result<Postmaster, ServerError> {
        let begun = Instant::now();
        let log = log_file(self.data);
        let old_log = fs::metadata(&log).map_or(0, |meta| meta.len());
        let child = self.spawn(&log)?;
        let mut postmaster = Postmaster { child, supervisor };
        let pid = postmaster.child.id();
        record(pid)?;
        postmaster.let_go(self.shutdown)?;

        let failed = |why: &str| {
            let text = fs::read(&log).unwrap_or_default();
            let new = text.get(usize::try_from(old_log).unwrap_or(0)..).unwrap_or_default();
            let said = tail(&String::from_utf8_lossy(new));
            ServerError::Start {
                path: self.data.to_owned(),
                log: format!("{why}; its log, {}, ends with: {said}", log.display()),
            }
        };
        loop {
            if PidFile::read(self.data).is_some_and(|f| f.pid == pid && f.accepts_connections()) {
                tracing::debug!(
                    data = %self.data.display(),
                    version = %self.binaries.version,
                    user = %self.user.name,
                    elapsed = ?begun.elapsed(),
                    "PostgreSQL started"
                );
                return Ok(postmaster);
            }
            if let Ok(Some(status)) = postmaster.child.try_wait() {
                return Err(failed(&status.to_string()));
            }
            if begun.elapsed() > START {
                return Err(failed("it did not accept connections within a minute"));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn spawn(&self, log: &Path) -> Result<Child, ServerError> {
        let postgres = self.binaries.program("postgres");
        let mut command = self.user.command("/bin/sh");
        command.args(["-c", LAUNCH, "tenantry-postgres"]).arg(log).arg(&postgres);
        command.arg("-D").arg(self.data);
        // The value is a list, whose items may be quoted.
        let socket_dir = self.socket_dir.to_string_lossy().replace('"', "\"\"");
        let own = [
            ("listen_addresses", ""),
            ("port", "5432"),
            ("unix_socket_directories", &format!("\"{socket_dir}\"")),
            ("logging_collector", "off"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ];
        for (name, value) in own.iter().chain(&self.settings) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(ServerError::io("run", postgres))
    }
}

impl Postmaster {
    /// Whether the server is there no more; the supervisor is then told, as its number may soon be
    /// another program's.
    pub(super) fn has_ended(&mut self) -> bool {
        if matches!(self.child.try_wait(), Ok(None)) {
            return false;
        }
        if let Err(error) = self.supervisor.forget() {
            tracing::debug!(%error, "the supervisor is gone as well");
        }
        true
    }

    fn let_go(&mut self, shutdown: Shutdown) -> Result<(), ServerError> {
        self.supervisor.watch(self.child.id(), shutdown)?;
        // Taken, so that it is closed: the server has no use for it.
        self.child
            .stdin
            .take()
            .map_or(Ok(()), |mut stdin| stdin.write_all(b"go\n"))
            .map_err(ServerError::io("write to", "/bin/sh"))
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        // A launch that was never let go ends by this; the server itself by the supervisor.
        self.child.stdin = None;
        self.supervisor.release();
        let child = &mut self.child;
        if !wait_until(|| !matches!(child.try_wait(), Ok(None))) {
            tracing::warn!(pid = child.id(), "PostgreSQL is still shutting down");
        }
    }
}

/// Waits until the condition holds, for as long as an end may take; whether it came to hold.
pub(super) fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if begun.elapsed() > STOP {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
