//! A server whose data is kept: one program starts it, others join it.

use std::{
    fs,
    io::ErrorKind,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::{Signal, kill};

use super::{
    Access, Lifecycle, Server,
    binaries::Binaries,
    data_dir::{self, DataDirContent},
    error::ServerError,
    lock::{self, LockAttempt, Owner, Ownership},
    os_user::{OsUser, create_accessible},
    paths,
    pid_file::{PidFile, SOCKET, is_postmaster_of, process},
    supervisor::{Launch, Shutdown, log_file},
};

/// How long to wait for a server that is starting, and for the previous one to stop.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Starts the server of the folder, or joins it if it runs.
pub(super) fn open(dir: &Path, database: &str, access: Access) -> Result<Server, ServerError> {
    let dir = paths::absolute(dir)?;
    let user = OsUser::for_folder(&dir)?;
    // Before the lock files are created: nothing appears beside a wrong folder.
    data_dir::inspect(&dir)?;
    if let Some(path) = user.first_inaccessible(&dir) {
        return Err(ServerError::Inaccessible { path, user: user.name });
    }
    if let Some(parent) = dir.parent() {
        create_accessible(parent)?;
    }
    let started = Instant::now();
    loop {
        let Owner { pid, program, server } = match lock::try_lock(&dir)? {
            LockAttempt::Acquired { ownership, previous } => {
                return start(&dir, database, &user, ownership, &previous);
            }
            LockAttempt::Held(owner) => owner,
        };
        if access == Access::Exclusive {
            return Err(ServerError::InUse { path: dir, pid, program });
        }
        if let Some(server) = join(&dir, server)? {
            tracing::debug!(data = %dir.display(), owner = pid, "joined a running PostgreSQL");
            return Ok(server);
        }
        if started.elapsed() > TIMEOUT {
            let log = log_file(&dir);
            return Err(ServerError::OwnerNotResponding { path: dir, pid, program, log });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Joins the owner's server; `None` while it is starting or stopping.
fn join(dir: &Path, server: Option<u32>) -> Result<Option<Server>, ServerError> {
    // Locked before the server is examined: from then on the owner waits for this program.
    let Some(users) = lock::join(dir)? else {
        return Ok(None);
    };
    let ready = PidFile::read(dir).filter(|f| Some(f.pid) == server && f.accepts_connections());
    let (Some(file), DataDirContent::Cluster(version)) = (ready, data_dir::inspect(dir)?) else {
        return Ok(None);
    };
    Ok(Some(Server {
        data_dir: dir.to_owned(),
        socket_dir: file.socket_dir,
        version,
        lifecycle: Lifecycle::Joined { _users: users },
    }))
}

/// Starts the server as its owner.
fn start(
    dir: &Path,
    database: &str,
    user: &OsUser,
    mut ownership: Ownership,
    previous: &Owner,
) -> Result<Server, ServerError> {
    let binaries = match data_dir::inspect(dir)? {
        DataDirContent::Nothing => {
            let binaries = Binaries::newest(user)?;
            data_dir::create_persistent(dir, &binaries, user, database)?;
            binaries
        }
        DataDirContent::Cluster(major) => {
            clear_previous_run(dir, previous)?;
            Binaries::for_data_dir(user, dir, major)?
        }
    };
    let own_socket_dir =
        if paths::holds_socket(dir) { None } else { Some(paths::new_socket_dir(user)?) };
    let socket_dir = own_socket_dir.as_ref().map(tempfile::TempDir::path);
    let launch = Launch {
        binaries: &binaries,
        user,
        data: dir,
        socket_dir: socket_dir.unwrap_or(dir),
        shutdown: Shutdown::Fast,
        remove: socket_dir,
        users: None,
        settings: vec![("fsync", "on")],
    };
    let postmaster = launch.start(|pid| ownership.record_server(pid))?;
    Ok(Server {
        data_dir: dir.to_owned(),
        socket_dir: launch.socket_dir.to_owned(),
        version: binaries.version.major,
        lifecycle: Lifecycle::Owner { postmaster, _socket_dir: own_socket_dir, ownership },
    })
}

/// Stops the previous owner's server if it still runs, and removes its stale files.
fn clear_previous_run(dir: &Path, previous: &Owner) -> Result<(), ServerError> {
    let started = Instant::now();
    while let Some(PidFile { pid, .. }) = PidFile::read(dir)
        && is_postmaster_of(pid, dir)
    {
        let path = || dir.to_owned();
        if previous.server != Some(pid) {
            return Err(ServerError::UnmanagedServer { path: path(), pid });
        }
        if started.elapsed() > TIMEOUT {
            return Err(ServerError::StillStopping { path: path(), pid });
        }
        // The supervisor has sent this signal already, unless it was killed too. It may be sent
        // twice.
        if let Some(pid) = process(pid) {
            let _ = kill(pid, Signal::SIGINT);
        }
        thread::sleep(Duration::from_millis(20));
    }
    // PostgreSQL removes stale files itself, unless a process has the pid in them: any of the same
    // user, which is usual in a restarted container, or the zombie of the dead server. The files
    // also keep a new server from the shared memory of the old one's last processes; version 12
    // and later check that again, by a key made from the data folder (`PGSharedMemoryCreate`).
    for path in [PidFile::path(dir), dir.join(format!("{SOCKET}.lock"))] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(ServerError::io("remove", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
