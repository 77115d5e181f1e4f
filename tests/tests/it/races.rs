//! Concurrent operations: exactly one succeeds, and no row is misplaced.

use std::{collections::HashMap, time::Duration};

use entity::guard;
use futures_util::future::join_all;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbBackend, EntityTrait, Set, Statement, TransactionTrait,
};
use tenantry::{Error, NewTenant, Tenancy, Tenant, TenantScope};

use crate::support::{TestDb, slug};

#[tokio::test(flavor = "multi_thread")]
async fn of_32_that_create_one_slug_exactly_one_wins() {
    let db = TestDb::new().await;
    // Two pools, as of two processes.
    let tenancies = [db.tenancy().await, db.tenancy().await];
    let tasks = (0..32).map(|number: usize| {
        let tenancy = tenancies[number % 2].clone();
        tokio::spawn(async move { tenancy.create(NewTenant::new(slug("tenant-1"))).await })
    });
    let results: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(&error, Error::SlugTaken(taken) if *taken == slug("tenant-1")), "{error}");
    }
    let record = tenancies[0].get(&slug("tenant-1")).await.unwrap().unwrap();
    assert_eq!(record.schema.as_str(), "tenant_1");
    assert_eq!(record.schema_version.as_deref(), Some("m20261123_000002_create_shifts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_belongs_to_one_tenant_and_a_second_is_not_created() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    let tasks = (0..8).map(|number| {
        let tenancy = tenancy.clone();
        let slug = slug(&format!("tenant-{number}"));
        let domains = vec!["guards.example.org".parse().unwrap()];
        let new = NewTenant { domains, ..NewTenant::new(slug) };
        tokio::spawn(async move { tenancy.create(new).await })
    });
    let results: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(
        results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .all(|error| matches!(error, Error::HostTaken(_)))
    );
    let all = tenancy.list(tenantry::page::PageRequest::default()).await.unwrap();
    assert_eq!(all.items.len(), 1);
    let winner = tenancy.tenant_by_host("guards.example.org").await.unwrap();
    assert_eq!(winner.slug(), &all.items[0].slug);
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_and_dropping_one_slug_at_once_never_leaves_half_a_tenant() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    let tasks = (0..24).map(|number| {
        let tenancy = tenancy.clone();
        tokio::spawn(async move {
            let slug = slug("tenant-1");
            if number % 2 == 0 {
                match tenancy.create(NewTenant::new(slug)).await {
                    Ok(_) | Err(Error::SlugTaken(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            } else {
                match tenancy.drop(&slug).await {
                    Ok(()) | Err(Error::UnknownTenant(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    for result in join_all(tasks).await {
        result.unwrap();
    }
    let schemas = Statement::from_string(
        DbBackend::Postgres,
        "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = 'tenant_1'",
    );
    let schemas = db.plain().await.query_one_raw(schemas).await.unwrap().unwrap();
    let schemas: i64 = schemas.try_get_by_index(0).unwrap();
    let row = tenancy.get(&slug("tenant-1")).await.unwrap();
    assert_eq!(schemas == 1, row.is_some());
}

/// Writes rows that name their tenant, by every kind of write.
async fn write(tenant: &Tenant, task: usize) {
    async fn insert(scope: &impl TenantScope, owner: &str, task: usize) {
        let guard = guard::ActiveModel {
            name: Set(owner.to_owned()),
            position: Set(format!("task {task}")),
            ..Default::default()
        };
        guard.insert(scope).await.unwrap();
    }
    let owner = tenant.slug().to_string();
    insert(tenant, &owner, task).await;
    let txn = tenant.begin().await.unwrap();
    insert(&txn, &owner, task).await;
    let inner = txn.begin().await.unwrap();
    insert(&inner, "rolled back", task).await;
    inner.rollback().await.unwrap();
    txn.commit().await.unwrap();
    if task.is_multiple_of(4) {
        let txn = tenant.begin_with_search_path().await.unwrap();
        insert(&txn, &owner, task).await;
        txn.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_on_a_small_pool_no_row_lands_in_a_wrong_schema() {
    const TENANTS: usize = 200;
    const TASKS: usize = 16;
    let db = TestDb::new().await;
    let mut config = db.config();
    config.max_connections = 4;
    config.acquire_timeout = Duration::from_secs(300);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    for number in 0..TENANTS {
        tenancy.create(NewTenant::new(slug(&format!("tenant-{number}")))).await.unwrap();
    }
    let tasks = (0..TASKS * TENANTS).map(|number| {
        let tenancy = tenancy.clone();
        tokio::spawn(async move {
            let slug = slug(&format!("tenant-{}", number % TENANTS));
            write(&tenancy.tenant(&slug).await.unwrap(), number / TENANTS).await;
        })
    });
    for result in join_all(tasks).await {
        result.unwrap();
    }
    for number in 0..TENANTS {
        let tenant = tenancy.tenant(&slug(&format!("tenant-{number}"))).await.unwrap();
        let mut owners: HashMap<String, usize> = HashMap::new();
        for guard in guard::Entity::find().all(&tenant).await.unwrap() {
            *owners.entry(guard.name).or_default() += 1;
        }
        let wanted = HashMap::from([(tenant.slug().to_string(), TASKS * 2 + TASKS / 4)]);
        assert_eq!(owners, wanted);
    }
}
