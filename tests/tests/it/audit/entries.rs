use std::time::Duration;

use migration::Migrator;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder,
};
use serde_json::{Value, json};
use tenantry::{
    Actor, AdoptOptions, Config, Limits, Metadata, NewTenant, RenameOptions, Tenancy, TenantUpdate,
};
use tenantry_migrate::{
    Action, DynMigrator, FleetOptions, Target, TenantSelection, Timeouts, run, run_fleet,
};
use tenantry_registry::audit;

use crate::support::{TestDb, catalog::texts, http_server::eventually, slug, tcp_proxy::TcpProxy};

/// All entries, oldest first.
async fn entries(db: &DatabaseConnection) -> Vec<audit::Model> {
    audit::Entity::find().order_by_asc(audit::Column::Id).all(db).await.unwrap()
}

fn actions(entries: &[audit::Model]) -> Vec<&str> {
    entries.iter().map(|entry| entry.action.as_str()).collect()
}

fn after(entry: &audit::Model) -> &Value {
    entry.after.as_ref().unwrap()
}

#[tokio::test]
async fn every_change_of_a_tenant_is_recorded_once_with_the_actor_and_what_changed() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let config = Config { actor: "billing".to_owned(), ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let tenant_1 = slug("tenant-1");
    let host = "acme.example.org".parse().unwrap();
    let new = NewTenant {
        metadata: Metadata::new(&json!({ "plan": "secret" })).unwrap(),
        domains: vec!["www.example.org".parse().unwrap()],
        ..NewTenant::new(tenant_1.clone())
    };
    let id = tenancy.create(new).await.unwrap().id;
    let admin = Actor { request_id: Some("r-1".to_owned()), ..Actor::new("abu\n") };
    let tenancy = tenancy.acting_as(admin);
    let name = |name: &str| TenantUpdate::new().name(Some(name.parse().unwrap()));
    for _ in 0..2 {
        // The second time, nothing changes.
        tenancy.update(&tenant_1, name("Acme")).await.unwrap();
        tenancy.domain_add(&tenant_1, &host).await.unwrap();
    }
    let changed = Metadata::new(&json!({ "plan": "other secret" })).unwrap();
    tenancy.update(&tenant_1, TenantUpdate::new().metadata(changed)).await.unwrap();
    let limits = Limits { max_waiting: Some(3), ..Limits::default() };
    tenancy.limit(&tenant_1, limits).await.unwrap();
    tenancy.limit(&tenant_1, limits).await.unwrap();
    tenancy.domain_remove(&tenant_1, &host).await.unwrap();
    tenancy.domain_remove(&tenant_1, &host).await.unwrap_err();
    tenancy.drop(&tenant_1).await.unwrap();
    tenancy.drop(&tenant_1).await.unwrap_err();

    let found = entries(&plain).await;
    let expected = [
        "created",
        "updated",
        "domain_added",
        "updated",
        "limited",
        "domain_removed",
        "dropping",
        "dropped",
    ];
    assert_eq!(actions(&found), expected);
    for entry in &found {
        assert_eq!(entry.tenant_id, Some(id));
        assert_eq!(entry.slug.as_ref(), Some(&tenant_1));
        assert!(!format!("{entry:?}").contains("secret"), "{entry:?}");
    }
    let [created, renamed, added, changed, limited, removed, dropping, _] = &found[..] else {
        panic!();
    };
    assert_eq!((created.actor.as_str(), &created.request_id), ("billing", &None));
    assert_eq!(created.before, None);
    for (key, value) in [
        ("schema", json!("tenant_1")),
        ("status", json!("active")),
        ("domains", json!(["www.example.org"])),
        ("metadata", json!(["plan"])),
    ] {
        assert_eq!(after(created)[key], value);
    }
    for entry in &found[1..] {
        assert_eq!((entry.actor.as_str(), entry.request_id.as_deref()), ("abu", Some("r-1")));
    }
    assert_eq!(renamed.before, Some(json!({ "name": null })));
    assert_eq!(after(renamed), &json!({ "name": "Acme" }));
    assert_eq!(after(added), &json!({ "hostname": "acme.example.org" }));
    assert_eq!(after(changed), &json!({ "metadata": ["plan"] }));
    assert_eq!(limited.before, Some(json!({ "max_waiting": null })));
    assert_eq!(after(limited), &json!({ "max_waiting": 3 }));
    assert_eq!(removed.before, Some(json!({ "hostname": "acme.example.org" })));
    assert_eq!(dropping.before, Some(json!({ "status": "active", "purge_after": null })));
    assert_eq!(after(dropping), &json!({ "forced": false, "cascade": false }));
    // The entry of a change and its notification are one statement.
    let notify = |sql: &&String| sql.contains("pg_notify") && !sql.contains("heartbeat");
    let sent: Vec<String> = db.statements().iter().filter(notify).cloned().collect();
    let apart: Vec<&String> = sent.iter().filter(|sql| !sql.contains("registry.audit")).collect();
    assert_eq!((sent.len(), apart.len()), (found.len(), 1), "{sent:?}");
}

#[tokio::test]
async fn the_steps_of_a_tenants_life_are_recorded_with_their_reasons() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (tenancy, _) = db.with_tenants(["tenant-1"]).await;
    let (tenant_1, renamed) = (slug("tenant-1"), slug("renamed"));
    for _ in 0..2 {
        // The second time, nothing changes.
        let reason = "invoice 4711".parse().unwrap();
        tenancy.suspend(&tenant_1, Some(reason)).await.unwrap();
    }
    tenancy.resume(&tenant_1).await.unwrap();
    tenancy.rename(&tenant_1, &renamed, RenameOptions::default()).await.unwrap();
    tenancy.rename(&tenant_1, &renamed, RenameOptions::default()).await.unwrap();
    tenancy.archive(&renamed, Some(Duration::ZERO)).await.unwrap();
    tenancy.restore(&renamed).await.unwrap();
    tenancy.resume(&slug("unknown")).await.unwrap_err();
    let found = entries(&plain).await;
    let expected = ["created", "suspended", "resumed", "renamed", "archived", "restored"];
    assert_eq!(actions(&found), expected);
    let [_, suspended, _, rename, archived, restored] = &found[..] else { panic!() };
    let status = json!({ "status": "active", "status_reason": null });
    assert_eq!(suspended.before, Some(status));
    let status = json!({ "status": "suspended", "status_reason": "invoice 4711" });
    assert_eq!(after(suspended), &status);
    assert_eq!(rename.before, Some(json!({ "slug": "tenant-1" })));
    assert_eq!((&after(rename)["slug"], &rename.slug), (&json!("renamed"), &Some(renamed)));
    assert_eq!(after(rename)["alias"], false);
    assert!(after(rename)["reserved_until"].is_string());
    assert_eq!(after(archived)["status"], "archived");
    assert!(after(archived)["purge_after"].is_string());
    assert_eq!(after(restored), &json!({ "status": "active", "purge_after": null }));
}

#[tokio::test]
async fn a_tenant_of_a_spare_and_an_adopted_one_are_recorded_and_a_spare_is_not() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let config = Config { spares: 1, ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let spares = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
    eventually("there is a spare", async || texts(&plain, spares).await.len() == 1).await;
    assert!(entries(&plain).await.is_empty());
    tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
    let taken = tenancy.create(NewTenant::new(slug("tenant-1"))).await;
    taken.unwrap_err();
    let source = Target::Schema("Old Acme".parse().unwrap());
    plain.execute_unprepared(r#"CREATE SCHEMA "Old Acme""#).await.unwrap();
    let (migrator, up) = (DynMigrator::new(Migrator), Action::Up(None));
    run(&plain, &source, &migrator, &up, Timeouts::default()).await.unwrap();
    let mut options = AdoptOptions::schema("Old Acme".parse().unwrap());
    options.dry_run = true;
    let new = || NewTenant::new(slug("acme"));
    tenancy.adopt(new(), &options).await.unwrap();
    options.dry_run = false;
    tenancy.adopt(new(), &options).await.unwrap();
    let found = entries(&plain).await;
    assert_eq!(actions(&found), ["created", "adopted"]);
    assert_eq!(after(&found[0])["schema"], "tenant_1");
    assert_eq!(after(&found[1])["schema"], "Old Acme");
}

#[tokio::test]
async fn a_creation_takes_no_further_round_trip_for_its_entry() {
    let db = TestDb::new().await;
    let wire = TcpProxy::new().await;
    let config = Config::new(wire.url(db.name()), Migrator);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
    tenancy.create(NewTenant::new(slug("tenant-2"))).await.unwrap();
    let before = db.statements().len();
    tenancy.create(NewTenant::new(slug("tenant-3"))).await.unwrap();
    let sent = db.statements().split_off(before);
    let audit: Vec<&String> = sent.iter().filter(|sql| sql.contains("registry.audit")).collect();
    assert_eq!(audit.len(), 1, "{sent:?}");
    assert!(audit[0].contains("INSERT INTO registry.tenants"), "{audit:?}");
}

#[tokio::test]
async fn runs_record_the_migrations_of_each_tenant_in_the_statement_that_updates_its_row() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = db.tenancy().await;
    // Enough for batches.
    for number in 0..10 {
        tenancy.create(NewTenant::new(slug(&format!("tenant-{number}")))).await.unwrap();
    }
    let migrator = DynMigrator::new(Migrator);
    let names = migrator.names();
    let options = FleetOptions { jobs: 2, ..FleetOptions::default() };
    let stop = std::sync::atomic::AtomicBool::new(false);
    let fleet = async |action: Action| {
        let all = TenantSelection::All;
        run_fleet(&plain, &migrator, &all, &action, &options, &stop, |_| {}).await.unwrap()
    };
    let migrated = async || {
        let select = audit::Entity::find().filter(audit::Column::Action.eq("migrated"));
        select.order_by_asc(audit::Column::Id).all(&plain).await.unwrap()
    };
    fleet(Action::Down(1)).await;
    let down = migrated().await;
    assert_eq!(down.len(), 10);
    let last = names.last().unwrap();
    let previous = &names[names.len() - 2];
    for entry in &down {
        assert_eq!(entry.actor, "migration");
        assert_eq!(entry.before, Some(json!({ "schema_version": last })));
        let expected = json!({ "schema_version": previous, "rolled_back": [last] });
        assert_eq!(after(entry), &expected);
    }
    fleet(Action::Up(None)).await;
    let up = migrated().await.split_off(10);
    assert_eq!(up.len(), 10);
    for entry in &up {
        assert_eq!(after(entry), &json!({ "schema_version": last, "applied": [last] }));
    }
    // Nothing is pending.
    fleet(Action::Up(None)).await;
    fleet(Action::To(last.clone())).await;
    assert_eq!(migrated().await.len(), 20);
    let statements = db.statements();
    let batched = statements
        .iter()
        .filter(|sql| sql.contains("'migrated'") && sql.contains("UPDATE registry.tenants"));
    assert!(batched.count() >= 20);
}
