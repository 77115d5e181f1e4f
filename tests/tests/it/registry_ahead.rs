//! Programs of two releases, with a registry that the newer one has migrated.

use sea_orm::DatabaseConnection;
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry::{Error, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Error as MigrationError, Target, Timeouts, confirm_registry, registry,
    run, state,
};

use crate::support::{
    TestDb, catalog::texts, http_server::HttpServer, process::Ran, slug, sql_migration::Sql,
};

/// The registry's migrator of the next release.
#[derive(Clone)]
struct Next;

const NEXT: Sql = Sql {
    name: "m20991231_000001_next",
    up: "ALTER TABLE tenants ADD plan text; CREATE TABLE plans (name text)",
    down: "DROP TABLE plans; ALTER TABLE tenants DROP plan",
    alone: false,
    breaking: false,
};

impl MigratorTraitSelf for Next {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let mut all = registry::Migrator.migrations();
        all.push(Box::new(NEXT));
        all
    }
}

fn next(breaking: &[&'static str]) -> DynMigrator {
    DynMigrator::new(Next).with_breaking(breaking)
}

async fn migrate(db: &DatabaseConnection, migrator: &DynMigrator, action: Action) {
    run(db, &Target::Registry, migrator, &action, Timeouts::default()).await.unwrap();
}

fn migration(db: &TestDb, words: &str) -> Ran {
    Ran::on("migration", &db.url(), &words.split(' ').collect::<Vec<_>>())
}

#[tokio::test]
async fn an_old_program_starts_and_works_on_a_newer_registry() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["tenant-1"]).await;
    let plain = db.plain().await;
    migrate(&plain, &next(&[]), Action::Up(None)).await;

    // A running program continues, and another one starts.
    tenancy.create(NewTenant::new(slug("tenant-2"))).await.unwrap();
    let restarted = db.tenancy().await;
    restarted.create(NewTenant::new(slug("tenant-3"))).await.unwrap();
    tenancy.drop(&slug("tenant-2")).await.unwrap();
    restarted.tenant(&slug("tenant-1")).await.unwrap();
    drop(HttpServer::start(&db.url()));
    Ran::on("tenantry", &db.url(), &["tenant", "create", "tenant-4"]).exits(0);
    for words in [
        "up --registry",
        "up --registry --dry-run",
        "status --registry",
        "list --registry",
        "status",
        "up --all",
        "verify --all",
        "redo --tenant tenant-1",
        "fresh --yes --tenant tenant-3",
    ] {
        migration(&db, words).exits(0);
    }
    let status = migration(&db, "status --registry").exits(0).stdout;
    assert!(status.contains(&DynMigrator::new(registry::Migrator).latest().unwrap()), "{status}");
    // It is unchanged.
    let state = state(&plain, &Target::Registry, &next(&[])).await.unwrap();
    assert_eq!((state.applied.len(), state.pending.len()), (Next.migrations().len(), 0));
    texts(
        &plain,
        "SELECT coalesce(plan, name, '') FROM registry.tenants LEFT JOIN registry.plans ON true",
    )
    .await;
}

#[tokio::test]
async fn old_program_does_not_roll_back_below_newer_migrations() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    migrate(&plain, &next(&[]), Action::Up(None)).await;
    for words in [
        "down --registry",
        "redo --registry",
        "down --registry --dry-run",
        "to m20261123_000001_create_tenants --registry",
    ] {
        migration(&db, words).exits(1).complains([NEXT.name, "Use a newer program"]);
    }
    migration(&db, "fresh --registry --yes").exits(0);
    assert_eq!(state(&plain, &Target::Registry, &next(&[])).await.unwrap().pending, [NEXT.name]);
}

#[tokio::test]
async fn an_old_program_refuses_a_registry_with_a_breaking_migration() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["tenant-1"]).await;
    let plain = db.plain().await;
    let breaking = next(&[NEXT.name]);
    migrate(&plain, &breaking, Action::Up(None)).await;
    tenancy.close().await;

    let error = Tenancy::connect(&db.config()).await.unwrap_err();
    let Error::Migration(MigrationError::RegistryAhead { names }) = &error else {
        panic!("{error}")
    };
    assert_eq!(names, &[NEXT.name]);
    assert!(error.to_string().contains("Use a newer program"), "{error}");
    Ran::on("tenantry", &db.url(), &["tenant", "list"]).exits(1).complains([NEXT.name]);
    for words in [
        "up --registry",
        "status --registry",
        "list --registry",
        "status",
        "up --all",
        "verify --all",
        "up --all --dry-run",
        "fresh --yes --tenant tenant-1",
        "up --schema tenant_1",
    ] {
        migration(&db, words).exits(1).complains([NEXT.name, "Use a newer program"]);
    }
    let old = registry::migrator();
    let up = run(&plain, &Target::Registry, &old, &Action::Up(None), Timeouts::default()).await;
    assert!(matches!(up, Err(MigrationError::RegistryAhead { .. })), "{up:?}");
    // The newer program works with it, also when it no longer calls the migration breaking.
    confirm_registry(&plain, &breaking).await.unwrap();
    migrate(&plain, &next(&[]), Action::Up(None)).await;
}

#[tokio::test]
async fn rolled_back_breaking_migration_is_accepted() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let breaking = next(&[NEXT.name]);
    migrate(&plain, &breaking, Action::Up(None)).await;
    migration(&db, "status").exits(1);
    migrate(&plain, &breaking, Action::Down(1)).await;
    migration(&db, "status").exits(0);
    db.tenancy().await;
    migrate(&plain, &breaking, Action::To(NEXT.name.to_owned())).await;
    Tenancy::connect(&db.config()).await.unwrap_err();
    // Everything is rolled back and applied again.
    migrate(&plain, &breaking, Action::Down(9)).await;
    migrate(&plain, &registry::migrator(), Action::Up(None)).await;
    db.tenancy().await;
}
