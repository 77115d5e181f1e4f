//! `tenantry tenant suspend|resume|archive|restore|purge|rename|read-only`.

use serde_json::json;

use super::{tenantry, with_tenants};
use crate::support::{
    catalog::{schemas, texts},
    process::{Ran, at_terminal, program_on},
};

#[tokio::test]
async fn a_tenant_is_suspended_with_a_reason_that_is_shown_and_resumed() {
    let db = with_tenants(["tenant-1"]).await;
    let words = ["tenant", "suspend", "tenant-1", "--reason", "invoice 4711"];
    let ran = Ran::on("tenantry", &db.url(), &words).exits(0);
    assert_eq!(ran.stdout, "suspended tenant-1\n");
    let shown = tenantry(&db, "tenant show tenant-1").exits(0).says(["suspended", "invoice 4711"]);
    assert!(shown.stdout.lines().any(|line| line.starts_with("since  ")), "{shown:#?}");
    tenantry(&db, "tenant list").exits(0).says(["suspended", "invoice 4711"]);
    let shown = tenantry(&db, "tenant show tenant-1 --json").exits(0).json();
    assert_eq!(
        (&shown["status"], &shown["status_reason"]),
        (&json!("suspended"), &json!("invoice 4711"))
    );
    assert!(shown["status_since"].is_string(), "{shown}");

    // Without a reason, the first one stays.
    let again = tenantry(&db, "tenant suspend tenant-1 --json").exits(0).json();
    assert_eq!(again["status_reason"], "invoice 4711");
    assert_eq!(tenantry(&db, "tenant resume tenant-1").exits(0).stdout, "resumed tenant-1\n");
    let shown = tenantry(&db, "tenant show tenant-1").exits(0).stdout;
    assert!(!shown.contains("invoice"), "{shown}");
    let words = ["tenant", "suspend", "tenant-1", "--reason", " "];
    Ran::on("tenantry", &db.url(), &words).exits(2).complains(["it is empty"]);
    tenantry(&db, "tenant resume tenant-9").exits(1).complains(["tenant \"tenant-9\" not found"]);
}

#[tokio::test]
async fn a_refused_transition_names_the_status_what_is_possible_and_the_command() {
    let db = with_tenants(["tenant-1"]).await;
    tenantry(&db, "tenant purge tenant-1 --yes").exits(1).complains([
        "tenant tenant-1 is active and cannot be purged; it can be suspended, archived or dropped",
        "(`tenantry tenant archive tenant-1`)",
    ]);
    let ran = tenantry(&db, "tenant archive tenant-1").exits(0);
    ran.says(["archived tenant-1; its data is kept until 20"]);
    tenantry(&db, "tenant suspend tenant-1").exits(1).complains([
        "tenant tenant-1 is archived and cannot be suspended; it can be restored or purged",
        "(`tenantry tenant restore tenant-1`)",
    ]);
    for words in ["tenant purge tenant-1 --yes", "tenant drop tenant-1 --yes"] {
        tenantry(&db, words).exits(1).complains([
            "tenant tenant-1 is archived, and its data is kept until 20",
            "purge it with force (`tenant purge --force`)",
        ]);
    }
    for grace in ["30", "1w", "-1d"] {
        let ran = tenantry(&db, &format!("tenant archive tenant-1 --grace={grace}"));
        ran.exits(2).complains(["such as 30d or 12h"]);
    }
    let ran = tenantry(&db, "tenant restore tenant-1").exits(0);
    assert_eq!(ran.stdout, "restored tenant-1; it is active\n");
    assert_eq!(schemas(&db.plain().await).await, ["public", "registry", "tenant_1"]);
}

#[tokio::test]
async fn an_archived_tenant_is_purged_when_its_grace_is_over_or_by_force() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    tenantry(&db, "tenant archive tenant-1").exits(0);
    tenantry(&db, "tenant purge tenant-1 --force").exits(1).complains(["pass --yes"]);
    let command = program_on("tenantry", &db.url(), &["tenant", "purge", "tenant-1", "--force"]);
    at_terminal(&command, "yes\n").exits(1).says(["This deletes ALL DATA of tenant-1"]);
    at_terminal(&command, "tenant-1\n").exits(0).says(["purged tenant-1 and its schema tenant_1"]);
    tenantry(&db, "tenant archive tenant-2 --grace 0").exits(0);
    let ran = tenantry(&db, "tenant purge tenant-2 --yes").exits(0);
    assert_eq!(ran.stdout, "purged tenant-2 and its schema tenant_2\n");
    assert_eq!(schemas(&db.plain().await).await, ["public", "registry"]);
}

#[tokio::test]
async fn all_expired_tenants_are_purged_and_the_rest_is_kept() {
    let db = with_tenants(["one", "two", "three", "four"]).await;
    let expired = "tenant purge --expired --yes";
    assert_eq!(tenantry(&db, expired).exits(0).stdout, "no tenant has expired\n");
    for words in ["one --grace 0", "two --grace 30d", "three --grace 0s"] {
        tenantry(&db, &format!("tenant archive {words}")).exits(0);
    }
    tenantry(&db, "tenant purge --expired").exits(1).complains(["pass --yes"]);
    let command = program_on("tenantry", &db.url(), &["tenant", "purge", "--expired"]);
    let ran = at_terminal(&command, "3\n").exits(1);
    ran.says(["ALL DATA of 2 archived tenants: one, three. Type 2 to confirm: "]);
    // One that cannot be purged does not keep the others.
    let plain = db.plain().await;
    texts(&plain, "CREATE VIEW public.guards_of_one AS SELECT * FROM one.guards").await;
    let ran = tenantry(&db, expired).exits(1);
    assert_eq!(ran.stdout, "purged three and its schema three\n");
    ran.complains(["one: ", "guards_of_one", "1 of 2 tenants were not purged"]);
    let ran = tenantry(&db, &format!("{expired} --cascade")).exits(0);
    assert_eq!(ran.stdout, "purged one and its schema one\n");
    assert_eq!(schemas(&plain).await, ["four", "public", "registry", "two"]);
    for words in ["tenant purge", "tenant purge two --expired", "tenant purge --expired --force"] {
        tenantry(&db, words).exits(2);
    }
}

#[tokio::test]
async fn a_tenant_is_renamed_and_its_earlier_slug_is_shown_and_reserved() {
    let db = with_tenants(["acme"]).await;
    let ran = tenantry(&db, "tenant rename acme acme-berlin --alias").exits(0);
    ran.says(["renamed acme to acme-berlin; acme leads to it until 20"]);
    let shown = tenantry(&db, "tenant show acme-berlin").exits(0);
    let line = shown.stdout.lines().find(|line| line.starts_with("aliases")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["aliases", "acme"]);
    let shown = tenantry(&db, "tenant show acme-berlin --json").exits(0).json();
    assert_eq!(
        (&shown["aliases"][0]["slug"], &shown["aliases"][0]["redirects"]),
        (&json!("acme"), &json!(true))
    );
    tenantry(&db, "tenant create acme").exits(1).complains([
        "slug acme is reserved until 20",
        "for tenant acme-berlin, which had it before; choose another one",
    ]);
    tenantry(&db, "tenant show acme").exits(1).complains(["not found"]);
    let ran = tenantry(&db, "tenant rename acme-berlin acme --reserve 12h").exits(0);
    ran.says(["renamed acme-berlin to acme; acme-berlin is reserved until 20"]);
    let ran = tenantry(&db, "tenant rename acme other --reserve 0").exits(0);
    assert_eq!(ran.stdout, "renamed acme to other\n");
    tenantry(&db, "tenant create acme").exits(0);
    tenantry(&db, "tenant rename acme other").exits(1).complains(["slug other is already taken"]);
    tenantry(&db, "tenant rename acme www").exits(2).complains(["reserved"]);
}

#[tokio::test]
async fn an_import_rejects_a_reserved_slug_and_creates_the_others() {
    let db = with_tenants(["acme"]).await;
    tenantry(&db, "tenant rename acme other").exits(0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.csv");
    std::fs::write(&file, "slug\nacme\nglobex\n").unwrap();
    let ran = Ran::on("tenantry", &db.url(), &["tenant", "import", file.to_str().unwrap()]);
    let ran = ran.exits(1).says(["1 created, 0 already existed, 1 rejected"]);
    ran.complains(["line 2: slug \"acme\": slug acme is reserved until"]);
}

#[tokio::test]
async fn suspended_and_archived_tenants_are_migrated_with_the_others() {
    let db = with_tenants(["one", "two", "three"]).await;
    tenantry(&db, "tenant suspend one").exits(0);
    tenantry(&db, "tenant archive two").exits(0);
    super::migration(&db, "down --all --yes").exits(0);
    let versions = super::versions(&db).await;
    assert!(versions.iter().all(|it| it.ends_with(super::FIRST)), "{versions:?}");
    super::migration(&db, "up --all").exits(0);
    let versions = super::versions(&db).await;
    assert!(versions.iter().all(|it| it.ends_with(super::NEWEST)), "{versions:?}");
}

#[tokio::test]
async fn a_tenant_is_made_read_only_and_writable_and_is_migrated_all_the_same() {
    let db = with_tenants(["tenant-1"]).await;
    let ran = tenantry(&db, "tenant read-only tenant-1").exits(0);
    assert_eq!(ran.stdout, "tenant-1 is read-only\n");
    tenantry(&db, "tenant show tenant-1").exits(0).says(["active,read-only"]);
    tenantry(&db, "tenant list").exits(0).says(["active,read-only"]);
    let shown = tenantry(&db, "tenant read-only tenant-1 --json").exits(0).json();
    assert_eq!((&shown["status"], &shown["read_only"]), (&json!("active"), &json!(true)));
    super::migration(&db, "redo --tenant tenant-1").exits(0);
    let ran = tenantry(&db, "tenant read-only tenant-1 --off").exits(0);
    assert_eq!(ran.stdout, "tenant-1 is writable\n");
    let shown = tenantry(&db, "tenant show tenant-1 --json").exits(0).json();
    assert_eq!(shown["read_only"], false);
    tenantry(&db, "tenant read-only tenant-2").exits(1).complains(["not found"]);
}
