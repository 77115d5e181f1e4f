//! Concurrent programs, one of which is killed.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sea_orm::{ConnectionTrait, TransactionTrait};

use super::*;
use crate::support::{
    catalog::texts,
    http_server::eventually,
    process::{Ran, program_on},
};

/// Counts committed tables `shifts`, in the database.
const WITNESS: &str = "
    CREATE SCHEMA witness;
    CREATE TABLE witness.made (name text);
    CREATE FUNCTION witness.note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO witness.made SELECT object_identity FROM pg_event_trigger_ddl_commands()
            WHERE command_tag = 'CREATE TABLE' AND object_identity LIKE '%.shifts';
    END $$;
    CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION witness.note()";

#[tokio::test(flavor = "multi_thread")]
async fn of_three_runs_over_500_tenants_one_is_killed_and_each_is_migrated_exactly_once() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    let found = (0..500).map(|town| {
        let tenancy = tenancy.clone();
        async move { tenancy.create(NewTenant::new(slug(&format!("town-{town}")))).await.unwrap() }
    });
    join_all(found).await;
    let plain = pool(&db.url(), 2).await;
    Ran::on("migration", &db.url(), &["down", "--all", "--yes"]).exits(0);
    plain.execute_unprepared(WITNESS).await.unwrap();
    let start = || {
        let mut command = program_on("migration", &db.url(), &["up", "--all", "--jobs", "3"]);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let mut killed = start();
    let others = [start(), start()];
    // At a random time.
    let made = "SELECT (count(*) > 100)::text FROM witness.made";
    while texts(&plain, made).await != ["true"] {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    killed.kill().unwrap();
    assert!(!killed.wait().unwrap().success(), "it was done before it could be killed");
    for mut other in others {
        assert!(other.wait().unwrap().success());
    }
    // The others have migrated its tenants.
    let once = "SELECT count(*) || ' ' || count(DISTINCT name) FROM witness.made";
    assert_eq!(texts(&plain, once).await, ["500 500"]);
    assert_eq!(versions(&plain).await, ["500 m20261123_000002_create_shifts"]);
    Ran::on("migration", &db.url(), &["verify", "--all"]).exits(0);
}

#[tokio::test]
async fn an_index_that_a_killed_program_was_building_is_built_by_the_next() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    plain.execute_unprepared("CREATE SCHEMA branch").await.unwrap();
    let library = |words: &str| {
        program_on("library-migration", &db.url(), &words.split(' ').collect::<Vec<_>>())
    };
    Ran::of(&mut library("up -n 1 --schema branch")).exits(0);
    // A writer blocks the build; locks have no timeout here.
    let writer = plain.begin().await.unwrap();
    writer.execute_unprepared("INSERT INTO branch.books VALUES ('1', 'Emma')").await.unwrap();
    let mut killed = library("up -n 1 --schema branch --lock-timeout 0");
    let mut killed = killed.stdout(Stdio::null()).spawn().unwrap();
    let building = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                    AND datname = current_database() AND query LIKE 'CREATE INDEX%'";
    let builds = async |number: &str| texts(&plain, building).await == [number];
    eventually("the index is being built", async || builds("1").await).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    eventually("the build has ended", async || builds("0").await).await;
    writer.commit().await.unwrap();
    let valid = "SELECT indisvalid::text FROM pg_index
                 WHERE indexrelid = 'branch.books_idx'::regclass";
    assert_eq!(texts(&plain, valid).await, ["false"]);
    Ran::of(&mut library("up -n 1 --schema branch")).exits(0).says(["branch: applied m2_index"]);
    assert_eq!(texts(&plain, valid).await, ["true"]);
}

#[tokio::test]
async fn a_run_that_is_paused_in_a_transaction_does_not_lock_the_tenant_out() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    plain.execute_unprepared("CREATE SCHEMA branch").await.unwrap();
    let library = |words: &str| {
        program_on("library-migration", &db.url(), &words.split(' ').collect::<Vec<_>>())
    };
    Ran::of(&mut library("up -n 2 --schema branch")).exits(0);
    // The migration waits for a lock, the program is stopped, and the migration gets the lock.
    let reader = plain.begin().await.unwrap();
    reader.execute_unprepared("SELECT FROM branch.books").await.unwrap();
    let mut paused = library("up --schema branch --lock-timeout 0");
    let paused = paused.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let waits = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                 AND datname = current_database() AND query LIKE 'ALTER TABLE%'";
    eventually("the migration waits", async || texts(&plain, waits).await == ["1"]).await;
    let pid = Pid::from_raw(i32::try_from(paused.id()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    reader.rollback().await.unwrap();
    let locked = "SELECT count(*)::text FROM pg_locks WHERE mode = 'AccessExclusiveLock'
                  AND granted AND relation = 'branch.books'::regclass";
    eventually("the migration has its lock", async || texts(&plain, locked).await == ["1"]).await;

    let started = Instant::now();
    let read = plain.execute_unprepared("SELECT title FROM branch.books");
    let read = tokio::time::timeout(Duration::from_secs(30), read).await;
    kill(pid, Signal::SIGCONT).unwrap();
    assert!(read.is_ok(), "the tenant was locked out for {:?}", started.elapsed());
    read.unwrap().unwrap();
    // Rolled back, with an error.
    Ran::ended(paused).exits(1);
    Ran::of(&mut library("up --schema branch")).exits(0).says(["branch: applied m3_drop"]);
}
