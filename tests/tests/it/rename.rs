//! Renaming tenants, and their earlier slugs.

use std::time::Duration;

use entity::guard;
use sea_orm::{ActiveModelTrait, ConnectionTrait, DatabaseConnection, EntityTrait, PaginatorTrait};
use tenantry::{AdoptOptions, Error, NewTenant, RenameOptions, Tenancy};

use crate::support::{TestDb, abu, catalog::texts, http_server::eventually, slug};

fn alias() -> RenameOptions {
    let mut options = RenameOptions::default();
    options.alias = true;
    options
}

fn free_at_once() -> RenameOptions {
    let mut options = RenameOptions::default();
    options.reserve_for = Duration::ZERO;
    options
}

async fn rename(tenancy: &Tenancy, old: &str, new: &str, options: RenameOptions) {
    let record = tenancy.rename(&slug(old), &slug(new), options).await.unwrap();
    assert_eq!(record.slug.as_str(), new);
    assert_eq!(tenancy.get(&slug(new)).await.unwrap(), Some(record));
}

/// Ends all reservations, as time does.
async fn expire(db: &DatabaseConnection) {
    db.execute_unprepared("UPDATE registry.aliases SET expires_at = now()").await.unwrap();
}

#[tokio::test]
async fn a_renamed_tenant_keeps_everything_but_its_slug() {
    let db = TestDb::new().await;
    let (tenancy, [tenant]) = db.with_tenants(["old-name"]).await;
    abu().insert(&tenant).await.unwrap();
    let host = "guards.example.org".parse().unwrap();
    tenancy.domain_add(tenant.slug(), &host).await.unwrap();
    let there = db.tenancy().await;
    for header in ["guards.example.org", "old-name.localhost"] {
        there.tenant_by_host(header).await.unwrap();
    }
    let before = tenancy.get(tenant.slug()).await.unwrap().unwrap();
    rename(&tenancy, "old-name", "new-name", RenameOptions::default()).await;
    let after = tenancy.get(&slug("new-name")).await.unwrap().unwrap();
    assert_eq!(
        (after.id, &after.schema, &after.domains),
        (before.id, &before.schema, &before.domains)
    );
    assert_eq!(after.schema.as_str(), "old_name");

    for tenancy in [&tenancy, &there] {
        eventually("both processes know", async || {
            let old = tenancy.tenant_by_host("old-name.localhost").await;
            matches!(old, Err(Error::UnknownHost(_)))
                && tenancy.tenant_by_host("guards.example.org").await.unwrap().slug().as_str()
                    == "new-name"
        })
        .await;
        let found = tenancy.tenant_by_host("new-name.localhost").await.unwrap();
        assert_eq!((found.id(), found.slug().as_str()), (tenant.id(), "new-name"));
        assert_eq!(tenancy.tenant_by_id(tenant.id()).await.unwrap().slug().as_str(), "new-name");
        assert_eq!(guard::Entity::find().count(&found).await.unwrap(), 1);
        assert_eq!(tenancy.get(&slug("old-name")).await.unwrap(), None);
    }
    // An open handle continues, and follows the tenant's status.
    assert_eq!(tenant.slug().as_str(), "old-name");
    assert_eq!(guard::Entity::find().count(&tenant).await.unwrap(), 1);
    tenancy.suspend(&slug("new-name"), None).await.unwrap();
    assert!(guard::Entity::find().count(&tenant).await.is_err());
}

#[tokio::test]
async fn an_alias_leads_to_the_tenant_until_it_expires() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (tenancy, [tenant]) = db.with_tenants(["first"]).await;
    let there = db.tenancy().await;
    rename(&tenancy, "first", "second", alias()).await;
    rename(&tenancy, "second", "third", alias()).await;
    for tenancy in [&tenancy, &there] {
        for name in ["first", "second", "third"] {
            let found = tenancy.tenant(&slug(name)).await.unwrap();
            assert_eq!((found.id(), found.slug().as_str()), (tenant.id(), "third"), "{name}");
            let host = format!("{name}.localhost");
            assert_eq!(tenancy.tenant_by_host(&host).await.unwrap().id(), tenant.id());
        }
    }
    let aliases = tenancy.get(&slug("third")).await.unwrap().unwrap().aliases;
    let slugs: Vec<&str> = aliases.iter().map(|alias| alias.slug.as_str()).collect();
    assert_eq!(slugs, ["first", "second"]);
    assert!(aliases.iter().all(|alias| alias.redirects));

    // It shares the state of the tenant.
    let first = there.tenant(&slug("first")).await.unwrap();
    tenancy.suspend(&slug("third"), None).await.unwrap();
    eventually("it is refused", async || guard::Entity::find().count(&first).await.is_err()).await;
    tenancy.resume(&slug("third")).await.unwrap();

    expire(&plain).await;
    for tenancy in [&tenancy, &there] {
        eventually("the aliases are gone", async || {
            matches!(tenancy.tenant(&slug("first")).await, Err(Error::UnknownTenant(_)))
                && tenancy.tenant_by_host("second.localhost").await.is_err()
        })
        .await;
        assert_eq!(tenancy.get(&slug("third")).await.unwrap().unwrap().aliases, []);
    }
}

#[tokio::test]
async fn an_earlier_slug_is_reserved_for_its_tenant() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (tenancy, _) = db.with_tenants(["acme", "other"]).await;
    rename(&tenancy, "acme", "acme-berlin", RenameOptions::default()).await;
    let acme = slug("acme");
    plain.execute_unprepared("CREATE SCHEMA existing CREATE TABLE guards ()").await.unwrap();
    let mut options = AdoptOptions::schema("existing".parse().unwrap());
    options.allow_differences = true;
    let mut spares = db.config();
    spares.spares = 1;
    let with_spares = Tenancy::connect(&spares).await.unwrap();
    let spare = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
    eventually("there is a spare", async || texts(&plain, spare).await.len() == 1).await;
    let kept = texts(&plain, spare).await;
    for refused in [
        tenancy.create(NewTenant::new(acme.clone())).await.map(drop),
        with_spares.create(NewTenant::new(acme.clone())).await.map(drop),
        tenancy.adopt(NewTenant::new(acme.clone()), &options).await.map(drop),
        tenancy.rename(&slug("other"), &acme, alias()).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        let text = error.to_string();
        let Error::SlugReserved { slug, until, tenant } = error else { panic!("{text}") };
        assert_eq!((slug.as_str(), tenant.as_str()), ("acme", "acme-berlin"));
        assert!(text.contains(&until.format("%Y-%m-%d").to_string()), "{text}");
        assert!(text.contains("for tenant acme-berlin"), "{text}");
    }
    assert_eq!(texts(&plain, spare).await, kept);
    let slugs = "SELECT slug FROM registry.tenants WHERE slug IS NOT NULL ORDER BY 1";
    assert_eq!(texts(&plain, slugs).await, ["acme-berlin", "other"]);

    // Its tenant is renamed back, and the other slug is reserved instead.
    rename(&tenancy, "acme-berlin", "acme", RenameOptions::default()).await;
    rename(&tenancy, "acme", "acme-berlin", RenameOptions::default()).await;
    expire(&plain).await;
    tenancy.create(NewTenant::new(acme.clone())).await.unwrap();
    assert_eq!(texts(&plain, "SELECT slug FROM registry.aliases").await, ["acme"; 0]);
    with_spares.close().await;
}

#[tokio::test]
async fn a_slug_that_is_not_reserved_is_free_at_once() {
    let db = TestDb::new().await;
    let (tenancy, [tenant]) = db.with_tenants(["acme"]).await;
    rename(&tenancy, "acme", "other", free_at_once()).await;
    assert_eq!(tenancy.get(&slug("other")).await.unwrap().unwrap().aliases, []);
    let new = tenancy.create(NewTenant::new(slug("acme"))).await.unwrap();
    assert_ne!(new.id, tenant.id());
    assert_eq!(new.schema.as_str(), "acme_2");
    let found = tenancy.tenant(&slug("acme")).await.unwrap();
    assert_eq!(found.id(), new.id);
    // The slugs are exchanged by way of a third one.
    rename(&tenancy, "acme", "between", free_at_once()).await;
    rename(&tenancy, "other", "acme", free_at_once()).await;
    rename(&tenancy, "between", "other", free_at_once()).await;
    assert_eq!(tenancy.tenant(&slug("acme")).await.unwrap().id(), tenant.id());
    assert_eq!(tenancy.tenant(&slug("other")).await.unwrap().id(), new.id);
}

#[tokio::test]
async fn the_end_of_a_tenant_frees_its_earlier_slugs() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["one", "two"]).await;
    rename(&tenancy, "one", "one-new", alias()).await;
    rename(&tenancy, "two", "two-new", alias()).await;
    tenancy.drop(&slug("one-new")).await.unwrap();
    tenancy.archive(&slug("two-new"), Some(Duration::ZERO)).await.unwrap();
    let error = tenancy.create(NewTenant::new(slug("two"))).await.unwrap_err();
    assert!(matches!(error, Error::SlugReserved { .. }), "{error}");
    tenancy.purge(&slug("two-new"), false).await.unwrap();
    for name in ["one", "two", "one-new", "two-new"] {
        let error = tenancy.tenant(&slug(name)).await.unwrap_err();
        assert!(matches!(error, Error::UnknownTenant(_)), "{name}: {error}");
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
}

#[tokio::test]
async fn a_name_that_is_taken_or_a_tenant_that_is_not_there_is_refused_and_a_repetition_is_not() {
    let db = TestDb::new().await;
    let (tenancy, [one, _]) = db.with_tenants(["one", "two"]).await;
    let new = async |old: &str, new: &str| {
        tenancy.rename(&slug(old), &slug(new), RenameOptions::default()).await
    };
    assert!(
        matches!(new("one", "two").await, Err(Error::SlugTaken(taken)) if taken == slug("two"))
    );
    assert!(matches!(new("none", "new").await, Err(Error::UnknownTenant(_))));
    let before = tenancy.get(one.slug()).await.unwrap().unwrap();
    assert_eq!(new("one", "one").await.unwrap(), before);
    let renamed = new("one", "uno").await.unwrap();
    assert_eq!(new("one", "uno").await.unwrap(), renamed);
    assert!(matches!(new("one", "due").await, Err(Error::UnknownTenant(_))));
    // A tenant of every status keeps it.
    tenancy.suspend(&slug("uno"), None).await.unwrap();
    assert_eq!(new("uno", "one").await.unwrap().status, "suspended");
    tenancy.archive(&slug("one"), Some(Duration::ZERO)).await.unwrap();
    assert_eq!(new("one", "uno").await.unwrap().status, "archived");
    let plain = db.plain().await;
    let dropping = "UPDATE registry.tenants SET status = 'dropping' WHERE slug = 'uno'";
    plain.execute_unprepared(dropping).await.unwrap();
    assert!(matches!(new("uno", "one").await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn a_slug_of_a_creation_in_progress_is_taken_and_free_when_that_is_given_up() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["acme"]).await;
    let there = db.tenancy().await;
    let slow = there.create_with(NewTenant::new(slug("new")), async |_| {
        // As an import, which may take hours.
        let created = tenancy.create(NewTenant::new(slug("new")));
        let created = tokio::time::timeout(Duration::from_secs(20), created).await.unwrap();
        assert!(matches!(created, Err(Error::SlugTaken(_))), "{created:?}");
        let (old, new) = (slug("acme"), slug("new"));
        let renamed = tenancy.rename(&old, &new, RenameOptions::default());
        let renamed = tokio::time::timeout(Duration::from_secs(20), renamed).await.unwrap();
        assert!(matches!(renamed, Err(Error::SlugTaken(_))), "{renamed:?}");
        Err::<(), _>(Error::UnknownTenant(slug("given-up")))
    });
    slow.await.unwrap_err();
    rename(&tenancy, "acme", "new", RenameOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_races_with_a_renaming_does_not_get_the_reserved_slug() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["acme"]).await;
    let there = db.tenancy().await;
    for round in 0..30 {
        let (old, new) = if round % 2 == 0 { ("acme", "other") } else { ("other", "acme") };
        let (old, new) = (slug(old), slug(new));
        let renaming = tenancy.rename(&old, &new, alias());
        let creations = (0..4).map(|_| there.create(NewTenant::new(old.clone())));
        let (renamed, created) = tokio::join!(renaming, futures_util::future::join_all(creations));
        renamed.unwrap();
        for created in created {
            let error = created.unwrap_err();
            assert!(
                matches!(error, Error::SlugTaken(_) | Error::SlugReserved { .. }),
                "round {round}: {error}"
            );
        }
    }
    let living = "SELECT slug FROM registry.tenants WHERE status <> 'dropped'";
    assert_eq!(texts(&db.plain().await, living).await, ["acme"]);
}
