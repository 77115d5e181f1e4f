//! The tenancy knows nothing of guards: another application brings its own tables.

use migration::{Action, AnyMigrator, Target, Timeouts, provision, run, state};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, EntityTrait, PaginatorTrait, Set, TransactionTrait,
};
use service::tenancy::{Config, NewTenant, Tenancy};

use crate::support::{
    TestDb, slug,
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
    let schema: entity::registry::SchemaName = "branch".parse().unwrap();
    let library = AnyMigrator::new(library());
    let txn = plain.begin().await.unwrap();
    provision(&txn, &schema, &library).await.unwrap();
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
