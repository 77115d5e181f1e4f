//! The process that ends the server when its owner ends, however that ends.
//!
//! A shell waits on a pipe whose other end only the owner has: the kernel closes it when the
//! owner exits or is killed, also with SIGKILL. The owner's orderly stop is the same closing, so
//! there is one way to stop, and every run tries it.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use super::error::ServerError;

/// What becomes of a process when its owner ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shutdown {
    /// Immediate shutdown, for a server whose data nobody needs any more.
    Immediate,
    /// Fast shutdown: transactions are rolled back, and the data folder is left clean.
    Fast,
    /// It ends by itself and is waited for: an interrupted `initdb` leaves shared memory behind.
    Itself,
}

/// Reads how to end which process, of which the last line counts, until the end of the pipe.
///
/// A zombie, which `kill -0` finds, counts as gone: in a container nobody may collect it. What
/// takes 15 s is ended by an immediate shutdown, which loses nothing either.
const SCRIPT: &str = r#"
pause() { sleep 0.05 2>/dev/null || sleep 1; }
alive() { kill -0 "$pid" 2>/dev/null && ! grep -qs "^State:.Z" "/proc/$pid/status"; }
shutdown= pid=
while read -r a b; do shutdown=$a pid=$b; done
if [ -n "$pid" ]; then
  [ "$shutdown" = itself ] || kill -s "$shutdown" "$pid" 2>/dev/null
  n=0
  while alive && [ $n -lt 400 ]; do
    pause; n=$((n + 1))
    [ $n -ne 300 ] || kill -s QUIT "$pid" 2>/dev/null
  done
fi
n=0
for folder; do
  while [ -e "$folder" ] && [ $n -lt 100 ]; do
    rm -rf "$folder" 2>/dev/null || pause
    n=$((n + 1))
  done
done
"#;

/// A running supervisor.
#[derive(Debug)]
pub(super) struct Supervisor {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Supervisor {
    /// Starts the supervisor; it removes these folders at the end.
    pub(super) fn start(remove: &[&Path]) -> Result<Self, ServerError> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "tenantry-postgres-supervisor"])
            .args(remove)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A process group of its own: Ctrl-C in the terminal is the owner's business.
            .process_group(0)
            .spawn()
            .map_err(ServerError::io("run", "/bin/sh"))?;
        // std marks the pipe close-on-exec: no other child keeps it open.
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Tells which process to look after, in place of the one before.
    pub(super) fn watch(&mut self, pid: u32, shutdown: Shutdown) -> Result<(), ServerError> {
        let shutdown = match shutdown {
            Shutdown::Immediate => "QUIT",
            Shutdown::Fast => "INT",
            Shutdown::Itself => "itself",
        };
        self.tell(&format!("{shutdown} {pid}\n"))
    }

    /// Takes back the last [`watch`](Self::watch), as the process has ended: its number may soon
    /// be another's.
    pub(super) fn forget(&mut self) -> Result<(), ServerError> {
        self.tell("\n")
    }

    fn tell(&mut self, line: &str) -> Result<(), ServerError> {
        self.pipe
            .as_mut()
            .map_or(Ok(()), |pipe| pipe.write_all(line.as_bytes()))
            .map_err(ServerError::io("write to", "/bin/sh"))
    }

    /// Closes the pipe: what happens by itself when the owner dies.
    pub(super) fn release(&mut self) {
        self.pipe = None;
    }

    /// Whether the supervisor has done its work.
    pub(super) fn is_done(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.release();
        super::process::wait_until(|| self.is_done());
    }
}
