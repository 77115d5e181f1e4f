//! Imports that are stopped, cut off or left alone, and those that go on after them.

use std::{io::Write, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::{Value, json};

use super::{Import, csv, start};
use crate::support::{
    catalog::texts,
    database::{admin, connect, own_server},
    process::{Ran, program_on},
};

fn interrupt(child: &std::process::Child) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
}

/// Numbers of the summary of `--json`: created, already existed, rejected.
fn sum(stdout: &str) -> [u64; 3] {
    let sum: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    ["created", "already_existed", "rejected"].map(|name| sum[name].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_leaves_whole_tenants_and_the_next_goes_on() {
    let import = Import::new().await;
    let mut killed = start(&mut import.command("tenants.csv", csv(300), &[]));
    import.until(20).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Its last transactions may still be under way in the server.
    let working = "SELECT count(*)::text FROM pg_stat_activity WHERE xact_start IS NOT NULL
                   AND datname = current_database() AND pid <> pg_backend_pid()";
    let plain = import.db.plain().await;
    while texts(&plain, working).await != ["0"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = import.count().await as u64;
    assert!((20..300).contains(&left), "{left}");
    import.is_whole();
    let next = import.run("tenants.csv", csv(300), &["--json"]).exits(0);
    assert_eq!(sum(&next.stdout), [300 - left, left, 0]);
    assert_eq!(import.count().await, 300);
    import.is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_finishes_the_tenants_in_progress_and_a_second_run_resumes() {
    let import = Import::new().await;
    let plain = import.db.plain().await;
    let lock = plain.begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE registry.domains IN SHARE MODE").await.unwrap();
    let child = start(&mut import.command("tenants.csv", csv(50), &["--jobs", "3"]));
    let waiting = "SELECT count(*)::text FROM pg_locks WHERE NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while texts(&plain, waiting).await != ["3"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    interrupt(&child);
    // Time enough for one that does not finish to be gone.
    tokio::time::sleep(Duration::from_millis(300)).await;
    lock.commit().await.unwrap();
    let ran = Ran::ended(child).exits(130);
    assert_eq!(ran.stdout, "3 created, 0 already existed, 0 rejected\n");
    ran.complains(["Interrupted: finishing the tenants in progress", "to resume"]);
    assert_eq!(import.count().await, 3);
    let next = import.run("tenants.csv", csv(50), &[]).exits(0);
    assert_eq!(next.stdout, "47 created, 3 already existed, 0 rejected\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_does_not_wait_for_the_next_line_nor_twice_for_a_busy_server() {
    let import = Import::new().await;
    let words = ["tenant", "import", "-", "--format", "csv", "--json"];
    let mut child = start(&mut program_on("tenantry", &import.db.url(), &words));
    let mut typed = child.stdin.take().unwrap();
    typed.write_all(csv(3).as_bytes()).unwrap();
    import.until(3).await;
    interrupt(&child);
    let ran = Ran::ended(child).exits(130);
    drop(typed);
    let wanted = json!({
        "created": 3, "already_existed": 0, "rejected": 0, "dry_run": false, "interrupted": true,
    });
    assert_eq!(ran.json(), wanted);

    let plain = import.db.plain().await;
    let lock = plain.begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE registry.domains IN SHARE MODE").await.unwrap();
    let child = start(&mut import.command("tenants.csv", csv(9), &["--jobs", "1"]));
    let waiting = "SELECT count(*)::text FROM pg_locks WHERE NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while texts(&plain, waiting).await != ["1"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    interrupt(&child);
    tokio::time::sleep(Duration::from_millis(300)).await;
    interrupt(&child);
    Ran::ended(child).exits(130);
    lock.commit().await.unwrap();
    import.run("tenants.csv", csv(9), &[]).exits(0);
    assert_eq!(import.count().await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_lost_cost_no_tenant() {
    let import = Import::new().await;
    let child = start(&mut import.command("tenants.csv", csv(120), &["--json"]));
    for count in [10, 40, 70] {
        import.until(count).await;
        let name = import.db.name();
        admin(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ))
        .await;
    }
    let ran = Ran::ended(child).exits(0);
    assert_eq!(sum(&ran.stdout), [120, 0, 0], "{ran:#?}");
    import.is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_gives_no_connection_for_a_while_is_waited_for() {
    let server = own_server().await;
    let url = server.url("postgres");
    let plain = connect(&url).await;
    let words = ["tenant", "import", "-", "--format", "csv", "--json"];
    let mut child = start(&mut program_on("tenantry", &url, &words));
    let mut typed = child.stdin.take().unwrap();
    typed.write_all(b"slug\nt-1\n").unwrap();
    let there = "SELECT count(*)::text FROM registry.tenants WHERE slug IS NOT NULL";
    while texts(&plain, there).await != ["1"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pidfile = std::fs::read_to_string(server.data_dir().join("postmaster.pid")).unwrap();
    let postmaster = Pid::from_raw(pidfile.lines().next().unwrap().parse().unwrap());
    // Has a connection already when the server accepts no more.
    let inside = plain.begin().await.unwrap();
    // It rejects connections, and the pool retries for five seconds.
    kill(postmaster, Signal::SIGSTOP).unwrap();
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let ended = inside.execute_unprepared(others).await;
    typed.write_all(b"t-2\nt-3\n").unwrap();
    drop(typed);
    tokio::time::sleep(Duration::from_secs(7)).await;
    kill(postmaster, Signal::SIGCONT).unwrap();
    ended.unwrap();
    inside.commit().await.unwrap();
    let ran = Ran::ended(child).exits(0);
    assert_eq!(sum(&ran.stdout), [3, 0, 0], "{ran:#?}");
    assert_eq!(texts(&plain, there).await, ["3"]);
    plain.close().await.unwrap();
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_ends_it_and_it_can_go_on_later() {
    let import = Import::new().await;
    let name = import.db.name();
    let child = start(&mut import.command("tenants.csv", csv(200), &[]));
    import.until(10).await;
    admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    admin(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    ))
    .await;
    let ran = Ran::ended(child).exits(1);
    let ran = ran.complains(["error: the database can no longer be reached: ", "to resume"]);
    // Nothing is wrong with any line.
    assert!(ran.stdout.ends_with(" created, 0 already existed, 0 rejected\n"), "{ran:#?}");
    assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("error")).count(), 1, "{ran:#?}");
    admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    import.run("tenants.csv", csv(200), &[]).exits(0);
    assert_eq!(import.count().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_share_the_work() {
    let import = Import::new().await;
    let start = || start(&mut import.command("tenants.csv", csv(60), &["--json"]));
    let sums = [start(), start()].map(|child| sum(&Ran::ended(child).exits(0).stdout));
    assert_eq!(sums[0][0] + sums[1][0], 60, "{sums:?}");
    assert_eq!(sums[0][1] + sums[1][1], 60, "{sums:?}");
    assert_eq!(import.count().await, 60);
    import.is_whole();
}
