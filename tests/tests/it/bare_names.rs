//! Functions whose bodies name tables without a schema: a tenant's statements would not find them.

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry::{Config, NewTenant, Tenancy, Tenant};
use tenantry_migrate::{
    DynMigrator, Extension, TenantMigrator,
    drift::{VerifyTarget, embeds_schema_name, verify},
    make_extensions,
};

use crate::support::{TestDb, catalog::texts, http_server::eventually, slug, sql_migration::Sql};

/// A migration after two tables.
#[derive(Clone)]
struct Books {
    sql: &'static str,
    extensions: Vec<Extension>,
}

impl Books {
    fn with(sql: &'static str) -> Self {
        Self { sql, extensions: Vec::new() }
    }
}

impl MigratorTraitSelf for Books {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let tables = "CREATE TABLE books (id int PRIMARY KEY, title text);
                      CREATE TABLE audit (id int, title text, at timestamptz DEFAULT now())";
        let all = [("m1_tables", tables), ("m2_functions", self.sql)];
        let all =
            all.map(|(name, up)| Sql { name, up, down: "SELECT 1", alone: false, breaking: false });
        all.map(|it| Box::new(it) as Box<dyn MigrationTrait>).into()
    }
}

impl TenantMigrator for Books {
    fn extensions(&self) -> Vec<Extension> {
        self.extensions.clone()
    }
}

const CALLED: [(&str, &str); 10] = [
    (
        "CREATE SEQUENCE audit_numbers;
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             NEW.id := nextval('audit_numbers'); RETURN NEW; END $$;
         CREATE TRIGGER t BEFORE INSERT ON books FOR EACH ROW EXECUTE FUNCTION f()",
        "trigger t",
    ),
    (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             NEW.title := 'audit'::regclass::oid; RETURN NEW; END $$;
         CREATE TRIGGER t BEFORE INSERT ON books FOR EACH ROW EXECUTE FUNCTION f()",
        "trigger t",
    ),
    (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             EXECUTE format('DELETE FROM %1$I WHERE id = %2$L', TG_TABLE_NAME, -1); RETURN NEW; END $$;
         CREATE TRIGGER audit_t AFTER INSERT ON books FOR EACH ROW EXECUTE FUNCTION f()",
        "trigger audit_t",
    ),
    (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO audit VALUES (NEW.id); RETURN NEW; END $$;
         CREATE TRIGGER t AFTER INSERT ON books FOR EACH ROW EXECUTE FUNCTION f()",
        "trigger t",
    ),
    (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT count(*)::int FROM audit';
         ALTER TABLE books ADD COLUMN number int DEFAULT f()",
        "default value",
    ),
    (
        "CREATE FUNCTION f(int) RETURNS boolean LANGUAGE plpgsql STABLE
             AS $$ BEGIN RETURN EXISTS (SELECT FROM audit WHERE id = $1); END $$;
         CREATE POLICY p ON books USING (f(id))",
        "policy p",
    ),
    (
        "CREATE FUNCTION f(int) RETURNS bigint LANGUAGE plpgsql IMMUTABLE
             AS $$ BEGIN RETURN (SELECT count(*) FROM audit WHERE id = $1); END $$;
         CREATE INDEX i ON books (f(id))",
        "index i",
    ),
    (
        "CREATE FUNCTION f(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE
             AS $$ BEGIN RETURN NOT EXISTS (SELECT FROM audit WHERE id = $1); END $$;
         ALTER TABLE books ADD CONSTRAINT c CHECK (f(id))",
        "constraint c",
    ),
    (
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
             AS $$ BEGIN RETURN (SELECT count(*) FROM audit WHERE id = $1); END $$;
         ALTER TABLE books ADD COLUMN number int GENERATED ALWAYS AS (f(id)) STORED",
        // Before PostgreSQL 15, the column itself; then its default value.
        "column number of table books",
    ),
    (
        "CREATE FUNCTION f() RETURNS SETOF int LANGUAGE sql AS 'SELECT id FROM audit';
         CREATE VIEW v AS SELECT * FROM f()",
        "view v",
    ),
];

#[tokio::test]
async fn creation_refuses_called_function_with_unqualified_names() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    for (sql, caller) in CALLED {
        let books = Books::with(sql);
        let tenancy = Tenancy::connect(&Config::new(db.url(), books.clone())).await.unwrap();
        let error = tenancy.create(NewTenant::new(slug("one"))).await.unwrap_err().to_string();
        for word in ["m2_functions", "function f(", "audit", caller, "FROM CURRENT", "check: allow"]
        {
            assert!(error.contains(word), "{sql}: no {word:?} in {error}");
        }
        tenancy.close().await;
        let error = embeds_schema_name(&plain, &DynMigrator::tenant(books)).await.unwrap_err();
        assert_eq!(error.migration(), Some("m2_functions"), "{error}");
        assert_eq!(texts(&plain, "SELECT slug FROM registry.tenants").await, [""; 0]);
        assert!(!crate::support::catalog::schemas(&plain).await.contains(&"one".to_owned()));
    }
}

/// Remedies for unqualified names.
const PASS: [&str; 5] = [
    // Without callers.
    "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM audit'",
    "/* check: allow function-search-path because only reports call it */
     CREATE FUNCTION f() RETURNS SETOF int LANGUAGE sql AS 'SELECT id FROM audit';
     CREATE VIEW v AS SELECT * FROM f()",
    ATOMIC,
    CURRENT,
    DYNAMIC,
];

const ATOMIC: &str = "CREATE FUNCTION titles() RETURNS bigint LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT count(*) FROM audit; END;
    ALTER TABLE books ADD COLUMN number bigint DEFAULT titles();
    CREATE RULE r AS ON INSERT TO books DO ALSO INSERT INTO audit VALUES (NEW.id, NEW.title)";

const CURRENT: &str = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$ BEGIN
        INSERT INTO audit VALUES (NEW.id, NEW.title); RETURN NEW; END $$;
    CREATE TRIGGER t AFTER INSERT ON books FOR EACH ROW EXECUTE FUNCTION note()";

const DYNAMIC: &str = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        EXECUTE format('INSERT INTO %I.audit VALUES ($1, $2)', TG_TABLE_SCHEMA)
            USING NEW.id, NEW.title;
        RETURN NEW; END $$;
    CREATE TRIGGER t AFTER INSERT ON books FOR EACH ROW EXECUTE FUNCTION note()";

#[tokio::test]
async fn creation_accepts_function_that_finds_its_tables_or_is_allowed() {
    for sql in PASS {
        let db = TestDb::new().await;
        let tenancy = Tenancy::connect(&Config::new(db.url(), Books::with(sql))).await.unwrap();
        tenancy
            .create(NewTenant::new(slug("one")))
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

async fn insert(tenant: &Tenant, id: i32) {
    let sql = format!(r#"INSERT INTO "@tenant"."books" (id, title) VALUES ({id}, 'ABC')"#);
    tenant.execute_unprepared(&sql).await.unwrap();
}

async fn audited(tenant: &Tenant) -> i64 {
    let sql = r#"SELECT count(*) FROM "@tenant"."audit""#;
    let row = tenant.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
    row.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// Asserts that the triggers of a renamed spare write to the tenant's table.
async fn works_in_a_spare(books: Books) {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    make_extensions(&plain, &DynMigrator::tenant(books.clone())).await.unwrap();
    // An unqualified name would find this table.
    plain.execute_unprepared("CREATE TABLE public.audit (id int, title text)").await.unwrap();
    let config = Config { spares: 1, ..Config::new(db.url(), books.clone()) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let spares = "SELECT count(*)::text FROM registry.tenants WHERE status = 'spare'";
    let mut tenants = Vec::new();
    for name in ["one", "two"] {
        eventually("there is a spare", async || texts(&plain, spares).await == ["1"]).await;
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
        let renamed = format!("RENAME TO \"{name}\"");
        assert!(db.statements().iter().any(|sql| sql.contains(&renamed)), "{}", books.sql);
        tenants.push(tenancy.tenant(&slug(name)).await.unwrap());
    }
    insert(&tenants[0], 1).await;
    insert(&tenants[1], 1).await;
    insert(&tenants[1], 2).await;
    assert_eq!(audited(&tenants[0]).await, 1, "{}", books.sql);
    assert_eq!(audited(&tenants[1]).await, 2, "{}", books.sql);
    assert_eq!(texts(&plain, "SELECT id::text FROM public.audit").await, [""; 0]);
    plain.execute_unprepared("DROP TABLE public.audit").await.unwrap();
    let found = verify(&plain, &DynMigrator::tenant(books), &VerifyTarget::All).await.unwrap();
    assert!(found.is_clean(), "{found}");
}

#[tokio::test]
async fn each_remedy_works_in_renamed_spare() {
    for sql in [ATOMIC, CURRENT, DYNAMIC] {
        works_in_a_spare(Books::with(sql)).await;
    }
}

#[tokio::test]
async fn each_remedy_works_in_renamed_spare_with_extensions() {
    const WITH_CITEXT: &str = "ALTER TABLE audit ALTER COLUMN title TYPE citext;
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            INSERT INTO audit SELECT NEW.id, NEW.title WHERE NEW.title::citext = 'abc';
            RETURN NEW;
        END $$;
        CREATE TRIGGER t AFTER INSERT ON books FOR EACH ROW EXECUTE FUNCTION note()";
    for sql in [WITH_CITEXT, CURRENT] {
        let extensions = vec![Extension::new("citext"), Extension::new("hstore").in_schema("more")];
        works_in_a_spare(Books { sql, extensions }).await;
    }
}
