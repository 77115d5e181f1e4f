//! `postmaster.pid`, in which a server publishes its state.
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

/// Name of the socket file: the port is 5432, and the folder belongs to one server.
pub(super) const SOCKET: &str = ".s.PGSQL.5432";

/// Content of `postmaster.pid`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    pub(super) pid: u32,
    pub(super) socket_dir: PathBuf,
    ready: bool,
}

impl PidFile {
    pub(super) fn path(data: &Path) -> PathBuf {
        data.join("postmaster.pid")
    }

    /// Reads the file; `None` if it does not exist or is incomplete.
    pub(super) fn read(data: &Path) -> Option<Self> {
        Self::parse(&fs::read(Self::path(data)).ok()?)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        // Negative for a stand-alone backend.
        let pid = std::str::from_utf8(lines.first()?).ok()?.trim().parse::<i32>().ok()?;
        Some(Self {
            pid: pid.unsigned_abs(),
            socket_dir: PathBuf::from(OsStr::from_bytes(lines.get(4).copied().unwrap_or(b""))),
            ready: lines.get(7).is_some_and(|status| status.trim_ascii() == b"ready"),
        })
    }

    /// Whether the server is ready and listens on its socket. The file of a killed server still
    /// says "ready".
    pub(super) fn accepts_connections(&self) -> bool {
        self.ready && UnixStream::connect(self.socket_dir.join(SOCKET)).is_ok()
    }
}

/// A process id for system calls.
pub(super) fn process(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).map(Pid::from_raw)
}

/// Whether the process is a PostgreSQL server on this data folder.
///
/// After a reboot, or in a container, another program may have the same process id. A server's
/// working folder is its data folder.
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
        // A process of another user shows its name only.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| matches!(name.trim(), "postgres" | "postmaster"))
        }
        // A zombie has no working folder.
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{PidFile, is_postmaster_of};
    use std::path::{Path, PathBuf};

    #[test]
    fn parses_the_socket_folder_and_the_status() {
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
    fn other_processes_are_not_postmasters() {
        assert!(!is_postmaster_of(std::process::id(), Path::new("/nowhere")));
        assert!(!is_postmaster_of(0, Path::new("/")));
        assert!(!is_postmaster_of(u32::MAX, Path::new("/")));
    }
}
