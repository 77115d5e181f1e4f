//! Output of a run over many tenants, and Ctrl-C.

use std::{
    io::Write,
    process::{Child, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, TransactionTrait};
use serde_json::{Value, json};

use super::{NEWEST, migration, status::many, versions, with_tenants};
use crate::support::{
    TestDb,
    catalog::texts,
    http_server::eventually,
    process::{Ran, at_terminal, in_terminal, program_on},
};

#[tokio::test]
async fn a_run_without_work_is_one_query_for_ten_thousand_tenants() {
    let db = TestDb::new().await;
    many(&db, 10_000, &format!("'{NEWEST}'")).await;
    let before = db.statements().len();
    let ran = migration(&db, "up --all").exits(0);
    assert_eq!(ran.stdout, "Nothing to do for 10,000 tenants.\n");
    let statements = db.statements().split_off(before);
    let about_tenants = statements.iter().filter(|sql| sql.contains("\"tenants\""));
    assert_eq!(about_tenants.count(), 1, "{statements:#?}");
}

#[tokio::test]
async fn json_has_a_line_per_tenant_and_a_summary() {
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    migration(&db, "down --tenant tenant-1,tenant-2").exits(0);
    texts(&db.plain().await, "CREATE TABLE tenant_2.shifts (planted text)").await;
    let ran = migration(&db, "up --all --json --jobs 1").exits(1);
    assert_eq!(ran.stderr, "");
    let mut lines: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{ran:#?}");
    let took = lines[0]["ms"].take();
    assert_eq!(
        lines[0],
        json!({ "event": "done", "tenant": "tenant-1", "schema": "tenant_1", "applied": [NEWEST],
                "rolled_back": [], "ms": null })
    );
    assert_eq!(
        lines[1],
        json!({ "event": "failed", "tenant": "tenant-2", "schema": "tenant_2", "migration": NEWEST,
                "sqlstate": "42P07", "message": "relation \"shifts\" already exists" })
    );
    assert!(lines[2]["seconds"].take().is_f64());
    assert_eq!(
        lines[2],
        json!({ "event": "summary", "done": 1, "skipped": 1, "failed": 1, "not_started": 0, "stopped": null,
                "p50_ms": took, "p95_ms": took, "max_ms": took, "seconds": null })
    );
    let one = migration(&db, "up --schema tenant_2 --json").exits(1);
    let events = one.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events: Vec<Value> = events.map(|line| line["event"].clone()).collect();
    assert_eq!(events, ["failed", "summary"]);
    migration(&db, "up --all --json --dry-run").exits(2);
}

#[tokio::test]
async fn groups_failures_by_cause() {
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3", "tenant-4"]).await;
    migration(&db, "down --all --yes").exits(0);
    let plain = db.plain().await;
    for schema in ["tenant_1", "tenant_2"] {
        texts(&plain, &format!("CREATE TABLE {schema}.shifts (planted text)")).await;
    }
    texts(&plain, "DROP SCHEMA tenant_3 CASCADE").await;
    let ran = migration(&db, "up --all --jobs 1").exits(1).says([
        "tenant-4: applied",
        "1 migrated, 0 up to date, 3 failed, 0 not started in ",
        "; per tenant p50 ",
        &format!(
            "2 failed: {NEWEST}, SQLSTATE 42P07: relation \"shifts\" already exists\n  \
                  tenant-1, tenant-2\n"
        ),
        "1 failed: schema \"tenant_3\" does not exist",
        "Fix the cause, then rerun with --only-failed.\n",
    ]);
    assert_eq!(ran.stderr.matches("error: ").count(), 3, "{ran:#?}");
}

#[tokio::test]
async fn shows_a_progress_bar_with_failures_above_it() {
    let names: [String; 22] = std::array::from_fn(|n| format!("tenant-{}", n + 1));
    let db = with_tenants(names.each_ref().map(String::as_str)).await;
    migration(&db, "down --all --yes").exits(0);
    texts(&db.plain().await, "CREATE TABLE tenant_7.shifts (planted text)").await;
    let ran = at_terminal(&program_on("migration", &db.url(), &["up", "--all"]), "").exits(1);
    let ran = ran.says([
        "/22  ",
        "  ETA ",
        "1 failed",
        "error: tenant-7: ",
        "21 migrated, 0 up to date, 1 failed, 0 not started in ",
    ]);
    assert!(!ran.stdout.contains("applied"), "{ran:#?}");
}

#[tokio::test]
async fn ctrl_c_finishes_the_tenant_in_progress() {
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    migration(&db, "down --all --yes").exits(0);
    let (plain, busy) = busy(&db).await;
    let mut command = program_on("migration", &db.url(), &STUCK);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    stuck(&plain).await;
    interrupt(&child);
    tokio::time::sleep(Duration::from_millis(300)).await;
    busy.rollback().await.unwrap();
    let ran = Ran::with(child.wait_with_output().unwrap()).exits(130);
    let ran = ran.complains(["Interrupted: finishing the tenants in progress"]);
    ran.says([
        "tenant-1: applied",
        "1 migrated, 0 up to date, 0 failed, 2 not started in ",
        "Interrupted: 2 tenants not started.\nRerun the command to continue.\n",
    ]);
    let done = versions(&db).await.iter().filter(|it| it.ends_with(NEWEST)).count();
    assert_eq!(done, 1);
    migration(&db, "up --all").exits(0);
}

#[tokio::test]
async fn ctrl_c_of_a_rollback_reports_how_many_tenants_have_changed() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    let busy = plain.begin().await.unwrap();
    busy.execute_unprepared("LOCK TABLE tenant_1.shifts").await.unwrap();
    let down = ["down", "--all", "--yes", "--jobs", "1", "--lock-timeout", "0"];
    let mut command = program_on("migration", &db.url(), &down);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    stuck(&plain).await;
    interrupt(&child);
    tokio::time::sleep(Duration::from_millis(300)).await;
    busy.rollback().await.unwrap();
    Ran::with(child.wait_with_output().unwrap()).exits(130).says([
        "1 rolled back, 0 unchanged, 0 failed, 1 not started in ",
        "Interrupted: 1 tenant not started.\nRunning the command again would roll back 1 tenant \
         once more; `migration status` shows the version of each tenant.\n",
    ]);
}

#[tokio::test]
async fn ctrl_c_finishes_a_single_schema() {
    let db = with_tenants(["tenant-1"]).await;
    migration(&db, "down --all --yes").exits(0);
    let (plain, busy) = busy(&db).await;
    let schema = ["up", "--schema", "tenant_1", "--lock-timeout", "0"];
    let mut command = program_on("migration", &db.url(), &schema);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    stuck(&plain).await;
    interrupt(&child);
    tokio::time::sleep(Duration::from_millis(300)).await;
    busy.rollback().await.unwrap();
    let ran = Ran::with(child.wait_with_output().unwrap()).exits(130);
    ran.complains(["Interrupted: finishing the tenants in progress"]).says(["tenant_1: applied"]);
    assert!(versions(&db).await[0].ends_with(NEWEST));
}

#[tokio::test]
async fn second_ctrl_c_aborts_and_rolls_back() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    migration(&db, "down --all --yes").exits(0);
    let (plain, busy) = busy(&db).await;
    let mut terminal = in_terminal(&program_on("migration", &db.url(), &STUCK));
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = terminal.spawn().unwrap();
    stuck(&plain).await;
    let mut keys = child.stdin.take().unwrap();
    for _ in 0..2 {
        keys.write_all(b"\x03").unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // The tenant is still locked: the command did not wait for it.
    let ran = Ran::with(child.wait_with_output().unwrap()).exits(130);
    ran.says([
        "0/2  ",
        "Interrupted: finishing the tenants in progress. Press Ctrl-C again to abort.",
    ]);
    // The server has noticed, too.
    eventually("no statement waits", async || texts(&plain, WAITING).await == ["0"]).await;
    busy.rollback().await.unwrap();
    assert!(versions(&db).await.iter().all(|version| !version.ends_with(NEWEST)));
    migration(&db, "up --all").exits(0);
}

/// Waits for the first tenant as long as it is [`busy`].
const STUCK: [&str; 6] = ["up", "--all", "--jobs", "1", "--lock-timeout", "0"];

/// Keeps the first tenant from being migrated, until the transaction ends.
async fn busy(db: &TestDb) -> (DatabaseConnection, DatabaseTransaction) {
    let plain = db.plain().await;
    let busy = plain.begin().await.unwrap();
    busy.execute_unprepared("LOCK TABLE tenant_1.guards").await.unwrap();
    (plain, busy)
}

const WAITING: &str =
    "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND relation IS NOT NULL
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Waits until a statement waits for a table.
async fn stuck(plain: &DatabaseConnection) {
    eventually("a statement waits", async || texts(plain, WAITING).await != ["0"]).await;
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
}
