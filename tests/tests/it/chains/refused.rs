//! Statements that are refused in every way in which migrations are executed.

use sea_orm::ConnectionTrait;
use sea_orm_migration::prelude::*;
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::{Action, DynMigrator, Error, Target, Timeouts, run};

use super::{Chain, Migrations, alone, first, sql, ways::fails_everywhere};
use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    slug,
};

#[tokio::test]
async fn a_migration_that_commits_is_refused_everywhere_and_leaves_nothing() {
    fn commits() -> Migrations {
        vec![
            first(),
            sql("m2_commits", "CREATE TABLE a (id int); COMMIT; CREATE TABLE b (id int)", ""),
            sql("m3_more", "CREATE TABLE c (id int)", ""),
        ]
    }
    fails_everywhere(Chain::new(commits), &["migration m2_commits", "COMMIT"]).await;
}

#[tokio::test]
async fn commit_after_a_function_body_is_refused_everywhere() {
    fn commits() -> Migrations {
        let up = "CREATE FUNCTION one(a int) RETURNS int
                  BEGIN ATOMIC SELECT CASE a WHEN 1 THEN 2 END; END; commit and chain";
        vec![first(), sql("m2_commits", up, "")]
    }
    fails_everywhere(Chain::new(commits), &["migration m2_commits", "commit and chain"]).await;
}

/// Builds its SQL at run time and ignores the error.
struct RollsBack;

impl MigrationName for RollsBack {
    fn name(&self) -> &str {
        "m2_rolls_back"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for RollsBack {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared("CREATE TABLE a (id int)").await?;
        let _ = db.execute_unprepared(&["ROLL", "BACK"].concat()).await;
        db.execute_unprepared("CREATE TABLE b (id int)").await.map(drop)
    }
}

#[tokio::test]
async fn a_migration_that_rolls_back_and_swallows_the_error_is_refused_everywhere() {
    let chain = Chain::new(|| vec![first(), Box::new(RollsBack)]);
    fails_everywhere(chain, &["migration m2_rolls_back", "ROLLBACK"]).await;
}

#[tokio::test]
async fn non_transactional_migration_begins_transactions_through_the_manager() {
    fn begins() -> Migrations {
        vec![first(), alone("m2_begins", "BEGIN; CREATE TABLE a (id int); END", "")]
    }
    fails_everywhere(Chain::new(begins), &["migration m2_begins", "BEGIN"]).await;
}

#[tokio::test]
async fn a_block_that_commits_fails_everywhere() {
    fn commits() -> Migrations {
        vec![first(), sql("m2_block", "DO $$ BEGIN COMMIT; END $$", "")]
    }
    fails_everywhere(Chain::new(commits), &["invalid transaction termination"]).await;
}

#[tokio::test]
async fn migration_that_changes_search_path_is_refused_everywhere() {
    fn astray() -> Migrations {
        vec![
            first(),
            sql("m2_astray", "SELECT set_config('search_path', 'public', false)", ""),
            sql("m3_stray", "CREATE TABLE strays (id int)", ""),
        ]
    }
    let chain = Chain::new(astray);
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), chain)).await.unwrap();
    let error = tenancy.create(NewTenant::new(slug("city"))).await.unwrap_err().to_string();
    assert!(error.contains("m2_astray") && error.contains("search_path to public"), "{error}");
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
}

/// The server parses this differently from the lexer: a backslash escapes a quote.
fn unseen() -> Migrations {
    vec![
        first(),
        sql("m2_strings", "SET standard_conforming_strings = off", ""),
        sql("m3_unseen", "CREATE TABLE a (id int); SELECT 'a\\'' ; COMMIT; --'", ""),
        sql("m4_more", "CREATE TABLE b (id int)", ""),
    ]
}

#[tokio::test]
async fn unrecognized_commit_removes_the_new_tenant() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), Chain::new(unseen))).await.unwrap();
    let domains = vec!["city.example.org".parse().unwrap()];
    let new = NewTenant { domains, ..NewTenant::new(slug("city")) };
    let error = tenancy.create(new).await.unwrap_err().to_string();
    assert!(error.contains("m3_unseen") && error.contains("ended its transaction"), "{error}");
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
    assert_eq!(texts(&plain, "SELECT slug FROM registry.tenants").await, [""; 0]);
    let migrator = DynMigrator::tenant(Chain::new(unseen));
    // The scratch schemas of commands are removed, too.
    tenantry_migrate::drift::embeds_schema_name(&plain, &migrator).await.unwrap_err();
    tenantry_migrate::lint::check(&plain, &migrator, tenantry_migrate::lint::Profile::Citus)
        .await
        .unwrap_err();
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
}

#[tokio::test]
async fn unrecognized_commit_in_a_tenant_is_reported() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let before = Chain { limit: 1, ..Chain::new(unseen) };
    let tenancy = Tenancy::connect(&Config::new(db.url(), before)).await.unwrap();
    tenancy.create(NewTenant::new(slug("city"))).await.unwrap();
    let (migrator, target) =
        (DynMigrator::tenant(Chain::new(unseen)), Target::Schema("city".parse().unwrap()));
    let error = run(&plain, &target, &migrator, &Action::Up(None), Timeouts::default()).await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, Error::TransactionEnded { migration, .. } if migration == "m3_unseen")
    );
    assert!(error.to_string().contains("are committed and cannot be rolled back"), "{error}");
    let version = "SELECT schema_version FROM registry.tenants";
    assert_ne!(texts(&plain, version).await, ["m4_more"]);
}

#[tokio::test]
async fn rows_for_a_client_are_refused_everywhere_before_they_are_sent() {
    fn copies() -> Migrations {
        let up = "CREATE TABLE a (id int, t text);
                  COPY a (id, t) FROM stdin;\n1\tit's; COMMIT\n\\.\nCREATE TABLE b (id int)";
        vec![first(), sql("m2_copies", up, ""), sql("m3_more", "CREATE TABLE c (id int)", "")]
    }
    fails_everywhere(Chain::new(copies), &["m2_copies", "COPY a (id, t) FROM stdin", "INSERT"])
        .await;
    fn takes() -> Migrations {
        vec![first(), sql("m2_takes", "copy (select * from books) to STDOUT with csv", "")]
    }
    fails_everywhere(Chain::new(takes), &["m2_takes", "to STDOUT", "INSERT"]).await;
}

#[tokio::test]
async fn commands_of_psql_are_refused_everywhere() {
    fn dump() -> Migrations {
        let up = "\\restrict hGm3\n\n-- Dumped from database version 17.6\n
                  SET LOCAL statement_timeout = 0;\nCREATE TABLE a (id int);\n\\unrestrict hGm3\n";
        vec![first(), sql("m2_dump", up, "")]
    }
    fails_everywhere(Chain::new(dump), &["m2_dump", "\\restrict hGm3", "psql"]).await;
    fn connects() -> Migrations {
        vec![first(), sql("m2_connects", "SELECT 1;\n\\connect other\nSELECT 2", "")]
    }
    fails_everywhere(Chain::new(connects), &["m2_connects", "\\connect other", "psql"]).await;
}

#[tokio::test]
async fn non_transactional_copy_from_stdin_is_refused_and_keeps_the_connection() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    texts(&plain, "CREATE SCHEMA city").await;
    fn copies() -> Migrations {
        vec![first(), alone("m2_copies", "COPY books FROM STDIN", "")]
    }
    let city = Target::Schema("city".parse().unwrap());
    let migrator = DynMigrator::tenant(Chain::new(copies));
    for _ in 0..2 {
        let up = run(&plain, &city, &migrator, &Action::Up(None), Timeouts::default()).await;
        let error = up.unwrap_err().to_string();
        assert!(error.contains("m2_copies") && error.contains("INSERT"), "{error}");
    }
    assert_eq!(texts(&plain, "SELECT version FROM city.seaql_migrations").await, ["m1_books"]);
}
