//! A real Citus cluster: `CITUS_URL` leads to a database of its coordinator that these tests may
//! empty, as a superuser. docs/OPERATIONS.md says how to get one. Without it they are skipped, and
//! say so.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use entity::guard;
use futures_util::future::join_all;
use sea_orm::{ActiveModelTrait, ConnectionTrait, DatabaseConnection, EntityTrait, PaginatorTrait};
use tenantry::{Config, DbErrorKind, NewTenant, Tenancy, Tenant};
use tenantry_migrate::{
    Action, DynMigrator, FleetOptions, TenantMigrator, TenantSelection, Timeouts,
    drift::{Finding, VerifyTarget, verify},
    registry, run_fleet,
};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::{
    abu,
    catalog::texts,
    database::connect,
    http_server::eventually,
    slug,
    sql_migration::{BOOKS, INDEX, PRICE, SHELF, sql_migrator},
};

/// The empty database of the cluster, with an empty registry, for one test at a time.
struct Cluster {
    url: String,
    plain: DatabaseConnection,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    async fn new() -> Option<Self> {
        static TURN: Mutex<()> = Mutex::const_new(());
        let Ok(url) = std::env::var("CITUS_URL") else {
            tests::say(
                "skipped: CITUS_URL is not set; docs/OPERATIONS.md, Citus, says how to run it",
            );
            return None;
        };
        let turn = TURN.lock().await;
        let plain = connect(&url).await;
        assert!(tenantry_migrate::is_citus(&plain).await.unwrap(), "not a Citus cluster");
        let exists = "SELECT 'yes' WHERE to_regclass('registry.tenants') IS NOT NULL";
        if !texts(&plain, exists).await.is_empty() {
            let schemas = "SELECT t.schema FROM registry.tenants t
                JOIN pg_namespace n ON n.nspname = t.schema";
            for schema in texts(&plain, schemas).await {
                run(&plain, &format!("DROP SCHEMA \"{schema}\" CASCADE")).await;
            }
            run(&plain, "DROP SCHEMA registry CASCADE").await;
        }
        let role = texts(&plain, "SELECT quote_ident(current_user)").await;
        let sharding = "SET citus.enable_schema_based_sharding = on";
        run(&plain, &format!("ALTER ROLE {} {sharding}", role[0])).await;
        plain.close().await.unwrap();
        // With the setting, which the registry must not follow.
        let plain = connect(&url).await;
        let tenants = DynMigrator::tenant(migration::Migrator);
        registry::migrate(&plain, &tenants, Timeouts::default()).await.unwrap();
        Some(Self { url, plain, _turn: turn })
    }

    async fn tenancy(&self, migrator: impl TenantMigrator + 'static, spares: u32) -> Tenancy {
        let config = Config { spares, ..Config::new(self.url.as_str(), migrator) };
        Tenancy::connect(&config).await.unwrap()
    }

    async fn tenants(&self, tenancy: &Tenancy, slugs: &[&str]) -> Vec<Tenant> {
        let mut tenants = Vec::new();
        for name in slugs {
            tenancy.create(NewTenant::new(slug(name))).await.unwrap();
            tenants.push(tenancy.tenant(&slug(name)).await.unwrap());
        }
        tenants
    }
}

async fn run(db: &DatabaseConnection, sql: &str) {
    db.execute_unprepared(sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_created_on_nodes_used_verified_and_dropped() {
    let Some(cluster) = Cluster::new().await else { return };
    let tenancy = cluster.tenancy(migration::Migrator, 1).await;
    let spares = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
    eventually("there is a spare", async || texts(&cluster.plain, spares).await.len() == 1).await;
    let tenants = cluster.tenants(&tenancy, &["a", "b", "c", "d"]).await;
    // The registry stays where it is, and the tenants are on more than one node.
    let placed = "SELECT schema_name::text FROM citus_schemas WHERE schema_name::text = 'registry'";
    assert_eq!(texts(&cluster.plain, placed).await, [""; 0]);
    let nodes = tenancy.placement(tenants.iter().map(Tenant::schema)).await.unwrap();
    assert_eq!(nodes.len(), 4);
    let hosts: std::collections::BTreeSet<_> = nodes.values().collect();
    assert!(hosts.len() > 1, "{nodes:?}");
    for (number, tenant) in tenants.iter().enumerate() {
        for _ in 0..=number {
            abu().insert(tenant).await.unwrap();
        }
    }
    for (number, tenant) in tenants.iter().enumerate() {
        assert_eq!(guard::Entity::find().count(tenant).await.unwrap(), number as u64 + 1);
    }
    let listed = tenancy.nodes().await.unwrap();
    assert_eq!(listed.iter().map(|node| node.tenants).sum::<u64>(), 4, "{listed:?}");
    let migrator = DynMigrator::tenant(migration::Migrator);
    let found = verify(&cluster.plain, &migrator, &VerifyTarget::All).await.unwrap();
    assert!(found.is_clean(), "{found}");
    tenancy.drop(&slug("a")).await.unwrap();
    let left = "SELECT nspname::text FROM pg_namespace WHERE nspname = 'a'";
    assert_eq!(texts(&cluster.plain, left).await, [""; 0]);
    tenancy.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_tenants_are_migrated_also_outside_a_transaction() {
    let Some(cluster) = Cluster::new().await else { return };
    let tenancy = cluster.tenancy(sql_migrator([BOOKS]), 0).await;
    let names: Vec<String> = (0..10).map(|number| format!("town-{number}")).collect();
    cluster.tenants(&tenancy, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    tenancy.close().await;
    let migrator = DynMigrator::tenant(sql_migrator([BOOKS, SHELF, INDEX, PRICE]));
    let (options, stop) = (FleetOptions::default(), AtomicBool::new(false));
    for action in [Action::Up(None), Action::Redo, Action::Down(2), Action::Up(None)] {
        let all = TenantSelection::All;
        let work = run_fleet(&cluster.plain, &migrator, &all, &action, &options, &stop, |_| {});
        let done = tokio::time::timeout(Duration::from_secs(300), work).await;
        assert_eq!(done.expect("it hangs").unwrap().failed, 0, "{action:?}");
    }
    let valid = "SELECT count(*)::text FROM pg_indexes WHERE indexname = 'books_title_idx'";
    assert_eq!(texts(&cluster.plain, valid).await, ["10"]);
    let found = verify(&cluster.plain, &migrator, &VerifyTarget::All).await.unwrap();
    assert!(found.is_clean(), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_moves_under_load() {
    let Some(cluster) = Cluster::new().await else { return };
    let tenancy = cluster.tenancy(migration::Migrator, 0).await;
    let tenants = cluster.tenants(&tenancy, &["acme", "other"]).await;
    let from = tenancy.placement([tenants[0].schema()]).await.unwrap().remove("acme").unwrap();
    let nodes = tenancy.nodes().await.unwrap();
    let to = nodes.iter().find(|node| node.takes_tenants && node.address != from).unwrap();
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = join_all(tenants.iter().flat_map(|tenant| [tenant, tenant]).map(async |tenant| {
        while !stop.load(Ordering::Relaxed) {
            abu().insert(tenant).await.unwrap();
            guard::Entity::find().one(tenant).await.unwrap();
            answers.fetch_add(2, Ordering::Relaxed);
        }
    }));
    let moving = async {
        let moved = tenancy.move_tenant(&slug("acme"), &to.address.to_string(), |_| {}).await;
        stop.store(true, Ordering::Relaxed);
        moved.unwrap()
    };
    let (_, moved) = tokio::join!(load, moving);
    assert!(moved.moved && answers.into_inner() > 10);
    let rows = guard::Entity::find().count(&tenants[0]).await.unwrap();
    assert!(rows > 0);
    assert_eq!(tenancy.placement([tenants[0].schema()]).await.unwrap()["acme"], to.address);
    // A table without a key is refused with the reason, before anything is copied.
    run(&cluster.plain, "CREATE TABLE acme.visits (at timestamptz)").await;
    let refused = tenancy.move_tenant(&slug("acme"), &from.to_string(), |_| {}).await;
    assert!(refused.unwrap_err().to_string().contains("visits"));
    tenancy.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_takes_only_its_tenants_with_it() {
    let Some(cluster) = Cluster::new().await else { return };
    let (Ok(stop), Ok(start)) =
        (std::env::var("CITUS_STOP_WORKER"), std::env::var("CITUS_START_WORKER"))
    else {
        eprintln!("skipped: CITUS_STOP_WORKER and CITUS_START_WORKER are not set");
        return;
    };
    let tenancy = cluster.tenancy(migration::Migrator, 0).await;
    let tenants = cluster.tenants(&tenancy, &["a", "b", "c", "d"]).await;
    let nodes = tenancy.nodes().await.unwrap();
    let last = nodes.iter().rfind(|node| node.takes_tenants).unwrap().address.host.clone();
    let host = std::env::var("CITUS_STOPPED_HOST").unwrap_or(last);
    let placed = tenancy.placement(tenants.iter().map(Tenant::schema)).await.unwrap();
    let is_down = |tenant: &Tenant| placed[tenant.schema().as_str()].host == host;
    let down = tenants.iter().filter(|tenant| is_down(tenant)).count();
    assert!(down > 0 && down < tenants.len(), "{placed:?}");
    let shell = |command: &str| {
        assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
    };
    shell(&stop);
    for tenant in &tenants {
        let found = guard::Entity::find().all(tenant).await;
        match is_down(tenant) {
            true => {
                let error = found.unwrap_err();
                assert_eq!(DbErrorKind::of(&error), DbErrorKind::NodeUnavailable, "{error}");
            }
            false => assert!(found.is_ok(), "{found:?}"),
        }
    }
    let migrator = DynMigrator::tenant(migration::Migrator);
    let found = verify(&cluster.plain, &migrator, &VerifyTarget::All).await.unwrap();
    let [Finding::Unreachable { tenants: lost, .. }] = &found.findings[..] else {
        panic!("{found}")
    };
    assert_eq!(lost.len(), down);
    shell(&start);
    eventually("the node is back", async || {
        let all = join_all(tenants.iter().map(|tenant| guard::Entity::find().all(tenant))).await;
        all.iter().all(Result::is_ok)
    })
    .await;
    tenancy.close().await;
}
