//! A persistent server keeps its data, and programs share it.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use local_postgres::{Access, Server, ServerError};
use nix::{
    sys::signal::{SIGKILL, kill},
    unistd::{User, geteuid},
};
use sea_orm::ConnectionTrait;

use super::{TestResult, owner::*, support::*};

#[tokio::test]
async fn killing_the_owner_stops_the_server_and_keeps_the_data() -> TestResult {
    let scratch = Scratch::new()?;
    let mut owner = Owner::of(&scratch.data())?;
    let before = Server::persistent(&scratch.data(), DATABASE, Access::Shared)?;
    let db = connect(&before.url(DATABASE)).await?;
    db.execute_unprepared("CREATE TABLE kept (n bigint)").await?;
    drop(before);

    // Rows are written one by one until the kill breaks the connection: each one acknowledged.
    let writer = tokio::spawn(async move {
        let mut acknowledged = 0_i64;
        while db
            .execute_unprepared(&format!("INSERT INTO kept VALUES ({})", acknowledged + 1))
            .await
            .is_ok()
        {
            acknowledged += 1;
        }
        acknowledged
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    owner.kill()?;
    let acknowledged = writer.await?;
    assert!(acknowledged > 0, "nothing was written before the kill");
    owner.assert_server_gone();

    let after = Server::persistent(&scratch.data(), DATABASE, Access::Exclusive)?;
    assert!(after.is_owner());
    let db = connect(&after.url(DATABASE)).await?;
    let rows = number(&db, "SELECT count(*) FROM kept").await?;
    // The last one may have been committed without its answer getting through.
    assert!((acknowledged..=acknowledged + 1).contains(&rows), "{rows} of {acknowledged} rows");
    db.close().await?;
    Ok(())
}

#[tokio::test]
async fn data_survives_killing_all_processes_at_once() -> TestResult {
    let scratch = Scratch::new()?;
    let mut owner = Owner::of(&scratch.data())?;
    let db = connect(&owner.url).await?;
    db.execute_unprepared("CREATE TABLE kept AS SELECT generate_series(1, 100) AS n").await?;

    // The whole server: `postmaster.pid` and the socket stay.
    for pid in owner.processes_of_server() {
        let _ = kill(pid, SIGKILL);
    }
    owner.kill()?;
    owner.assert_server_gone();
    assert!(scratch.data().join("postmaster.pid").exists(), "this was no crash");

    let after = Server::persistent(&scratch.data(), DATABASE, Access::Exclusive)?;
    let db = connect(&after.url(DATABASE)).await?;
    assert_eq!(number(&db, "SELECT count(*) FROM kept").await?, 100);
    db.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_second_program_joins_the_server_of_the_first() -> TestResult {
    let scratch = Scratch::new()?;
    let owner = Owner::of(&scratch.data())?;
    let shared = Server::persistent(&scratch.data(), DATABASE, Access::Shared)?;
    assert!(!shared.is_owner());
    assert_eq!(shared.url(DATABASE), owner.url);
    let db = connect(&shared.url(DATABASE)).await?;
    assert_eq!(number(&db, "SELECT 1::bigint").await?, 1);
    db.close().await?;
    Ok(())
}

#[test]
fn programs_that_start_together_share_one_server() -> TestResult {
    let scratch = Scratch::new()?;
    let dir = scratch.data();
    let servers = thread::scope(|scope| {
        let start = || Server::persistent(&dir, DATABASE, Access::Shared);
        let starts = [(); 4].map(|()| scope.spawn(start));
        starts.map(thread::ScopedJoinHandle::join)
    });
    let mut owners = 0;
    let mut kept = Vec::new();
    for server in servers {
        let server = server.map_err(|_| "a start panicked")??;
        owners += u32::from(server.is_owner());
        kept.push(server);
    }
    assert_eq!(owners, 1);
    // The owner waits for its users when it is dropped, so they are dropped first.
    kept.sort_by_key(Server::is_owner);
    Ok(())
}

#[tokio::test]
async fn an_owner_that_ends_waits_for_programs_that_have_joined() -> TestResult {
    let scratch = Scratch::new()?;
    let owner = Server::persistent(&scratch.data(), DATABASE, Access::Shared)?;
    let joined = Server::persistent(&scratch.data(), DATABASE, Access::Shared)?;
    assert!(owner.is_owner() && !joined.is_owner());
    let ending = thread::spawn(move || drop(owner));
    let db = connect(&joined.url(DATABASE)).await?;
    number(&db, "SELECT count(*) FROM pg_sleep(0.5)").await?;
    assert!(!ending.is_finished(), "the owner did not wait");
    db.close().await?;
    drop(joined);
    ending.join().map_err(|_| "the owner panicked")?;
    assert!(Server::persistent(&scratch.data(), DATABASE, Access::Exclusive)?.is_owner());
    Ok(())
}

#[test]
fn a_second_owner_is_refused_and_gets_the_pid_of_the_first() -> TestResult {
    let scratch = Scratch::new()?;
    let owner = Owner::of(&scratch.data())?;
    let error = refused(Server::persistent(&scratch.data(), DATABASE, Access::Exclusive))?;
    let pid = owner.child.id();
    assert!(matches!(error, ServerError::InUse { pid: by, .. } if by == pid), "{error}");
    let text = error.to_string();
    assert!(text.contains(&pid.to_string()), "{text}");
    assert!(text.contains(&scratch.data().display().to_string()), "{text}");
    Ok(())
}

#[test]
fn no_other_user_can_open_and_hold_the_locks_of_a_data_folder() -> TestResult {
    let scratch = Scratch::new()?;
    let locks = ["postgres.lock", "postgres.users"].map(|name| scratch.path().join(name));
    // One is left from a program that let others read it.
    fs::write(&locks[0], "")?;
    fs::set_permissions(&locks[0], fs::Permissions::from_mode(0o644))?;
    let server = Server::persistent(&scratch.data(), DATABASE, Access::Exclusive)?;
    let joined = Server::persistent(&scratch.data(), DATABASE, Access::Shared)?;
    for lock in &locks {
        assert_eq!(fs::metadata(lock)?.permissions().mode() & 0o777, 0o600, "{}", lock.display());
        if let (true, Some(other)) = (geteuid().is_root(), User::from_name("nobody")?) {
            let mut open = Command::new("sh");
            open.args(["-c", "exec 9<\"$0\""]).arg(lock).current_dir("/").stderr(Stdio::null());
            let opened = open.uid(other.uid.as_raw()).gid(other.gid.as_raw()).status()?;
            assert!(!opened.success(), "another user opens {}", lock.display());
        }
    }
    drop(joined);
    drop(server);
    Ok(())
}
