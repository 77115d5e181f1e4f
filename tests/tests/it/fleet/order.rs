//! Which tenants are migrated, and in which order.

use std::collections::HashSet;

use sea_orm::ConnectionTrait;
use tenantry_migrate::{
    Canary, FailureLimit, FleetOptions, StopReason, TenantSelection, fleet_tenants,
};

use super::*;
use crate::support::{
    sql_migration::{PRICE, SHELF, Sql},
    statement_log::Mark,
};

/// Fails where a book has no title.
const TITLED: Sql = Sql {
    name: "m2_titled",
    up: "ALTER TABLE books ALTER COLUMN title SET NOT NULL",
    down: "ALTER TABLE books ALTER COLUMN title DROP NOT NULL",
    alone: false,
    breaking: false,
};

/// Puts a book without a title into these towns.
async fn spoil(db: &DatabaseConnection, towns: impl IntoIterator<Item = usize>) {
    for town in towns {
        let sql = format!("INSERT INTO town_{town}.books VALUES ('1', NULL)");
        db.execute_unprepared(&sql).await.unwrap();
    }
}

#[tokio::test]
async fn a_run_that_has_nothing_to_do_is_one_query_of_the_registry() {
    let db = towns(30).await;
    let plain = db.plain().await;
    let mark = Mark::now(crate::support::database::server());
    let ran = up(&plain, sql_migrator([BOOKS]), &fleet()).await;
    assert_eq!(ran.summary, Summary { skipped: 30, ..Summary::default() });
    let statements = mark.statements(db.name());
    let asked = statements.iter().filter(|(_, sql)| sql.contains("registry")).count();
    // The other one waits for tenants that are being created.
    assert_eq!((asked, statements.len()), (1, 2), "{statements:#?}");
}

#[tokio::test]
async fn each_tenant_is_migrated_in_one_batch() {
    let db = towns(12).await;
    let plain = pool(&db.url(), 4).await;
    let mark = Mark::now(crate::support::database::server());
    let ran = up(&plain, sql_migrator([BOOKS, SHELF, PRICE]), &fleet()).await;
    assert_eq!(ran.summary, Summary { done: 12, ..Summary::default() });
    let statements = mark.statements(db.name());
    let migrates = |sql: &str| sql.contains("ADD COLUMN shelf") && sql.contains("ADD COLUMN price");
    // Except those that record the migrations.
    let recordings = statements.iter().filter(|(_, sql)| sql.contains("tenantry_recording"));
    let recordings: HashSet<&String> = recordings.map(|(session, _)| session).collect();
    let (migrating, others): (Vec<_>, Vec<_>) = statements
        .iter()
        .filter(|(session, sql)| migrates(sql) || !recordings.contains(session))
        .partition(|(_, sql)| migrates(sql));
    assert_eq!(migrating.len(), 12, "{statements:#?}");
    // Twice: tenants behind, tenants being created. Once: NOTIFY.
    assert!(others.len() < 9, "{others:#?}");
    assert_eq!(versions(&plain).await, ["12 m4_price"]);
}

#[tokio::test]
async fn schema_that_differs_from_the_registry_is_detected() {
    let db = towns(4).await;
    let plain = pool(&db.url(), 4).await;
    // Migrated by hand; without its migrations table; rolled back by hand.
    let by_hand = "ALTER TABLE town_1.books ADD COLUMN shelf text;
        INSERT INTO town_1.seaql_migrations VALUES ('m2_shelf', 0);
        DROP TABLE town_2.seaql_migrations;
        DROP TABLE town_3.books; DELETE FROM town_3.seaql_migrations";
    plain.execute_unprepared(by_hand).await.unwrap();
    let one = FleetOptions { jobs: 1, ..fleet() };
    let ran = up(&plain, sql_migrator([BOOKS, SHELF]), &one).await;
    assert_eq!(ran.summary, Summary { skipped: 1, done: 2, failed: 1, ..Summary::default() });
    assert!(ran.failed[0].1.contains("m1_books failed in schema \"town_2\""), "{ran:?}");
    assert_eq!(versions(&plain).await, ["1 m1_books", "3 m2_shelf"]);
    let shelves = "SELECT nspname::text FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
                   JOIN pg_namespace n ON n.oid = relnamespace
                   WHERE attname = 'shelf' AND relname = 'books' ORDER BY 1";
    assert_eq!(
        crate::support::catalog::texts(&plain, shelves).await,
        ["town_0", "town_1", "town_3"]
    );
}

#[tokio::test]
async fn three_of_200_fail_the_others_do_not_and_only_they_are_tried_again() {
    let db = towns(200).await;
    let plain = pool(&db.url(), 4).await;
    spoil(&plain, [17, 99, 180]).await;
    let all = sql_migrator([BOOKS, TITLED]);
    let ran = up(&plain, all.clone(), &fleet()).await;
    assert_eq!(ran.summary, Summary { done: 197, failed: 3, ..Summary::default() });
    let mut failed: Vec<&str> = ran.failed.iter().map(|(town, _)| town.as_str()).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["town-17", "town-180", "town-99"]);
    for (town, error) in &ran.failed {
        let schema = town.replace('-', "_");
        let begin = format!("migration m2_titled failed in schema \"{schema}\"");
        assert!(error.starts_with(&begin) && error.ends_with("(SQLSTATE 23502)"), "{error}");
    }
    assert_eq!(versions(&plain).await, ["3 m1_books", "197 m2_titled"]);
    let noted: Vec<String> = fleet_tenants(&plain, &TenantSelection::LastMigrationFailed)
        .await
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(noted.len(), 3, "{noted:?}");

    // Two are fixed; the third fails again, with two attempts.
    plain.execute_unprepared("DELETE FROM town_17.books; DELETE FROM town_99.books").await.unwrap();
    let ran =
        up_selected(&plain, all.clone(), &TenantSelection::LastMigrationFailed, &fleet()).await;
    assert_eq!(ran.summary, Summary { done: 2, failed: 1, ..Summary::default() });
    let attempts = "SELECT slug || ' ' || migration_attempts FROM registry.tenants
                    WHERE migration_error IS NOT NULL";
    assert_eq!(crate::support::catalog::texts(&plain, attempts).await, ["town-180 2"]);
    plain.execute_unprepared("DELETE FROM town_180.books").await.unwrap();
    let ran =
        up_selected(&plain, all.clone(), &TenantSelection::LastMigrationFailed, &fleet()).await;
    assert_eq!(ran.summary, Summary { done: 1, ..Summary::default() });
    let ran = up(&plain, all, &fleet()).await;
    assert_eq!(ran.summary, Summary { skipped: 200, ..Summary::default() });
    assert!(fleet_tenants(&plain, &TenantSelection::LastMigrationFailed).await.unwrap().is_empty());
}

#[tokio::test]
async fn canaries_run_first_and_a_failure_stops_the_run() {
    let db = towns(12).await;
    let plain = db.plain().await;
    let all = sql_migrator([BOOKS, TITLED]);
    let canary = |canary| FleetOptions { canary: Some(canary), ..fleet() };
    let tagged = "UPDATE registry.tenants SET metadata = '{\"tags\": [\"beta\", \"canary\"]}'
                  WHERE slug IN ('town-7', 'town-8')";
    plain.execute_unprepared(tagged).await.unwrap();

    spoil(&plain, [7]).await;
    let ran = up(&plain, all.clone(), &canary(Canary::Tag("canary".into()))).await;
    assert_eq!(
        ran.summary,
        Summary {
            done: 1,
            failed: 1,
            not_started: 10,
            stopped: Some(StopReason::Canary),
            ..Summary::default()
        }
    );
    assert_eq!((ran.done, &*ran.failed[0].0), (vec!["town-8".to_owned()], "town-7"));
    assert_eq!(versions(&plain).await, ["11 m1_books", "1 m2_titled"]);

    // Later failures are not of canaries.
    let oldest = fleet_tenants(&plain, &TenantSelection::All).await.unwrap()[0].to_string();
    let ran = up(&plain, all, &canary(Canary::Number(1))).await;
    assert_eq!(ran.summary, Summary { skipped: 1, done: 10, failed: 1, ..Summary::default() });
    assert_eq!(ran.done[0], oldest);
}

#[tokio::test]
async fn run_stops_at_number_or_percentage_of_failures() {
    let db = towns(20).await;
    let plain = db.plain().await;
    let all = sql_migrator([BOOKS, TITLED]);
    spoil(&plain, 0..20).await;
    for (limit, failed) in [
        (FailureLimit::Number(3), 3),
        (FailureLimit::Percent(10.0), 2),
        (FailureLimit::Percent(0.1), 1),
        (FailureLimit::Percent(100.0), 20),
    ] {
        let fleet = FleetOptions { jobs: 1, max_failures: Some(limit), ..fleet() };
        let ran = up(&plain, all.clone(), &fleet).await;
        let expected = Summary {
            failed,
            not_started: 20 - failed,
            stopped: Some(StopReason::MaxFailures),
            ..Summary::default()
        };
        assert_eq!(ran.summary, expected, "{limit:?}");
    }
}

#[tokio::test]
async fn older_program_reports_tenants_ahead_without_recording_a_failure() {
    let db = towns(3).await;
    let plain = db.plain().await;
    up(&plain, sql_migrator([BOOKS, SHELF]), &fleet()).await;
    let ran = up(&plain, sql_migrator([BOOKS]), &fleet()).await;
    assert_eq!(ran.summary.failed, 3);
    assert!(ran.failed[0].1.contains("Use a newer program"), "{ran:?}");
    assert!(fleet_tenants(&plain, &TenantSelection::LastMigrationFailed).await.unwrap().is_empty());
}

#[tokio::test]
async fn fleet_run_without_registry_is_an_error() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    plain.execute_unprepared("DROP SCHEMA registry CASCADE").await.unwrap();
    let migrator = DynMigrator::tenant(sql_migrator([BOOKS, SHELF]));
    let (fleet, stop) = (fleet(), AtomicBool::new(false));
    for who in [TenantSelection::All, TenantSelection::LastMigrationFailed] {
        let run = run_fleet(&plain, &migrator, &who, &Action::Up(None), &fleet, &stop, |_| {});
        assert!(matches!(run.await, Err(tenantry_migrate::Error::MissingRegistry)));
    }
    let to = Action::To("m9_none".to_owned());
    let error =
        run_fleet(&plain, &migrator, &TenantSelection::All, &to, &fleet, &stop, |_| {}).await;
    assert!(error.unwrap_err().to_string().contains("m9_none"));
}
