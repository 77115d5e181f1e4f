//! `tenantry tenant drop`: it asks first.

use super::{tenantry, with_tenants};
use crate::support::{
    catalog::schemas,
    process::{answer, at_terminal, program_on},
};

const DROP: &[&str] = &["tenant", "drop", "tenant-1"];
const BOTH: [&str; 4] = ["public", "registry", "tenant_1", "tenant_2"];
const SECOND: [&str; 3] = ["public", "registry", "tenant_2"];

#[tokio::test]
async fn a_tenant_is_dropped_with_its_schema() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    let ran = tenantry(&db, "tenant drop tenant-1 --yes").exits(0);
    assert_eq!(ran.stdout, "dropped tenant-1 and its schema tenant_1\n");
    assert_eq!(schemas(&db.plain().await).await, SECOND);
    let list = tenantry(&db, "tenant list").exits(0).stdout;
    assert!(!list.contains("tenant-1") && list.contains("tenant-2"), "{list}");
    tenantry(&db, "tenant drop tenant-1 --yes").exits(1);
}

#[tokio::test]
async fn without_a_terminal_to_ask_nothing_is_dropped() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    tenantry(&db, "tenant drop tenant-1").exits(1).complains(["pass --yes"]);
    // Nor does it take an answer out of a pipe.
    let mut command = program_on("tenantry", &db.url(), DROP);
    answer(&mut command, "tenant-1\n").exits(1).complains(["pass --yes"]);
    assert_eq!(schemas(&db.plain().await).await, BOTH);
}

#[tokio::test]
async fn at_a_terminal_only_the_slug_confirms() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    let command = program_on("tenantry", &db.url(), DROP);
    for typed in ["yes", "y", "", "tenant-2", "TENANT-1", "tenant_1"] {
        let ran = at_terminal(&command, &format!("{typed}\n")).exits(1);
        let ran = ran.says([
            "This deletes ALL DATA of tenant-1, schema tenant_1. Type its slug to confirm: ",
            &format!("not confirmed: {typed:?} is not tenant-1; nothing was changed"),
        ]);
        assert!(!ran.stdout.contains("dropped"), "{ran:#?}");
    }
    assert_eq!(schemas(&db.plain().await).await, BOTH);

    let ran = at_terminal(&command, "tenant-1\n").exits(0);
    ran.says(["dropped tenant-1 and its schema tenant_1"]);
    assert_eq!(schemas(&db.plain().await).await, SECOND);
}
