//! `migration … --dry-run`: the SQL, and nothing but the SQL.

use sea_orm::ConnectionTrait;

use super::{FIRST, NEWEST, migration, tenantry, versions, with_tenants};
use crate::support::{
    TestDb,
    catalog::{schemas, shape, tables, texts},
};

#[tokio::test]
async fn nothing_is_changed() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    migration(&db, "down --tenant tenant-2").exits(0);
    let plain = db.plain().await;
    let state = async || (tables(&plain).await, versions(&db).await, records(&db).await);
    let before = state().await;
    for (words, printed) in [
        ("up --all", vec!["-- tenant-1, at", "-- tenant-2, at", "CREATE TABLE \"shifts\""]),
        ("down -n 2 --all", vec!["DROP TABLE \"shifts\"", "DROP TABLE \"guards\""]),
        // Without --yes: there is nothing to confirm.
        ("fresh --tenant tenant-1", vec!["DROP SCHEMA \"tenant_1\" CASCADE", FIRST, NEWEST]),
    ] {
        let ran = migration(&db, &format!("{words} --dry-run")).exits(0);
        for text in printed {
            assert!(ran.stdout.contains(text), "no {text:?} in {ran:#?}");
        }
        assert_eq!(state().await, before, "{words}");
    }
    // What would be refused is refused.
    let ran = migration(&db, "down --registry --dry-run").exits(1);
    assert!(ran.stderr.contains("the registry still contains 2 tenants"), "{ran:?}");
}

#[tokio::test]
async fn dry_run_prints_the_sql_once_per_version() {
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3", "tenant-4"]).await;
    migration(&db, "down --tenant tenant-2,tenant-3").exits(0);
    let ran = migration(&db, "up --all --dry-run").exits(0);
    let title = format!(
        "-- 2 tenants at {FIRST}: SQL for tenant-2; for the others only the schema name differs\n"
    );
    assert!(ran.stdout.starts_with(&title), "{ran:#?}");
    assert!(ran.stdout.ends_with(&format!("COMMIT;\n-- 2 tenants at {NEWEST}: nothing to do\n")));
    assert_eq!(ran.stdout.matches("CREATE TABLE \"shifts\"").count(), 1, "{ran:#?}");
    let sql = ran.stdout.strip_prefix(&title).unwrap();
    run_by_hand(&db, sql).await;
    run_by_hand(&db, &sql.replace("tenant_2", "tenant_3")).await;
    migration(&db, "status").exits(0);
}

#[tokio::test]
async fn dry_run_output_migrates_a_tenant_and_updates_the_registry() {
    let db = with_tenants(["tenant-1"]).await;
    let plain = db.plain().await;
    let whole = (shape(&plain, "tenant_1").await, versions(&db).await);
    let down = migration(&db, "down --tenant tenant-1 --dry-run").exits(0).stdout;
    run_by_hand(&db, &down).await;
    assert_eq!(versions(&db).await, [format!("tenant-1 {FIRST}")]);
    let up = migration(&db, "up --tenant tenant-1 --dry-run").exits(0).stdout;
    run_by_hand(&db, &up).await;
    assert_eq!((shape(&plain, "tenant_1").await, versions(&db).await), whole);
}

#[tokio::test]
async fn dry_run_output_creates_the_same_tables() {
    let db = with_tenants(["tenant-1"]).await;
    let plain = db.plain().await;
    texts(&plain, "CREATE SCHEMA by_hand").await;
    let whole = shape(&plain, "tenant_1").await;

    let up = migration(&db, "up --schema by_hand --dry-run").exits(0).stdout;
    run_by_hand(&db, &up).await;
    assert_eq!(shape(&plain, "by_hand").await, whole);
    // With the records: the program finds nothing left to do.
    let ran = migration(&db, "up --schema by_hand").exits(0);
    assert_eq!(ran.stdout, "by_hand: nothing to do\n");

    let down = migration(&db, "down --schema by_hand --dry-run").exits(0).stdout;
    run_by_hand(&db, &down).await;
    let ran = migration(&db, "up --schema by_hand").exits(0);
    assert_eq!(ran.stdout, format!("by_hand: applied {NEWEST}\n"));
    assert_eq!(shape(&plain, "by_hand").await, whole);

    let fresh = migration(&db, "fresh --schema by_hand --dry-run").exits(0).stdout;
    run_by_hand(&db, &fresh).await;
    assert_eq!(shape(&plain, "by_hand").await, whole);
}

#[tokio::test]
async fn dry_run_prints_the_given_number_of_steps() {
    let db = TestDb::new().await;
    texts(&db.plain().await, "CREATE SCHEMA bare").await;
    let one = migration(&db, "up -n 1 --schema bare --dry-run").exits(0).stdout;
    assert!(one.contains(FIRST) && !one.contains(NEWEST), "{one}");
    migration(&db, "up --schema bare").exits(0);
    let nothing = migration(&db, "up --schema bare --dry-run").exits(0).stdout;
    assert_eq!(nothing, "-- bare\n-- nothing to do\n");
}

#[tokio::test]
async fn dry_run_output_creates_the_registry() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let whole = shape(&plain, "registry").await;
    texts(&plain, "DROP SCHEMA registry CASCADE").await;
    let up = migration(&db, "up --registry --dry-run").exits(0).stdout;
    assert_eq!(schemas(&plain).await, ["public"]);
    run_by_hand(&db, &up).await;
    assert_eq!(shape(&plain, "registry").await, whole);
    tenantry(&db, "tenant create tenant-1").exits(0);
}

/// Runs what was printed, as `psql` would.
async fn run_by_hand(db: &TestDb, sql: &str) {
    db.plain().await.execute_unprepared(sql).await.unwrap();
}

/// The migrations on record in every schema.
async fn records(db: &TestDb) -> Vec<String> {
    let sql = ["registry", "tenant_1", "tenant_2"]
        .map(|schema| format!("SELECT '{schema} ' || version FROM {schema}.seaql_migrations"))
        .join(" UNION ALL ");
    texts(&db.plain().await, &format!("{sql} ORDER BY 1")).await
}
