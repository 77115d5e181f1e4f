//! No statement asks for `search_path` together with a tenant's table: Citus sends it to the node of
//! the table, whose `search_path` is another one.

use sea_orm::ConnectionTrait;
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry::{AdoptOptions, Config, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, FleetOptions, Target, TenantMigrator, TenantSelection, Timeouts,
    drift::{VerifyTarget, verify},
    dry_run, run, run_fleet,
    sql::{Kind, tokens},
};

use crate::support::{
    TestDb,
    catalog::texts,
    slug,
    sql_migration::{BOOKS, INDEX, PRICE, SHELF},
};

/// Tables of a tenant in these tests.
const TABLES: [&str; 2] = ["books", "seaql_migrations"];

/// A migration that reads a tenant's table and one of another schema.
struct Reads;

impl MigrationName for Reads {
    fn name(&self) -> &str {
        "m5_reads"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Reads {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let read = "SELECT count(*) FROM books, extra.plans";
        db.query_one_raw(sea_orm::Statement::from_string(db.get_database_backend(), read)).await?;
        db.execute_unprepared("ALTER TABLE books ADD plan text").await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("ALTER TABLE books DROP plan").await?;
        Ok(())
    }
}

/// The first of these migrations.
#[derive(Clone, Copy)]
struct First(usize);

impl MigratorTraitSelf for First {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let all: Vec<Box<dyn MigrationTrait>> = vec![
            Box::new(BOOKS),
            Box::new(SHELF),
            Box::new(INDEX),
            Box::new(PRICE),
            Box::new(Reads),
        ];
        all.into_iter().take(self.0).collect()
    }
}

impl TenantMigrator for First {}

/// The queries of a message. Each statement of a function's or block's body is one of its own.
fn queries(sql: &str) -> Vec<String> {
    let mut queries = vec![String::new()];
    for token in tokens(sql) {
        let text = &sql[token.at.clone()];
        match token.kind {
            Kind::Text if text.starts_with('$') => {
                let tag = text.split_inclusive('$').take(2).map(str::len).sum::<usize>();
                let body = text.get(tag..text.len().saturating_sub(tag)).unwrap_or_default();
                queries.extend(self::queries(body));
                queries.push(String::new());
            }
            Kind::Other if text == ";" => queries.push(String::new()),
            Kind::Comment => {}
            _ => {
                if let Some(last) = queries.last_mut() {
                    last.push_str(text);
                    last.push(' ');
                }
            }
        }
    }
    queries
}

/// Whether a query depends on `search_path` and reads or writes a tenant's table.
fn is_mixed(query: &str) -> bool {
    let asks = ["current_schema", "current_setting ( 'search_path'", "set_config ( 'search_path'"];
    let names = |text: &str| TABLES.contains(&text.trim_matches('"'));
    asks.iter().any(|it| query.to_ascii_lowercase().contains(it))
        && tokens(query)
            .filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted))
            .any(|token| names(&query[token.at]))
}

#[test]
fn a_mixed_query_is_noticed() {
    let mixed = |sql: &str| queries(sql).iter().any(|query| is_mixed(query));
    assert!(mixed(r#"SELECT current_schema(), version FROM "a"."seaql_migrations""#));
    assert!(mixed("BEGIN; SELECT 1 FROM books WHERE current_setting('search_path') = 'a'"));
    assert!(mixed("DO $x$ BEGIN PERFORM current_schema() FROM books; END $x$"));
    assert!(!mixed("SELECT current_schema(); SELECT version FROM seaql_migrations"));
    assert!(!mixed("SELECT current_schema(), to_regclass('a.books')"));
    assert!(!mixed("DO $x$ BEGIN PERFORM current_schema(); PERFORM 1 FROM books; END $x$"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_mixes_search_path_with_a_tenants_table() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    plain.execute_unprepared("CREATE SCHEMA extra; CREATE TABLE extra.plans ()").await.unwrap();

    // Creations in one message, one by one and adopted.
    let config = Config::new(db.url(), First(5));
    let tenancy = Tenancy::connect(&config).await.unwrap();
    for number in 0..10 {
        tenancy.create(NewTenant::new(slug(&format!("town-{number}")))).await.unwrap();
    }
    let whole = |sql: &String| sql.contains("CREATE SCHEMA \"town_0\"") && sql.contains("books");
    assert!(db.statements().iter().any(whole), "no creation was one message");
    plain.execute_unprepared("CREATE SCHEMA old").await.unwrap();
    let (migrator, no_limit) = (config.migrator.clone(), Timeouts::default());
    let old = Target::Schema("old".parse().unwrap());
    run(&plain, &old, &migrator, &Action::Up(None), no_limit).await.unwrap();
    let adopted = AdoptOptions::schema("old".parse().unwrap());
    tenancy.adopt(NewTenant::new(slug("old")), &adopted).await.unwrap();

    // One schema.
    let town = Target::Schema("town_1".parse().unwrap());
    for action in [Action::Down(2), Action::Redo, Action::Up(None), Action::Down(4)] {
        dry_run(&plain, &town, &migrator, &action).await.unwrap();
        run(&plain, &town, &migrator, &action, no_limit).await.unwrap();
    }
    // All of them, also in one message each.
    let fleet = async |action: Action, migrator: &DynMigrator| {
        let (options, stop) = (FleetOptions::default(), std::sync::atomic::AtomicBool::new(false));
        let all = TenantSelection::All;
        let done = run_fleet(&plain, migrator, &all, &action, &options, &stop, |_| {}).await;
        assert_eq!(done.unwrap().failed, 0);
    };
    fleet(Action::Up(None), &migrator).await;
    fleet(Action::Down(1), &migrator).await;
    fleet(Action::Up(None), &migrator).await;
    let found = verify(&plain, &migrator, &VerifyTarget::All).await.unwrap();
    assert!(found.is_clean(), "{found}");
    let versions = "SELECT DISTINCT schema_version FROM registry.tenants";
    assert_eq!(texts(&plain, versions).await, ["m5_reads"]);

    let statements = db.statements();
    let mixed: Vec<&String> =
        statements.iter().filter(|sql| queries(sql).iter().any(|query| is_mixed(query))).collect();
    assert!(mixed.is_empty(), "{} of {}: {mixed:#?}", mixed.len(), statements.len());
}
