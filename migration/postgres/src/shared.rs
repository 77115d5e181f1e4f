//! A temporary server that several programs share, such as the processes of a test run.
//!
//! There is no owner. Every program that uses the server holds the writing end of a named pipe in
//! its folder, and the supervisor has the reading end: the kernel tells it when the last program has
//! ended, in whatever way. A lock file in the folder for temporary files names the server's folder
//! and makes programs that start at the same time start one server.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::OFlag,
    sys::stat::Mode,
    unistd::{geteuid, mkfifo},
};

use super::{
    Lifecycle, Server,
    binaries::Binaries,
    data_dir,
    error::ServerError,
    lock::locked,
    os_user::OsUser,
    paths::{self, SHARED},
    pid_file::PidFile,
    supervisor::{Launch, Shutdown, Users},
    temporary::{SETTINGS, stop_and_remove},
};

/// How long to wait for another program that is starting the server.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A younger folder may belong to a program that is starting its server.
const YOUNG: Duration = Duration::from_secs(600);

/// Joins the running server of this name and these settings, or starts it.
pub(super) fn open(name: &str, settings: &[(&str, &str)]) -> Result<Server, ServerError> {
    let user = OsUser::for_new()?;
    let binaries = Binaries::newest(&user)?;
    let mut hasher = DefaultHasher::new();
    let program = binaries.program("postgres");
    (name, settings, program, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    let file = format!("{SHARED}{}-{:016x}.lock", geteuid(), hasher.finish());
    let path = paths::temporary_files(&user).join(file);
    let mut lock = open_lock(&path).map_err(ServerError::io("open", &path))?;
    let started = Instant::now();
    while !locked(lock.try_lock(), &path)? {
        if started.elapsed() > TIMEOUT {
            let error = io::Error::new(io::ErrorKind::TimedOut, "another program has locked it");
            return Err(ServerError::io("lock", &path)(error));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let mut content = Vec::new();
    lock.read_to_end(&mut content).map_err(ServerError::io("read", &path))?;
    if !content.is_empty() {
        let folder = PathBuf::from(OsStr::from_bytes(&content));
        if let Some(server) = join(&folder, &binaries) {
            tracing::debug!(folder = %folder.display(), "joined a shared PostgreSQL");
            return Ok(server);
        }
        sweep(&folder, &user);
    }
    let base = paths::temporary_base(&user);
    for leftover in paths::leftovers(&base, SHARED, YOUNG).filter(|path| path.is_dir()) {
        if enter(&leftover).is_err() {
            sweep(&leftover, &user);
        }
    }
    let (folder, server) = start(&base, &user, &binaries, settings)?;
    lock.seek(SeekFrom::Start(0))
        .and_then(|_| lock.set_len(0))
        .and_then(|()| lock.write_all(folder.as_os_str().as_bytes()))
        .map_err(ServerError::io("write", &path))?;
    Ok(server)
}

/// Opens the lock file, whose content this program trusts: it belongs to the same user.
fn open_lock(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW.bits();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path)?;
    if file.metadata()?.uid() != geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    Ok(file)
}

/// Counts this program as a user of the server until the file is dropped. An error if the server
/// has ended or is being stopped.
fn enter(folder: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK.bits();
    let mut users = OpenOptions::new().write(true).custom_flags(flags).open(pipe(folder))?;
    // The supervisor reads it instead of the end of the pipe.
    users.write_all(b"\n")?;
    Ok(users)
}

fn join(folder: &Path, binaries: &Binaries) -> Option<Server> {
    let users = enter(folder).ok()?;
    let data = folder.join("data");
    PidFile::read(&data).filter(PidFile::accepts_connections)?;
    Some(server(data, binaries, users))
}

fn start(
    base: &Path,
    user: &OsUser,
    binaries: &Binaries,
    settings: &[(&str, &str)],
) -> Result<(PathBuf, Server), ServerError> {
    let folder = user.new_folder(base, SHARED)?;
    let data = folder.path().join("data");
    fs::create_dir(&data).map_err(ServerError::io("create", &data))?;
    user.chown(&data)?;
    data_dir::initdb(&data, binaries, user, &["--no-sync"])?;
    let pipe = pipe(folder.path());
    let (reader, users) = new_pipe(&pipe).map_err(ServerError::io("create", &pipe))?;
    let launch = Launch {
        binaries,
        user,
        data: &data,
        socket_dir: &data,
        shutdown: Shutdown::Immediate,
        remove: Some(folder.path()),
        users: Some(Users { pipe: &pipe, reader }),
        settings: SETTINGS.iter().chain(settings).copied().collect(),
    };
    launch.start(|_| Ok(()))?.detach();
    // From now on the supervisor removes it.
    Ok((folder.keep(), server(data, binaries, users)))
}

fn server(data: PathBuf, binaries: &Binaries, users: File) -> Server {
    Server {
        socket_dir: data.clone(),
        data_dir: data,
        version: binaries.version.major,
        lifecycle: Lifecycle::Shared { _users: users },
    }
}

/// Creates the pipe. Returns its reading end, for the supervisor, and a writing end.
fn new_pipe(path: &Path) -> io::Result<(File, File)> {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let flags = OFlag::O_NONBLOCK.bits();
    // Opening one end waits for the other, unless it does not block.
    let _open = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let writer = OpenOptions::new().write(true).open(path)?;
    Ok((File::open(path)?, writer))
}

fn pipe(folder: &Path) -> PathBuf {
    folder.join("users")
}

/// Removes the folder of a server whose supervisor has ended, and stops the server if it still runs.
fn sweep(folder: &Path, user: &OsUser) {
    if !fs::symlink_metadata(folder).is_ok_and(|m| m.is_dir() && m.uid() == user.uid()) {
        return;
    }
    stop_and_remove(folder);
}
