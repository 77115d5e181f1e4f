//! `migration fresh`: everything is deleted, so it asks first.

use super::{FIRST, NEWEST, migration, versions, with_tenants};
use crate::support::{
    catalog::{shape, texts},
    process::{at_terminal, program_on},
};

const ABU: &str =
    "INSERT INTO tenant_1.guards VALUES (gen_random_uuid(), 'Abu', 'Guard', now(), now())";
const NAMES: &str = "SELECT name FROM tenant_1.guards";

#[tokio::test]
async fn fresh_without_a_terminal_needs_yes() {
    let db = with_tenants(["tenant-1"]).await;
    let plain = db.plain().await;
    texts(&plain, ABU).await;
    for target in ["--tenant tenant-1", "--all", "--schema tenant_1"] {
        migration(&db, &format!("fresh {target}")).exits(1).complains(["pass --yes"]);
    }
    assert_eq!(texts(&plain, NAMES).await, ["Abu"]);
}

#[tokio::test]
async fn only_yes_confirms_fresh() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    texts(&plain, ABU).await;
    let command = program_on("migration", &db.url(), &["fresh", "--all"]);
    for typed in ["y", "no", "", "tenant-1"] {
        let ran = at_terminal(&command, &format!("{typed}\n")).exits(1);
        ran.says([
            "This deletes ALL DATA in tenant_1, tenant_2. Type yes to continue: ",
            &format!("not confirmed: {typed:?} is not yes; nothing was changed"),
        ]);
    }
    assert_eq!(texts(&plain, NAMES).await, ["Abu"]);
    at_terminal(&command, "yes\n").exits(0).says(["tenant-1: applied", "tenant-2: applied"]);
    assert!(texts(&plain, NAMES).await.is_empty());
}

#[tokio::test]
async fn fresh_recreates_all_tables_empty() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    texts(&plain, ABU).await;
    texts(&plain, &ABU.replace("tenant_1", "tenant_2")).await;
    texts(&plain, "CREATE TABLE tenant_1.extra (n int)").await;
    let ran = migration(&db, "fresh --tenant tenant-1 --yes").exits(0);
    assert_eq!(ran.stdout, format!("tenant-1: applied {FIRST}\ntenant-1: applied {NEWEST}\n"));
    assert!(texts(&plain, NAMES).await.is_empty());
    assert_eq!(shape(&plain, "tenant_1").await, shape(&plain, "tenant_2").await);
    let second = NAMES.replace("tenant_1", "tenant_2");
    assert_eq!(texts(&plain, &second).await, ["Abu"]);
    let both = ["tenant-1", "tenant-2"].map(|slug| format!("{slug} {NEWEST}"));
    assert_eq!(versions(&db).await, both);
}

#[tokio::test]
async fn rolling_back_all_tenants_asks_before_dropping_tables() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    texts(&plain, ABU).await;
    for run in ["down --all", "down --all -n 2", "redo --all", &format!("to {FIRST} --all")] {
        migration(&db, run).exits(1).complains(["pass --yes"]);
        let arguments: Vec<&str> = run.split(' ').collect();
        let command = program_on("migration", &db.url(), &arguments);
        at_terminal(&command, "no\n").exits(1).says([
            "This deletes data of ALL TENANTS: DROP TABLE",
            "not confirmed: \"no\" is not yes; nothing was changed",
        ]);
    }
    assert_eq!(texts(&plain, NAMES).await, ["Abu"]);
    let both = ["tenant-1", "tenant-2"].map(|slug| format!("{slug} {NEWEST}"));
    assert_eq!(versions(&db).await, both);

    // What drops nothing, or was named, does not ask.
    migration(&db, &format!("to {NEWEST} --all")).exits(0);
    migration(&db, "down --tenant tenant-1").exits(0);
    let command = program_on("migration", &db.url(), &["redo", "--all"]);
    at_terminal(&command, "yes\n").exits(0).says(["tenant-1", "tenant-2"]);
    migration(&db, "down --all -n 2 --yes").exits(0);
}
