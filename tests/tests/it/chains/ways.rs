//! The ways in which migrations are executed.

use std::sync::{Mutex, atomic::AtomicBool};

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DbErrorKind, DynMigrator, Event, FleetOptions, Target, TenantSelection, Timeouts,
    create_schema, create_schema_with_commits,
    drift::{VerifyTarget, read_structure, verify},
    dry_run,
    lint::{Profile, Rule, check},
    make_extensions, run, run_fleet,
};

use super::Chain;
use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    http_server::eventually,
    slug,
};

/// Result of a chain in one way.
type End = Result<Made, String>;

/// The structure of a schema, and what a query returns in it.
#[derive(Debug, PartialEq)]
struct Made {
    structure: tenantry_migrate::drift::Structure,
    rows: Vec<String>,
}

/// Asserts that the chain has the same result in every way, that `probe` returns these rows, and that
/// it can be rolled back.
pub(super) async fn works_everywhere(chain: Chain, probe: &str, rows: &[&str]) {
    let ends = every_end(chain, probe).await;
    let expected = ends[0].1.as_ref().unwrap_or_else(|error| panic!("{}: {error}", ends[0].0));
    assert_eq!(expected.rows, rows);
    for (way, end) in &ends {
        match end {
            Ok(made) => assert_eq!(made, expected, "{way}"),
            Err(error) => panic!("{way}: {error}"),
        }
    }
}

/// Asserts that the chain fails in every way with a message that contains these words, and is rolled
/// back.
pub(super) async fn fails_everywhere(chain: Chain, words: &[&str]) {
    for (way, end) in every_end(chain, "SELECT 'made'").await {
        let error = match end {
            Err(error) => error,
            Ok(made) => panic!("{way} made {made:?}"),
        };
        for word in words {
            assert!(error.contains(word), "{way}: no {word:?} in {error}");
        }
    }
}

async fn every_end(chain: Chain, probe: &str) -> Vec<(&'static str, End)> {
    let odd = Chain { odd: true, ..chain };
    vec![
        ("creation", created(chain, probe).await),
        ("creation, between two batches", created(odd, probe).await),
        ("creation, one by one", provisioned(chain, probe).await),
        ("up", migrated_at_once(chain, probe).await),
        ("up, step by step", migrated_step_by_step(chain, probe).await),
        ("fleet", fleet(chain, probe, 8).await),
        ("fleet that cannot be recorded", fleet(odd, probe, 8).await),
        ("small fleet", fleet(chain, probe, 2).await),
        ("spare", spare(chain, probe).await),
        ("check", checked(chain, probe).await),
        ("dry run", dry_run_by_hand(chain, probe).await),
    ]
}

const NO_LIMIT: Timeouts = Timeouts { lock: None, snapshot: None, statement: None };

fn city() -> Target {
    Target::Schema("city".parse().unwrap())
}

/// A database with the extensions of the chain.
async fn database(chain: Chain) -> TestDb {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    make_extensions(&plain, &DynMigrator::tenant(chain)).await.unwrap();
    plain.close().await.unwrap();
    db
}

/// A new tenant; verify finds no drift.
async fn created(chain: Chain, probe: &str) -> End {
    let db = database(chain).await;
    let plain = db.plain().await;
    let before = schemas(&plain).await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), chain)).await.unwrap();
    match tenancy.create(NewTenant::new(slug("city"))).await {
        Ok(_) => verified(&plain, chain).await?,
        Err(error) => {
            assert_eq!(schemas(&plain).await, before);
            assert_eq!(texts(&plain, "SELECT schema FROM registry.tenants").await, [""; 0]);
            return Err(error.to_string());
        }
    }
    Ok(made(&plain, "city", probe).await)
}

/// A schema without a registry row, from migrations that were not recorded.
async fn provisioned(chain: Chain, probe: &str) -> End {
    let db = database(chain).await;
    let plain = db.plain().await;
    let mut txn = plain.begin().await.unwrap();
    let (city, migrator) = ("city".parse().unwrap(), DynMigrator::tenant(chain));
    let mut provisioned = create_schema(&txn, &city, &migrator).await;
    // The caller decides where to commit.
    if provisioned
        .as_ref()
        .is_err_and(|error| error.db_error_kind() == Some(DbErrorKind::NeedsCommit))
    {
        txn.rollback().await.unwrap();
        txn = plain.begin().await.unwrap();
        provisioned = create_schema_with_commits(&txn, &city, &migrator).await;
    }
    provisioned.map_err(|error| error.to_string())?;
    txn.commit().await.unwrap();
    Ok(made(&plain, "city", probe).await)
}

/// An empty schema: all steps in one run, then rolled back.
async fn migrated_at_once(chain: Chain, probe: &str) -> End {
    let db = database(chain).await;
    let plain = db.plain().await;
    texts(&plain, "CREATE SCHEMA city").await;
    let migrator = DynMigrator::tenant(chain);
    let up = run(&plain, &city(), &migrator, &Action::Up(None), NO_LIMIT).await;
    let outcome = up.map_err(|error| error.to_string())?;
    assert_eq!(outcome.applied, migrator.names());
    let result = made(&plain, "city", probe).await;
    let all = u32::try_from(migrator.names().len()).unwrap();
    let down = run(&plain, &city(), &migrator, &Action::Down(all), NO_LIMIT).await;
    down.map_err(|error| error.to_string())?;
    let left = "SELECT relname::text FROM pg_class WHERE relnamespace = 'city'::regnamespace
                AND relkind IN ('r', 'v', 'S', 'm', 'p')";
    assert_eq!(texts(&plain, left).await, ["seaql_migrations"]);
    assert_eq!(texts(&plain, "SELECT version FROM city.seaql_migrations").await, [""; 0]);
    Ok(result)
}

async fn migrated_step_by_step(chain: Chain, probe: &str) -> End {
    let db = database(chain).await;
    let plain = db.plain().await;
    texts(&plain, "CREATE SCHEMA city").await;
    let migrator = DynMigrator::tenant(chain);
    for _ in migrator.names() {
        let up = run(&plain, &city(), &migrator, &Action::Up(Some(1)), NO_LIMIT).await;
        up.map_err(|error| error.to_string())?;
    }
    Ok(made(&plain, "city", probe).await)
}

/// Tenants of an earlier release, which had only the first migration.
async fn fleet(chain: Chain, probe: &str, tenants: usize) -> End {
    let db = database(chain).await;
    let plain = db.plain().await;
    let before = Tenancy::connect(&Config::new(db.url(), Chain { limit: 1, ..chain })).await;
    for number in 1..=tenants {
        let name = format!("city-{number}");
        before.as_ref().unwrap().create(NewTenant::new(slug(&name))).await.unwrap();
    }
    let migrator = DynMigrator::tenant(chain);
    let fleet = FleetOptions { timeouts: NO_LIMIT, ..FleetOptions::default() };
    let errors = Mutex::new(Vec::new());
    let report = |event: &Event<'_>| {
        if let Event::Failed { error, .. } = event {
            errors.lock().unwrap().push(error.to_string());
        }
    };
    let (action, stop) = (Action::Up(None), AtomicBool::new(false));
    run_fleet(&plain, &migrator, &TenantSelection::All, &action, &fleet, &stop, report)
        .await
        .unwrap();
    if let Some(error) = errors.into_inner().unwrap().pop() {
        return Err(error);
    }
    verified(&plain, chain).await?;
    let first = made(&plain, "city_1", probe).await;
    let last = made(&plain, &format!("city_{tenants}"), probe).await;
    assert_eq!(last, first);
    Ok(last)
}

/// A spare.
async fn spare(chain: Chain, probe: &str) -> End {
    let db = database(chain).await;
    let plain = db.plain().await;
    let before = schemas(&plain).await;
    let config = Config { spares: 1, ..Config::new(db.url(), chain) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    // No spare is created if the migrations fail.
    if let Err(error) =
        tenantry_migrate::drift::embeds_schema_name(&plain, &DynMigrator::tenant(chain)).await
    {
        assert_eq!(schemas(&plain).await, before);
        return Err(error.to_string());
    }
    let spares = "SELECT count(*)::text FROM registry.tenants WHERE status = 'spare'";
    eventually("there is a spare", async || texts(&plain, spares).await == ["1"]).await;
    tenancy.create(NewTenant::new(slug("city"))).await.map_err(|error| error.to_string())?;
    let renamed = |sql: &String| sql.contains("RENAME TO \"city\"");
    assert!(db.statements().iter().any(renamed), "the spare was not taken");
    tenancy.close().await;
    verified(&plain, chain).await?;
    Ok(made(&plain, "city", probe).await)
}

/// The lint reports the failure. It creates no tenant, so there is nothing to compare.
async fn checked(chain: Chain, probe: &str) -> End {
    let db = database(chain).await;
    let plain = db.plain().await;
    let before = schemas(&plain).await;
    let report = check(&plain, &DynMigrator::tenant(chain), Profile::Citus).await.unwrap();
    assert_eq!(schemas(&plain).await, before);
    let wrong = [
        Rule::MigrationFails,
        Rule::TransactionControl,
        Rule::Extension,
        Rule::DiffersBetweenSchemas,
    ];
    if let Some(finding) = report.findings.iter().find(|it| wrong.contains(&it.rule)) {
        return Err(format!("migration {} {}", finding.migration, finding.message));
    }
    created(chain, probe).await
}

/// The script of a dry run, executed by hand.
async fn dry_run_by_hand(chain: Chain, probe: &str) -> End {
    let db = database(chain).await;
    let plain = db.plain().await;
    texts(&plain, "CREATE SCHEMA city").await;
    let migrator = DynMigrator::tenant(chain);
    let script = dry_run(&plain, &city(), &migrator, &Action::Up(None)).await;
    let left = "SELECT relname::text FROM pg_class WHERE relnamespace = 'city'::regnamespace";
    assert_eq!(texts(&plain, left).await, [""; 0]);
    let script = script.map_err(|error| error.to_string())?;
    let hand = one_connection(&db.url()).await;
    for sql in script {
        hand.execute_unprepared(&sql).await.map_err(|error| error.to_string())?;
    }
    Ok(made(&plain, "city", probe).await)
}

async fn one_connection(url: &str) -> DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    tenantry_migrate::connect::open(options).await.unwrap()
}

async fn verified(db: &DatabaseConnection, chain: Chain) -> Result<(), String> {
    let found = verify(db, &DynMigrator::tenant(chain), &VerifyTarget::All).await;
    let found = found.map_err(|error| error.to_string())?;
    if found.is_clean() { Ok(()) } else { Err(found.to_string()) }
}

async fn made(db: &DatabaseConnection, schema: &str, probe: &str) -> Made {
    let txn = db.begin().await.unwrap();
    let structure = read_structure(&txn, &schema.parse().unwrap()).await.unwrap();
    txn.execute_unprepared(&format!("SET LOCAL search_path = {schema}")).await.unwrap();
    let probe = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, probe);
    let rows = txn.query_all_raw(probe).await.unwrap();
    let rows = rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
    txn.rollback().await.unwrap();
    Made { structure, rows }
}
