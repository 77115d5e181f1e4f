//! A temporary server leaves nothing behind.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime},
};

use local_postgres::Server;

use super::{TestResult, owner::*, support::*};

#[test]
fn killing_the_owner_removes_the_folder() -> TestResult {
    let mut owner = Owner::start("temporary")?;
    let folder = owner.data.parent().ok_or("no parent")?.to_owned();
    assert!(folder.exists());
    owner.kill()?;
    owner.assert_server_gone();
    assert!(soon(|| !folder.exists()), "{} is still there", folder.display());
    Ok(())
}

#[test]
fn dropping_the_server_removes_the_folder() -> TestResult {
    let server = Server::temporary(&[])?;
    let folder = server.data_dir().parent().ok_or("no parent")?.to_owned();
    assert!(server.is_owner() && folder.exists());
    drop(server);
    assert!(!folder.exists(), "{} is still there", folder.display());
    Ok(())
}

#[test]
fn removes_folders_of_crashed_runs() -> TestResult {
    let first = Server::temporary(&[])?;
    let ours = fs::metadata(first.data_dir())?;
    let base = first.data_dir().ancestors().nth(2).ok_or("no base")?.to_owned();
    let leftover = base.join(format!("local-postgres-data-leftover{}", std::process::id()));
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
async fn settings_override_the_defaults() -> TestResult {
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
