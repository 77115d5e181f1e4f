//! Copies of tenants that are used, migrated and dropped meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnectionTrait, TransactionTrait};
use tenantry::{CloneOptions, Config, Error, NewTenant, Tenancy, TransferError};
use tokio::io::{AsyncReadExt, duplex};

use super::{contents, create_filled, export, import, tenancy};
use crate::support::{
    TestDb,
    catalog::texts,
    http_server::eventually,
    slug,
    sql_migration::{BOOKS, SHELF, Sql, sql_migrator},
};

/// Two tables whose rows agree in every committed state.
const PAIR: Sql = Sql {
    name: "m1_pair",
    up: "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE z (id int PRIMARY KEY)",
    down: "DROP TABLE a, z",
    alone: false,
    breaking: false,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_tenant_that_is_written_to_is_of_one_moment() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = tenancy(&db, sql_migrator([PAIR])).await;
    create_filled(&tenancy, &plain, "SELECT 1").await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (stop, tenant) = (Arc::clone(&stop), tenancy.tenant(&slug("tenant-1")).await.unwrap());
        tokio::spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let txn = tenant.begin().await.unwrap();
                for table in ["a", "z"] {
                    let sql = format!(r#"INSERT INTO "@tenant".{table} VALUES ({written})"#);
                    txn.execute_unprepared(&sql).await.unwrap();
                }
                txn.commit().await.unwrap();
                written += 1;
            }
            written
        })
    };
    let mut sizes = Vec::new();
    for number in 0..10 {
        let [imported, cloned] = ["i", "c"].map(|kind| format!("{kind}-{number}"));
        import(&tenancy, &export(&tenancy).await, &imported).await.unwrap();
        let options = CloneOptions::default();
        tenancy.clone_tenant(&slug("tenant-1"), &slug(&cloned), &options).await.unwrap();
        for copy in [imported, cloned] {
            let schema = copy.replace('-', "_");
            let rows = |table| format!("SELECT count(*)::text FROM {schema}.{table}");
            let found = texts(&plain, &rows("a")).await;
            assert_eq!(found, texts(&plain, &rows("z")).await, "{copy}");
            sizes.push(found[0].parse::<i32>().unwrap());
        }
    }
    stop.store(true, Ordering::Relaxed);
    let written = writer.await.unwrap();
    assert!(written > 20 && sizes.is_sorted() && sizes[0] < sizes[19], "{written} {sizes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slug_of_a_copy_is_taken_from_its_beginning() {
    let db = TestDb::new().await;
    let tenancy = tenancy(&db, sql_migrator([BOOKS])).await;
    create_filled(&tenancy, &db.plain().await, "INSERT INTO books VALUES ('1', 'One')").await;
    let archive = export(&tenancy).await;
    // Ten at a time: one wins, all others hear that the slug is taken.
    let mut copies = tokio::task::JoinSet::new();
    for number in 0..10 {
        let (tenancy, archive) = (tenancy.clone(), archive.clone());
        copies.spawn(async move {
            if number % 2 == 0 {
                import(&tenancy, &archive, "tenant-2").await.map(|_| ())
            } else {
                let [one, two] = ["tenant-1", "tenant-2"].map(slug);
                tenancy.clone_tenant(&one, &two, &CloneOptions::default()).await.map(|_| ())
            }
        });
    }
    let results = copies.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, Error::SlugTaken(_)), "{error}");
    }
    let plain = db.plain().await;
    assert_eq!(contents(&plain, "tenant_2").await, contents(&plain, "tenant_1").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_export_lets_others_write_and_create_and_sees_nothing_of_it() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = tenancy(&db, sql_migrator([BOOKS])).await;
    let rows = "INSERT INTO books SELECT n, repeat('x', 1000) FROM generate_series(1, 5000) n";
    create_filled(&tenancy, &plain, rows).await;
    let (writer, mut reader) = duplex(1024);
    let exporting = {
        let tenancy = tenancy.clone();
        tokio::spawn(
            async move { tenancy.export(&slug("tenant-1"), writer, &Default::default()).await },
        )
    };
    // The manifest has been written, so the snapshot is there.
    let mut archive = vec![0; 600];
    reader.read_exact(&mut archive).await.unwrap();
    plain.execute_unprepared("DELETE FROM tenant_1.books").await.unwrap();
    tenancy.create(NewTenant::new(slug("tenant-2"))).await.unwrap();
    reader.read_to_end(&mut archive).await.unwrap();
    assert_eq!(exporting.await.unwrap().unwrap().rows, 5000);
    assert_eq!(import(&tenancy, &archive, "tenant-3").await.unwrap().rows, 5000);
}

/// Migrations that end while a copy waits for their locks. Each leaves the title 'One!'.
const CHANGES: [&str; 4] = [
    "ALTER TABLE tenant_1.books ALTER COLUMN title TYPE varchar(99);
     ALTER TABLE tenant_1.books ALTER COLUMN title TYPE text USING title || '!'",
    "ALTER TABLE tenant_1.books DROP COLUMN title; ALTER TABLE tenant_1.books ADD title text;
     UPDATE tenant_1.books SET title = 'One!'",
    "ALTER TABLE tenant_1.books RENAME title TO old; ALTER TABLE tenant_1.books ADD title text;
     UPDATE tenant_1.books SET title = old || '!'; ALTER TABLE tenant_1.books DROP COLUMN old",
    "TRUNCATE tenant_1.books; INSERT INTO tenant_1.books VALUES ('1', 'One!')",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_waits_for_a_migration_has_the_rows_that_it_leaves() {
    let db = TestDb::new().await;
    let (plain, other) = (db.plain().await, db.plain().await);
    let tenancy = tenancy(&db, sql_migrator([BOOKS])).await;
    create_filled(&tenancy, &plain, "INSERT INTO books VALUES ('1', 'One')").await;
    let waiting = "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND locktype = 'relation'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    for (number, change) in CHANGES.into_iter().enumerate() {
        for clones in [false, true] {
            let reset = "UPDATE tenant_1.books SET title = 'One'";
            plain.execute_unprepared(reset).await.unwrap();
            let migration = plain.begin().await.unwrap();
            migration.execute_unprepared(change).await.unwrap();
            let commit = async {
                // So that the copy gets its lock, and does not begin again.
                while texts(&other, waiting).await == ["0"] {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                migration.commit().await.unwrap();
            };
            let copy = format!("copy-{number}-{clones}");
            let copied = async {
                let (source, new) = (slug("tenant-1"), slug(&copy));
                match clones {
                    true => tenancy.clone_tenant(&source, &new, &CloneOptions::default()).await,
                    false => import(&tenancy, &export(&tenancy).await, &copy).await,
                }
            };
            let (copied, ()) = tokio::join!(copied, commit);
            assert_eq!(copied.unwrap().rows, 1, "{change}");
            let title = format!("SELECT title FROM {}.books", copy.replace('-', "_"));
            assert_eq!(texts(&plain, &title).await, ["One!"], "{change}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_run_does_not_wait_for_an_import_that_waits_for_its_archive() {
    let db = TestDb::new().await;
    let old = tenancy(&db, sql_migrator([BOOKS])).await;
    create_filled(&old, &db.plain().await, "INSERT INTO books VALUES ('1', 'One')").await;
    let archive = export(&old).await;
    let (mut writer, reader) = duplex(1 << 20);
    tokio::io::AsyncWriteExt::write_all(&mut writer, &archive[..2048]).await.unwrap();
    let importing = {
        let old = old.clone();
        let options =
            tenantry::ImportOptions { slug: Some(slug("tenant-2")), ..Default::default() };
        tokio::spawn(async move { old.import(reader, &options).await })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    let config = Config::new(db.url(), sql_migrator([BOOKS, SHELF]));
    let ran = tokio::time::timeout(Duration::from_secs(10), Tenancy::migrate_all(&config)).await;
    ran.unwrap().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut writer, &archive[2048..]).await.unwrap();
    drop(writer);
    importing.await.unwrap().unwrap();
    // It is behind, and the next run migrates it.
    let new = Tenancy::connect(&config).await.unwrap();
    new.tenant(&slug("tenant-2")).await.unwrap_err();
    Tenancy::migrate_all(&config).await.unwrap();
    let is_served = async || new.tenant(&slug("tenant-2")).await.is_ok();
    eventually("the tenant is served", is_served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_copies_at_a_time_are_refused_and_a_pool_of_two_clones_nothing() {
    let db = TestDb::new().await;
    let mut config = Config::new(db.url(), sql_migrator([BOOKS]));
    config.max_connections = 3;
    config.acquire_timeout = Duration::from_millis(300);
    let small = Tenancy::connect(&config).await.unwrap();
    create_filled(&small, &db.plain().await, "INSERT INTO books VALUES ('1', 'One')").await;
    let [one, two] = ["tenant-1", "tenant-2"].map(slug);
    let (_writer, reader) = duplex(1024);
    let options = Default::default();
    let busy = small.import(reader, &options);
    let refused = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        small.export(&one, Vec::new(), &Default::default()).await.unwrap_err()
    };
    tokio::select! {
        done = busy => panic!("{done:?}"),
        error = refused => {
            let TransferError::TooMany { limit: 1 } = transfer(&error) else { panic!("{error}") };
        }
    }
    small.clone_tenant(&one, &two, &CloneOptions::default()).await.unwrap();
    config.max_connections = 2;
    let tiny = Tenancy::connect(&config).await.unwrap();
    let error = tiny.clone_tenant(&one, &slug("x"), &CloneOptions::default()).await.unwrap_err();
    let TransferError::TooFewConnections = transfer(&error) else { panic!("{error}") };
    export(&tiny).await;
}

fn transfer(error: &Error) -> &TransferError {
    match error {
        Error::Transfer(error) => error,
        other => panic!("{other}"),
    }
}
