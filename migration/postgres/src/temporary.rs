//! A server for one run: fast, in memory, removed at the end.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

use nix::sys::signal::{Signal, kill};

use super::{
    Lifecycle, Server,
    binaries::Binaries,
    data_dir,
    error::ServerError,
    os_user::OsUser,
    paths::{self, TEMPORARY},
    pid_file::{PidFile, is_postmaster_of, process},
    supervisor::{Launch, Shutdown},
};

/// A younger folder may not be locked yet by the program that creates it.
const YOUNG: Duration = Duration::from_secs(10);

/// No data outlives the run, so none is made crash-safe. The connections are for test binaries
/// that run a pool per test in parallel; the WAL is kept small, as it is in memory.
pub(super) const SETTINGS: [(&str, &str); 6] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "300"),
    ("max_wal_size", "256MB"),
    // In the data folder, with which it is removed; POSIX memory would outlive a killed server.
    ("dynamic_shared_memory_type", "mmap"),
];

/// Starts a server on a new folder.
pub(super) fn start(settings: &[(&str, &str)]) -> Result<Server, ServerError> {
    let user = OsUser::for_new()?;
    let binaries = Binaries::newest(&user)?;
    let base = paths::temporary_base(&user);
    for path in paths::leftovers(&base, TEMPORARY, YOUNG) {
        sweep(&path, &user);
    }
    let folder = user.new_folder(&base, TEMPORARY)?;
    let lock = File::open(folder.path())
        .and_then(|folder| folder.try_lock().map(|()| folder).map_err(Into::into))
        .map_err(ServerError::io("lock", folder.path()))?;
    let data = folder.path().join("data");
    fs::create_dir(&data).map_err(ServerError::io("create", &data))?;
    user.chown(&data)?;
    data_dir::initdb(&data, &binaries, &user, &["--no-sync"])?;
    let launch = Launch {
        binaries: &binaries,
        user: &user,
        data: &data,
        socket_dir: &data,
        shutdown: Shutdown::Immediate,
        remove: Some(folder.path()),
        users: None,
        settings: SETTINGS.iter().chain(settings).copied().collect(),
    };
    let postmaster = launch.start(|_| Ok(()))?;
    Ok(Server {
        socket_dir: data.clone(),
        data_dir: data,
        version: binaries.version.major,
        lifecycle: Lifecycle::Temporary { postmaster, _folder: folder, _lock: lock },
    })
}

/// Removes the folder of a run that was killed together with its supervisor, unless it is locked.
fn sweep(path: &Path, user: &OsUser) {
    let is_ours = fs::symlink_metadata(path).is_ok_and(|m| m.is_dir() && m.uid() == user.uid());
    // Locked until its content is removed.
    let Some(_lock) = File::open(path).ok().filter(|file| is_ours && file.try_lock().is_ok())
    else {
        return;
    };
    stop_and_remove(path);
}

/// Stops the server of a folder, if it still runs, and removes the folder.
pub(super) fn stop_and_remove(path: &Path) {
    let data = path.join("data");
    if let Some(file) = PidFile::read(&data)
        && is_postmaster_of(file.pid, &data)
        && let Some(pid) = process(file.pid)
    {
        let _ = kill(pid, Signal::SIGQUIT);
    }
    paths::remove_leftover(path);
}
