//! A temporary server leaves nothing behind.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime},
};

use local_postgres::Server;

use super::{TestResult, owner::*, support::*};

#[test]
fn a_temporary_folder_is_gone_after_its_owner_is_killed() -> TestResult {
    let mut owner = Owner::start("temporary")?;
    let folder = owner.data.parent().ok_or("no parent")?.to_owned();
    assert!(folder.exists());
    owner.kill()?;
    owner.assert_server_gone();
    assert!(soon(|| !folder.exists()), "{} is still there", folder.display());
    Ok(())
}

#[test]
fn a_temporary_server_is_gone_when_it_is_dropped() -> TestResult {
    let server = Server::temporary(&[])?;
    let folder = server.data_dir().parent().ok_or("no parent")?.to_owned();
    assert!(server.owner() && folder.exists());
    drop(server);
    assert!(!folder.exists(), "{} is still there", folder.display());
    Ok(())
}

#[test]
fn the_folders_of_crashed_runs_are_swept() -> TestResult {
    let first = Server::temporary(&[])?;
    let ours = fs::metadata(first.data_dir())?;
    let base = first.data_dir().ancestors().nth(2).ok_or("no base")?.to_owned();
    let leftover = base.join(format!("tenantry-pg-leftover{}", std::process::id()));
    fs::create_dir_all(leftover.join("data"))?;
    std::os::unix::fs::chown(&leftover, Some(ours.uid()), Some(ours.gid()))?;
    let hour = Duration::from_secs(3600);
    fs::File::open(&leftover)?.set_modified(SystemTime::now() - hour)?;
    fs::File::open(first.data_dir().parent().ok_or("no parent")?)?
        .set_modified(SystemTime::now() - hour)?;

    let second = Server::temporary(&[])?;
    assert!(!leftover.exists(), "{} is still there", leftover.display());
    assert!(first.data_dir().exists(), "the folder of a living run was swept");
    drop(second);
    Ok(())
}

#[tokio::test]
async fn settings_of_a_temporary_server_win() -> TestResult {
    let server = Server::temporary(&[("max_connections", "17"), ("log_statement", "all")])?;
    let db = connect(&server.url("postgres")).await?;
    let sql = "SELECT current_setting('max_connections')::bigint";
    assert_eq!(number(&db, sql).await?, 17);
    assert!(fs::read_to_string(server.log_file())?.contains(sql), "the log lacks the statement");
    let encoding = "SELECT count(*) FROM pg_database WHERE encoding = 6 AND lower('Ä') = 'ä'
        AND current_setting('TimeZone') = 'UTC' AND 'Z' < 'a'";
    assert_eq!(number(&db, encoding).await?, 3, "not UTF-8, or not sorted by bytes");
    db.close().await?;
    Ok(())
}
