//! A server for one run: quick, in memory, gone afterwards.

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
    paths,
    pid_file::{PidFile, is_postmaster_of, process},
    process::Launch,
    supervisor::{Shutdown, Supervisor},
};

/// The beginning of the names of temporary folders.
const PREFIX: &str = "tenantry-pg-";

/// A folder younger than this may not be locked yet by the program that is making it.
const YOUNG: Duration = Duration::from_secs(10);

/// Nothing outlives the run, so nothing is written for after a crash. The connections are for
/// test binaries that run a pool per test in parallel; the log of changes is kept small, for it
/// lies in memory.
const SETTINGS: [(&str, &str); 6] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "300"),
    ("max_wal_size", "256MB"),
    // In the data folder, with which it goes; POSIX memory would outlive a killed server.
    ("dynamic_shared_memory_type", "mmap"),
];

/// Starts a server on a fresh folder.
pub(super) fn start(settings: &[(&str, &str)]) -> Result<Server, ServerError> {
    let user = OsUser::for_new()?;
    let binaries = Binaries::newest(&user)?;
    let base = paths::temporary_base(&user);
    sweep(&base, &user);

    let made = user.new_folder(&base, PREFIX)?;
    let lock = File::open(made.path())
        .and_then(|folder| folder.try_lock().map(|()| folder).map_err(Into::into))
        .map_err(ServerError::io("lock", made.path()))?;
    let data = made.path().join("data");
    fs::create_dir(&data).map_err(ServerError::io("create", &data))?;
    user.chown(&data)?;

    let fits = paths::holds_socket(&data);
    let socket_dir = if fits { data.clone() } else { paths::new_socket_dir(&user)? };
    // Before initdb, so that the folder is removed also when this program is killed meanwhile.
    let mut supervisor = Supervisor::start(&[made.path(), &socket_dir])?;
    let _ = made.keep();

    data_dir::initdb(&data, &binaries, &user, &["--no-sync"], &mut supervisor)?;
    let launch = Launch {
        binaries: &binaries,
        user: &user,
        data: &data,
        socket_dir: &socket_dir,
        shutdown: Shutdown::Immediate,
        settings: SETTINGS.iter().chain(settings).copied().collect(),
    };
    let postmaster = launch.start(supervisor, |_| Ok(()))?;
    Ok(Server {
        data_dir: data,
        socket_dir,
        version: binaries.version.major,
        lifecycle: Lifecycle::Temporary { postmaster, _lock: lock },
    })
}

/// Removes the folders of runs that were killed together with their supervisor: those whose lock
/// nobody holds. A failure is no reason not to start.
fn sweep(base: &Path, user: &OsUser) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        let old = meta.modified().ok().and_then(|time| time.elapsed().ok()) > Some(YOUNG);
        let ours = meta.is_dir() && meta.uid() == user.uid();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || !ours || !old {
            continue;
        }
        let Ok(folder) = File::open(&path) else {
            continue;
        };
        if folder.try_lock().is_err() {
            continue;
        }
        let data = path.join("data");
        if let Some(file) = PidFile::read(&data) {
            if let (true, Some(pid)) = (is_postmaster_of(file.pid, &data), process(file.pid)) {
                let _ = kill(pid, Signal::SIGQUIT);
            }
            paths::remove_socket_dir(&file.socket_dir);
        }
        match fs::remove_dir_all(&path) {
            Ok(()) => tracing::debug!(path = %path.display(), "removed a killed run's folder"),
            Err(error) => tracing::debug!(path = %path.display(), %error, "leftover stays"),
        }
    }
}
