//! A server whose data lasts: who starts it, who joins it.

use std::{
    fs,
    io::ErrorKind,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::{Signal, kill};

use super::{
    Access, DATABASE, Lifecycle, Server,
    binaries::Binaries,
    data_dir::{self, DataDirContent},
    error::ServerError,
    lock::{self, LockAttempt, Owner, Ownership},
    os_user::{OsUser, create_enterable},
    paths,
    pid_file::{PidFile, SOCKET, is_postmaster_of, process},
    process::{Launch, log_file},
    supervisor::{Shutdown, Supervisor},
};

/// How long a joiner waits for a server that is still starting, and an owner for the server of
/// the last one to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A log that has grown beyond this is set aside at the next start, one generation.
const LOG_SIZE: u64 = 1 << 20;

/// Starts the server of the folder, or joins the one that runs.
pub(super) fn open(dir: &Path, access: Access) -> Result<Server, ServerError> {
    let dir = paths::absolute(dir)?;
    let user = OsUser::for_folder(&dir)?;
    // Before the first file is written beside it: a wrong folder is left alone.
    data_dir::inspect(&dir)?;
    if let Some(path) = user.first_inaccessible(&dir) {
        return Err(ServerError::Inaccessible { path, user: user.name });
    }
    if let Some(parent) = dir.parent() {
        create_enterable(parent)?;
    }
    let begun = Instant::now();
    loop {
        let owner = match lock::claim(&dir)? {
            LockAttempt::Acquired { ownership, last } => return own(&dir, &user, ownership, &last),
            LockAttempt::Held(owner) => owner,
        };
        if access == Access::Exclusive {
            let Owner { pid, program, .. } = owner;
            return Err(ServerError::InUse { path: dir, pid, program });
        }
        if let Some(server) = join(&dir, &owner)? {
            return Ok(server);
        }
        if begun.elapsed() > PATIENCE {
            let Owner { pid, program, .. } = owner;
            let log = log_file(&dir);
            return Err(ServerError::OwnerNotResponding { path: dir, pid, program, log });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Joins the owner's server; `None` while it is starting or stopping.
fn join(dir: &Path, owner: &Owner) -> Result<Option<Server>, ServerError> {
    // First the lock, then the look: from then on the owner waits for this program.
    let Some(users) = lock::join(dir)? else {
        return Ok(None);
    };
    let Some(file) = PidFile::read(dir) else {
        return Ok(None);
    };
    if Some(file.pid) != owner.server || !file.accepts_connections() {
        return Ok(None);
    }
    let DataDirContent::Cluster(version) = data_dir::inspect(dir)? else {
        return Ok(None);
    };
    tracing::debug!(data = %dir.display(), owner = owner.pid, "joined a running PostgreSQL");
    Ok(Some(Server {
        data_dir: dir.to_owned(),
        socket_dir: file.socket_dir,
        version,
        lifecycle: Lifecycle::Joined { _users: users },
    }))
}

/// Starts the server as its owner.
fn own(
    dir: &Path,
    user: &OsUser,
    mut ownership: Ownership,
    last: &Owner,
) -> Result<Server, ServerError> {
    let binaries = match data_dir::inspect(dir)? {
        DataDirContent::Nothing => {
            let binaries = Binaries::newest(user)?;
            data_dir::create_lasting(dir, &binaries, user, DATABASE)?;
            binaries
        }
        DataDirContent::Cluster(major) => {
            clear_last_run(dir, last)?;
            Binaries::of_folder(user, dir, major)?
        }
    };
    set_log_aside(dir);
    let fits = paths::holds_socket(dir);
    let socket_dir = if fits { dir.to_owned() } else { paths::new_socket_dir(user)? };
    let remove: &[&Path] = if fits { &[] } else { &[&socket_dir] };
    let supervisor = Supervisor::start(remove)?;
    let launch = Launch {
        binaries: &binaries,
        user,
        data: dir,
        socket_dir: &socket_dir,
        shutdown: Shutdown::Fast,
        settings: vec![("fsync", "on")],
    };
    let postmaster = launch.start(supervisor, |pid| ownership.record_server(pid))?;
    Ok(Server {
        data_dir: dir.to_owned(),
        version: binaries.version.major,
        lifecycle: Lifecycle::Owner { postmaster, ownership },
        socket_dir,
    })
}

/// Deals with what the last run left: a server that is still shutting down, or its stale files.
fn clear_last_run(dir: &Path, last: &Owner) -> Result<(), ServerError> {
    let begun = Instant::now();
    while let Some(file) = PidFile::read(dir) {
        if !is_postmaster_of(file.pid, dir) {
            paths::remove_socket_dir(&file.socket_dir);
            break;
        }
        if last.server != Some(file.pid) {
            return Err(ServerError::UnmanagedServer { path: dir.to_owned(), pid: file.pid });
        }
        if begun.elapsed() > PATIENCE {
            return Err(ServerError::StillStopping { path: dir.to_owned(), pid: file.pid });
        }
        // The supervisor has asked already, unless it was killed as well. Asking twice does no harm.
        if let Some(pid) = process(file.pid) {
            let _ = kill(pid, Signal::SIGINT);
        }
        thread::sleep(Duration::from_millis(20));
    }
    // PostgreSQL removes stale files itself, unless the number in them is taken: by any process
    // of the same user, which is the rule in a restarted container, or by the dead server itself
    // until init has collected it. Their other duty, to keep a new server from the memory of the
    // old one's last processes, has a second guard since version 12: the key of that memory is
    // made from the data folder (`PGSharedMemoryCreate`).
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

fn set_log_aside(dir: &Path) {
    let log = log_file(dir);
    if fs::metadata(&log).is_ok_and(|meta| meta.len() > LOG_SIZE)
        && let Err(error) = fs::rename(&log, log.with_extension("log.1"))
    {
        tracing::debug!(log = %log.display(), %error, "the log keeps growing");
    }
}
