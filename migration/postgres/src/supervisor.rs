//! The server process, and the shell that stops it when its owner ends.
//!
//! The shell is the server's parent and holds the reading end of a pipe whose writing end only the
//! owner has. The kernel closes the pipe when the owner exits or is killed, also by SIGKILL. An
//! orderly stop closes the same pipe, so every run exercises the only way to stop.
//!
//! A shared server has a named pipe, whose writing end each of its users has. When all of them have
//! ended, the shell waits a while for others, then removes the pipe's name, so that no program can join
//! any more, and looks once more: a program that has joined meanwhile has written a line.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    mem::ManuallyDrop,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    binaries::Binaries,
    error::{ServerError, tail},
    os_user::OsUser,
    pid_file::PidFile,
};

/// How long a server may take to accept connections, crash recovery included.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the owner waits for a shutdown.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Arguments: the signal that stops the server, a folder to remove ("" for none), the log file, the
/// named pipe of a shared server ("" for none), the server's command. Prints the server's process id.
///
/// Runs as the server's user, so that root writes no file into another user's folder. A server
/// that ends on its own leaves the folder to the owner, which may still read the log in it.
const SCRIPT: &str = r#"
umask 077
signal=$1 remove=$2 log=$3 users=$4; shift 4
exec 3<&0
mv -f "$log" "$log.1" 2>/dev/null
"$@" 3<&- </dev/null >"$log" 2>&1 &
server=$!
{
    if [ -z "$users" ]; then
        read -r _ <&3
    else
        idle=0
        while :; do
            if read -r _ <&3; then idle=0; continue; fi
            if [ "$idle" -lt 10 ]; then idle=$((idle + 1)); sleep 1; continue; fi
            mv "$users" "$users.closed"
            read -r _ <&3 || break
            idle=0
            mv "$users.closed" "$users"
        done
    fi
    kill -s "$signal" "$server"
} >/dev/null 2>&1 &
reader=$!
echo "$server"
wait "$server"; status=$?
kill "$reader" 2>/dev/null; wait "$reader"
[ $? -gt 128 ] || [ -z "$remove" ] || rm -rf "$remove"
exit "$status"
"#;

/// How PostgreSQL is stopped (manual, 18.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shutdown {
    /// Aborts without a checkpoint.
    Immediate,
    /// Rolls open transactions back and leaves a clean data folder.
    Fast,
}

/// How to start a server.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub(super) binaries: &'a Binaries,
    pub(super) user: &'a OsUser,
    pub(super) data: &'a Path,
    pub(super) socket_dir: &'a Path,
    pub(super) shutdown: Shutdown,
    /// Folder that is removed when the owner ends.
    pub(super) remove: Option<&'a Path>,
    /// In place of an owner.
    pub(super) users: Option<Users<'a>>,
    pub(super) settings: Vec<(&'a str, &'a str)>,
}

/// The programs that share a server.
#[derive(Debug)]
pub(super) struct Users<'a> {
    /// The named pipe whose writing ends they have.
    pub(super) pipe: &'a Path,
    pub(super) reader: File,
}

/// A running server of this program. Dropping it stops the server and waits for its end, for half
/// a minute at most.
#[derive(Debug)]
pub(super) struct Postmaster {
    supervisor: Child,
    pipe: Option<ChildStdin>,
}

/// The server's log, in its data folder. The log of the run before has the suffix `.1`.
pub(super) fn log_file(data: &Path) -> PathBuf {
    data.join("server.log")
}

impl Launch<'_> {
    /// Starts the server, passes its process id to `record`, and waits until it accepts
    /// connections.
    pub(super) fn start(
        &self,
        record: impl FnOnce(u32) -> Result<(), ServerError>,
    ) -> Result<Postmaster, ServerError> {
        let started = Instant::now();
        let (mut postmaster, pid) = self.spawn()?;
        record(pid)?;
        let failed = |reason: &str| {
            let log = log_file(self.data);
            let text = fs::read(&log).unwrap_or_default();
            let last = tail(&String::from_utf8_lossy(&text));
            ServerError::Start {
                path: self.data.to_owned(),
                log: format!("{reason}; its log, {}, ends with: {last}", log.display()),
            }
        };
        loop {
            if PidFile::read(self.data).is_some_and(|f| f.pid == pid && f.accepts_connections()) {
                tracing::debug!(
                    data = %self.data.display(),
                    version = %self.binaries.version,
                    user = %self.user.name,
                    elapsed = ?started.elapsed(),
                    "PostgreSQL started"
                );
                return Ok(postmaster);
            }
            if let Ok(Some(status)) = postmaster.supervisor.try_wait() {
                return Err(failed(&status.to_string()));
            }
            if started.elapsed() > START_TIMEOUT {
                return Err(failed("it did not accept connections within a minute"));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn spawn(&self) -> Result<(Postmaster, u32), ServerError> {
        let shell = Path::new("/bin/sh");
        let mut command = self.user.command(shell);
        command.args(["-c", SCRIPT, "local-postgres"]);
        command.arg(match self.shutdown {
            Shutdown::Immediate => "QUIT",
            Shutdown::Fast => "INT",
        });
        command.arg(self.remove.unwrap_or(Path::new(""))).arg(log_file(self.data));
        let (pipe, stdin) = match &self.users {
            Some(Users { pipe, reader }) => {
                let reader = reader.try_clone().map_err(ServerError::io("open", *pipe))?;
                (*pipe, reader.into())
            }
            None => (Path::new(""), Stdio::piped()),
        };
        command.arg(pipe);
        command.arg(self.binaries.program("postgres")).arg("-D").arg(self.data);
        // The value is a list, whose items may be quoted.
        let socket_dir = self.socket_dir.to_string_lossy().replace('"', "\"\"");
        let fixed = [
            ("listen_addresses", ""),
            ("port", "5432"),
            ("unix_socket_directories", &format!("\"{socket_dir}\"")),
            ("logging_collector", "off"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ];
        for (name, value) in fixed.iter().chain(&self.settings) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let mut supervisor = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal reaches the owner only.
            .process_group(0)
            .spawn()
            .map_err(ServerError::io("run", shell))?;
        // std marks the pipe close-on-exec, so no other child keeps it open.
        let (pipe, output) = (supervisor.stdin.take(), supervisor.stdout.take());
        let postmaster = Postmaster { supervisor, pipe };
        let mut pid = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut pid).map_err(ServerError::io("read", shell))?;
        }
        // 0 if the shell has failed: the caller then reports its exit status.
        Ok((postmaster, pid.trim().parse().unwrap_or_default()))
    }
}

impl Postmaster {
    /// Leaves the server to its other users.
    pub(super) fn detach(self) {
        let mut this = ManuallyDrop::new(self);
        // Collects the exit status if the server ends before this program.
        thread::spawn(move || this.supervisor.wait());
    }

    /// Whether the server has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.supervisor.try_wait(), Ok(None))
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        self.pipe = None;
        let stopping = Instant::now();
        while !self.has_ended() {
            if stopping.elapsed() > STOP_TIMEOUT {
                tracing::warn!("PostgreSQL is still shutting down");
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
