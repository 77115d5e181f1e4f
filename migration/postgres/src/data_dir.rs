//! A data folder: what one holds, and making one.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use super::{
    binaries::Binaries,
    error::{ServerError, tail},
    os_user::OsUser,
    supervisor::{Shutdown, Supervisor},
};

/// The first major version whose own C.UTF-8 does not depend on the machine.
const BUILTIN_LOCALE: u32 = 17;

/// The character classes that make `lower('Ä')` and `ILIKE` work. Text is sorted by bytes
/// (`--locale=C`), so that no upgrade of the C library can spoil an index.
const CTYPE: &str = if cfg!(target_os = "macos") { "en_US.UTF-8" } else { "C.UTF-8" };

/// What a folder holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DataDirContent {
    /// Nothing, or the folder does not exist.
    Nothing,
    /// A cluster of this major version.
    Cluster(u32),
}

/// Looks without changing anything.
pub(super) fn inspect(dir: &Path) -> Result<DataDirContent, ServerError> {
    let path = dir.join("PG_VERSION");
    let other = || ServerError::NotACluster { path: dir.to_owned() };
    match fs::read_to_string(&path) {
        Ok(text) => {
            let major = text.trim().split('.').next().and_then(|number| number.parse().ok());
            major.map(DataDirContent::Cluster).ok_or_else(other)
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => Err(other()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if is_empty(dir)? {
                Ok(DataDirContent::Nothing)
            } else {
                Err(other())
            }
        }
        Err(error) => Err(ServerError::io("read", path)(error)),
    }
}

fn is_empty(dir: &Path) -> Result<bool, ServerError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(ServerError::io("read the folder", dir)(error)),
    }
}

/// Makes a cluster that lasts at `dir`, with the database `database`.
///
/// It is made in a folder beside `dir` and renamed, so that a cluster is there as a whole or not
/// at all. The caller owns the folder ([`super::lock`]): what lies beside it is nobody's.
pub(super) fn create_lasting(
    dir: &Path,
    binaries: &Binaries,
    user: &OsUser,
    database: &str,
) -> Result<(), ServerError> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(ServerError::NotACluster { path: dir.to_owned() });
    };
    let prefix = format!(".{}.initdb-", name.to_string_lossy());
    remove_leftovers(parent, &prefix);
    let made = user.new_folder(parent, &prefix)?;
    let mut supervisor = Supervisor::start(&[made.path()])?;
    initdb(made.path(), binaries, user, &[], &mut supervisor)?;
    create_database(made.path(), binaries, user, database, &mut supervisor)?;
    fs::rename(made.path(), dir).map_err(ServerError::io("rename the new data folder to", dir))?;
    // Nothing is left to remove under the old name.
    let _ = made.keep();
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(ServerError::io("sync", parent))
}

/// Makes a cluster in an empty folder of the user, by `initdb`.
pub(super) fn initdb(
    data: &Path,
    binaries: &Binaries,
    user: &OsUser,
    more: &[&str],
    supervisor: &mut Supervisor,
) -> Result<(), ServerError> {
    let mut command = user.command(binaries.program("initdb"));
    // No password: the socket's folder lets only the server's own user (and root) in.
    command.args(["--auth=trust", "--username=postgres", "--no-instructions"]);
    command.args(["--encoding=UTF8", "--locale=C"]);
    if binaries.version.major >= BUILTIN_LOCALE {
        command.args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
    } else {
        command.arg(format!("--lc-ctype={CTYPE}"));
    }
    command.args(more).arg("-D").arg(data);
    run(command, "", data, supervisor)
}

/// Runs `CREATE DATABASE` before the first start, in a server without clients.
fn create_database(
    data: &Path,
    binaries: &Binaries,
    user: &OsUser,
    name: &str,
    supervisor: &mut Supervisor,
) -> Result<(), ServerError> {
    let mut command = user.command(binaries.program("postgres"));
    // Otherwise a failed statement is a message, and the exit status says success.
    command.args(["--single", "-c", "exit_on_error=on", "-D"]).arg(data).arg("postgres");
    run(command, &format!("CREATE DATABASE \"{name}\"\n"), data, supervisor)
}

/// Runs a program to its end, or to this program's.
fn run(
    mut command: Command,
    input: &str,
    data: &Path,
    supervisor: &mut Supervisor,
) -> Result<(), ServerError> {
    let program = PathBuf::from(command.get_program());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ServerError::io("run", &program))?;
    supervisor.watch(child.id(), Shutdown::Itself)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ended early closes the pipe; its own words below say more than that.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(ServerError::io("wait for", &program))?;
    supervisor.forget()?;
    succeeded(data, &output)
}

fn succeeded(data: &Path, output: &Output) -> Result<(), ServerError> {
    if output.status.success() {
        return Ok(());
    }
    let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    Err(ServerError::Init { path: data.to_owned(), output: tail(&String::from_utf8_lossy(said)) })
}

/// Removes what runs of [`create_lasting`] left that were killed together with their supervisor.
fn remove_leftovers(parent: &Path, prefix: &str) {
    // In a younger one an initdb may still be at work, and its supervisor waiting for it.
    const OLD: Duration = Duration::from_secs(60);
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|meta| meta.modified()).ok();
        let old = modified.and_then(|time| time.elapsed().ok()) > Some(OLD);
        if old
            && entry.file_name().to_string_lossy().starts_with(prefix)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(path = %entry.path().display(), %error, "leftover stays");
        }
    }
}
