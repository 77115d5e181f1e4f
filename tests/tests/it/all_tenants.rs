//! Work and queries in all tenants.

mod query_all;

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use entity::guard;
use futures_util::{StreamExt, TryStreamExt};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, PaginatorTrait,
    TransactionTrait,
};
use tenantry::{Availability, Config, Error, NewTenant, Tenancy, Tenant, TenantBound, WorkError};

use crate::support::{TestDb, abu, catalog::texts, http_server::eventually, slug};

async fn slugs(tenancy: &Tenancy) -> Vec<String> {
    let tenants = tenancy.tenants().map_ok(|tenant| tenant.slug().to_string());
    tenants.try_collect().await.unwrap()
}

async fn set_status(db: &DatabaseConnection, slug: &str, status: &str) {
    let sql = format!("UPDATE registry.tenants SET status = '{status}' WHERE slug = '{slug}'");
    db.execute_unprepared(&sql).await.unwrap();
}

/// Makes a tenant lack a migration.
async fn set_behind(db: &DatabaseConnection, slug: &str) {
    let sql = format!(
        "UPDATE registry.tenants SET schema_version = migrations[1], migrations = migrations[1:1]
         WHERE slug = '{slug}'"
    );
    db.execute_unprepared(&sql).await.unwrap();
}

#[tokio::test]
async fn active_tenants_are_listed_in_the_order_of_creation() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let names = ["zebra", "ant", "suspended", "archived", "dropping", "dropped"];
    let (tenancy, _) = db.with_tenants(names).await;
    for name in &names[2..5] {
        set_status(&plain, name, name).await;
    }
    tenancy.drop(&slug("dropped")).await.unwrap();
    let config = Config { spares: 1, ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let spares = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
    eventually("there is a spare", async || texts(&plain, spares).await.len() == 1).await;
    assert_eq!(slugs(&tenancy).await, ["zebra", "ant"]);
    assert_eq!(slugs(&TestDb::new().await.tenancy().await).await, [""; 0]);
}

/// More than one page, of rows that need no schema.
#[tokio::test]
async fn pages_of_tenants_follow_each_other_without_gaps() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (tenancy, _) = db.with_tenants(["first"]).await;
    let copies = "INSERT INTO registry.tenants (id, slug, schema, status, schema_version,
             migrations, breaking, metadata, inserted_at, updated_at)
         SELECT gen_random_uuid(), 'tenant-' || n, 'tenant_' || n, status, schema_version,
             migrations, breaking, metadata, inserted_at, updated_at
         FROM registry.tenants, generate_series(1, 450) n";
    plain.execute_unprepared(copies).await.unwrap();
    let before = db.statements().len();
    let found = slugs(&tenancy).await;
    assert_eq!((found.len(), found.iter().collect::<BTreeSet<_>>().len()), (451, 451));
    let statements = db.statements().split_off(before);
    let reads = statements.iter().filter(|sql| sql.contains(r#"FROM "registry"."tenants""#));
    assert_eq!(reads.count(), 3, "{statements:#?}");
}

#[tokio::test]
async fn a_tenant_that_changes_while_they_are_listed_is_left_out_or_reported() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (_, _) = db.with_tenants(["one", "two", "three", "four", "five"]).await;
    let tenancy = db.tenancy().await;
    let mut tenants = tenancy.tenants();
    assert_eq!(tenants.next().await.unwrap().unwrap().slug().as_str(), "one");
    // By another process, and notified.
    db.tenancy().await.drop(&slug("two")).await.unwrap();
    set_status(&plain, "three", "suspended").await;
    set_behind(&plain, "four").await;
    let notify = "SELECT pg_notify('tenantry_tenants', id::text) FROM registry.tenants";
    plain.execute_unprepared(notify).await.unwrap();
    eventually("the changes are known", async || {
        let [three, four] = ["three", "four"].map(slug);
        let suspended = tenancy.tenant(&three).await.is_err();
        let error = tenancy.tenant(&four).await.err();
        suspended
            && matches!(error, Some(Error::Unavailable(it)) if it.availability == Availability::Behind)
    })
    .await;
    match tenants.next().await.unwrap().unwrap_err() {
        Error::Unavailable(it) => {
            assert_eq!((it.slug.as_str(), it.availability), ("four", Availability::Behind));
        }
        other => panic!("{other}"),
    }
    assert_eq!(tenants.next().await.unwrap().unwrap().slug().as_str(), "five");
    assert!(tenants.next().await.is_none());
}

#[tokio::test]
async fn work_is_done_once_in_each_tenant_and_failures_are_collected() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let names = ["one", "two", "three", "four", "five", "six"];
    let (tenancy, _) = db.with_tenants(names).await;
    set_behind(&plain, "six").await;
    // Resolved before: the state is read from the registry again.
    let tenancy_of_task = {
        tenancy.close().await;
        db.tenancy().await
    };
    let (visited, running, most) =
        (Mutex::new(Vec::new()), AtomicUsize::new(0), AtomicUsize::new(0));
    let work = async |tenant: Tenant| {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let txn = tenant.begin().await?;
        abu().insert(&txn).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
        visited.lock().unwrap().push(tenant.slug().to_string());
        running.fetch_sub(1, Ordering::SeqCst);
        match tenant.slug().as_str() {
            "two" => return Err(DbErr::Custom("not today".to_owned())),
            "four" => panic!("as the test"),
            _ => {}
        }
        txn.commit().await
    };
    let summary = tenancy_of_task.for_each(2, work).await.unwrap();
    assert_eq!((summary.succeeded, most.load(Ordering::SeqCst)), (3, 2));
    let mut visited = visited.into_inner().unwrap();
    visited.sort_unstable();
    assert_eq!(visited, ["five", "four", "one", "three", "two"]);
    let mut failures: Vec<_> = summary
        .failures
        .iter()
        .map(|failure| {
            let kind = match &failure.error {
                WorkError::Failed(error) => error.to_string(),
                WorkError::Panicked(message) => format!("panicked: {message}"),
                WorkError::Unavailable(Error::Unavailable(it)) => it.availability.as_str().into(),
                other => panic!("{other}"),
            };
            (failure.slug.as_str(), kind)
        })
        .collect();
    failures.sort_unstable();
    assert_eq!(
        failures,
        [
            ("four", "panicked: as the test".to_owned()),
            ("six", "behind".to_owned()),
            ("two", "Custom Error: not today".to_owned()),
        ]
    );
    for (name, guards) in [("one", 1), ("two", 0), ("four", 0)] {
        let tenant = tenancy_of_task.tenant(&slug(name)).await.unwrap();
        assert_eq!(guard::Entity::find().count(&tenant).await.unwrap(), guards, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_dropped_ends_and_begins_in_no_further_tenant() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["one", "two", "three"]).await;
    let started = std::sync::Arc::new(AtomicUsize::new(0));
    let task = tokio::spawn({
        let (tenancy, started) = (tenancy.clone(), started.clone());
        async move {
            let work = async |tenant: Tenant| {
                let txn = tenant.begin().await?;
                abu().insert(&txn).await?;
                started.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<Result<(), DbErr>>().await
            };
            tenancy.for_each(2, work).await
        }
    });
    eventually("two are in progress", async || started.load(Ordering::SeqCst) == 2).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    for name in ["one", "two", "three"] {
        let tenant = tenancy.tenant(&slug(name)).await.unwrap();
        assert_eq!(guard::Entity::find().count(&tenant).await.unwrap(), 0, "{name}");
    }
    assert_eq!(started.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_in_all_tenants_leaves_connections_to_requests() {
    let db = TestDb::new().await;
    let names: [String; 12] = std::array::from_fn(|number| format!("tenant-{number}"));
    let (tenancy, _) = db.with_tenants(names.each_ref().map(String::as_str)).await;
    let plain = db.plain().await;
    let started = std::sync::Arc::new(AtomicUsize::new(0));
    let task = tokio::spawn({
        let (tenancy, started) = (tenancy.clone(), started.clone());
        async move {
            let work = async |tenant: Tenant| {
                started.fetch_add(1, Ordering::SeqCst);
                tenant.execute_unprepared("SELECT pg_sleep(600)").await.map(drop)
            };
            tenancy.for_each(1000, work).await
        }
    });
    let sleeping = "SELECT pid::text FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'PgSleep'";
    eventually("the work has its share", async || texts(&plain, sleeping).await.len() == 7).await;
    for name in &names {
        let started = Instant::now();
        let tenant = tenancy.tenant(&slug(name)).await.unwrap();
        let txn = tenant.begin().await.unwrap();
        guard::Entity::find().count(&txn).await.unwrap();
        txn.commit().await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(3), "it took {:?}", started.elapsed());
    }
    assert_eq!((texts(&plain, sleeping).await.len(), started.load(Ordering::SeqCst)), (7, 7));
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_value_that_passed_through_a_queue_opens_for_its_tenant_only() {
    let db = TestDb::new().await;
    let (tenancy, [one, two]) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let job = serde_json::to_string(&TenantBound::new(&one, "Abu".to_owned())).unwrap();
    assert_eq!(job, format!(r#"{{"tenant":"{}","value":"Abu"}}"#, one.id()));

    let name: TenantBound<String> = serde_json::from_str(&job).unwrap();
    let tenant = db.tenancy().await.tenant_by_id(name.tenant_id()).await.unwrap();
    assert_eq!(tenant.slug(), one.slug());
    assert_eq!(name.open(&tenant).unwrap(), "Abu");
    assert!(name.open(&two).is_err());

    // The slug is given to another tenant, the id is not.
    tenancy.drop(&slug("tenant-1")).await.unwrap();
    tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
    for tenancy in [&tenancy, &db.tenancy().await] {
        match tenancy.tenant_by_id(name.tenant_id()).await.unwrap_err() {
            Error::Unavailable(it) => assert_eq!(it.availability, Availability::Dropped),
            other => panic!("{other}"),
        }
    }
    assert!(name.open(&tenancy.tenant(&slug("tenant-1")).await.unwrap()).is_err());
    let unknown = tenantry::TenantId::generate();
    let error = tenancy.tenant_by_id(unknown).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTenantId(id) if id == unknown), "{error}");
}
