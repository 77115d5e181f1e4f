//! `postmaster.pid`, by which a server tells what it is doing without a client.
//!
//! Its lines (PostgreSQL sources, `src/include/utils/pidfile.h`): process, data folder, start
//! time, port, socket folder, TCP address, shared memory, status.

use std::{
    ffi::OsStr,
    fs,
    io::ErrorKind,
    os::unix::{ffi::OsStrExt, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

/// The name of the socket file: port 5432 in its folder, which is private to the server.
pub(super) const SOCKET: &str = ".s.PGSQL.5432";

/// What `postmaster.pid` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    pub(super) pid: u32,
    pub(super) socket_dir: PathBuf,
    ready: bool,
}

impl PidFile {
    /// The file's path.
    pub(super) fn path(data: &Path) -> PathBuf {
        data.join("postmaster.pid")
    }

    /// Reads the file; `None` when there is none, or the server is still writing it.
    pub(super) fn read(data: &Path) -> Option<Self> {
        Self::parse(&fs::read(Self::path(data)).ok()?)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        // The postmaster's number is positive; a stand-alone backend writes a negative one.
        let pid = std::str::from_utf8(lines.first()?).ok()?.trim().parse::<i32>().ok()?;
        Some(Self {
            pid: pid.unsigned_abs(),
            socket_dir: PathBuf::from(OsStr::from_bytes(lines.get(4).copied().unwrap_or(b""))),
            ready: lines.get(7).is_some_and(|status| status.trim_ascii() == b"ready"),
        })
    }

    /// Whether the server says that it is ready and its socket answers. A killed server leaves
    /// the word "ready" behind, but nobody at the socket.
    pub(super) fn accepts_connections(&self) -> bool {
        self.ready && UnixStream::connect(self.socket_dir.join(SOCKET)).is_ok()
    }
}

/// A process number as the system calls want it.
pub(super) fn process(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).map(Pid::from_raw)
}

/// Whether the process is a PostgreSQL server on this data folder.
///
/// That a process of this number lives says little: after a reboot, or in a container, numbers
/// come back for other programs. A server's working folder is its data folder.
pub(super) fn is_postmaster_of(pid: u32, data: &Path) -> bool {
    let Some(number) = process(pid) else {
        return false;
    };
    if !matches!(kill(number, None), Ok(()) | Err(Errno::EPERM)) {
        return false;
    }
    if !Path::new("/proc/self").exists() {
        let output = Command::new("ps").args(["-o", "comm=", "-p", &pid.to_string()]).output();
        return output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("postgres"));
    }
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(folder) => folder == data,
        // Another user's process: its name is all that is shown.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| matches!(name.trim(), "postgres" | "postmaster"))
        }
        // A zombie has no working folder: it holds no data any more.
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{PidFile, is_postmaster_of};
    use std::path::{Path, PathBuf};

    #[test]
    fn the_socket_folder_and_the_status_are_read() {
        let text = b"4711\n/d\n1700000000\n5432\n/tmp/a b\n\n  123  4\nready   \n";
        let parsed = PidFile::parse(text);
        let ready = PidFile { pid: 4711, socket_dir: PathBuf::from("/tmp/a b"), ready: true };
        assert_eq!(parsed, Some(ready));
        assert!(
            PidFile::parse(b"4711\n/d\n1\n5432\n/s\n\n1 2\nstarting\n").is_some_and(|p| !p.ready)
        );
        assert!(PidFile::parse(b"4711\n").is_some_and(|p| !p.ready));
        assert_eq!(PidFile::parse(b""), None);
    }

    #[test]
    fn a_process_that_is_no_server_serves_no_folder() {
        assert!(!is_postmaster_of(std::process::id(), Path::new("/nowhere")));
        assert!(!is_postmaster_of(0, Path::new("/")));
        assert!(!is_postmaster_of(u32::MAX, Path::new("/")));
    }
}
