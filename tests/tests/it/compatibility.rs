//! A program serves only tenants whose schema is compatible with its build.

use std::{sync::atomic::AtomicBool, time::Duration};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};
use tenantry::{
    Availability, Config, DbErrorKind, Error, NewTenant, Tenancy, Tenant, TenantUnavailable,
    page::PageRequest,
};
use tenantry_migrate::{
    Action, DynMigrator, FleetOptions, Summary, Target, TenantMigrator, TenantSelection, Timeouts,
    VersionStatus, fleet_status, run, run_fleet,
};

use crate::support::{
    TestDb,
    catalog::texts,
    http_server::eventually,
    slug,
    sql_migration::{BOOKS, SHELF, Sql, sql_migrator},
};

const ISBN13: Sql = Sql {
    name: "m3_isbn13",
    up: "ALTER TABLE books RENAME isbn TO isbn13",
    down: "ALTER TABLE books RENAME isbn13 TO isbn",
    alone: false,
    breaking: true,
};

/// A tenancy of a release on the database.
async fn program<const N: usize>(db: &TestDb, migrations: [Sql; N]) -> Tenancy {
    Tenancy::connect(&Config::new(db.url(), sql_migrator(migrations))).await.unwrap()
}

/// Migrates the tenant as a deployment of the release does.
async fn migrate<const N: usize>(db: &DatabaseConnection, migrations: [Sql; N], action: Action) {
    let migrator = DynMigrator::tenant(sql_migrator(migrations));
    let schema = "SELECT schema FROM registry.tenants WHERE slug = 'city' AND status <> 'dropped'";
    let city = Target::Schema(texts(db, schema).await[0].parse().unwrap());
    run(db, &city, &migrator, &action, Timeouts::default()).await.unwrap();
}

fn count() -> Statement {
    Statement::from_string(DbBackend::Postgres, r#"SELECT count(*) FROM "@tenant"."books""#)
}

/// Why a handle is refused, if it is.
async fn refusal(tenant: &Tenant) -> Option<TenantUnavailable> {
    match tenant.query_one_raw(count()).await {
        Ok(_) => None,
        // Rolled back just now and not notified yet: PostgreSQL reports the missing table.
        Err(error) if DbErrorKind::of(&error) == DbErrorKind::UndefinedTable => None,
        Err(error) => {
            Some(TenantUnavailable::find(&error).unwrap_or_else(|| panic!("{error}")).clone())
        }
    }
}

async fn becomes(tenant: &Tenant, availability: Option<Availability>) {
    eventually(&format!("the tenant is {availability:?}"), async || {
        refusal(tenant).await.map(|refused| refused.availability) == availability
    })
    .await;
}

#[tokio::test]
async fn a_tenant_that_is_behind_is_refused_until_it_is_migrated_and_open_handles_follow() {
    let db = TestDb::new().await;
    let old = program(&db, [BOOKS]).await;
    old.create(NewTenant::new(slug("city"))).await.unwrap();
    let of_old = old.tenant(&slug("city")).await.unwrap();
    let new = program(&db, [BOOKS, SHELF]).await;
    let error = new.tenant(&slug("city")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "tenant city is behind: its schema is at m1_books, but this program needs \
         m2_shelf; migrate the tenant"
    );
    let Error::Unavailable(refused) = error else { panic!("{error}") };
    assert_eq!(refused.availability, Availability::Behind);
    assert_eq!(refused.applied.as_deref(), Some("m1_books"));
    assert_eq!(refused.newest.as_deref(), Some("m2_shelf"));

    let plain = db.plain().await;
    migrate(&plain, [BOOKS, SHELF], Action::Up(None)).await;
    eventually("it is found", async || new.tenant(&slug("city")).await.is_ok()).await;
    let of_new = new.tenant(&slug("city")).await.unwrap();
    // The migration that the old release does not know is compatible with it.
    for tenant in [&of_old, &of_new] {
        assert_eq!(refusal(tenant).await, None);
    }

    // And back: open handles are refused, also for new transactions.
    migrate(&plain, [BOOKS, SHELF], Action::Down(1)).await;
    becomes(&of_new, Some(Availability::Behind)).await;
    let error = of_new.begin().await.unwrap_err();
    assert_eq!(TenantUnavailable::find(&error).unwrap().availability, Availability::Behind);
    assert_eq!(refusal(&of_old).await, None);
    migrate(&plain, [BOOKS, SHELF], Action::Down(1)).await;
    becomes(&of_old, Some(Availability::Behind)).await;
    let text = refusal(&of_old).await.unwrap().to_string();
    assert!(
        text.contains("its schema is at no migration, but this program needs m1_books"),
        "{text}"
    );
}

#[tokio::test]
async fn after_a_breaking_migration_only_programs_that_know_it_serve_the_tenant() {
    let db = TestDb::new().await;
    let old = program(&db, [BOOKS]).await;
    old.create(NewTenant::new(slug("city"))).await.unwrap();
    let of_old = old.tenant(&slug("city")).await.unwrap();
    let plain = db.plain().await;
    let all = || [BOOKS, SHELF, ISBN13];
    migrate(&plain, all(), Action::Up(Some(1))).await;
    assert_eq!(refusal(&of_old).await, None);

    migrate(&plain, all(), Action::Up(None)).await;
    becomes(&of_old, Some(Availability::Ahead)).await;
    let text = old.tenant(&slug("city")).await.unwrap_err().to_string();
    assert_eq!(
        text,
        "tenant city is ahead: its schema has the breaking migration m3_isbn13, but this program \
         is at m1_books; use a program that has the migration"
    );
    let new = program(&db, all()).await;
    assert_eq!(refusal(&new.tenant(&slug("city")).await.unwrap()).await, None);

    migrate(&plain, all(), Action::Down(1)).await;
    becomes(&of_old, None).await;
}

#[tokio::test]
async fn a_change_without_a_notification_is_found_when_the_entry_expires() {
    let db = TestDb::new().await;
    program(&db, [BOOKS]).await.create(NewTenant::new(slug("city"))).await.unwrap();
    let mut config = Config::new(db.url(), sql_migrator([BOOKS, SHELF]));
    config.cache_ttl = Duration::from_secs(1);
    let new = Tenancy::connect(&config).await.unwrap();
    new.tenant(&slug("city")).await.unwrap_err();
    let plain = db.plain().await;
    let set = async |version: &str| {
        let sql = format!("UPDATE registry.tenants SET schema_version = '{version}'");
        plain.execute_unprepared(&sql).await.unwrap();
    };
    set("m2_shelf").await;
    eventually("it is found", async || new.tenant(&slug("city")).await.is_ok()).await;
    let tenant = new.tenant(&slug("city")).await.unwrap();
    set("m1_books").await;
    becomes(&tenant, Some(Availability::Behind)).await;
}

#[tokio::test]
async fn the_operator_works_with_a_tenant_that_is_behind_or_ahead() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    for (number, new) in [("1", true), ("2", false)] {
        let mut tenancy = program(&db, [BOOKS]).await;
        tenancy.create(NewTenant::new(slug("city"))).await.unwrap();
        if new {
            tenancy = program(&db, [BOOKS, SHELF]).await;
        } else {
            migrate(&plain, [BOOKS, SHELF, ISBN13], Action::Up(None)).await;
        }
        eventually("it is refused", async || tenancy.tenant(&slug("city")).await.is_err()).await;
        let hostname = format!("books-{number}.example.org").parse().unwrap();
        tenancy.domain_add(&slug("city"), &hostname).await.unwrap();
        let found = tenancy.get(&slug("city")).await.unwrap().unwrap();
        assert_eq!((found.status, found.domains), ("active", vec![hostname.clone()]));
        let list = tenancy.list(PageRequest::default()).await.unwrap();
        assert_eq!(list.items.len(), 1);
        tenancy.domain_remove(&slug("city"), &hostname).await.unwrap();
        tenancy.drop(&slug("city")).await.unwrap();
        assert_eq!(tenancy.get(&slug("city")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_suspended_tenant_is_suspended_whatever_its_schema_is() {
    let db = TestDb::new().await;
    program(&db, [BOOKS]).await.create(NewTenant::new(slug("city"))).await.unwrap();
    let plain = db.plain().await;
    for status in ["suspended", "archived"] {
        let set = format!("UPDATE registry.tenants SET status = '{status}'");
        plain.execute_unprepared(&set).await.unwrap();
        let error = program(&db, [BOOKS, SHELF]).await.tenant(&slug("city")).await.unwrap_err();
        assert_eq!(error.to_string(), format!("tenant city is {status}"));
    }
}

/// One tenant after the other, each once.
fn fleet() -> FleetOptions {
    FleetOptions { max_attempts: 1, outage_timeout: Duration::ZERO, ..FleetOptions::default() }
}

/// A migrator whose list of breaking migrations has a typing error.
struct Misspelt;

impl MigratorTraitSelf for Misspelt {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(BOOKS), Box::new(ISBN13)]
    }
}

impl TenantMigrator for Misspelt {
    fn breaking(&self) -> Vec<&'static str> {
        vec!["m3_isbn31"]
    }
}

#[tokio::test]
async fn breaking_must_list_known_migrations() {
    let db = TestDb::new().await;
    program(&db, [BOOKS]).await.create(NewTenant::new(slug("city"))).await.unwrap();
    let wanted = "breaking() lists \"m3_isbn31\", but the migrator has no migration";
    let error = Tenancy::connect(&Config::new(db.url(), Misspelt)).await.unwrap_err();
    assert!(error.to_string().starts_with(wanted), "{error}");

    let plain = db.plain().await;
    let (migrator, action) = (DynMigrator::tenant(Misspelt), Action::Up(None));
    let city = Target::Schema("city".parse().unwrap());
    let error = run(&plain, &city, &migrator, &action, Timeouts::default()).await.unwrap_err();
    assert!(error.to_string().starts_with(wanted), "{error}");
    let fleet = fleet();
    let stop = AtomicBool::new(false);
    let ran =
        run_fleet(&plain, &migrator, &TenantSelection::All, &action, &fleet, &stop, |_| {}).await;
    let error = ran.unwrap_err();
    assert!(error.to_string().starts_with(wanted), "{error}");
    let version = "SELECT schema_version FROM registry.tenants";
    assert_eq!(texts(&plain, version).await, ["m1_books"]);
}

/// Releases of two branches, neither of which knows the other's third migration.
const OURS: Sql = Sql {
    name: "m4_ours",
    up: "ALTER TABLE books ADD COLUMN ours text",
    down: "ALTER TABLE books DROP COLUMN ours",
    alone: false,
    breaking: false,
};
const THEIRS: Sql = Sql {
    name: "m5_theirs",
    up: "ALTER TABLE books ADD COLUMN theirs text",
    down: "ALTER TABLE books DROP COLUMN theirs",
    alone: false,
    breaking: false,
};

#[tokio::test]
async fn a_tenant_that_lacks_a_migration_is_refused_also_when_a_later_unknown_one_is_applied() {
    let db = TestDb::new().await;
    let theirs = program(&db, [BOOKS, SHELF, THEIRS]).await;
    theirs.create(NewTenant::new(slug("city"))).await.unwrap();
    let ours = program(&db, [BOOKS, SHELF, OURS]).await;
    let error = ours.tenant(&slug("city")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "tenant city is behind: its schema is at m2_shelf, but this program needs m4_ours; \
         migrate the tenant with a program that also has m5_theirs, which is applied to the schema"
    );
    let Error::Unavailable(refused) = error else { panic!("{error}") };
    assert_eq!(refused.availability, Availability::Behind);
    assert_eq!(refused.unknown.as_deref(), Some("m5_theirs"));

    // Programs of both branches serve it as soon as it has the migrations of both.
    let all = || [BOOKS, SHELF, OURS, THEIRS];
    let merged = program(&db, all()).await;
    let error = merged.tenant(&slug("city")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "tenant city is behind: its schema is at m2_shelf, but this program needs m5_theirs; \
         migrate the tenant"
    );
    let plain = db.plain().await;
    migrate(&plain, all(), Action::Up(None)).await;
    for tenancy in [&ours, &theirs, &merged] {
        eventually("it is found", async || tenancy.tenant(&slug("city")).await.is_ok()).await;
        assert_eq!(refusal(&tenancy.tenant(&slug("city")).await.unwrap()).await, None);
    }
}

#[tokio::test]
async fn open_handles_are_refused_when_a_migration_below_an_unknown_one_is_rolled_back() {
    let db = TestDb::new().await;
    let all = || [BOOKS, SHELF, OURS, THEIRS];
    program(&db, all()).await.create(NewTenant::new(slug("city"))).await.unwrap();
    let ours = program(&db, [BOOKS, SHELF, OURS]).await;
    let tenant = ours.tenant(&slug("city")).await.unwrap();
    assert_eq!(refusal(&tenant).await, None);
    let plain = db.plain().await;
    // All migrations are rolled back, and a program of the other branch applies its own.
    migrate(&plain, all(), Action::Down(2)).await;
    becomes(&tenant, Some(Availability::Behind)).await;
    migrate(&plain, [BOOKS, SHELF, THEIRS], Action::Up(None)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(refusal(&tenant).await.unwrap().availability, Availability::Behind);
}

#[tokio::test]
async fn a_fleet_run_finds_tenants_that_lack_a_migration_below_their_newest() {
    let db = TestDb::new().await;
    let theirs = program(&db, [BOOKS, SHELF, THEIRS]).await;
    for name in ["city", "village"] {
        theirs.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let merged = || DynMigrator::tenant(sql_migrator([BOOKS, SHELF, OURS, THEIRS]));
    let plain = db.plain().await;
    let status = fleet_status(&plain, &merged()).await.unwrap();
    assert_eq!((status.tenants, status.up_to_date), (2, 0));
    let [version] = status.versions.as_slice() else { panic!("{status:?}") };
    assert_eq!(version.version.as_deref(), Some("m5_theirs"));
    assert_eq!(version.status, VersionStatus::Behind { behind: 1 });
    // It is the same for a program that does not know the newest.
    let ours = DynMigrator::tenant(sql_migrator([BOOKS, SHELF, OURS]));
    let status = fleet_status(&plain, &ours).await.unwrap();
    assert_eq!(status.versions[0].status, VersionStatus::Behind { behind: 1 });

    let fleet = fleet();
    let (stop, up) = (AtomicBool::new(false), Action::Up(None));
    let run = async || {
        run_fleet(&plain, &merged(), &TenantSelection::All, &up, &fleet, &stop, |_| {}).await
    };
    assert_eq!(run().await.unwrap().done, 2);
    assert_eq!(run().await.unwrap(), Summary { skipped: 2, ..Summary::default() });
    let status = fleet_status(&plain, &merged()).await.unwrap();
    assert!(status.is_up_to_date(), "{status:?}");
    let columns =
        "SELECT count(*)::text FROM information_schema.columns WHERE column_name = 'ours'";
    assert_eq!(texts(&plain, columns).await, ["2"]);
}

#[tokio::test]
async fn a_spare_that_lacks_a_migration_is_not_taken() {
    let db = TestDb::new().await;
    let spares = |config: Config| Config { spares: 1, ..config };
    let theirs = sql_migrator([BOOKS, SHELF, THEIRS]);
    let theirs = Tenancy::connect(&spares(Config::new(db.url(), theirs))).await.unwrap();
    let plain = db.plain().await;
    let ready = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
    eventually("there is a spare", async || texts(&plain, ready).await.len() == 1).await;
    theirs.close().await;
    let merged = sql_migrator([BOOKS, SHELF, OURS, THEIRS]);
    let merged = Tenancy::connect(&spares(Config::new(db.url(), merged))).await.unwrap();
    merged.create(NewTenant::new(slug("city"))).await.unwrap();
    let city = merged.tenant(&slug("city")).await.unwrap();
    let ours = r#"SELECT ours FROM "@tenant"."books""#;
    city.query_all_raw(Statement::from_string(DbBackend::Postgres, ours)).await.unwrap();
    assert_eq!(texts(&plain, ready).await.len(), 1);
    merged.close().await;
}

#[tokio::test]
async fn an_older_breaking_migration_is_not_hidden_by_a_newer_one_that_the_program_knows() {
    let db = TestDb::new().await;
    let newer = Sql { breaking: true, ..OURS };
    let all = || [BOOKS, SHELF, ISBN13, newer.clone()];
    program(&db, all()).await.create(NewTenant::new(slug("city"))).await.unwrap();
    let old = program(&db, [BOOKS, SHELF, newer.clone()]).await;
    let error = old.tenant(&slug("city")).await.unwrap_err();
    let Error::Unavailable(refused) = error else { panic!("{error}") };
    assert_eq!(
        (refused.availability, refused.applied.as_deref()),
        (Availability::Ahead, Some("m3_isbn13"))
    );
}
