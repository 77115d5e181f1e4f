//! Starting where something went wrong before.

use std::{fs, os::unix::fs::PermissionsExt};

use local_postgres::{Access, Server};
use nix::sys::signal::{SIGKILL, kill};

use super::{TestResult, owner::*, support::*};

#[test]
fn the_next_owner_stops_a_server_without_a_supervisor() -> TestResult {
    let scratch = Scratch::new()?;
    let mut owner = Owner::of(&scratch.data())?;
    owner.kill_supervisor()?;
    owner.kill()?;
    let next = Server::persistent(&scratch.data(), DATABASE, Access::Exclusive)?;
    assert!(next.is_owner());
    assert_ne!(server_of(next.data_dir())?, owner.server);
    let log = fs::read_to_string(next.log_file().with_extension("log.1"))?;
    assert!(log.contains("database system is shut down"), "not ended in order: {log}");
    Ok(())
}

#[test]
fn starts_if_another_program_has_the_pid_of_the_dead_server() -> TestResult {
    let scratch = Scratch::new()?;
    let mut owner = Owner::of(&scratch.data())?;
    for pid in owner.processes_of_server() {
        let _ = kill(pid, SIGKILL);
    }
    owner.kill()?;
    owner.assert_server_gone();
    let file = scratch.data().join("postmaster.pid");
    let old = fs::read_to_string(&file)?;
    let (_, rest) = old.split_once('\n').ok_or("no line")?;
    fs::write(&file, format!("{}\n{rest}", std::process::id()))?;
    assert!(Server::persistent(&scratch.data(), DATABASE, Access::Exclusive)?.is_owner());
    Ok(())
}

#[tokio::test]
async fn starts_on_a_data_folder_whose_path_is_too_long_for_a_socket() -> TestResult {
    let scratch = Scratch::new()?;
    let deep = scratch.path().join("a folder, \"deep\"".repeat(6)).join("postgres");
    let server = Server::persistent(&deep, DATABASE, Access::Exclusive)?;
    assert_ne!(server.socket_dir(), server.data_dir());
    let mode = fs::metadata(server.socket_dir())?.permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let joined = Server::persistent(&deep, DATABASE, Access::Shared)?;
    let db = connect(&joined.url(DATABASE)).await?;
    assert_eq!(number(&db, "SELECT 1::bigint").await?, 1);
    db.close().await?;
    drop(joined);
    let socket_dir = server.socket_dir().to_owned();
    drop(server);
    assert!(soon(|| !socket_dir.exists()), "{} is still there", socket_dir.display());
    Ok(())
}
