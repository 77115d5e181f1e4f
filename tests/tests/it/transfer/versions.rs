use sea_orm::ConnectionTrait;
use tenantry::{CloneOptions, Error, TransferError};

use super::{assert_nothing, contents, create_filled, export, import, tenancy};
use crate::support::{
    TestDb,
    catalog::texts,
    slug,
    sql_migration::{BOOKS, PRICE, SHELF, Sql, sql_migrator},
};

const ROWS: &str = "INSERT INTO books VALUES ('1', 'One'), ('2', NULL)";

/// Runs on the rows that are there.
const TITLES: Sql = Sql {
    name: "m3_titles",
    up: "UPDATE books SET title = 'unknown' WHERE title IS NULL;
         ALTER TABLE books ALTER COLUMN title SET NOT NULL",
    down: "ALTER TABLE books ALTER COLUMN title DROP NOT NULL",
    alone: false,
    breaking: false,
};

/// PostgreSQL requires a commit between these two.
const KIND: Sql = Sql {
    name: "m5_kind",
    up: "CREATE TYPE kind AS ENUM ('paper'); ALTER TABLE books ADD COLUMN kind kind",
    down: "SELECT 1",
    alone: false,
    breaking: false,
};
const AUDIO: Sql = Sql {
    name: "m6_audio",
    up: "ALTER TYPE kind ADD VALUE 'audio'",
    down: "SELECT 1",
    alone: false,
    breaking: false,
};
const ALL_AUDIO: Sql = Sql {
    name: "m7_all_audio",
    up: "UPDATE books SET kind = 'audio'",
    down: "SELECT 1",
    alone: false,
    breaking: false,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_older_export_is_migrated_after_its_rows_were_loaded() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let old = tenancy(&db, sql_migrator([BOOKS, SHELF])).await;
    create_filled(&old, &plain, ROWS).await;
    let archive = export(&old).await;
    let new = tenancy(&db, sql_migrator([BOOKS, SHELF, TITLES, PRICE])).await;
    let imported = import(&new, &archive, "tenant-2").await.unwrap();
    assert_eq!(imported.migrated, ["m3_titles", "m4_price"]);
    assert_eq!(imported.tenant.schema_version.as_deref(), Some("m4_price"));
    // The clone of a tenant that is behind, too.
    let (one, three) = (slug("tenant-1"), slug("tenant-3"));
    let cloned = new.clone_tenant(&one, &three, &CloneOptions::default()).await.unwrap();
    assert_eq!(cloned.migrated, ["m3_titles", "m4_price"]);
    for schema in ["tenant_2", "tenant_3"] {
        let titles = format!("SELECT title FROM {schema}.books ORDER BY isbn");
        assert_eq!(texts(&plain, &titles).await, ["One", "unknown"]);
        new.tenant(&slug(&schema.replace('_', "-"))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_that_need_a_commit_run_before_and_after_the_rows() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let old = tenancy(&db, sql_migrator([BOOKS, KIND])).await;
    create_filled(&old, &plain, "INSERT INTO books VALUES ('1', 'One', 'paper')").await;
    let archive = export(&old).await;
    let new = tenancy(&db, sql_migrator([BOOKS, KIND, AUDIO, ALL_AUDIO])).await;
    let imported = import(&new, &archive, "tenant-2").await.unwrap();
    assert_eq!(imported.migrated, ["m6_audio", "m7_all_audio"]);
    let kinds = "SELECT kind::text FROM tenant_2.books";
    assert_eq!(texts(&plain, kinds).await, ["audio"]);
    // Now the structure needs the commits.
    let (two, three) = (slug("tenant-2"), slug("tenant-3"));
    new.clone_tenant(&two, &three, &CloneOptions::default()).await.unwrap();
    assert_eq!(contents(&plain, "tenant_3").await, contents(&plain, "tenant_2").await);
    // A schema that is not finished would be marked.
    let marked = "SELECT count(*)::text FROM pg_namespace
                  WHERE obj_description(oid, 'pg_namespace') LIKE 'tenantry:%'";
    assert_eq!(texts(&plain, marked).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_with_commits_that_fails_leaves_nothing() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let old = tenancy(&db, sql_migrator([BOOKS, KIND])).await;
    create_filled(&old, &plain, ROWS).await;
    let archive = export(&old).await;
    let fails = Sql { name: "m8_fails", up: "SELECT 1 / 0", ..ALL_AUDIO };
    let new = tenancy(&db, sql_migrator([BOOKS, KIND, AUDIO, ALL_AUDIO, fails])).await;
    let error = import(&new, &archive, "tenant-2").await.unwrap_err();
    assert!(error.to_string().contains("m8_fails"), "{error}");
    assert_nothing(&new, &plain, &slug("tenant-2")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_unknown_migrations_is_refused_and_they_are_named() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let new = tenancy(&db, sql_migrator([BOOKS, SHELF, PRICE])).await;
    create_filled(&new, &plain, ROWS_OF_THREE).await;
    let archive = export(&new).await;
    let old = tenancy(&db, sql_migrator([BOOKS])).await;
    let two = slug("tenant-2");
    let imported = import(&old, &archive, "tenant-2").await.unwrap_err();
    let cloned = old.clone_tenant(&slug("tenant-1"), &two, &CloneOptions::default()).await;
    for error in [imported, cloned.unwrap_err()] {
        let Error::Transfer(TransferError::UnknownMigrations { names }) = &error else {
            panic!("{error}");
        };
        assert_eq!(names, &["m2_shelf", "m4_price"]);
    }
    assert_nothing(&old, &plain, &two).await;
}

const ROWS_OF_THREE: &str = "INSERT INTO books VALUES ('1', 'One', 'a', 3)";

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_another_application_is_refused() {
    let [one, two] = [TestDb::new().await, TestDb::new().await];
    let books = tenancy(&one, sql_migrator([BOOKS])).await;
    create_filled(&books, &one.plain().await, ROWS).await;
    let archive = export(&books).await;
    let other = Sql { name: "m1_other", ..BOOKS };
    let other = tenancy(&two, sql_migrator([other])).await;
    let error = import(&other, &archive, "tenant-2").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("\"m1_books\"") && text.contains("\"m1_other\""), "{text}");
    assert_nothing(&other, &two.plain().await, &slug("tenant-2")).await;
    // On another server, the same application accepts it.
    let three = TestDb::new().await;
    let elsewhere = tenancy(&three, sql_migrator([BOOKS, SHELF])).await;
    let imported = import(&elsewhere, &archive, "tenant-2").await.unwrap();
    assert_eq!((imported.rows, imported.migrated.len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_the_migrations_do_not_create_are_refused_and_both_sides_named() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let books = tenancy(&db, sql_migrator([BOOKS])).await;
    create_filled(&books, &plain, ROWS).await;
    plain
        .execute_unprepared(
            "CREATE TABLE tenant_1.extra (id int); ALTER TABLE tenant_1.books DROP COLUMN title;
             ALTER TABLE tenant_1.books ADD COLUMN note text",
        )
        .await
        .unwrap();
    let archive = export(&books).await;
    let two = slug("tenant-2");
    let imported = import(&books, &archive, "tenant-2").await.unwrap_err();
    let cloned = books.clone_tenant(&slug("tenant-1"), &two, &CloneOptions::default()).await;
    for error in [imported, cloned.unwrap_err()] {
        let Error::Transfer(TransferError::Differs(found)) = &error else { panic!("{error}") };
        assert_eq!(
            found,
            &[
                "the migrations create no column \"note\" of table \"books\"",
                "the tenant has no column \"title\" of table \"books\"",
                "the migrations create no table \"extra\"",
            ]
        );
    }
    assert_nothing(&books, &plain, &two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_the_remaining_migrations_rename_are_analyzed_before_they_can_be_used() {
    const VOLUMES: Sql = Sql {
        name: "m9_volumes",
        up: "ALTER TABLE books RENAME TO volumes",
        down: "ALTER TABLE volumes RENAME TO books",
        alone: false,
        breaking: false,
    };
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let old = tenancy(&db, sql_migrator([BOOKS])).await;
    create_filled(&old, &plain, ROWS).await;
    let new = tenancy(&db, sql_migrator([BOOKS, VOLUMES])).await;
    let options = CloneOptions::default();
    new.clone_tenant(&slug("tenant-1"), &slug("tenant-2"), &options).await.unwrap();
    let analyzed = "SELECT reltuples::text FROM pg_class WHERE oid = 'tenant_2.volumes'::regclass";
    assert_eq!(texts(&plain, analyzed).await, ["2"]);
    let columns = "SELECT count(*)::text FROM pg_stats WHERE schemaname = 'tenant_2'
        AND tablename = 'volumes'";
    assert_eq!(texts(&plain, columns).await, ["2"]);
}
