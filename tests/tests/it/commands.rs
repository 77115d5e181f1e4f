//! The commands of applications, run as child processes.

mod applications;
mod causes;
mod connection;
mod down_and_up;
mod dry_run;
mod flags;
mod fleet;
mod fresh;
mod key;
mod progress;
mod refusals;
mod reports;
mod secrets;
mod serve;
mod status;
mod tenant;
mod tenant_drop;
mod tenant_import;
mod tenant_lifecycle;
mod terminal;

use serde_json::Value;

use crate::support::{TestDb, process::Ran};

const FIRST: &str = "m20261123_000001_create_guards";
const NEWEST: &str = "m20261123_000002_create_shifts";

/// Runs `tenantry` with these words.
fn tenantry(db: &TestDb, words: &str) -> Ran {
    Ran::on("tenantry", &db.url(), &words.split(' ').collect::<Vec<_>>())
}

/// Runs `migration` with these words.
pub fn migration(db: &TestDb, words: &str) -> Ran {
    Ran::on("migration", &db.url(), &words.split(' ').collect::<Vec<_>>())
}

/// A database with these tenants.
async fn with_tenants<const N: usize>(slugs: [&str; N]) -> TestDb {
    let db = TestDb::new().await;
    for slug in slugs {
        tenantry(&db, &format!("tenant create {slug}")).exits(0);
    }
    db
}

impl Ran {
    /// Standard output as JSON.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// What the registry says of each tenant: slug and version.
async fn versions(db: &TestDb) -> Vec<String> {
    let sql =
        "SELECT slug || ' ' || coalesce(schema_version, '-') FROM registry.tenants ORDER BY 1";
    crate::support::catalog::texts(&db.plain().await, sql).await
}

/// The lines of a table, with one blank between the columns.
fn rows(ran: &Ran) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    ran.stdout.lines().map(words).collect()
}
