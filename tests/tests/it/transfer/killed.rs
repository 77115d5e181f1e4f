//! Copies whose connection is terminated at any step.

use sea_orm::ConnectionTrait;
use tenantry::{CloneOptions, Config, Tenancy};

use super::{assert_nothing, contents, create_filled, export, import};
use crate::support::{
    TestDb,
    catalog::texts,
    slug,
    sql_migration::{BOOKS, SHELF, Sql, sql_migrator},
    tcp_proxy::TcpProxy,
};

const LOANS: Sql = Sql {
    name: "m1b_loans",
    up: "CREATE TABLE loans (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             isbn text REFERENCES books)",
    down: "DROP TABLE loans",
    alone: false,
    breaking: false,
};

const ROWS: &str =
    "INSERT INTO books VALUES ('1', 'One'); INSERT INTO loans (isbn) VALUES ('1'), (NULL)";

/// A tenancy through a proxy, whose `tenant-1` lacks a migration.
async fn behind() -> (TestDb, TcpProxy, Tenancy) {
    let db = TestDb::new().await;
    let old = super::tenancy(&db, sql_migrator([BOOKS, LOANS])).await;
    create_filled(&old, &db.plain().await, ROWS).await;
    let wire = TcpProxy::new().await;
    let config = Config::new(wire.url(db.name()), sql_migrator([BOOKS, LOANS, SHELF]));
    let tenancy = Tenancy::connect(&config).await.unwrap();
    (db, wire, tenancy)
}

/// Terminates the connection at each statement in turn. Most statements are two requests, so every
/// second request is one of the next statement.
async fn kill_each_step(clones: bool) {
    let (db, wire, tenancy) = behind().await;
    let plain = db.plain().await;
    let archive = export(&tenancy).await;
    plain.execute_unprepared("ALTER TABLE tenant_1.books ADD shelf text").await.unwrap();
    let expected = contents(&plain, "tenant_1").await;
    plain.execute_unprepared("ALTER TABLE tenant_1.books DROP shelf").await.unwrap();
    let (mut killed, mut nothing) = (0, 0);
    loop {
        let new = slug(&format!("copy-{killed}"));
        wire.terminate_after(killed);
        let result = match clones {
            true => tenancy.clone_tenant(&slug("tenant-1"), &new, &CloneOptions::default()).await,
            false => import(&tenancy, &archive, new.as_str()).await,
        };
        let ended = !wire.disarm();
        if ended {
            result.as_ref().unwrap();
        }
        match tenancy.get(&new).await.unwrap() {
            // The connection broke after the commit, or the pool used another one in time.
            Some(whole) => {
                assert_eq!(contents(&plain, whole.schema.as_str()).await, expected);
                assert_eq!(whole.schema_version.as_deref(), Some("m2_shelf"));
            }
            None => {
                result.unwrap_err();
                assert_nothing(&tenancy, &plain, &new).await;
                nothing += 1;
            }
        }
        if ended {
            break;
        }
        killed += 2;
    }
    assert!(nothing > 20, "only {nothing} of {killed} steps were interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_at_any_step_leaves_all_or_nothing() {
    kill_each_step(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_is_killed_at_any_step_leaves_all_or_nothing() {
    kill_each_step(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_killed_at_any_step_has_no_end() {
    let (_db, wire, tenancy) = behind().await;
    let mut killed = 0;
    loop {
        let mut archive = Vec::new();
        wire.terminate_after(killed);
        let result = tenancy.export(&slug("tenant-1"), &mut archive, &Default::default()).await;
        if !wire.disarm() {
            result.unwrap();
            import(&tenancy, &archive, "tenant-2").await.unwrap();
            break;
        }
        killed += 2;
        if result.is_err() {
            import(&tenancy, &archive, "tenant-2").await.unwrap_err();
        }
    }
    assert!(killed > 8, "only {killed} steps were seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_caller_goes_away_leaves_nothing_and_frees_the_slug() {
    let (db, _wire, tenancy) = behind().await;
    let plain = db.plain().await;
    let archive = export(&tenancy).await;
    let new = slug("tenant-2");
    // A reader that never ends: the rows are missing.
    let (mut writer, reader) = tokio::io::duplex(1 << 20);
    tokio::io::AsyncWriteExt::write_all(&mut writer, &archive[..archive.len() / 2]).await.unwrap();
    let options = tenantry::ImportOptions { slug: Some(new.clone()), ..Default::default() };
    let waits =
        tokio::time::timeout(std::time::Duration::from_secs(2), tenancy.import(reader, &options));
    waits.await.unwrap_err();
    assert_nothing(&tenancy, &plain, &new).await;
    import(&tenancy, &archive, "tenant-2").await.unwrap();
    // No transaction stays open.
    let idle = "SELECT count(*)::text FROM pg_stat_activity
                WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    assert_eq!(texts(&plain, idle).await, ["0"]);
}
