//! Where tenants are, and moving them, against the stand-in.

use std::sync::Mutex;

use sea_orm::{ActiveModelTrait, ConnectionTrait, TransactionTrait};
use serde_json::{Value, json};
use tenantry::{Error, NodeError, page::PageRequest};

use super::stand_in::{cluster, make_moves_last};
use crate::support::{TestDb, abu, catalog::texts, process::Ran, slug};

fn ran(db: &TestDb, arguments: &str) -> Ran {
    Ran::on("tenantry", &db.url(), &arguments.split(' ').collect::<Vec<_>>())
}

#[tokio::test]
async fn the_node_of_each_tenant_is_listed_with_one_query() {
    let db = cluster().await;
    let (tenancy, _) = db.with_tenants(["a", "b"]).await;
    let listed = ran(&db, "tenant list --placement").exits(0);
    let lines: Vec<Vec<&str>> =
        listed.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..4], ["SLUG", "SCHEMA", "STATUS", "NODE"]);
    let mut nodes = [lines[1][3], lines[2][3]];
    nodes.sort_unstable();
    assert_eq!(nodes, ["worker-1:5432", "worker-2:5432"]);
    let asked =
        db.statements().iter().filter(|sql| sql.contains("SELECT DISTINCT n.nspname")).count();
    assert_eq!(asked, 1);
    let listed = ran(&db, "tenant list --placement --json").exits(0);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed[0]["slug"], "a");
    assert_eq!(listed[0]["node"]["port"], 5432);
    // A schema that was made without sharding is on no node.
    let plain = db.plain().await;
    plain.execute_unprepared("DELETE FROM pg_dist_schema").await.unwrap();
    let page = tenancy.list(PageRequest::default()).await.unwrap();
    let placed = tenancy.with_nodes(page.items).await.unwrap();
    assert!(placed.iter().all(|tenant| tenant.node.is_none()));
    // Without the option nothing is asked of Citus.
    assert!(!ran(&db, "tenant list").exits(0).stdout.contains("NODE"));
}

#[tokio::test]
async fn a_tenant_moves_while_its_handles_go_on() {
    let db = cluster().await;
    let (tenancy, [tenant]) = db.with_tenants(["acme"]).await;
    let from = tenancy.placement([tenant.schema()]).await.unwrap().remove("acme").unwrap();
    let to = if from.host == "worker-1" { "worker-2" } else { "worker-1" };
    make_moves_last(&db, 2.5).await;
    // A connection that knows.
    let tenancy = db.tenancy().await;
    let seen = Mutex::new(Vec::new());
    let moving = async {
        let report = |progress| seen.lock().unwrap().push(progress);
        tenancy.move_tenant(&slug("acme"), to, report).await.unwrap()
    };
    let using = async {
        let mut guards = 0;
        let ends = tokio::time::Instant::now() + std::time::Duration::from_secs(2);
        while tokio::time::Instant::now() < ends {
            abu().insert(&tenant).await.unwrap();
            guards += 1;
        }
        guards
    };
    let (moved, guards) = tokio::join!(moving, using);
    assert!(guards > 0);
    assert!(moved.moved);
    assert_eq!((&moved.from, moved.node.to_string()), (&from, format!("{to}:5432")));
    let placed = tenancy.placement([tenant.schema()]).await.unwrap();
    assert_eq!(placed["acme"], moved.node);
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() >= 2, "{seen:?}");
    assert!(seen.iter().all(|it| (it.copied, it.total) == (4096, 8192)), "{seen:?}");
    abu().insert(&tenant).await.unwrap();

    // Who moved it, from where and to where.
    let entries = "SELECT action || before::text || after::text FROM registry.audit
        WHERE action = 'moved'";
    let plain = db.plain().await;
    assert_eq!(
        texts(&plain, entries).await,
        [format!("moved{{\"node\": \"{from}\"}}{{\"node\": \"{to}:5432\"}}")]
    );
    // Again: nothing is done.
    let again = tenancy.move_tenant(&slug("acme"), &format!("{to}:5432"), |_| {}).await.unwrap();
    assert!(!again.moved);
    assert_eq!(texts(&plain, entries).await.len(), 1);
    let again = ran(&db, &format!("tenant move acme {to}")).exits(0);
    assert_eq!(again.stdout, format!("acme is on {to}:5432 already\n"));
    let back = ran(&db, &format!("tenant move acme {}", from.host)).exits(0);
    assert_eq!(back.stdout, format!("moved acme from {to}:5432 to {from}\n"));
}

#[tokio::test]
async fn what_cannot_be_moved_is_refused_with_the_reason() {
    let db = cluster().await;
    let (tenancy, [tenant]) = db.with_tenants(["acme"]).await;
    let plain = db.plain().await;
    let to = async || {
        let placed = tenancy.placement([tenant.schema()]).await.unwrap();
        if placed["acme"].host == "worker-1" { "worker-2" } else { "worker-1" }
    };
    let error = tenancy.move_tenant(&slug("acme"), "worker-9", |_| {}).await.unwrap_err();
    let Error::Node(NodeError::UnknownNode { nodes, .. }) = &error else { panic!("{error}") };
    assert_eq!(nodes.len(), 3);
    ran(&db, "tenant move acme worker-9")
        .exits(1)
        .complains(["\"worker-9\" not found", "worker-1:5432, worker-2:5432"]);
    let unknown = tenancy.move_tenant(&slug("nobody"), "worker-1", |_| {}).await.unwrap_err();
    assert!(matches!(unknown, Error::UnknownTenant(_)), "{unknown}");

    // A table without a key; with a replica identity it can be moved.
    plain.execute_unprepared("CREATE TABLE acme.visits (at timestamptz)").await.unwrap();
    let error = tenancy.move_tenant(&slug("acme"), to().await, |_| {}).await.unwrap_err();
    let Error::Node(NodeError::NoKey { tables, .. }) = &error else { panic!("{error}") };
    assert_eq!(tables, &["visits"]);
    // What only the cluster knows: it says so, and nothing was recorded.
    plain.execute_unprepared("ALTER TABLE acme.visits REPLICA IDENTITY FULL").await.unwrap();
    let error = tenancy.move_tenant(&slug("acme"), to().await, |_| {}).await.unwrap_err();
    assert!(matches!(&error, Error::Node(NodeError::Refused { .. })), "{error}");
    assert!(error.to_string().contains("cannot use logical replication"), "{error}");
    let moved = "SELECT action FROM registry.audit WHERE action = 'moved'";
    assert_eq!(texts(&plain, moved).await, [""; 0]);
    plain.execute_unprepared("DROP TABLE acme.visits").await.unwrap();

    // A transaction that keeps the tables locked.
    let other = db.plain().await;
    let txn = other.begin().await.unwrap();
    txn.execute_unprepared("LOCK TABLE acme.guards IN SHARE MODE").await.unwrap();
    let error = tenancy.move_tenant(&slug("acme"), to().await, |_| {}).await.unwrap_err();
    assert_eq!(error.db_error_kind(), Some(tenantry::DbErrorKind::LockTimeout), "{error}");
    txn.rollback().await.unwrap();

    // A schema that is on no node.
    plain.execute_unprepared("DELETE FROM pg_dist_schema").await.unwrap();
    let error = tenancy.move_tenant(&slug("acme"), "worker-1", |_| {}).await.unwrap_err();
    assert!(matches!(&error, Error::Node(NodeError::NotPlaced { .. })), "{error}");
    assert!(error.to_string().contains("citus_schema_distribute('\"acme\"')"), "{error}");
}

#[tokio::test]
async fn nodes_are_listed_with_their_load() {
    let db = cluster().await;
    let (tenancy, tenants) = db.with_tenants(["a", "b", "c"]).await;
    abu().insert(&tenants[0]).await.unwrap();
    let nodes = tenancy.nodes().await.unwrap();
    let seen: Vec<_> = nodes
        .iter()
        .map(|node| (node.address.to_string(), node.coordinator, node.takes_tenants, node.tenants))
        .collect();
    assert_eq!(seen[0], ("coordinator:5432".to_owned(), true, false, 0));
    assert_eq!(nodes.iter().map(|node| node.tenants).sum::<u64>(), 3);
    assert_eq!(nodes[0].bytes, None);
    assert!(nodes.iter().map(|node| node.bytes.unwrap_or_default()).sum::<u64>() > 0);
    assert!(nodes[1].busy.unwrap() > 0);
    let listed = ran(&db, "nodes").exits(0);
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert!(lines[0].starts_with("NODE") && lines[0].ends_with("BUSY"), "{listed:#?}");
    assert_eq!(lines.len(), 4);
    let listed = ran(&db, "nodes --json").exits(0);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed[0]["host"], json!("coordinator"));
}

#[tokio::test]
async fn one_postgresql_server_says_what_is_needed() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["acme"]).await;
    let refused = tenancy.nodes().await.unwrap_err();
    assert!(matches!(refused, Error::Node(NodeError::NoCluster)), "{refused}");
    for arguments in ["nodes", "tenant list --placement", "tenant move acme worker-1"] {
        ran(&db, arguments).exits(1).complains([
            "has no nodes",
            "Citus 12.1",
            "citus.enable_schema_based_sharding",
        ]);
    }
}
