//! Concurrent changes of the same database object, and missing privileges.

use sea_orm::ConnectionTrait;
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::{StopReason, Target, run};

use super::*;
use crate::support::{catalog::texts, sql_migration::Sql};

/// A migration after BOOKS.
fn second(up: &'static str) -> Sql {
    Sql { name: "m2_second", up, down: "SELECT 1", ..BOOKS }
}

/// All tenants change one row of the catalog, each in its own transaction (XX000).
const GRANT: &str = "DO $$ BEGIN
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
        PERFORM pg_sleep(0.02);
    END $$";

/// All of them add the same key to a unique index of the catalog (23505).
const SETTING: &str = "DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET app.kind = %L', current_database(), 'city');
        PERFORM pg_sleep(0.02);
    END $$";

#[tokio::test(flavor = "multi_thread")]
async fn tenants_that_change_the_same_object_at_once_are_all_migrated() {
    for sql in [GRANT, SETTING] {
        let db = towns(12).await;
        let plain = pool(&db.url(), 8).await;
        let fleet = FleetOptions { jobs: 6, timeouts: Timeouts::default(), ..fleet() };
        let ran = up(&plain, sql_migrator([BOOKS, second(sql)]), &fleet).await;
        assert_eq!(ran.failed, []);
        assert_eq!(ran.summary.done, 12);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creations_and_single_runs_that_change_the_same_object_at_once_succeed() {
    let db = TestDb::new().await;
    // A migration that reads is not batched.
    for (number, sql) in [GRANT, SETTING, "SELECT 1", GRANT].into_iter().enumerate() {
        let all = sql_migrator([BOOKS, second(sql)]);
        let tenancy = Tenancy::connect(&Config::new(db.url(), all)).await.unwrap();
        let slugs = (0..4).map(|n| slug(&format!("town-{number}-{n}")));
        let created = join_all(slugs.map(|slug| tenancy.create(NewTenant::new(slug)))).await;
        for created in created {
            created.unwrap();
        }
        tenancy.close().await;
    }
    let plain = pool(&db.url(), 4).await;
    let migrator = DynMigrator::new(sql_migrator([BOOKS, second(GRANT)]));
    let runs = (0..4).map(async |number| {
        let schema = format!("bare_{number}");
        plain.execute_unprepared(&format!("CREATE SCHEMA {schema}")).await.unwrap();
        let target = Target::Schema(schema.parse().unwrap());
        run(&plain, &target, &migrator, &Action::Up(None), Timeouts::default()).await
    });
    for ran in join_all(runs).await {
        assert_eq!(ran.unwrap().applied.len(), 2);
    }
}

#[tokio::test]
async fn an_object_that_exists_is_an_error_of_that_tenant() {
    let db = towns(3).await;
    let plain = pool(&db.url(), 4).await;
    texts(&plain, "CREATE TYPE town_1.mood AS ENUM ('sad')").await;
    let sql = "CREATE TYPE mood AS ENUM ('sad')";
    let ran = up(&plain, sql_migrator([BOOKS, second(sql)]), &fleet()).await;
    assert_eq!(ran.summary, Summary { done: 2, failed: 1, ..Summary::default() });
    let [(town, error)] = ran.failed.try_into().unwrap();
    assert_eq!(town, "town-1");
    assert!(error.contains("m2_second") && error.contains("\"mood\" already exists"), "{error}");
    assert!(error.contains("42710"), "{error}");
}

/// A role that owns nothing, and the URL to connect as it.
async fn stranger(db: &TestDb) -> (String, String) {
    let plain = db.plain().await;
    let role = format!("stranger_{}", db.name());
    let sql = format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA registry TO {role};
         GRANT ALL ON ALL TABLES IN SCHEMA registry TO {role}"
    );
    plain.execute_unprepared(&sql).await.unwrap();
    let schemas = "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'town%'";
    for schema in texts(&plain, schemas).await {
        let sql = format!(
            "GRANT ALL ON SCHEMA {schema} TO {role};
             GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}"
        );
        plain.execute_unprepared(&sql).await.unwrap();
    }
    let url = db.url().replacen("postgres://postgres", &format!("postgres://{role}"), 1);
    (url, role)
}

#[tokio::test]
async fn missing_privilege_is_explained_once_and_stops_the_run() {
    let db = towns(20).await;
    let (url, role) = stranger(&db).await;
    let plain = pool(&url, 4).await;
    let ran = up(
        &plain,
        sql_migrator([BOOKS, second("ALTER TABLE books ADD COLUMN shelf text")]),
        &FleetOptions { jobs: 2, ..fleet() },
    )
    .await;
    assert_eq!(ran.summary.stopped, Some(StopReason::Privilege), "{ran:?}");
    assert_eq!(ran.summary.done, 0);
    assert!((3..=5).contains(&ran.summary.failed), "{ran:?}");
    assert_eq!(ran.summary.failed + ran.summary.not_started, 20);
    let explained = ran.failed.iter().filter(|(_, error)| error.contains(&role));
    let explained: Vec<_> = explained.collect();
    assert_eq!(explained.len(), 1, "{ran:?}");
    assert!(explained[0].1.contains("belong to"), "{ran:?}");
    plain.close().await.unwrap();
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    db.plain().await.execute_unprepared(&drop).await.unwrap();
}

#[tokio::test]
async fn missing_privilege_for_one_tenant_does_not_stop_others() {
    let db = towns(6).await;
    let (url, role) = stranger(&db).await;
    let admin = db.plain().await;
    // The role owns all but one.
    for town in (0..6).filter(|town| *town != 3) {
        let sql = format!(
            "ALTER SCHEMA town_{town} OWNER TO {role}; ALTER TABLE town_{town}.books OWNER TO {role};
             ALTER TABLE town_{town}.seaql_migrations OWNER TO {role}"
        );
        admin.execute_unprepared(&sql).await.unwrap();
    }
    let plain = pool(&url, 4).await;
    let shelf = second("ALTER TABLE books ADD COLUMN shelf text");
    let ran = up(&plain, sql_migrator([BOOKS, shelf]), &fleet()).await;
    assert_eq!(ran.summary, Summary { done: 5, failed: 1, ..Summary::default() }, "{ran:?}");
    assert!(ran.failed[0].1.contains("postgres"), "{ran:?}");
    plain.close().await.unwrap();
    admin.execute_unprepared(&format!("REASSIGN OWNED BY {role} TO CURRENT_USER")).await.unwrap();
    admin.execute_unprepared(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}
