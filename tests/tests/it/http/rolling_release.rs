//! Two releases serve one fleet while it is migrated: the old one is `tenantry serve`, the new one
//! has one more migration.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use api::router;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use sea_orm::DatabaseConnection;
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use serde_json::json;
use tenantry::{Config, Tenancy};
use tenantry_axum::AppState;
use tenantry_migrate::{
    Action, DynMigrator, Event, FleetOptions, TenantMigrator, TenantSelection, fleet_tenants,
    run_fleet,
};
use tokio::net::TcpListener;

use super::{Answer, Caller, Site, heard};
use crate::support::{
    database::server,
    http_server::{HttpServer, TOKEN, eventually},
    sql_migration::Sql,
    statement_log::Mark,
};

const SLUGS: [&str; 4] = ["tenant-1", "tenant-2", "tenant-3", "tenant-4"];

const fn sql(up: &'static str, down: &'static str, breaking: bool) -> Sql {
    Sql { name: "m20991231_000001_next", up, down, alone: false, breaking }
}

const ADD: Sql =
    sql("ALTER TABLE guards ADD COLUMN badge text", "ALTER TABLE guards DROP COLUMN badge", false);
/// The program without it stores shifts without a place.
const REQUIRE: Sql = sql(
    "ALTER TABLE shifts ADD COLUMN place text NOT NULL",
    "ALTER TABLE shifts DROP COLUMN place",
    true,
);
const RETYPE_GUARDS: Sql = sql(
    "ALTER TABLE guards ALTER COLUMN position TYPE varchar(200)",
    "ALTER TABLE guards ALTER COLUMN position TYPE text",
    false,
);
const RETYPE_SHIFTS: Sql = sql(
    "ALTER TABLE shifts ALTER COLUMN starts_at TYPE timestamptz(6)",
    "ALTER TABLE shifts ALTER COLUMN starts_at TYPE timestamptz",
    false,
);

/// The migrator of the new release.
#[derive(Clone)]
struct Next(Sql);

impl MigratorTraitSelf for Next {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations = migration::Migrator.migrations();
        migrations.push(Box::new(self.0.clone()));
        migrations
    }
}

impl TenantMigrator for Next {
    fn breaking(&self) -> Vec<&'static str> {
        self.0.breaking.then_some(self.0.name).into_iter().collect()
    }
}

/// Both releases on one database, each with a caller of every tenant.
struct Rollout {
    old: [Caller; 4],
    new: [Caller; 4],
    db: DatabaseConnection,
    next: Next,
    log: Mark,
    // Last, with the old server and the database in it.
    site: Site,
}

impl Rollout {
    async fn new(next: Sql) -> Self {
        let site = Site::new().await;
        let log = Mark::now(server());
        for slug in SLUGS {
            site.create(slug).await;
        }
        let next = Next(next);
        let tenancy = Tenancy::connect(&Config::new(site.db.url(), next.clone())).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let app = router(AppState::new(tenancy, None).anonymous());
        tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        let old = SLUGS.map(|slug| site.caller(&format!("{slug}.localhost")));
        let new = SLUGS
            .map(|slug| Caller { base: base.clone(), ..site.caller(&format!("{slug}.localhost")) });
        for caller in &old {
            caller.guard("Abu", "Guard").await;
        }
        Self { old, new, db: site.db.plain().await, next, log, site }
    }

    /// Migrates these tenants, two at a time.
    async fn migrate(&self, slugs: &[&str], action: Action) {
        let mut who = fleet_tenants(&self.db, &TenantSelection::All).await.unwrap();
        who.retain(|member| slugs.contains(&member.to_string().as_str()));
        let fleet =
            FleetOptions { jobs: 2, outage_timeout: Duration::ZERO, ..FleetOptions::default() };
        let (who, migrator) = (TenantSelection::Only(who), DynMigrator::tenant(self.next.clone()));
        let (stop, quiet) = (AtomicBool::new(false), |_: &Event<'_>| {});
        let summary = run_fleet(&self.db, &migrator, &who, &action, &fleet, &stop, quiet).await;
        assert_eq!(summary.unwrap().done, slugs.len());
    }
}

/// A 503 that says when to come back, and nothing of migrations.
#[track_caller]
fn is_refused(answer: &Answer, kind: &str) {
    let problem = answer.problem(503, kind);
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    assert!(!answer.text.contains("m20") && !answer.text.contains("migration up"), "{problem}");
}

async fn becomes(caller: &Caller, path: &str, status: u16) {
    eventually(&format!("{path} is {status}"), async || caller.get(path).await.status == status)
        .await;
}

/// Reads and writes on a tenant until it is stopped; nothing may fail.
async fn work(caller: &Caller, stop: &AtomicBool) -> usize {
    let mut rounds = 0;
    while !stop.load(Ordering::SeqCst) {
        let path = caller.guard("Bea", "Guard").await;
        caller.get(&path).await.is(200);
        caller.get("/guards?position=Guard&count=true&limit=5").await.is(200);
        caller.patch(&path, json!({ "position": "Lead" })).await.is(200);
        caller.delete(&path).await.is(204);
        rounds += 1;
    }
    rounds
}

#[tokio::test]
async fn a_compatible_release_goes_out_tenant_by_tenant_without_a_failure() {
    let it = Rollout::new(ADD).await;
    for caller in &it.new {
        is_refused(&caller.get("/guards").await, "tenant-behind");
        // The program itself is well: it waits for the migration.
        caller.get("/health").await.is(204);
    }
    let stop = AtomicBool::new(false);
    let working = join_all(it.old.iter().map(|caller| work(caller, &stop)));
    let rollout = async {
        it.migrate(&SLUGS[..2], Action::Up(None)).await;
        for caller in &it.new[..2] {
            becomes(caller, "/guards", 200).await;
        }
        for caller in &it.new[2..] {
            is_refused(&caller.get("/guards").await, "tenant-behind");
        }
        it.migrate(&SLUGS[2..], Action::Up(None)).await;
        for caller in &it.new {
            becomes(caller, "/guards", 200).await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (rounds, ()) = tokio::join!(working, rollout);
    assert!(rounds.iter().all(|rounds| *rounds > 0), "{rounds:?}");
    for caller in it.old.iter().chain(&it.new) {
        assert_eq!(caller.names("/guards").await, ["Abu"]);
    }
}

#[tokio::test]
async fn a_breaking_migration_takes_a_tenant_from_the_old_release_only() {
    let it = Rollout::new(REQUIRE).await;
    it.migrate(&SLUGS[..2], Action::Up(None)).await;
    for (number, (old, new)) in it.old.iter().zip(&it.new).enumerate() {
        if number < 2 {
            becomes(old, "/shifts", 503).await;
            is_refused(&old.get("/guards").await, "tenant-ahead");
            becomes(new, "/shifts", 200).await;
        } else {
            old.get("/shifts").await.is(200);
            is_refused(&new.get("/shifts").await, "tenant-behind");
        }
        old.get("/health").await.is(204);
    }
    // The cause is the operator's, and so is the tenant.
    let request = it.old[0].request("GET", "/guards").header("x-request-id", "ahead-1");
    heard(request).await.is(503);
    let lines = it.site.serving.logged("ahead-1").await;
    assert!(lines[0].contains("tenant tenant-1 is ahead"), "{lines:#?}");
    assert!(lines[0].contains(REQUIRE.name), "{lines:#?}");
    let shown = heard(it.site.operator("GET", "/admin/tenants/tenant-1")).await.is(200).json();
    assert_eq!(shown["schema_version"], REQUIRE.name);

    it.migrate(&SLUGS[..2], Action::Down(1)).await;
    for caller in &it.old {
        becomes(caller, "/guards", 200).await;
    }
    becomes(&it.new[0], "/guards", 503).await;
}

#[tokio::test]
async fn statements_prepared_before_a_type_change_keep_answering_under_load() {
    let it = Rollout::new(RETYPE_GUARDS).await;
    let stop = AtomicBool::new(false);
    // More callers than connections, so that all of these have prepared the statements.
    let twice = it.old.iter().chain(&it.old);
    let working = join_all(twice.map(|caller| work(caller, &stop)));
    let rollout = async {
        for caller in &it.old {
            for _ in 0..5 {
                caller.get("/guards").await.is(200);
            }
        }
        it.migrate(&SLUGS, Action::Up(None)).await;
        for caller in it.old.iter().chain(&it.new) {
            for _ in 0..5 {
                becomes(caller, "/guards", 200).await;
            }
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (rounds, ()) = tokio::join!(working, rollout);
    assert!(rounds.iter().all(|rounds| *rounds > 0), "{rounds:?}");
    // There were stale statements: some were prepared again, for every tenant.
    for schema in SLUGS.map(|slug| slug.replace('-', "_")) {
        let mut statements = it.log.statements(it.site.db.name()).into_iter();
        assert!(
            statements.any(|(_, sql)| sql.contains(&schema) && sql.ends_with("*/")),
            "{schema}"
        );
    }
}

#[tokio::test]
async fn a_request_whose_transaction_meets_a_stale_statement_may_be_repeated() {
    let it = Rollout::new(RETYPE_SHIFTS).await;
    // One connection, so that it is the one that has prepared the statement.
    let mut command = HttpServer::command(&it.site.db.url());
    command.env("TENANTRY_MAX_CONNECTIONS", "1").env("TENANTRY_ADMIN_TOKEN", TOKEN);
    let mut serving = HttpServer::launch(&mut command);
    let host = it.old[0].host.clone();
    let base = format!("http://{}", serving.address());
    let one = Caller { base, ..it.site.caller(&host) };
    let guard = one.guard("Cem", "Guard").await;
    let shift = json!({ "starts_at": "2024-01-01T08:00:00Z", "ends_at": "2024-01-01T16:00:00Z" });
    let shift = one.post(&format!("{guard}/shifts"), shift).await.is(201);
    let shift = shift.header("location");
    let later = || json!({ "ends_at": "2024-01-01T18:00:00Z" });
    one.patch(shift, later()).await.is(200);

    it.migrate(&SLUGS[..1], Action::Up(None)).await;
    let answer = one.patch(shift, later()).await;
    answer.problem(503, "conflict");
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    one.patch(shift, later()).await.is(200);
    one.get(shift).await.is(200);
    serving.signal(Signal::SIGTERM);
    serving.ended().await;
}

#[tokio::test]
async fn a_tenant_made_by_the_old_release_waits_for_its_migration_at_the_new_one() {
    let it = Rollout::new(ADD).await;
    it.migrate(&SLUGS, Action::Up(None)).await;
    becomes(&it.new[0], "/guards", 200).await;
    it.site.create("tenant-5").await;
    let base = it.new[0].base.clone();
    let new = Caller { base, ..it.site.caller("tenant-5.localhost") };
    is_refused(&new.get("/guards").await, "tenant-behind");
}
