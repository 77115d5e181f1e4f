//! What a run says of commits in between, and of a missing right.

use serde_json::Value;

use super::{migration, with_tenants};
use crate::support::{
    TestDb,
    catalog::texts,
    process::{Ran, program_on},
};

#[tokio::test]
async fn reports_commits_between_migrations_as_text_and_json() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let up = |schema: &str, json: &[&str]| {
        let words = [&["up", "--schema", schema], json].concat();
        Ran::of(program_on("library-migration", &db.url(), &words).env("LIBRARY_LOANS", "1"))
    };
    for schema in ["north", "south"] {
        texts(&plain, &format!("CREATE SCHEMA {schema}")).await;
    }
    let ran = up("north", &[]).exits(0);
    ran.says(["north: applied m6_column\nnorth: committed after each migration", "55P04"]);
    let line = up("south", &["--json"]).exits(0);
    let line: Value = serde_json::from_str(line.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&line["event"], &line["committed_each"]), (&"done".into(), &true.into()));
}

#[tokio::test]
async fn reports_a_missing_privilege_once_with_role_and_owner() {
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3", "tenant-4"]).await;
    migration(&db, "down --all --yes").exits(0);
    let plain = db.plain().await;
    let role = format!("clerk_{}", db.name());
    let mut rights = vec![
        format!("CREATE ROLE {role} LOGIN"),
        format!("GRANT USAGE ON SCHEMA registry TO {role}"),
        format!("GRANT ALL ON ALL TABLES IN SCHEMA registry TO {role}"),
    ];
    for schema in ["tenant_1", "tenant_2", "tenant_3", "tenant_4"] {
        rights.push(format!("GRANT USAGE ON SCHEMA {schema} TO {role}"));
        rights.push(format!("GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}"));
    }
    for sql in rights {
        texts(&plain, &sql).await;
    }
    let url = db.url().replacen("postgres://postgres", &format!("postgres://{role}"), 1);
    let ran = Ran::on("migration", &url, &["up", "--all", "--jobs", "1"]).exits(1);
    let message = format!("runs as the role {role}; the schema and its objects belong to postgres");
    assert_eq!(ran.stderr.matches(&message).count(), 1, "{ran:#?}");
    ran.says([
        "3 failed: ",
        "SQLSTATE 42501",
        &message,
        "Missing privilege: 1 tenant not started.",
    ]);
    let ran = Ran::on("migration", &url, &["up", "--all", "--jobs", "1", "--json"]).exits(1);
    let lines: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{ran:#?}");
    assert_eq!(ran.stdout.matches(&message).count(), 1, "{ran:#?}");
    assert_eq!(lines[3]["stopped"], "privilege");
    texts(&plain, &format!("DROP OWNED BY {role}")).await;
    texts(&plain, &format!("DROP ROLE {role}")).await;
}
