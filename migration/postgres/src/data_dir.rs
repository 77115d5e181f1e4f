//! Inspects and creates data folders.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    binaries::Binaries,
    error::{ServerError, tail},
    os_user::OsUser,
    paths,
};

/// First major version whose own C.UTF-8 does not depend on the machine.
const BUILTIN_LOCALE: u32 = 17;

/// The character classes that make `lower('Ä')` and `ILIKE` work. Text is sorted by bytes
/// (`--locale=C`), so that no upgrade of the C library can corrupt an index.
const CTYPE: &str = if cfg!(target_os = "macos") { "en_US.UTF-8" } else { "C.UTF-8" };

/// Content of a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DataDirContent {
    /// None, or the folder does not exist.
    Nothing,
    /// A cluster of this major version.
    Cluster(u32),
}

/// Inspects a folder without changing anything.
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
            match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
                Ok(true) => Err(other()),
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(ServerError::io("read the folder", dir)(error))
                }
                _ => Ok(DataDirContent::Nothing),
            }
        }
        Err(error) => Err(ServerError::io("read", path)(error)),
    }
}

/// Creates a persistent cluster at `dir`, with the database `database`.
///
/// It is created beside `dir` and renamed, so that it is complete or not there at all. The caller
/// holds the folder's lock ([`super::lock`]), so no other program uses what is beside it.
pub(super) fn create_persistent(
    dir: &Path,
    binaries: &Binaries,
    user: &OsUser,
    database: &str,
) -> Result<(), ServerError> {
    // An initdb may still run in a younger one.
    const OLD: Duration = Duration::from_secs(60);
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(ServerError::NotACluster { path: dir.to_owned() });
    };
    let prefix = format!(".{}.initdb-", name.to_string_lossy());
    paths::leftovers(parent, &prefix, OLD).for_each(|path| paths::remove_leftover(&path));
    let made = user.new_folder(parent, &prefix)?;
    initdb(made.path(), binaries, user, &[])?;
    create_database(made.path(), binaries, user, database)?;
    fs::rename(made.path(), dir).map_err(ServerError::io("rename the new data folder to", dir))?;
    // The old name no longer exists.
    let _ = made.keep();
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(ServerError::io("sync", parent))
}

/// Runs `initdb` on an empty folder of the user.
pub(super) fn initdb(
    data: &Path,
    binaries: &Binaries,
    user: &OsUser,
    options: &[&str],
) -> Result<(), ServerError> {
    let mut command = user.command(binaries.program("initdb"));
    // No password: only the server's own user and root may enter the socket's folder.
    command.args(["--auth=trust", "--username=postgres", "--no-instructions"]);
    command.args(["--encoding=UTF8", "--locale=C"]);
    if binaries.version.major >= BUILTIN_LOCALE {
        command.args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
    } else {
        command.arg(format!("--lc-ctype={CTYPE}"));
    }
    command.args(options).arg("-D").arg(data);
    run(command, "", data)
}

/// Runs `CREATE DATABASE` in a stand-alone backend, before the first start.
fn create_database(
    data: &Path,
    binaries: &Binaries,
    user: &OsUser,
    name: &str,
) -> Result<(), ServerError> {
    let mut command = user.command(binaries.program("postgres"));
    // Without it the exit status is 0 even if a statement fails.
    command.args(["--single", "-c", "exit_on_error=on", "-D"]).arg(data).arg("postgres");
    let name = name.replace('"', "\"\"");
    run(command, &format!("CREATE DATABASE \"{name}\"\n"), data)
}

fn run(mut command: Command, input: &str, data: &Path) -> Result<(), ServerError> {
    let program = PathBuf::from(command.get_program());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ServerError::io("run", &program))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Fails if the program has ended, and then its output says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(ServerError::io("wait for", &program))?;
    if output.status.success() {
        return Ok(());
    }
    let text = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    Err(ServerError::Init { path: data.to_owned(), output: tail(&String::from_utf8_lossy(text)) })
}
