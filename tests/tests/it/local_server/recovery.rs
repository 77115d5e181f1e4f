//! Starting where something went wrong before.

use std::{fs, os::unix::fs::PermissionsExt};

use local_postgres::{Access, DATABASE, Server};
use nix::sys::signal::{SIGKILL, kill};

use super::{TestResult, owner::*, support::*};

#[test]
fn a_server_without_a_watcher_is_ended_by_the_next_owner() -> TestResult {
    let scratch = Scratch::new()?;
    let mut owner = Owner::of(&scratch.data())?;
    kill(owner.watcher()?, SIGKILL)?;
    owner.kill()?;
    let next = Server::persistent(&scratch.data(), Access::Exclusive)?;
    assert!(next.owner());
    assert_ne!(server_of(next.data_dir())?, owner.server);
    let log = fs::read_to_string(next.log_file())?;
    assert!(log.contains("database system is shut down"), "not ended in order: {log}");
    Ok(())
}

#[test]
fn a_number_that_came_back_for_another_program_does_not_stop_the_start() -> TestResult {
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
    assert!(Server::persistent(&scratch.data(), Access::Exclusive)?.owner());
    Ok(())
}

#[tokio::test]
async fn a_data_folder_too_deep_for_a_socket_works() -> TestResult {
    let scratch = Scratch::new()?;
    let deep = scratch.path().join("a folder, \"deep\"".repeat(6)).join("postgres");
    let server = Server::persistent(&deep, Access::Exclusive)?;
    assert_ne!(server.socket_dir(), server.data_dir());
    let mode = fs::metadata(server.socket_dir())?.permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let joined = Server::persistent(&deep, Access::Shared)?;
    let db = connect(&joined.url(DATABASE)).await?;
    assert_eq!(number(&db, "SELECT 1::bigint").await?, 1);
    db.close().await?;
    drop(joined);
    let socket_dir = server.socket_dir().to_owned();
    drop(server);
    assert!(soon(|| !socket_dir.exists()), "{} is still there", socket_dir.display());
    Ok(())
}
