//! Locks of a persistent data folder, which the kernel releases when a program dies.
//!
//! There are two files beside the folder `NAME`. The owner, the program whose end is the server's
//! end, holds an exclusive lock on `NAME.lock`, which contains its process id and name. Programs
//! that have joined its server hold a shared lock on `NAME.users`, so that the owner can wait for
//! them.

use std::{
    fs::{File, OpenOptions, Permissions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::error::ServerError;

/// The owner of a data folder, from its lock file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) pid: u32,
    pub(super) program: String,
    /// Process id of the server, once it runs.
    pub(super) server: Option<u32>,
}

/// Result of [`try_lock`].
#[derive(Debug)]
pub(super) enum LockAttempt {
    /// This program is the owner now.
    Acquired { ownership: Ownership, previous: Owner },
    /// Another program is the owner.
    Held(Owner),
}

/// The owner's lock, released when dropped.
#[derive(Debug)]
pub(super) struct Ownership {
    file: File,
    path: PathBuf,
    users: File,
}

/// Tries to become the owner of the folder.
pub(super) fn try_lock(dir: &Path) -> Result<LockAttempt, ServerError> {
    let path = beside(dir, ".lock");
    let mut file = open(&path)?;
    let is_held = !locked(file.try_lock(), &path)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(ServerError::io("read", &path))?;
    let owner = parse(&text);
    if is_held {
        return Ok(LockAttempt::Held(owner));
    }
    let users = open(&beside(dir, ".users"))?;
    let mut ownership = Ownership { file, path, users };
    ownership.write(None)?;
    Ok(LockAttempt::Acquired { ownership, previous: owner })
}

/// Registers this program as a user of the owner's server until the file is dropped; `None` while
/// the owner is stopping the server.
pub(super) fn join(dir: &Path) -> Result<Option<File>, ServerError> {
    let path = beside(dir, ".users");
    let file = open(&path)?;
    Ok(locked(file.try_lock_shared(), &path)?.then_some(file))
}

impl Ownership {
    /// Records the server's process id, by which the next owner recognises the server.
    pub(super) fn record_server(&mut self, pid: u32) -> Result<(), ServerError> {
        self.write(Some(pid))
    }

    /// Waits until the programs that have joined have ended, for `timeout` at most, and lets no
    /// more join.
    pub(super) fn wait_for_users(&self, timeout: Duration) {
        let started = Instant::now();
        let mut is_logged = false;
        while let Err(TryLockError::WouldBlock) = self.users.try_lock() {
            if started.elapsed() > timeout {
                tracing::warn!("stopping PostgreSQL although other programs still use it");
                return;
            }
            if !is_logged {
                tracing::info!("waiting for other programs that use this PostgreSQL server");
                is_logged = true;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn write(&mut self, server: Option<u32>) -> Result<(), ServerError> {
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(Path::file_name).unwrap_or_default();
        let server = server.map(|pid| pid.to_string()).unwrap_or_default();
        let text = format!("{}\n{}\n{server}\n", std::process::id(), program.to_string_lossy());
        // Written before it is truncated, so that no reader finds it empty.
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.write_all(text.as_bytes()))
            .and_then(|()| self.file.set_len(text.len() as u64))
            .map_err(ServerError::io("write", &self.path))
    }
}

fn parse(text: &str) -> Owner {
    let mut lines = text.lines().map(str::to_owned);
    let (pid, program, server) = (lines.next(), lines.next(), lines.next());
    Owner {
        pid: pid.and_then(|line| line.parse().ok()).unwrap_or_default(),
        program: program.filter(|line| !line.is_empty()).unwrap_or("another program".to_owned()),
        server: server.and_then(|line| line.parse().ok()),
    }
}

/// Path of a file beside the folder: the folder itself is renamed into place when it is created,
/// and belongs to the server's user.
fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens a lock file that no other user may open: a user who can read a file can lock it.
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

/// Whether the lock was acquired; an error on a file system without locks.
pub(super) fn locked(result: Result<(), TryLockError>, path: &Path) -> Result<bool, ServerError> {
    match result {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(ServerError::io("lock", path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Owner, parse};

    #[test]
    fn parses_a_partly_written_file() {
        let owner = Owner { pid: 12, program: "shop".to_owned(), server: Some(34) };
        assert_eq!(parse("12\nshop\n34\n"), owner);
        assert_eq!(parse("12\nshop\n\n"), Owner { server: None, ..owner });
        assert_eq!(parse("").program, "another program");
    }
}
