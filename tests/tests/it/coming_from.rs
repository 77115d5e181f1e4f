//! The commands and the SQL of docs/COMING-FROM.md work.

use std::{fs, path::Path, process::Command};

use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, JoinType, PaginatorTrait, QueryResult, QuerySelect,
    Statement, TransactionTrait, Value,
};
use tenantry::{Config, NewTenant, Tenancy, Tenant, TenantTransaction};

use crate::support::{
    TestDb,
    process::{Ran, program},
    slug,
    sql_migration::{Sql, SqlMigrator},
};

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/COMING-FROM.md");
    fs::read_to_string(page).unwrap()
}

/// The code blocks in a language.
fn blocks(language: &str) -> Vec<String> {
    let (page, fence) = (page(), format!("```{language}\n"));
    let starts = page.split(&fence).skip(1);
    starts.map(|rest| rest.split("```").next().unwrap().trim().to_owned()).collect()
}

/// Runs one of the page's shell commands twice in a folder with this file. Returns the file.
fn edited(command: usize, source: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cake.rs");
    fs::write(&file, source).unwrap();
    for _ in 0..2 {
        let mut shell = Command::new("sh");
        shell.args(["-c", &blocks("sh")[command]]).current_dir(folder.path());
        Ran::of(&mut shell).exits(0);
    }
    fs::read_to_string(&file).unwrap()
}

#[test]
fn the_entities_of_one_tenant_get_the_placeholder() {
    let source = r#"
#[sea_orm(table_name = "cakes")]
#[sea_orm(rename_all = "camelCase", table_name = "cake_bakers")]
#[sea_orm(
    schema_name = "public",
    table_name = "fruits"
)]
    #[sea_orm(column_name = "table_name", has_many)]
"#;
    let wanted = r#"
#[sea_orm(schema_name = "@tenant", table_name = "cakes")]
#[sea_orm(rename_all = "camelCase", schema_name = "@tenant", table_name = "cake_bakers")]
#[sea_orm(
    schema_name = "@tenant", table_name = "fruits"
)]
    #[sea_orm(column_name = "table_name", has_many)]
"#;
    assert_eq!(edited(0, source), wanted);
}

#[test]
fn the_functions_of_one_tenant_get_a_scope() {
    let source = "use sea_orm::{DatabaseConnection, DatabaseTransaction};
use sea_orm::DatabaseConnection;
async fn count(db: &DatabaseConnection) -> u64 {}
async fn both(txn: &DatabaseTransaction, db: Arc<DatabaseConnection>) {}
struct State { db: DatabaseConnection, txn: DatabaseTransaction }
";
    let wanted = "use sea_orm::{DatabaseConnection, DatabaseTransaction};
use sea_orm::DatabaseConnection;
async fn count(db: &impl tenantry::TenantScope) -> u64 {}
async fn both(txn: &tenantry::TenantTransaction, db: Arc<tenantry::Tenant>) {}
struct State { db: tenantry::Tenant, txn: tenantry::TenantTransaction }
";
    assert_eq!(edited(1, source), wanted);
}

#[test]
fn every_command_of_the_tables_exists() {
    let page = page();
    let mut count = 0;
    for code in page.split('`').skip(1).step_by(2) {
        let mut words = code.split(' ').map(|word| match word {
            "SLUG" | "NAME" => "acme",
            "N" => "2",
            other => other,
        });
        let name @ ("migration" | "tenantry") = words.next().unwrap() else { continue };
        let arguments: Vec<&str> = words.collect();
        if arguments.is_empty() {
            continue;
        }
        let ran = Ran::of(program(name).args(&arguments).arg("--help")).exits(0);
        let subcommand = arguments.iter().take_while(|word| !word.starts_with('-')).next();
        assert!(ran.stdout.contains(subcommand.unwrap()), "{code}: {}", ran.stdout);
        count += 1;
    }
    assert!(count > 20, "{count}");
}

const NOTES: Sql = Sql {
    name: "m1_notes",
    up: "CREATE TABLE notes (author text CONSTRAINT notes_pkey PRIMARY KEY);
         ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
         ALTER TABLE notes FORCE ROW LEVEL SECURITY;
         CREATE SEQUENCE numbers",
    down: "DROP SEQUENCE numbers; DROP TABLE notes",
    alone: false,
    breaking: false,
};

fn with(sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// The number that a statement returns.
fn number(row: Option<QueryResult>) -> i64 {
    row.unwrap().try_get_by_index(0).unwrap()
}

/// A tenant whose migrations make the page's policy too.
async fn with_policy(db: &TestDb) -> (Tenancy, Tenant) {
    let policy = Sql { name: "m2_policy", up: blocks("sql")[2].clone().leak(), down: "", ..NOTES };
    let migrator = SqlMigrator { migrations: vec![NOTES, policy], table: "seaql_migrations" };
    let tenancy = Tenancy::connect(&Config::new(db.url(), migrator)).await.unwrap();
    tenancy.create(NewTenant::new(slug("acme"))).await.unwrap();
    let tenant = tenancy.tenant(&slug("acme")).await.unwrap();
    (tenancy, tenant)
}

#[tokio::test]
async fn a_name_in_a_string_is_passed_as_a_value_or_stands_without_its_schema() {
    let db = TestDb::new().await;
    let (_tenancy, tenant) = with_policy(&db).await;
    let [by_value, unqualified, ..] = &blocks("sql")[..] else { panic!("the page has no SQL") };
    let schema = tenant.schema().as_str();
    let row = tenant.query_one_raw(with(by_value, [schema.into()])).await.unwrap();
    assert_eq!(number(row), 10);
    let txn = tenant.begin_with_search_path().await.unwrap();
    txn.execute_unprepared(unqualified).await.unwrap();
    let next = txn.query_one_raw(with("SELECT nextval('numbers')", [])).await.unwrap();
    assert_eq!(number(next), 21);
}

#[tokio::test]
async fn a_policy_with_a_setting_refuses_a_session_without_it() {
    let db = TestDb::new().await;
    let (_tenancy, tenant) = with_policy(&db).await;
    let plain = db.plain().await;
    plain
        .execute_unprepared(
            "INSERT INTO acme.notes VALUES ('ann'), ('');
             DO $$ BEGIN CREATE ROLE coming_from; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             GRANT USAGE ON SCHEMA acme TO coming_from;
             GRANT SELECT ON acme.notes TO coming_from",
        )
        .await
        .unwrap();
    let set = &blocks("sql")[3];
    let seen = async |txn: &TenantTransaction| {
        let count = with(r#"SELECT count(*) FROM "@tenant".notes"#, []);
        number(txn.query_one_raw(count).await.unwrap())
    };
    for _ in 0..2 {
        // A superuser ignores policies. Within a savepoint the role is one that does not.
        let txn = tenant.begin().await.unwrap();
        txn.execute_unprepared("SET LOCAL ROLE coming_from").await.unwrap();
        assert_eq!(seen(&txn).await, 0);
        txn.query_one_raw(with(set, ["ann".into()])).await.unwrap();
        assert_eq!(seen(&txn).await, 1);
        txn.commit().await.unwrap();
    }
}

mod country {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(schema_name = "@tenant", table_name = "countries")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub code: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

mod shared_country {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(schema_name = "shared", table_name = "countries")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub code: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

#[tokio::test]
async fn two_tables_of_one_name_are_joined_with_an_alias() {
    let db = TestDb::new().await;
    let (_tenancy, tenant) = with_policy(&db).await;
    let tables = "CREATE SCHEMA shared; CREATE TABLE shared.countries (code text PRIMARY KEY);
         CREATE TABLE acme.countries (code text PRIMARY KEY);
         INSERT INTO shared.countries VALUES ('de'), ('fr'); INSERT INTO acme.countries VALUES ('fr')";
    db.plain().await.execute_unprepared(tables).await.unwrap();
    assert_eq!(country::Entity::find().count(&tenant).await.unwrap(), 1);
    assert_eq!(shared_country::Entity::find().count(&tenant).await.unwrap(), 2);
    let relation = || {
        let to = shared_country::Column::Code;
        country::Entity::belongs_to(shared_country::Entity).from(country::Column::Code).to(to)
    };
    let join = country::Entity::find();
    let joined = join.clone().join_as(JoinType::InnerJoin, relation().into(), "common");
    assert_eq!(joined.count(&tenant).await.unwrap(), 1);
    // Without the alias PostgreSQL refuses the statement.
    let without = join.join(JoinType::InnerJoin, relation().into()).count(&tenant).await;
    assert!(without.unwrap_err().to_string().contains("ambiguous"));
}
