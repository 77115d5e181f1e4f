//! Names that Tenantry accepts are names that PostgreSQL accepts.

use std::collections::HashSet;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use tenantry_registry::{RESERVED_WORDS, SchemaName, Slug};

use crate::support::TestDb;

/// Creates the schema without quotes, looks it up with quotes, and undoes it.
async fn means_the_same_with_and_without_quotes(db: &DatabaseConnection, name: &str) -> bool {
    let txn = db.begin().await.unwrap();
    if txn.execute_unprepared(&format!("CREATE SCHEMA {name}")).await.is_err() {
        return false;
    }
    let found = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1",
        [name.into()],
    );
    let found = txn.query_one_raw(found).await.unwrap().is_some();
    txn.rollback().await.unwrap();
    found
}

#[test]
fn every_accepted_slug_gives_a_schema_that_needs_no_quotes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (db, plain) = runtime.block_on(async {
        let db = TestDb::new().await;
        let plain = db.plain().await;
        (db, plain)
    });
    let slugs = prop_oneof![
        "[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?",
        "[a-z]{1,8}(-[a-z]{1,8}){0,2}",
        proptest::sample::select(&RESERVED_WORDS[..]).prop_map(str::to_owned),
    ];
    let mut runner = TestRunner::new(Config { cases: 300, ..Config::default() });
    runner
        .run(&slugs, |text| {
            let Ok(slug) = text.parse::<Slug>() else {
                return Ok(());
            };
            let Ok(schema) = SchemaName::for_slug("", &slug) else {
                return Ok(());
            };
            let same = means_the_same_with_and_without_quotes(&plain, schema.as_str());
            prop_assert!(runtime.block_on(same), "{schema}");
            Ok(())
        })
        .unwrap();
    drop((plain, db));
}

#[tokio::test]
async fn the_reserved_words_are_those_of_the_server() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let words = Statement::from_string(
        DbBackend::Postgres,
        "SELECT word, catcode IN ('R', 'T') FROM pg_get_keywords()",
    );
    let known: HashSet<&str> = RESERVED_WORDS.into();
    for row in plain.query_all_raw(words).await.unwrap() {
        let word: String = row.try_get_by_index(0).unwrap();
        let reserved: bool = row.try_get_by_index(1).unwrap();
        assert!(!reserved || known.contains(word.as_str()), "{word} is reserved by this server");
        if SchemaName::new(&word).is_ok() {
            assert!(means_the_same_with_and_without_quotes(&plain, &word).await, "{word}");
        }
    }
}
