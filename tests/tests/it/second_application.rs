//! The tenancy knows nothing of guards: another application brings its own tables.

use std::process::Command;

use reqwest::Method;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, EntityTrait, PaginatorTrait, Set, TransactionTrait,
};
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};
use serde_json::{Value, json};
use tenantry::{Config, Error, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Target, TenantMigrator, Timeouts, create_schema, run, state,
};

use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    http_server::HttpServer,
    process::{Ran, program_on},
    slug,
    sql_migration::{Sql, SqlMigrator},
};

mod book {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(schema_name = "@tenant", table_name = "books")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub isbn: String,
        pub title: String,
        #[sea_orm(has_many)]
        pub loans: HasMany<super::loan::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

mod loan {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(schema_name = "@tenant", table_name = "loans")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub isbn: String,
        #[sea_orm(belongs_to, from = "isbn", to = "isbn")]
        pub book: BelongsTo<super::book::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

const BOOKS: Sql = Sql {
    name: "m1_books",
    up: "CREATE TABLE books (isbn text CONSTRAINT books_pkey PRIMARY KEY, title text NOT NULL)",
    down: "DROP TABLE books",
    alone: false,
    breaking: false,
};
const LOANS: Sql = Sql {
    name: "m2_loans",
    up: "CREATE TABLE loans (id uuid CONSTRAINT loans_pkey PRIMARY KEY, isbn text NOT NULL \
         CONSTRAINT loans_isbn_fkey REFERENCES books (isbn))",
    down: "DROP TABLE loans",
    alone: false,
    breaking: false,
};

/// A library's migrations, kept in a table of another name.
fn library() -> SqlMigrator {
    SqlMigrator { migrations: vec![BOOKS, LOANS], table: "library_migrations" }
}

#[tokio::test]
async fn another_application_has_tenants_with_its_own_tables() {
    let db = TestDb::new().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), library())).await.unwrap();
    for name in ["city", "village"] {
        let record = tenancy.create(NewTenant::new(slug(name))).await.unwrap();
        assert_eq!(record.schema_version.as_deref(), Some("m2_loans"));
    }
    let city = tenancy.tenant(&slug("city")).await.unwrap();
    let village = tenancy.tenant(&slug("village")).await.unwrap();
    let emma = book::ActiveModel { isbn: Set("1".into()), title: Set("Emma".into()) };
    emma.insert(&city).await.unwrap();
    let loan = loan::ActiveModel { id: Set(uuid::Uuid::now_v7()), isbn: Set("1".into()) };
    loan.clone().insert(&city).await.unwrap();
    let with_loans = book::Entity::load().with(loan::Entity).all(&city).await.unwrap();
    assert_eq!(with_loans[0].loans.len(), 1);
    assert_eq!(book::Entity::find().count(&village).await.unwrap(), 0);
    // The village has no such book: its foreign key looks into its own schema.
    loan.insert(&village).await.unwrap_err();
}

#[tokio::test]
async fn its_migrations_go_up_and_down_and_are_kept_in_its_own_table() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let schema: tenantry_registry::SchemaName = "branch".parse().unwrap();
    let library = DynMigrator::new(library());
    let txn = plain.begin().await.unwrap();
    create_schema(&txn, &schema, &library).await.unwrap();
    txn.commit().await.unwrap();

    let target = Target::Schema(schema);
    let down = run(&plain, &target, &library, &Action::Down(1), Timeouts::default()).await.unwrap();
    assert_eq!(down.rolled_back, ["m2_loans"]);
    assert_eq!(state(&plain, &target, &library).await.unwrap().pending, ["m2_loans"]);
    let up = run(&plain, &target, &library, &Action::Up(None), Timeouts::default()).await.unwrap();
    assert_eq!((up.applied, up.rolled_back), (vec!["m2_loans".to_owned()], vec![]));
    plain.execute_unprepared("SELECT version FROM branch.library_migrations").await.unwrap();
    plain.execute_unprepared("SELECT version FROM branch.seaql_migrations").await.unwrap_err();
}

const OWNER: &str = "SELECT name FROM registry.application";

/// The error of a program that comes to another application's registry.
#[track_caller]
fn is_refused(error: &str, registry: &str, program: &str) {
    let wanted = format!(
        "the registry of this database belongs to the application {registry:?}, but this program \
         is {program:?}. "
    );
    assert!(error.contains(&wanted), "{error}");
}

#[tokio::test]
async fn a_program_of_another_application_is_refused_at_connect_and_changes_nothing() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1"]).await;
    let plain = db.plain().await;
    let guards = "m20261123_000001_create_guards";
    assert_eq!(texts(&plain, OWNER).await, [guards]);
    let error = Tenancy::connect(&Config::new(db.url(), library())).await.unwrap_err();
    assert!(matches!(error, Error::Migration(tenantry_migrate::Error::OtherApplication { .. })));
    is_refused(&error.to_string(), guards, "m1_books");
    for words in [
        &["up", "--all"][..],
        &["up", "--registry"],
        &["up", "--schema", "tenant_1"],
        &["up", "--all", "--dry-run"],
        &["fresh", "--tenant", "tenant-1", "--yes"],
        &["down", "--registry"],
        &["status"],
        &["list", "--all"],
        &["verify", "--all"],
    ] {
        let ran = Ran::on("library-migration", &db.url(), words).exits(1);
        is_refused(&ran.stderr, guards, "m1_books");
    }
    assert_eq!(schemas(&plain).await, ["public", "registry", "tenant_1"]);
    assert_eq!(texts(&plain, OWNER).await, [guards]);
    Ran::on("migration", &db.url(), &["verify", "--all"]).exits(0);
}

#[tokio::test]
async fn the_products_own_commands_are_refused_in_another_applications_database() {
    let db = TestDb::new().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), library())).await.unwrap();
    tenancy.create(NewTenant::new(slug("city"))).await.unwrap();
    for (program, words) in [
        ("tenantry", &["tenant", "create", "tenant-1"][..]),
        ("tenantry", &["tenant", "drop", "city", "--yes"]),
        ("tenantry", &["serve"]),
        ("migration", &["up", "--all"]),
    ] {
        let ran = Ran::on(program, &db.url(), words).exits(1);
        is_refused(&ran.stderr, "m1_books", "m20261123_000001_create_guards");
    }
    assert_eq!(schemas(&db.plain().await).await, ["city", "public", "registry"]);
}

#[tokio::test]
async fn the_registry_belongs_to_the_application_that_first_migrates_or_uses_it() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    assert_eq!(texts(&plain, OWNER).await, [""; 0]);
    // Who only looks does not take it.
    Ran::on("migration", &db.url(), &["status"]).exits(0);
    Ran::on("migration", &db.url(), &["up", "--registry", "--dry-run"]).exits(0);
    assert_eq!(texts(&plain, OWNER).await, [""; 0]);
    Ran::on("library-migration", &db.url(), &["up", "--all"]).exits(0);
    assert_eq!(texts(&plain, OWNER).await, ["m1_books"]);

    // One that is made by it is its own from the start.
    texts(&plain, "DROP SCHEMA registry CASCADE").await;
    Ran::on("library-migration", &db.url(), &["up", "--registry"]).exits(0);
    assert_eq!(texts(&plain, OWNER).await, ["m1_books"]);
    let error = Tenancy::connect(&db.config()).await.unwrap_err();
    is_refused(&error.to_string(), "m1_books", "m20261123_000001_create_guards");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_applications_that_come_at_the_same_moment_one_has_the_registry() {
    let db = TestDb::new().await;
    let (ours, theirs) = (db.config(), Config::new(db.url(), library()));
    let (ours, theirs) = tokio::join!(Tenancy::connect(&ours), Tenancy::connect(&theirs));
    assert!(ours.is_ok() != theirs.is_ok(), "{ours:?} {theirs:?}");
    let owner = if ours.is_ok() { "m20261123_000001_create_guards" } else { "m1_books" };
    assert_eq!(texts(&db.plain().await, OWNER).await, [owner]);
}

/// The library under a name of its own, whatever its migrations are called.
struct Named(SqlMigrator, &'static str);

impl MigratorTraitSelf for Named {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        self.0.migrations()
    }
}

impl TenantMigrator for Named {
    fn application(&self) -> String {
        self.1.to_owned()
    }
}

#[tokio::test]
async fn an_application_keeps_its_name_when_its_oldest_migration_changes() {
    let db = TestDb::new().await;
    let whole = || Sql { name: "m0_whole_library", ..BOOKS };
    let connect = async |migrations: Vec<Sql>, name| {
        let migrator = Named(SqlMigrator { migrations, table: "library_migrations" }, name);
        Tenancy::connect(&Config::new(db.url(), migrator)).await
    };
    connect(vec![BOOKS, LOANS], "library").await.unwrap();
    connect(vec![whole()], "library").await.unwrap();
    let error = connect(vec![BOOKS, LOANS], "archive").await.unwrap_err();
    is_refused(&error.to_string(), "library", "archive");
    // The remedy that the error names.
    let remedy = "UPDATE registry.application SET name = 'archive'";
    assert!(error.to_string().contains(remedy), "{error}");
    texts(&db.plain().await, remedy).await;
    connect(vec![BOOKS, LOANS], "archive").await.unwrap();
    // A migrator without migrations and without a name is at home everywhere.
    connect(Vec::new(), "").await.unwrap();
}

#[tokio::test]
async fn the_library_program_serves_its_own_tables_without_the_outer_crates() {
    let db = TestDb::new().await;
    for tenant in ["city", "village"] {
        Ran::on("library", &db.url(), &["tenant", "create", tenant]).exits(0);
    }
    let serving = HttpServer::launch(&mut program_on("library", &db.url(), &["serve"]));
    let books = async |method, tenant: &str, body: &Value| {
        let url = format!("http://{}/books", serving.address());
        let request = reqwest::Client::new().request(method, url);
        let request = request.header("host", format!("{tenant}.localhost")).json(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    // Each library has the first book from its seed.
    let first = json!({ "isbn": "978-0-14-143951-8", "title": "Emma" });
    let persuasion = json!({ "isbn": "0-14-143968-7", "title": "Persuasion" });
    assert_eq!(books(Method::POST, "city", &persuasion).await, (201, persuasion.clone()));
    assert_eq!(books(Method::GET, "city", &json!({})).await, (200, json!([persuasion, first])));
    assert_eq!(books(Method::GET, "village", &json!({})).await, (200, json!([first])));
    let (status, problem) = books(Method::POST, "city", &json!({ "isbn": "1", "title": "" })).await;
    assert_eq!((status, problem["errors"].as_array().unwrap().len()), (422, 2), "{problem}");
}

#[test]
fn the_library_depends_on_no_outer_crate() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "library", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"tenantry-axum"), "{tree}");
    for outer in ["entity", "migration", "service", "api"] {
        assert!(!names.contains(&outer), "{outer} is among the dependencies");
    }
}
