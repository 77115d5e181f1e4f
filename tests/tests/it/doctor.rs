//! What is half done or stray is found, and what is safe is fixed.

use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::Value;
use tenantry::{
    Config, DoctorOptions, Error, FindingKind, NewTenant, Remedy, RenameOptions, Tenancy,
};
use tenantry_migrate::{Action, DynMigrator, Target, Timeouts, run};

use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    http_server::eventually,
    process::Ran,
    slug,
    tcp_proxy::TcpProxy,
};

const NOW: DoctorOptions = DoctorOptions { min_age: Duration::ZERO };

async fn problems(tenancy: &Tenancy) -> Vec<(FindingKind, String)> {
    let found = tenancy.doctor(&NOW).await.unwrap();
    assert!(found.complete);
    let subject = |it: tenantry::Finding| (it.kind, it.tenant.or(it.schema).unwrap_or_default());
    found.findings.into_iter().map(subject).collect()
}

fn expected<const N: usize>(all: [(FindingKind, &str); N]) -> Vec<(FindingKind, String)> {
    all.map(|(problem, subject)| (problem, subject.to_owned())).to_vec()
}

async fn fix(tenancy: &Tenancy) {
    let diagnosis = tenancy.doctor(&NOW).await.unwrap();
    for fixed in tenancy.fix(&diagnosis).await {
        assert_eq!(fixed.error, None, "{fixed:?}");
    }
}

#[tokio::test]
async fn nothing_is_found_where_all_is_well() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let config = Config { schema_prefix: "t_".to_owned(), spares: 2, ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let spares = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
    eventually("there are spares", async || texts(&plain, spares).await.len() == 2).await;
    for name in ["a-b", "acme", "gone"] {
        let domains = vec![format!("{name}.example.org").parse().unwrap()];
        tenancy.create(NewTenant { domains, ..NewTenant::new(slug(name)) }).await.unwrap();
    }
    tenancy.drop(&slug("gone")).await.unwrap();
    plain
        .execute_unprepared("CREATE SCHEMA reports; CREATE TABLE reports.sums (n int)")
        .await
        .unwrap();
    assert_eq!(problems(&tenancy).await, []);
}

#[tokio::test]
async fn stray_schemas_and_rows_are_named_and_only_leftovers_of_the_product_are_removed() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let config = Config { schema_prefix: "t_".to_owned(), ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    for name in ["lost", "gone", "spared"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    tenancy.drop(&slug("gone")).await.unwrap();
    let migrator = DynMigrator::new(migration::Migrator);
    plain.execute_unprepared(r#"CREATE SCHEMA "Old ""Acme""""#).await.unwrap();
    let orphan = Target::Schema(r#"Old "Acme""#.parse().unwrap());
    run(&plain, &orphan, &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();
    for sql in [
        "DROP SCHEMA t_lost CASCADE",
        "DROP SCHEMA t_spared CASCADE",
        "UPDATE registry.tenants SET slug = NULL, status = 'spare' WHERE slug = 'spared'",
        "CREATE SCHEMA t_gone",
        "CREATE SCHEMA t_mine",
        "CREATE SCHEMA t_half",
        "DO $$ BEGIN EXECUTE format('COMMENT ON SCHEMA t_half IS %L',
             'tenantry: unfinished creation of schema ' || 't_half'::regnamespace::oid); END $$",
        "CREATE SCHEMA t_copy",
        "DO $$ BEGIN EXECUTE format('COMMENT ON SCHEMA t_copy IS %L',
             'tenantry: unfinished creation of schema ' || 't_half'::regnamespace::oid); END $$",
        "INSERT INTO registry.domains SELECT 'stray.example.org', id, now()
         FROM registry.tenants WHERE slug = 'gone'",
        "INSERT INTO registry.aliases SELECT 'earlier', id, true, now() + interval '1 day', now()
         FROM registry.tenants WHERE slug = 'gone'",
    ] {
        plain.execute_unprepared(sql).await.unwrap();
    }
    let stray = [
        (FindingKind::MissingSchema, "lost"),
        (FindingKind::MissingSchema, "t_spared"),
        (FindingKind::OrphanSchema, r#"Old "Acme""#),
        (FindingKind::SimilarSchema, "t_copy"),
        (FindingKind::SimilarSchema, "t_gone"),
        (FindingKind::UnfinishedCreation, "t_half"),
        (FindingKind::SimilarSchema, "t_mine"),
        (FindingKind::StrayRows, "gone"),
    ];
    // An earlier slug of a dropped tenant leads nowhere.
    let error = tenancy.tenant(&slug("earlier")).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTenant(_)), "{error}");
    let before = schemas(&plain).await;
    assert_eq!(problems(&tenancy).await, expected(stray));
    // Nothing was changed.
    assert_eq!(schemas(&plain).await, before);
    assert_eq!(problems(&tenancy).await, expected(stray));
    fix(&tenancy).await;
    let left =
        stray.into_iter().filter(|(_, subject)| !["t_spared", "t_half", "gone"].contains(subject));
    let left: Vec<_> = left.map(|(problem, subject)| (problem, subject.to_owned())).collect();
    assert_eq!(problems(&tenancy).await, left);
    let after = schemas(&plain).await;
    let removed: Vec<&String> = before.iter().filter(|it| !after.contains(it)).collect();
    assert_eq!(removed, ["t_half"]);
    // What was removed is recorded, once.
    fix(&tenancy).await;
    let repaired = "SELECT concat_ws(' ', slug, before) FROM registry.audit
        WHERE action = 'repaired' ORDER BY id";
    let entries = [r#"{"schema": "t_spared"}"#, r#"{"schema": "t_half"}"#, r#"gone {"rows": 2}"#];
    assert_eq!(texts(&plain, repaired).await, entries);
}

#[tokio::test]
async fn a_slug_that_is_an_earlier_one_of_a_dropped_tenant_is_free() {
    let db = TestDb::new().await;
    let (tenancy, [_]) = db.with_tenants(["gone"]).await;
    tenancy.drop(&slug("gone")).await.unwrap();
    let stray = "INSERT INTO registry.aliases SELECT 'earlier', id, true,
        now() + interval '1 day', now() FROM registry.tenants WHERE slug = 'gone'";
    db.plain().await.execute_unprepared(stray).await.unwrap();
    tenancy.create(NewTenant::new(slug("earlier"))).await.unwrap();
    assert_eq!(problems(&tenancy).await, []);
}

#[tokio::test]
async fn a_list_that_is_not_complete_is_no_success() {
    let db = TestDb::new().await;
    let (plain, tenancy) = (db.plain().await, db.tenancy().await);
    let spares = "INSERT INTO registry.tenants
            (id, schema, status, migrations, breaking, metadata, inserted_at, updated_at)
        SELECT gen_random_uuid(), 'lost_' || n, 'spare', '{}', '{}', '{}', now(), now()
        FROM generate_series(1, 501) n";
    plain.execute_unprepared(spares).await.unwrap();
    let missing = "SELECT count(*)::text FROM registry.tenants";
    let doctor =
        |words: &[&str]| Ran::on("tenantry", &db.url(), &[&["doctor", "--fix"], words].concat());
    let ran = doctor(&["--json"]).exits(1);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["complete"], false);
    assert_eq!(texts(&plain, missing).await, ["1"]);
    doctor(&[]).exits(1);
    assert_eq!(problems(&tenancy).await, []);
}

#[tokio::test]
async fn a_creation_that_is_in_progress_is_no_finding() {
    let db = TestDb::new().await;
    let (plain, tenancy) = (db.plain().await, db.tenancy().await);
    let creating = plain.begin().await.unwrap();
    for sql in
        ["SELECT pg_advisory_xact_lock(hashtextextended('tenantry creation of half', 0))"
            .to_owned()]
    {
        creating.execute_unprepared(&sql).await.unwrap();
    }
    let other = db.plain().await;
    other.execute_unprepared("CREATE SCHEMA half").await.unwrap();
    let mark = "DO $$ BEGIN EXECUTE format('COMMENT ON SCHEMA half IS %L',
        'tenantry: unfinished creation of schema ' || 'half'::regnamespace::oid); END $$";
    other.execute_unprepared(mark).await.unwrap();
    assert_eq!(problems(&tenancy).await, []);
    creating.rollback().await.unwrap();
    assert_eq!(problems(&tenancy).await, expected([(FindingKind::UnfinishedCreation, "half")]));
    fix(&tenancy).await;
    assert_eq!(problems(&tenancy).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_that_was_killed_is_found_and_finished_and_a_successor_is_not_dropped() {
    let db = TestDb::new().await;
    let (plain, tenancy) = (db.plain().await, db.tenancy().await);
    let wire = TcpProxy::new().await;
    let killed = Tenancy::connect(&Config::new(wire.url(db.name()), migration::Migrator)).await;
    let killed = killed.unwrap();
    let dropping = "SELECT slug FROM registry.tenants WHERE status = 'dropping'";
    let mut steps = 0;
    while texts(&plain, dropping).await.is_empty() {
        if tenancy.get(&slug("tenant-1")).await.unwrap().is_none() {
            tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
        }
        wire.terminate_after(steps);
        killed.drop(&slug("tenant-1")).await.ok();
        wire.disarm();
        steps += 1;
        assert!(steps < 100);
    }
    // It may be in progress.
    assert_eq!(tenancy.doctor(&DoctorOptions::default()).await.unwrap().findings, []);
    assert_eq!(problems(&tenancy).await, expected([(FindingKind::UnfinishedDrop, "tenant-1")]));
    let diagnosis = tenancy.doctor(&NOW).await.unwrap();
    let ran = Ran::on("tenantry", &db.url(), &["doctor", "--min-age", "0"]).exits(1);
    assert!(ran.stdout.contains("tenantry tenant drop tenant-1"), "{}", ran.stdout);
    let ran = Ran::on("tenantry", &db.url(), &["doctor", "--min-age", "0", "--fix", "--json"]);
    let json: Value = serde_json::from_str(&ran.exits(0).stdout).unwrap();
    assert_eq!(json["complete"], true);
    assert_eq!(json["findings"][0]["kind"], "unfinished_drop");
    assert_eq!(json["findings"][0]["fixed"], true);
    assert_eq!(problems(&tenancy).await, []);
    // Another tenant has the slug now, and the diagnosis is old.
    tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
    let fixed = tenancy.fix(&diagnosis).await;
    assert_eq!(fixed.len(), 1);
    assert!(tenancy.tenant(&slug("tenant-1")).await.is_ok());
    let ran = Ran::on("tenantry", &db.url(), &["doctor"]).exits(0);
    assert_eq!(ran.stdout, "No findings.\n");
}

#[tokio::test]
async fn tenants_at_other_versions_and_failed_migrations_are_found() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (tenancy, _) = db.with_tenants(["behind", "ahead", "failed"]).await;
    let migrator = DynMigrator::new(migration::Migrator);
    let schema = tenancy.get(&slug("behind")).await.unwrap().unwrap().schema;
    let down = Action::Down(1);
    run(&plain, &Target::Schema(schema), &migrator, &down, Timeouts::default()).await.unwrap();
    for sql in [
        "UPDATE registry.tenants SET schema_version = 'm20991231_000001_next',
             migrations = array_append(migrations, 'm20991231_000001_next') WHERE slug = 'ahead'",
        r#"UPDATE registry.tenants SET migration_attempts = 1,
             migration_error = '{"migration": "m1", "message": "it broke"}' WHERE slug = 'failed'"#,
    ] {
        plain.execute_unprepared(sql).await.unwrap();
    }
    let mut found = problems(&tenancy).await;
    found.sort_by_key(|(_, subject)| subject.clone());
    let all = [
        (FindingKind::UnknownVersion, "ahead"),
        (FindingKind::Behind, "behind"),
        (FindingKind::MigrationFailed, "failed"),
    ];
    assert_eq!(found, expected(all));
    let ran = Ran::on("tenantry", &db.url(), &["doctor", "--fix"]).exits(1);
    for part in ["migration up --tenant behind", "it broke", "3 findings."] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
}

#[tokio::test]
async fn spares_that_are_behind_are_found() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let config = Config { spares: 2, ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let spares = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
    eventually("there are spares", async || texts(&plain, spares).await.len() == 2).await;
    tenancy.close().await;
    let behind =
        "UPDATE registry.tenants SET schema_version = migrations[1], migrations = migrations[:1]
        WHERE schema = (SELECT min(schema) FROM registry.tenants)";
    plain.execute_unprepared(behind).await.unwrap();
    let tenancy = db.tenancy().await;
    let found = tenancy.doctor(&NOW).await.unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].kind, &found[0].tenant), (FindingKind::SpareBehind, &None));
    assert!(found[0].message.starts_with("1 spare at "), "{}", found[0].message);
}

#[tokio::test]
async fn archives_that_have_expired_are_found_and_earlier_slugs_are_deleted_in_silence() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (tenancy, _) = db.with_tenants(["kept", "over", "old"]).await;
    let mut options = RenameOptions::default();
    tenancy.rename(&slug("old"), &slug("new"), options).await.unwrap();
    tenancy.archive(&slug("kept"), None).await.unwrap();
    options.reserve_for = Duration::ZERO;
    tenancy.rename(&slug("new"), &slug("newer"), options).await.unwrap();
    assert_eq!(problems(&tenancy).await, []);
    assert_eq!(tenancy.delete_expired_aliases().await.unwrap(), 1);
    assert_eq!(tenancy.delete_expired_aliases().await.unwrap(), 0);
    assert_eq!(texts(&plain, "SELECT slug FROM registry.aliases").await, ["old"]);
    tenancy.archive(&slug("over"), Some(Duration::ZERO)).await.unwrap();
    let over = (FindingKind::ExpiredArchive, "over");
    assert_eq!(problems(&tenancy).await, expected([over]));
    fix(&tenancy).await;
    // Its data is not deleted by itself.
    assert_eq!(problems(&tenancy).await, expected([over]));
    let ran = Ran::on("tenantry", &db.url(), &["doctor"]).exits(1);
    assert!(ran.stdout.contains("tenantry tenant purge over"), "{}", ran.stdout);
    tenancy.purge(&slug("over"), false).await.unwrap();
    assert_eq!(problems(&tenancy).await, []);
}

#[tokio::test]
async fn a_role_without_rights_is_found_for_each_tenant() {
    let db = TestDb::new().await;
    let (plain, _) = (db.plain().await, db.with_tenants(["tenant-1", "tenant-2"]).await);
    let role = format!("reader_{}", db.name());
    for sql in [
        format!("CREATE ROLE {role} LOGIN"),
        format!("GRANT USAGE ON SCHEMA registry, tenant_1, tenant_2 TO {role}"),
        format!("GRANT ALL ON ALL TABLES IN SCHEMA registry, tenant_1 TO {role}"),
        format!("REVOKE USAGE ON SCHEMA tenant_1 FROM {role}"),
        // To write is needed as well.
        format!("GRANT SELECT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tenant_2 TO {role}"),
    ] {
        plain.execute_unprepared(&sql).await.unwrap();
    }
    let url = db.url().replacen("postgres@", &format!("{role}@"), 1);
    assert!(url.contains(&role), "{url}");
    let tenancy = Tenancy::connect(&Config::new(url, migration::Migrator)).await.unwrap();
    let found = tenancy.doctor(&NOW).await.unwrap().findings;
    let grants: Vec<Remedy> = found.into_iter().map(|it| it.remedy).collect();
    let sql = |what: &str, schema: &str| Remedy::Sql {
        sql: format!("GRANT {what} SCHEMA {schema} TO {role}"),
    };
    let rows = "DELETE, INSERT, SELECT, UPDATE ON ALL TABLES IN";
    let all = [sql("USAGE ON", "tenant_1"), sql(rows, "tenant_2")];
    assert_eq!(grants, all);
    for grant in &grants {
        let Remedy::Sql { sql } = grant else { panic!("{grant:?}") };
        plain.execute_unprepared(sql).await.unwrap();
    }
    assert_eq!(problems(&tenancy).await, []);
    tenancy.close().await;
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    plain.execute_unprepared(&drop).await.unwrap();
}

#[tokio::test]
async fn invalid_indexes_are_found() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (tenancy, _) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    for sql in [
        "INSERT INTO tenant_1.guards SELECT gen_random_uuid(), 'Abu', 'Gate', now(), now()
         FROM generate_series(1, 2)",
        r#"CREATE UNIQUE INDEX CONCURRENTLY "My Index" ON tenant_1.guards (name)"#,
    ] {
        plain.execute_unprepared(sql).await.ok();
    }
    assert_eq!(problems(&tenancy).await, expected([(FindingKind::InvalidIndex, "tenant-1")]));
    let ran = Ran::on("tenantry", &db.url(), &["doctor"]).exits(1);
    let sql = r#"REINDEX INDEX CONCURRENTLY tenant_1."My Index""#;
    assert!(ran.stdout.contains(sql), "{}", ran.stdout);
    // As in a build that is in progress.
    let building = plain.begin().await.unwrap();
    let lock = "LOCK TABLE tenant_1.guards IN SHARE UPDATE EXCLUSIVE MODE";
    building.execute_unprepared(lock).await.unwrap();
    assert_eq!(problems(&tenancy).await, []);
    building.rollback().await.unwrap();
    plain.execute_unprepared("DELETE FROM tenant_1.guards").await.unwrap();
    plain.execute_unprepared(sql).await.unwrap();
    assert_eq!(problems(&tenancy).await, []);
    // As REINDEX CONCURRENTLY leaves it.
    for sql in [
        r#"CREATE INDEX "My Index_ccnew1" ON tenant_1.guards (name)"#,
        r#"UPDATE pg_index SET indisvalid = false
           WHERE indexrelid = 'tenant_1."My Index_ccnew1"'::regclass"#,
    ] {
        plain.execute_unprepared(sql).await.unwrap();
    }
    let found = tenancy.doctor(&NOW).await.unwrap().findings;
    let [Remedy::Sql { sql }] = &found.iter().map(|it| &it.remedy).collect::<Vec<_>>()[..] else {
        panic!("{found:?}");
    };
    assert_eq!(sql, r#"DROP INDEX CONCURRENTLY tenant_1."My Index_ccnew1""#);
    plain.execute_unprepared(sql).await.unwrap();
    assert_eq!(problems(&tenancy).await, []);
}

#[tokio::test]
async fn an_unreachable_database_is_no_finding() {
    let ran = Ran::on("tenantry", "postgres://localhost:1/none", &["doctor"]).exits(2);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
}
