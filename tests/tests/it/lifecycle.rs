//! Creation, resolution and drop of tenants.

use std::time::Duration;

use entity::guard;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, EntityTrait, PaginatorTrait, Set, TransactionTrait,
};
use tenantry::{
    Availability, DbErrorKind, Error, Hostname, NewTenant, Tenancy, Tenant, TenantBound,
    TenantUnavailable, WrongTenant, page::PageRequest,
};

use crate::support::{TestDb, slug};

#[tokio::test]
async fn creates_and_drops_a_tenant_with_its_schema() {
    let db = TestDb::new().await;
    let (tenancy, [one, two]) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let abu = guard::ActiveModel {
        name: Set("Abu".into()),
        position: Set("Guard".into()),
        ..Default::default()
    };
    let abu = abu.insert(&one).await.unwrap();
    assert_eq!(guard::Entity::find().all(&one).await.unwrap(), [abu]);
    assert!(guard::Entity::find().all(&two).await.unwrap().is_empty());

    tenancy.drop(&slug("tenant-1")).await.unwrap();
    let error = guard::Entity::find().all(&one).await.unwrap_err();
    assert_eq!(TenantUnavailable::find(&error).unwrap().availability, Availability::Dropped);
    let error = tenancy.tenant(&slug("tenant-1")).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTenant(_)), "{error}");
    tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
}

/// Waits until a change by another process has been notified.
async fn eventually<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    for _ in 0..500 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within 10 seconds");
}

async fn refusal(tenant: &Tenant) -> Option<Availability> {
    match guard::Entity::find().count(tenant).await {
        Ok(_) => None,
        // Dropped just now and not notified yet: PostgreSQL reports the missing table.
        Err(error) if DbErrorKind::of(&error) == DbErrorKind::UndefinedTable => None,
        Err(error) => {
            Some(TenantUnavailable::find(&error).unwrap_or_else(|| panic!("{error}")).availability)
        }
    }
}

#[tokio::test]
async fn a_taken_slug_is_a_typed_error_and_changes_nothing() {
    let db = TestDb::new().await;
    let (tenancy, [one]) = db.with_tenants(["tenant-1"]).await;
    let before = tenancy.get(one.slug()).await.unwrap();
    let domains = vec!["guards.example.org".parse().unwrap()];
    let again = NewTenant { domains, ..NewTenant::new(slug("tenant-1")) };
    let error = tenancy.create(again).await.unwrap_err();
    assert_eq!(error.to_string(), "slug tenant-1 is already taken; choose another one");
    assert_eq!(tenancy.get(one.slug()).await.unwrap(), before);
    let error = tenancy.tenant_by_host("guards.example.org").await.unwrap_err();
    assert!(matches!(error, Error::UnknownHost(_)), "{error}");
}

#[tokio::test]
async fn a_leftover_schema_is_not_used_for_a_tenant() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    let plain = db.plain().await;
    plain.execute_unprepared("CREATE SCHEMA tenant_1").await.unwrap();
    let error = tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap_err();
    assert!(matches!(error, Error::SchemaTaken(_)), "{error}");
    assert_eq!(tenancy.get(&slug("tenant-1")).await.unwrap(), None);
    plain.execute_unprepared("DROP SCHEMA tenant_1").await.unwrap();
    tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
}

#[tokio::test]
async fn prefix_and_base_domain_are_used_and_checked() {
    let db = TestDb::new().await;
    let error = db.tenancy().await.create(NewTenant::new(slug("order"))).await.unwrap_err();
    assert!(error.to_string().contains("configure a schema prefix"), "{error}");
    let mut config = db.config();
    config.schema_prefix = "t_".to_owned();
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let record = tenancy.create(NewTenant::new(slug("order"))).await.unwrap();
    assert_eq!(record.schema.as_str(), "t_order");
    for (base_domain, fine) in [("Example.COM.", true), ("example.com:80", false), ("", false)] {
        config.base_domain = base_domain.to_owned();
        let connected = Tenancy::connect(&config).await;
        assert_eq!(connected.is_ok(), fine, "{base_domain}");
        if let Ok(tenancy) = connected {
            tenancy.tenant_by_host("order.example.com").await.unwrap();
        }
    }
    config.base_domain = "localhost".to_owned();
    config.schema_prefix = "Robert'); DROP SCHEMA registry; --".to_owned();
    let error = Tenancy::connect(&config).await.unwrap_err();
    assert!(matches!(error, Error::Name(_)), "{error}");
}

#[tokio::test]
async fn a_handle_is_refused_once_another_process_drops_its_tenant() {
    let db = TestDb::new().await;
    let (_here, [tenant]) = db.with_tenants(["tenant-1"]).await;
    let txn = tenant.begin().await.unwrap();
    assert_eq!(guard::Entity::find().count(&txn).await.unwrap(), 0);
    txn.commit().await.unwrap();
    let there = db.tenancy().await;
    there.drop(tenant.slug()).await.unwrap();
    assert_eq!(eventually(|| refusal(&tenant)).await, Availability::Dropped);
    assert!(tenant.begin().await.is_err());
    // The old handle does not work for a new tenant with the same slug.
    there.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
    assert_eq!(refusal(&tenant).await, Some(Availability::Dropped));
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_and_comes_back() {
    let db = TestDb::new().await;
    let (tenancy, [one, two]) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    for (status, availability) in [
        ("suspended", Some(Availability::Suspended)),
        ("archived", Some(Availability::Archived)),
        ("active", None),
    ] {
        let change = format!(
            "UPDATE registry.tenants SET status = '{status}' WHERE slug = 'tenant-1';
             SELECT pg_notify('tenantry_tenants', '{} tenant-1')",
            one.id()
        );
        plain.execute_unprepared(&change).await.unwrap();
        eventually(async || (refusal(&one).await == availability).then_some(())).await;
        assert_eq!(tenancy.tenant(one.slug()).await.is_ok(), availability.is_none());
        assert_eq!(refusal(&two).await, None);
    }
}

#[tokio::test]
async fn a_change_is_received_after_the_listener_has_reconnected() {
    let db = TestDb::new().await;
    let (_tenancy, [tenant]) = db.with_tenants(["tenant-1"]).await;
    let plain = db.plain().await;
    assert_eq!(refusal(&tenant).await, None);
    // Without a notification, as if it had been missed.
    let suspend = "UPDATE registry.tenants SET status = 'suspended'";
    plain.execute_unprepared(suspend).await.unwrap();
    let broken = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                  WHERE datname = current_database() AND query ILIKE 'LISTEN%'";
    let broken = plain.execute_unprepared(broken).await.unwrap();
    assert_eq!(broken.rows_affected(), 1);
    assert_eq!(eventually(|| refusal(&tenant)).await, Availability::Suspended);
}

#[tokio::test]
async fn a_tenant_is_found_soon_after_its_creation() {
    let db = TestDb::new().await;
    let here = db.tenancy().await;
    let there = db.tenancy().await;
    here.tenant(&slug("tenant-1")).await.unwrap_err();
    there.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
    eventually(async || here.tenant(&slug("tenant-1")).await.ok()).await;
}

#[tokio::test]
async fn host_names_lead_to_their_tenant_and_to_no_other() {
    let db = TestDb::new().await;
    let (tenancy, [one, two]) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let host = "guards.example.org".parse().unwrap();
    tenancy.domain_add(one.slug(), &host).await.unwrap();
    let error = tenancy.domain_add(two.slug(), &host).await.unwrap_err();
    assert!(matches!(error, Error::HostTaken(_)), "{error}");
    for header in ["guards.example.org", "Guards.Example.Org:8443", "tenant-1.localhost"] {
        assert_eq!(tenancy.tenant_by_host(header).await.unwrap().id(), one.id());
    }
    for header in ["example.org", "localhost", "tenant-3.localhost", "x.tenant-1.localhost", ""] {
        let error = tenancy.tenant_by_host(header).await.unwrap_err();
        assert!(matches!(error, Error::UnknownHost(_)), "{header}: {error}");
    }
    let error = tenancy.tenant_by_host("www.localhost").await.unwrap_err();
    assert!(matches!(error, Error::ReservedHost(_)), "{error}");
    let below = "tenant-2.localhost.".parse::<Hostname>().unwrap();
    let error = tenancy.domain_add(one.slug(), &below).await.unwrap_err();
    assert!(matches!(error, Error::HostBelowBase(_)), "{error}");

    let error = tenancy.domain_remove(two.slug(), &host).await.unwrap_err();
    assert!(matches!(error, Error::UnknownDomain { .. }), "{error}");
    tenancy.domain_remove(one.slug(), &host).await.unwrap();
    tenancy.tenant_by_host("guards.example.org").await.unwrap_err();
    // A dropped tenant leaves its host names free.
    tenancy.domain_add(one.slug(), &host).await.unwrap();
    tenancy.drop(one.slug()).await.unwrap();
    tenancy.tenant_by_host("guards.example.org").await.unwrap_err();
    tenancy.domain_add(two.slug(), &host).await.unwrap();
}

#[tokio::test]
async fn tenants_are_listed_page_by_page_in_the_order_of_their_creation() {
    let db = TestDb::new().await;
    let names = ["zulu", "alpha", "mike", "bravo", "yankee"];
    let (tenancy, _) = db.with_tenants(names).await;
    let mut seen = Vec::new();
    let mut request = PageRequest { after: None, limit: 2 };
    loop {
        let page = tenancy.list(request).await.unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|record| record.slug.to_string()));
        match page.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, names);
}

#[tokio::test]
async fn a_drop_waits_for_a_bounded_time() {
    let db = TestDb::new().await;
    let (tenancy, [one]) = db.with_tenants(["tenant-1"]).await;
    let busy = db.plain().await.begin().await.unwrap();
    busy.execute_unprepared(r#"LOCK TABLE "tenant_1"."guards""#).await.unwrap();
    let error = tenancy.drop(one.slug()).await.unwrap_err();
    assert_eq!(error.db_error_kind(), Some(DbErrorKind::LockTimeout), "{error}");
    busy.rollback().await.unwrap();
    assert_eq!(refusal(&one).await, Some(Availability::Dropped));
    tenancy.drop(one.slug()).await.unwrap();
}

#[tokio::test]
async fn an_old_registry_is_refused_with_the_remedy() {
    let db = TestDb::new().await;
    let migrator = tenantry_migrate::DynMigrator::new(tenantry_migrate::registry::Migrator);
    let down = &tenantry_migrate::Action::Down(1);
    let plain = db.plain().await;
    tenantry_migrate::run(
        &plain,
        &tenantry_migrate::Target::Registry,
        &migrator,
        down,
        tenantry_migrate::Timeouts::default(),
    )
    .await
    .unwrap();
    let error = Tenancy::connect(&db.config()).await.unwrap_err();
    assert_eq!(error.to_string(), "the registry is behind by 1 migrations; migrate it first");
}

#[tokio::test]
async fn a_value_opens_only_for_the_tenant_it_came_from() {
    let db = TestDb::new().await;
    let (_tenancy, [one, two]) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let txn = one.begin().await.unwrap();
    let value = TenantBound::new(&txn, "Abu");
    assert_eq!(value.open(&one), Ok(&"Abu"));
    let wrong = WrongTenant { value: one.id(), scope: two.id() };
    assert_eq!(value.open(&two), Err(wrong));
    assert_eq!(value.clone().into_inner(&two), Err(wrong));
    assert_eq!(value.into_inner(&txn), Ok("Abu"));
}
