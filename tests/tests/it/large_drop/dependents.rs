//! Objects outside a tenant's schema that depend on it prevent the drop.

use sea_orm::ConnectionTrait;
use tenantry::Error;
use tenantry_migrate::dependents;

use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    process::Ran,
    slug,
};

/// Objects outside the tenants' schemas.
const REPORT: &str =
    "SELECT relname::text FROM pg_class WHERE relnamespace = 'report'::regnamespace
    AND relkind IN ('r', 'p', 'v', 'm', 'S') ORDER BY 1";

/// Objects outside the schemas, and the dependents among them, as PostgreSQL describes them.
const OUTSIDE: [(&str, &[&str]); 17] = [
    (
        "CREATE VIEW report.sales AS
             SELECT id FROM tenant_1.guards UNION ALL SELECT id FROM tenant_2.guards",
        &["view report.sales"],
    ),
    // Indirect dependents.
    ("CREATE VIEW report.second AS SELECT count(*) FROM report.sales", &["view report.second"]),
    (
        "CREATE MATERIALIZED VIEW report.kept AS SELECT id FROM tenant_1.guards;
         CREATE INDEX kept_idx ON report.kept (id)",
        &["materialized view report.kept"],
    ),
    (
        "CREATE TABLE report.visits (guard uuid CONSTRAINT visits_fkey REFERENCES tenant_1.guards)",
        &["constraint visits_fkey on table report.visits"],
    ),
    ("CREATE TABLE report.child () INHERITS (tenant_1.guards)", &["table report.child"]),
    (
        "CREATE TABLE tenant_1.parts (id int) PARTITION BY LIST (id);
         CREATE TABLE report.part PARTITION OF tenant_1.parts FOR VALUES IN (1)",
        &["table report.part"],
    ),
    (
        "CREATE TYPE tenant_1.mood AS ENUM ('good'); CREATE TABLE public.moods (mood tenant_1.mood)",
        &["column mood of table moods"],
    ),
    ("CREATE TABLE report.rows (whole tenant_1.shifts)", &["column whole of table report.rows"]),
    ("CREATE DOMAIN report.mood AS tenant_1.mood", &["type report.mood"]),
    (
        "CREATE SEQUENCE tenant_1.numbers;
         CREATE TABLE report.numbered (id int DEFAULT nextval('tenant_1.numbers'))",
        &["default value for column id of table report.numbered"],
    ),
    (
        "CREATE SEQUENCE report.owned; ALTER SEQUENCE report.owned OWNER TO CURRENT_USER;
         CREATE TABLE report.uses (id int DEFAULT nextval('report.owned'))",
        &[],
    ),
    (
        "CREATE FUNCTION report.guards() RETURNS bigint LANGUAGE sql
             BEGIN ATOMIC SELECT count(*) FROM tenant_1.guards; END",
        &["function report.guards()"],
    ),
    (
        "CREATE FUNCTION report.typed(tenant_1.mood) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        &["function report.typed(tenant_1.mood)"],
    ),
    (
        "CREATE TABLE report.secured (id uuid);
         CREATE POLICY own ON report.secured USING (id IN (SELECT g.id FROM tenant_1.guards g))",
        &["policy own on table report.secured"],
    ),
    (
        "CREATE FUNCTION tenant_1.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
         CREATE TRIGGER touch BEFORE INSERT ON report.secured
             FOR EACH ROW EXECUTE FUNCTION tenant_1.touch()",
        &["trigger touch on table report.secured"],
    ),
    (
        "CREATE TABLE report.ruled (id uuid);
         CREATE RULE also AS ON INSERT TO report.ruled
             DO ALSO INSERT INTO tenant_1.audit VALUES (new.id)",
        &["rule also on table report.ruled"],
    ),
    (
        "CREATE TABLE report.checked (id int, CONSTRAINT sound CHECK (tenant_1.sound(id)));
         CREATE INDEX checked_idx ON report.checked (tenant_1.sound(id))",
        &["constraint sound on table report.checked", "index report.checked_idx"],
    ),
];

/// Everything that a migration may create inside the tenant's schema.
const INSIDE: &str = "
    CREATE TABLE tenant_1.audit (id uuid);
    CREATE FUNCTION tenant_1.sound(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 0';
    CREATE TYPE tenant_1.colour AS ENUM ('red'); CREATE TYPE tenant_1.pair AS (a int, b tenant_1.colour);
    CREATE DOMAIN tenant_1.positive AS int CHECK (tenant_1.sound(VALUE));
    CREATE TABLE tenant_1.things (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number serial, colour tenant_1.colour DEFAULT 'red',
        pair tenant_1.pair, size tenant_1.positive, parent int REFERENCES tenant_1.things, words text,
        twice int GENERATED ALWAYS AS (size * 2) STORED, CHECK (tenant_1.sound(number)));
    CREATE INDEX ON tenant_1.things (lower(words)) WHERE tenant_1.sound(number);
    CREATE STATISTICS tenant_1.stats ON number, size FROM tenant_1.things;
    CREATE TABLE tenant_1.split (id int PRIMARY KEY, words text) PARTITION BY RANGE (id);
    CREATE TABLE tenant_1.split_1 PARTITION OF tenant_1.split FOR VALUES FROM (0) TO (9);
    CREATE INDEX ON tenant_1.split (words);
    CREATE TABLE tenant_1.refers (id int REFERENCES tenant_1.split);
    CREATE TABLE tenant_1.heir () INHERITS (tenant_1.things);
    CREATE VIEW tenant_1.seen AS SELECT * FROM tenant_1.things;
    CREATE MATERIALIZED VIEW tenant_1.stored AS SELECT * FROM tenant_1.seen;
    CREATE UNIQUE INDEX ON tenant_1.stored (id);
    CREATE FUNCTION tenant_1.things() RETURNS SETOF tenant_1.things LANGUAGE sql
        BEGIN ATOMIC SELECT * FROM tenant_1.things; END;
    CREATE FUNCTION tenant_1.on_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
    CREATE TRIGGER on_change BEFORE INSERT ON tenant_1.things
        FOR EACH ROW EXECUTE FUNCTION tenant_1.on_change();
    ALTER TABLE tenant_1.things ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON tenant_1.things USING (id IN (SELECT t.id FROM tenant_1.things t));
    CREATE RULE quiet AS ON DELETE TO tenant_1.things DO INSTEAD NOTHING;
    CREATE OPERATOR tenant_1.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
    CREATE AGGREGATE tenant_1.total(int) (SFUNC = int4pl, STYPE = int);
    CREATE COLLATION tenant_1.plain FROM \"C\";
    CREATE TYPE tenant_1.span AS RANGE (subtype = int4);
    CREATE CAST (tenant_1.colour AS int) WITH INOUT;
    CREATE TEXT SEARCH CONFIGURATION tenant_1.english (COPY = pg_catalog.english);
    CREATE PUBLICATION all_things FOR TABLE tenant_1.things;
    ALTER DEFAULT PRIVILEGES IN SCHEMA tenant_1 GRANT SELECT ON TABLES TO PUBLIC;
    CREATE TABLE public.countries (id int PRIMARY KEY);
    CREATE TABLE tenant_1.places (country int REFERENCES public.countries);
    COMMENT ON TABLE tenant_1.places IS 'places'";

#[tokio::test]
async fn each_object_outside_that_depends_on_a_tenant_is_named_before_anything_is_dropped() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    plain.execute_unprepared(INSIDE).await.unwrap();
    plain.execute_unprepared("CREATE SCHEMA report").await.unwrap();
    let mut expected: Vec<&str> = Vec::new();
    for (made, found) in OUTSIDE {
        plain.execute_unprepared(made).await.unwrap();
        expected.extend(found);
        expected.sort_unstable();
        assert_eq!(dependents(&plain, "tenant_1").await.unwrap(), expected, "{made}");
    }
    let report = texts(&plain, REPORT).await;

    // The library, the command and the migration command say which, and leave the tenant alone.
    let error = tenancy.drop(&slug("tenant-1")).await.unwrap_err();
    let Error::HasDependents { dependents: found, .. } = &error else { panic!("{error}") };
    // A connection that has `public` in its path leaves it out.
    let found: Vec<String> = found.iter().map(|it| it.replace("public.", "")).collect();
    assert_eq!(found, expected);
    let (tenantry, migration) = (["tenant", "drop", "tenant-1", "--yes"], ["fresh", "--yes"]);
    let first = ["column mood of table public.moods, column whole", "and 7 more", "--cascade"];
    Ran::on("tenantry", &db.url(), &tenantry).exits(1).complains(first);
    for target in [["--tenant", "tenant-1"], ["--schema", "tenant_1"]] {
        Ran::on("migration", &db.url(), &[migration, target].concat()).exits(1).complains(first);
    }
    let dry = ["fresh", "--dry-run", "--schema", "tenant_1"];
    Ran::on("migration", &db.url(), &dry).exits(1).complains(first);
    assert_eq!(texts(&plain, REPORT).await, report);
    assert!(tenancy.tenant(&slug("tenant-1")).await.is_ok());
    let things = "SELECT count(*)::text FROM tenant_1.things";
    assert_eq!(texts(&plain, things).await, ["0"]);

    // With cascade, exactly the listed objects are dropped.
    let fresh = [&migration[..], &["--tenant", "tenant-1", "--cascade"]].concat();
    Ran::on("migration", &db.url(), &fresh).exits(0);
    let left = ["checked", "numbered", "owned", "rows", "ruled", "secured", "uses", "visits"];
    assert_eq!(texts(&plain, REPORT).await, left);
    assert_eq!(dependents(&plain, "tenant_1").await.unwrap(), [""; 0]);
    plain.execute_unprepared(OUTSIDE[0].0).await.unwrap();
    let cascade = [&tenantry[..], &["--cascade"]].concat();
    Ran::on("tenantry", &db.url(), &cascade).exits(0);
    assert_eq!(texts(&plain, REPORT).await, left);
    assert_eq!(schemas(&plain).await, ["public", "registry", "report", "tenant_2"]);
}

#[tokio::test]
async fn dependents_inside_the_schema_do_not_prevent_a_drop() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    plain.execute_unprepared(INSIDE).await.unwrap();
    assert_eq!(dependents(&plain, "tenant_1").await.unwrap(), [""; 0]);
    assert_eq!(dependents(&plain, "no_such_schema").await.unwrap(), [""; 0]);
    Ran::on("migration", &db.url(), &["fresh", "--yes", "--tenant", "tenant-1"]).exits(0);
    plain
        .execute_unprepared("DROP TABLE public.countries; DROP PUBLICATION all_things")
        .await
        .unwrap();
    plain.execute_unprepared(INSIDE).await.unwrap();
    tenancy.drop(&slug("tenant-1")).await.unwrap();
    assert_eq!(schemas(&plain).await, ["public", "registry", "tenant_2"]);
}

#[tokio::test]
async fn a_schema_whose_name_is_a_word_of_sql_is_dropped() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["time", "tenant-2"]).await;
    let plain = db.plain().await;
    let inside = "CREATE TYPE \"time\".mood AS ENUM ('good'); CREATE SEQUENCE \"time\".numbers;
        CREATE FUNCTION \"time\".f(\"time\".mood) RETURNS int LANGUAGE sql AS 'SELECT 1'";
    plain.execute_unprepared(inside).await.unwrap();
    assert_eq!(dependents(&plain, "time").await.unwrap(), [""; 0]);
    let outside = "CREATE VIEW tenant_2.moods AS SELECT 'good'::\"time\".mood AS mood";
    plain.execute_unprepared(outside).await.unwrap();
    let error = tenancy.drop(&slug("time")).await.unwrap_err();
    assert!(error.to_string().contains("view tenant_2.moods"), "{error}");
    tenancy.drop(&slug("tenant-2")).await.unwrap();
    tenancy.drop(&slug("time")).await.unwrap();
}

#[tokio::test]
async fn a_view_created_while_a_drop_waits_is_kept() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["tenant-1"]).await;
    let plain = db.plain().await;
    plain.execute_unprepared("CREATE SCHEMA report").await.unwrap();
    let txn = sea_orm::TransactionTrait::begin(&plain).await.unwrap();
    let view = "CREATE VIEW report.late AS SELECT id FROM tenant_1.guards";
    txn.execute_unprepared(view).await.unwrap();
    let commits = async {
        tokio::time::sleep(std::time::Duration::from_millis(1050)).await;
        txn.commit().await.unwrap();
    };
    let one = slug("tenant-1");
    let (dropped, ()) = tokio::join!(tenancy.drop(&one), commits);
    let error = dropped.unwrap_err();
    assert!(error.to_string().contains("view report.late"), "{error}");
    // It is marked as dropped, so that cascade continues.
    tenancy.drop(&one).await.unwrap_err();
    tenancy.drop_cascade(&one).await.unwrap();
    assert_eq!(schemas(&plain).await, ["public", "registry", "report"]);
}
