//! Who has a persistent data folder: locks that the kernel takes back when a program dies.
//!
//! Two files lie beside the folder `NAME`. `NAME.lock` is locked exclusively by the owner, the
//! program whose end is the server's end, and says who that is. `NAME.users` is locked shared by
//! every program that has joined the owner's server, so that the owner can wait for them.

use std::{
    fs::{File, OpenOptions, Permissions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::error::ServerError;

/// The owner of a data folder, as its lock file tells.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) pid: u32,
    pub(super) program: String,
    /// The server's process, once there is one.
    pub(super) server: Option<u32>,
}

/// The answer to [`claim`].
#[derive(Debug)]
pub(super) enum LockAttempt {
    /// This program has the folder now; `last` had it before.
    Acquired { ownership: Ownership, last: Owner },
    /// Another program has it.
    Held(Owner),
}

/// The right to run the server of a data folder; given back when dropped.
#[derive(Debug)]
pub(super) struct Ownership {
    file: File,
    path: PathBuf,
    users: File,
}

/// Tries to become the owner of the folder.
pub(super) fn claim(dir: &Path) -> Result<LockAttempt, ServerError> {
    let path = beside(dir, ".lock");
    let mut file = open(&path)?;
    let taken = !lock(file.try_lock(), &path)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(ServerError::io("read", &path))?;
    let owner = parse(&text);
    if taken {
        return Ok(LockAttempt::Held(owner));
    }
    let users = open(&beside(dir, ".users"))?;
    let mut ownership = Ownership { file, path, users };
    ownership.write(None)?;
    Ok(LockAttempt::Acquired { ownership, last: owner })
}

/// Counts this program among the users of the owner's server until the file is dropped; `None`
/// while the owner is stopping the server.
pub(super) fn join(dir: &Path) -> Result<Option<File>, ServerError> {
    let path = beside(dir, ".users");
    let file = open(&path)?;
    Ok(lock(file.try_lock_shared(), &path)?.then_some(file))
}

impl Ownership {
    /// Writes down which process the server is, before it starts: whoever owns the folder next
    /// knows by it that the server is this module's.
    pub(super) fn record_server(&mut self, pid: u32) -> Result<(), ServerError> {
        self.write(Some(pid))
    }

    /// Waits until the programs that have joined are done, at most this long, and lets no more
    /// join.
    pub(super) fn wait_for_users(&self, patience: Duration) {
        let begun = Instant::now();
        let mut told = false;
        while let Err(TryLockError::WouldBlock) = self.users.try_lock() {
            if begun.elapsed() > patience {
                tracing::warn!("stopping PostgreSQL although other programs still use it");
                return;
            }
            if !told {
                tracing::info!("waiting for other programs that use this PostgreSQL server");
                told = true;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn write(&mut self, server: Option<u32>) -> Result<(), ServerError> {
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(Path::file_name).unwrap_or_default();
        let server = server.map(|pid| pid.to_string()).unwrap_or_default();
        let text = format!("{}\n{}\n{server}\n", std::process::id(), program.to_string_lossy());
        // One write, then the cut: a reader never finds the file empty.
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.write_all(text.as_bytes()))
            .and_then(|()| self.file.set_len(text.len() as u64))
            .map_err(ServerError::io("write", &self.path))
    }
}

fn parse(text: &str) -> Owner {
    let mut lines = text.lines();
    let mut number = || lines.next().map(str::to_owned);
    let (pid, program, server) = (number(), number(), number());
    Owner {
        pid: pid.and_then(|line| line.parse().ok()).unwrap_or_default(),
        program: program.filter(|line| !line.is_empty()).unwrap_or("another program".to_owned()),
        server: server.and_then(|line| line.parse().ok()),
    }
}

/// The path of a file beside the folder. Not inside it: the folder is replaced as a whole when
/// it is made, and belongs to the server's user.
fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens a lock file that no other user may open: whoever can read a file can hold its lock.
fn open(path: &Path) -> Result<File, ServerError> {
    let opened = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(file)
    };
    opened().map_err(ServerError::io("open", path))
}

/// Whether the lock was had; a file system without locks is an error, not a "no".
fn lock(answer: Result<(), TryLockError>, path: &Path) -> Result<bool, ServerError> {
    match answer {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(ServerError::io("lock", path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Owner, parse};

    #[test]
    fn the_owner_is_read_also_from_a_half_written_file() {
        let owner = Owner { pid: 12, program: "tenantry".to_owned(), server: Some(34) };
        assert_eq!(parse("12\ntenantry\n34\n"), owner);
        assert_eq!(parse("12\ntenantry\n\n"), Owner { server: None, ..owner });
        assert_eq!(parse("").program, "another program");
    }
}
