//! A server that has ceased to accept writes: after a failover, the old primary.

use std::{collections::HashSet, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use entity::guard;
use local_postgres::{Access, Server};
use sea_orm::{
    AccessMode, ActiveModelTrait, ConnectionTrait, DatabaseConnection, DbErr, Set, TransactionTrait,
};
use tempfile::TempDir;
use tenantry::{Config, DbErrorKind, Error, NewTenant, Tenancy, Tenant};
use tokio::task::spawn_blocking;

use super::{Fixture, pid};
use crate::support::{
    catalog::texts,
    database::{connect, migrate_registry, own_server},
    http_server::eventually,
    process::Ran,
    slug,
    tcp_proxy::TcpProxy,
};

async fn write(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let abu = guard::ActiveModel {
        name: Set("Abu".into()),
        position: Set("Gate".into()),
        ..Default::default()
    };
    abu.insert(db).await.map(drop)
}

/// A change of the whole server by an administrator.
async fn system(db: &DatabaseConnection, setting: &str) {
    db.execute_unprepared(&format!("ALTER SYSTEM SET {setting}")).await.unwrap();
    db.execute_unprepared("SELECT pg_reload_conf()").await.unwrap();
}

/// A server on which open connections accept no writes and new ones do, as if another server had
/// become the primary behind the same address.
struct Failover {
    tenancy: Tenancy,
    tenants: Vec<Tenant>,
    db: DatabaseConnection,
    server: Server,
}

impl Failover {
    async fn new() -> Self {
        let server = own_server().await;
        let url = server.url("postgres");
        let config = Config {
            max_connections: 4,
            // The first tenant opens all connections.
            tenant_share: 100,
            reserved_connections: 0,
            ..Config::new(&url, migration::Migrator)
        };
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let mut tenants = Vec::new();
        for n in 1..=6 {
            let slug = slug(&format!("tenant-{n}"));
            tenancy.create(NewTenant::new(slug.clone())).await.unwrap();
            tenants.push(tenancy.tenant(&slug).await.unwrap());
        }
        let db = connect(&url).await;
        Self { tenancy, tenants, db, server }
    }

    /// Opens all connections.
    async fn pids(&self) -> HashSet<i32> {
        let all = (0..4).map(|_| self.tenants[0].begin());
        let all = futures_util::future::join_all(all).await;
        let mut pids = HashSet::new();
        for txn in all {
            let txn = txn.unwrap();
            pids.insert(pid(&txn).await);
            txn.rollback().await.unwrap();
        }
        pids
    }

    async fn happen(&self) {
        let new = "ALTER DATABASE postgres SET default_transaction_read_only = off";
        self.db.execute_unprepared(new).await.unwrap();
        self.end_primary().await;
    }

    async fn end_primary(&self) {
        system(&self.db, "default_transaction_read_only = on").await;
        eventually("the setting is read", async || write(&self.tenants[0]).await.is_err()).await;
    }

    async fn end(self) {
        self.tenancy.close().await;
        self.db.close().await.unwrap();
        spawn_blocking(move || drop(self.server)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_every_connection_is_replaced_and_writes_succeed() {
    let it = Failover::new().await;
    let before = it.pids().await;
    assert_eq!(before.len(), 4);
    // The first write on the old primary fails there, and no other does.
    it.happen().await;
    for tenant in it.tenants.iter().cycle().take(24) {
        write(tenant).await.unwrap();
        let txn = tenant.begin().await.unwrap();
        write(&txn).await.unwrap();
        txn.commit().await.unwrap();
    }
    assert!(it.pids().await.is_disjoint(&before));
    it.tenancy.ping().await.unwrap();
    it.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_accepts_no_writes_is_unavailable_until_it_accepts_them() {
    let it = Failover::new().await;
    it.pids().await;
    it.end_primary().await;
    for tenant in &it.tenants {
        let error = write(tenant).await.unwrap_err();
        assert_eq!(DbErrorKind::of(&error), DbErrorKind::Unavailable, "{error}");
        let txn = tenant.begin().await.unwrap();
        let error = write(&txn).await.unwrap_err();
        assert_eq!(DbErrorKind::of(&error), DbErrorKind::Unavailable, "{error}");
        drop(txn);
        // Reads succeed.
        pid(tenant).await;
    }
    let error = it.tenancy.ping().await.unwrap_err();
    assert!(matches!(error, Error::ReadOnlyServer { standby: false }), "{error}");
    let error = it.tenancy.create(NewTenant::new(slug("new"))).await.unwrap_err();
    assert_eq!(error.db_error_kind(), Some(DbErrorKind::Unavailable), "{error}");
    let refused = Ran::on("tenantry", &it.server.url("postgres"), &["tenant", "list"]);
    refused.exits(1).complains(["this server is read-only", "connect to the primary"]);

    let db = connect(&it.server.url("postgres")).await;
    system(&db, "default_transaction_read_only = off").await;
    eventually("writes succeed", async || write(&it.tenants[0]).await.is_ok()).await;
    it.tenancy.ping().await.unwrap();
    for tenant in &it.tenants {
        write(tenant).await.unwrap();
    }
    db.close().await.unwrap();
    it.end().await;
}

#[tokio::test]
async fn a_write_in_a_requested_read_only_transaction_is_an_error_of_the_caller() {
    let it = Fixture::new(1, |config| config.max_connections = 1).await;
    let before = pid(it.one()).await;
    for by_statement in [false, true] {
        let mode = (!by_statement).then_some(AccessMode::ReadOnly);
        let txn = it.one().begin_with_config(None, mode).await.unwrap();
        if by_statement {
            txn.execute_unprepared("  set transaction READ\nONLY").await.unwrap();
        }
        let error = write(&txn).await.unwrap_err();
        assert_eq!(DbErrorKind::of(&error), DbErrorKind::ReadOnly, "{error}");
        txn.rollback().await.unwrap();
    }
    let txn = it.one().begin().await.unwrap();
    let savepoint = txn.begin_with_config(None, Some(AccessMode::ReadOnly)).await.unwrap();
    assert_eq!(DbErrorKind::of(&write(&savepoint).await.unwrap_err()), DbErrorKind::ReadOnly);
    drop((savepoint, txn));
    write(it.one()).await.unwrap();
    assert_eq!(pid(it.one()).await, before, "the connection was replaced");
}

#[tokio::test]
async fn on_a_standby_the_service_does_not_start_and_says_why() {
    let folder = folder();
    let dir = folder.path().join("postgres");
    let server = started(&dir).await;
    migrate_registry(&server.url(DATABASE)).await;
    stopped(server).await;
    // It replays the log that exists and waits for more.
    std::fs::write(dir.join("standby.signal"), "").unwrap();
    let server = started(&dir).await;
    let url = server.url(DATABASE);
    let error = Tenancy::connect(&Config::new(&url, migration::Migrator)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::ReadOnlyServer { standby: true }), "{error}");
    let served = Ran::on("tenantry", &url, &["serve"]);
    served.exits(1).complains(["this server is a standby", "connect to the primary"]);
    stopped(server).await;
}

#[tokio::test]
async fn a_full_disk_and_a_server_without_memory_are_not_errors_of_the_caller() {
    let it = Fixture::new(1, |_| {}).await;
    for state in ["53000", "53100", "53200", "53300", "53400", "58000", "58030", "58P01", "57P04"] {
        let sql = format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$");
        let error = it.one().execute_unprepared(&sql).await.unwrap_err();
        assert_eq!(DbErrorKind::of(&error), DbErrorKind::Unavailable, "{state}");
    }
    tokio::time::timeout(Duration::from_secs(10), it.hold(4)).await.unwrap();
}

const DATABASE: &str = "tenantry";

/// A directory that the server's user can access.
fn folder() -> TempDir {
    let permissions = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().permissions(permissions).tempdir().unwrap()
}

/// Starts the server of a data directory.
async fn started(dir: &Path) -> Server {
    let dir = dir.to_owned();
    spawn_blocking(move || Server::persistent(&dir, DATABASE, Access::Exclusive))
        .await
        .unwrap()
        .unwrap()
}

async fn stopped(server: Server) {
    spawn_blocking(move || drop(server)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_notifications_come_from_the_new_primary() {
    let folder = folder();
    let old_dir = folder.path().join("old");
    let new_dir = old_dir.with_file_name("new");
    let server = started(&old_dir).await;
    migrate_registry(&server.url(DATABASE)).await;
    for tenant in ["tenant-1", "tenant-2"] {
        Ran::on("tenantry", &server.url(DATABASE), &["tenant", "create", tenant]).exits(0);
    }
    stopped(server).await;
    let copied = std::process::Command::new("cp").arg("-a").args([&old_dir, &new_dir]).status();
    assert!(copied.unwrap().success());
    let [old, new] = [started(&old_dir).await, started(&new_dir).await];

    let wire = TcpProxy::before(&old).await;
    let config = Config::new(wire.url(DATABASE), migration::Migrator);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let one = tenancy.tenant(&slug("tenant-1")).await.unwrap();
    let two = tenancy.tenant(&slug("tenant-2")).await.unwrap();
    write(&one).await.unwrap();
    write(&two).await.unwrap();

    // The old primary keeps running, but accepts no writes.
    wire.switch(&new);
    let db = connect(&old.url(DATABASE)).await;
    system(&db, "default_transaction_read_only = on").await;
    db.close().await.unwrap();
    // Written on the old one until then.
    eventually("writes reach the new primary", async || {
        let _ = write(&one).await;
        let db = connect(&new.url(DATABASE)).await;
        let there = texts(&db, "SELECT name FROM tenant_1.guards").await;
        db.close().await.unwrap();
        !there.is_empty()
    })
    .await;
    write(&two).await.unwrap();
    Ran::on("tenantry", &new.url(DATABASE), &["tenant", "drop", "tenant-2", "--yes"]).exits(0);
    eventually("the drop is heard", async || tenancy.tenant(&slug("tenant-2")).await.is_err())
        .await;
    let error = write(&two).await.unwrap_err();
    assert!(tenantry::TenantUnavailable::find(&error).is_some(), "{error}");
    write(&one).await.unwrap();
    tenancy.close().await;
    stopped(old).await;
    stopped(new).await;
}
