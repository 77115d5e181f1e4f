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

/// How the server is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Immediate shutdown, for data that nobody needs any more.
    Quit,
    /// Fast shutdown: transactions are rolled back, and the data folder is left clean.
    Fast,
}

/// Reads the server's process number, then waits for the end of the pipe. The loops are bounded:
/// in a container without an init process a dead server stays as a zombie that `kill -0` finds.
/// A fast shutdown that takes 15 s is made an immediate one, which loses nothing either.
const SCRIPT: &str = r#"
ending=$1; shift
pause() { sleep 0.05 2>/dev/null || sleep 1; }
pid=
read -r pid && read -r end
if [ -n "$pid" ] && kill -s "$ending" "$pid" 2>/dev/null; then
  n=0
  while kill -0 "$pid" 2>/dev/null && [ $n -lt 400 ]; do
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

/// A running watcher.
#[derive(Debug)]
pub(super) struct Watcher {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Watcher {
    /// Starts the watcher; it removes these folders at the end.
    pub(super) fn start(ending: Ending, remove: &[&Path]) -> Result<Self, ServerError> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "tenantry-postgres-watcher"])
            .arg(match ending {
                Ending::Quit => "QUIT",
                Ending::Fast => "INT",
            })
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

    /// Tells which process the server is.
    pub(super) fn watch(&mut self, pid: u32) -> std::io::Result<()> {
        self.pipe
            .as_mut()
            .map_or(Ok(()), |pipe| writeln!(pipe, "{pid}"))
    }

    /// Closes the pipe: what happens by itself when the owner dies.
    pub(super) fn release(&mut self) {
        self.pipe = None;
    }

    /// Whether the watcher has done its work.
    pub(super) fn is_done(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.release();
        super::process::wait_until(|| self.is_done());
    }
}
