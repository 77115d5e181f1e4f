//! A process that owns a server, to be killed: this test binary again, running only
//! [`owner_process`], which starts a server, tells its URL on a line, and waits.

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use local_postgres::{Access, Server};
use nix::{
    sys::signal::{SIGKILL, kill},
    unistd::Pid,
};

use super::{TestResult, support::*};

/// Tells [`owner_process`] what to do: `temporary`, or a data folder.
const TASK: &str = "TENANTRY_TEST_OWNER";

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
        (Server::persistent(Path::new(&task), DATABASE, Access::Exclusive), DATABASE)
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
pub(super) struct Owner {
    pub(super) child: Child,
    pub(super) server: u32,
    pub(super) data: PathBuf,
    pub(super) url: String,
}

impl Owner {
    pub(super) fn of(data: &Path) -> Result<Self, Box<dyn Error>> {
        Self::start(data.to_str().ok_or("not UTF-8")?)
    }

    pub(super) fn start(task: &str) -> Result<Self, Box<dyn Error>> {
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

    pub(super) fn kill(&mut self) -> TestResult {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(super) fn processes_of_server(&self) -> Vec<Pid> {
        let mut found = children_of(self.server);
        found.extend(pid(self.server));
        found
    }

    /// The shell that supervises the server, and its child that waits for the owner's end.
    pub(super) fn supervisor(&self) -> Vec<Pid> {
        let shells = children_of(self.child.id());
        let parts = shells.iter().flat_map(|shell| children_of(shell.as_raw().unsigned_abs()));
        let parts: Vec<Pid> =
            parts.filter(|part| part.as_raw().unsigned_abs() != self.server).collect();
        assert_eq!((shells.len(), parts.len()), (1, 1));
        [shells, parts].concat()
    }

    pub(super) fn kill_supervisor(&self) -> TestResult {
        for pid in self.supervisor() {
            kill(pid, SIGKILL)?;
        }
        Ok(())
    }

    /// By its socket, not its process number: where no init process collects the dead, a server
    /// that has ended keeps its number.
    pub(super) fn assert_server_gone(&self) {
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

pub(super) fn owner_command(task: &str) -> Result<Command, Box<dyn Error>> {
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
