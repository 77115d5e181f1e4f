//! The statements of the setup.

use std::process::Command;

use sea_orm::ConnectionTrait;
use tenantry_migrate::setup::{SetupError, SetupOptions, apply, plan};

use super::{Site, assert_clean, cluster, connect, create, migrator, refused, taking};
use crate::support::{
    catalog::texts,
    database::{admin, own_server},
    tcp_proxy::TcpProxy,
};

const DENIED: &str = "42501";

#[tokio::test]
async fn a_second_run_changes_nothing_and_the_printed_script_is_empty() {
    let site = Site::set_up().await;
    let mut steps = 0;
    let db = site.db.plain().await;
    apply(&db, &migrator(), &SetupOptions::default(), |_| steps += 1).await.unwrap();
    assert_eq!(steps, 0);
    let plan = site.plan(&SetupOptions::default()).await.unwrap();
    assert!(plan.is_empty() && plan.to_string().contains("-- Nothing is missing."), "{plan}");
}

#[tokio::test]
async fn the_application_role_reads_and_writes_rows_and_nothing_else() {
    let site = Site::set_up().await;
    let tenancy = site.with_owner().await;
    create(&tenancy, "tenant-1").await.unwrap();
    let app = site.app().await;
    for sql in [
        "INSERT INTO tenant_1.guards (id, name, position, inserted_at, updated_at)
         VALUES (gen_random_uuid(), 'Abu', 'Gate', now(), now())",
        "UPDATE tenant_1.guards SET name = 'Bea'",
        "SELECT * FROM tenant_1.guards FOR UPDATE",
        "DELETE FROM tenant_1.guards",
        "UPDATE registry.tenants SET max_waiting = 5",
    ] {
        app.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    for sql in [
        "CREATE SCHEMA mine",
        "CREATE TABLE public.mine (id int)",
        "CREATE TABLE tenant_1.mine (id int)",
        "CREATE TABLE registry.mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "DROP SCHEMA tenant_1 CASCADE",
        "DROP TABLE tenant_1.guards CASCADE",
        "TRUNCATE tenant_1.guards CASCADE",
        "ALTER TABLE tenant_1.guards ADD COLUMN mine int",
        "CREATE INDEX mine ON tenant_1.guards (name)",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "SELECT * FROM pg_authid",
        "COPY tenant_1.guards TO '/tmp/mine'",
        "SELECT pg_read_file('/etc/passwd')",
        &format!("SET ROLE \"{}\"", site.roles[0].0),
        &format!("DROP DATABASE \"{}\"", site.db.name()),
    ] {
        assert_eq!(refused(&app, sql).await, DENIED, "{sql}");
    }
    let role = tenancy.serving_role();
    assert_eq!((role.name.as_str(), role.excess_rights()), (site.roles[1].0.as_str(), vec![]));
}

#[tokio::test]
async fn sequences_functions_and_types_to_come_can_be_used() {
    let site = Site::set_up().await;
    // As in databases where no other role may do so by default.
    let owner = connect(&site.owner_url()).await;
    for kind in ["FUNCTIONS", "TYPES"] {
        let sql = format!("ALTER DEFAULT PRIVILEGES REVOKE ALL ON {kind} FROM PUBLIC");
        owner.execute_unprepared(&sql).await.unwrap();
    }
    let objects = "CREATE SCHEMA \"Later \"\" on\"; SET search_path = \"Later \"\" on\";
        CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN name_of AS text; CREATE SEQUENCE numbers;
        CREATE TABLE t (id bigserial PRIMARY KEY, m mood, n name_of);
        CREATE VIEW v AS SELECT * FROM t;
        CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'";
    owner.execute_unprepared(objects).await.unwrap();
    let app = site.app().await;
    for sql in [
        r#"INSERT INTO "Later "" on".t (m, n) VALUES ('ok'::"Later "" on".mood, 'x')"#,
        r#"SELECT nextval('"Later "" on".numbers'), currval('"Later "" on".numbers')"#,
        r#"SELECT "Later "" on".f() FROM "Later "" on".v"#,
    ] {
        app.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[tokio::test]
async fn what_exists_is_granted_in_schemas_of_any_name_and_verify_finds_nothing() {
    let site = Site::new().await;
    let plain = site.db.plain().await;
    let tenancy = site.db.tenancy().await;
    create(&tenancy, "tenant-1").await.unwrap();
    create(&tenancy, "tenant-2").await.unwrap();
    let odd = "ALTER SCHEMA tenant_2 RENAME TO \"Ty \"\"2\"; CREATE TYPE \"Ty \"\"2\".\"M \"\"x\" AS ENUM ('a');
        CREATE PROCEDURE \"Ty \"\"2\".p() LANGUAGE sql AS '';
        CREATE FUNCTION \"Ty \"\"2\".add(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
        CREATE AGGREGATE \"Ty \"\"2\".number(*) (SFUNC = \"Ty \"\"2\".add, STYPE = int, INITCOND = '0');
        CREATE STATISTICS \"Ty \"\"2\".s ON name, position FROM \"Ty \"\"2\".guards;
        CREATE TABLE \"Ty \"\"2\".n (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
        UPDATE registry.tenants SET schema = 'Ty \"2' WHERE slug = 'tenant-2'";
    plain.execute_unprepared(odd).await.unwrap();
    site.apply(&taking()).await.unwrap();
    let owner = format!("'{}'", site.roles[0].0);
    let others = format!(
        "SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
         WHERE nspname IN ('tenant_1', 'Ty \"2', 'registry')
         AND pg_get_userbyid(relowner) <> {owner}
         UNION ALL SELECT typname FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace
         WHERE nspname IN ('tenant_1', 'Ty \"2', 'registry') AND pg_get_userbyid(typowner) <> {owner}
         UNION ALL SELECT proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
         WHERE nspname = 'Ty \"2' AND pg_get_userbyid(proowner) <> {owner}
         UNION ALL SELECT stxname FROM pg_statistic_ext WHERE pg_get_userbyid(stxowner) <> {owner}"
    );
    assert_eq!(texts(&plain, &others).await, [""; 0]);
    let app = site.app().await;
    let sql = "SELECT 'a'::\"Ty \"\"2\".\"M \"\"x\"; INSERT INTO \"Ty \"\"2\".n DEFAULT VALUES; CALL \"Ty \"\"2\".p();
        SELECT \"Ty \"\"2\".number(*) FROM \"Ty \"\"2\".n";
    app.execute_unprepared(sql).await.unwrap();
    plain
        .execute_unprepared(
            "DROP TYPE \"Ty \"\"2\".\"M \"\"x\"; DROP PROCEDURE \"Ty \"\"2\".p; DROP TABLE \"Ty \"\"2\".n;
             DROP STATISTICS \"Ty \"\"2\".s; DROP AGGREGATE \"Ty \"\"2\".number(*);
             DROP FUNCTION \"Ty \"\"2\".add",
        )
        .await
        .unwrap();
    // As the administrator and as the owner.
    assert_clean(&plain).await;
    assert_clean(&connect(&site.owner_url()).await).await;
}

#[tokio::test]
async fn a_missing_grant_is_found_by_verify_and_repaired_by_the_next_run() {
    let site = Site::set_up().await;
    let tenancy = site.with_owner().await;
    for slug in ["tenant-1", "tenant-2"] {
        create(&tenancy, slug).await.unwrap();
    }
    let plain = site.db.plain().await;
    assert_clean(&plain).await;
    let sql = format!("REVOKE UPDATE ON tenant_2.guards FROM \"{}\"", site.roles[1].0);
    plain.execute_unprepared(&sql).await.unwrap();
    let all = tenantry_migrate::drift::VerifyTarget::All;
    let owner = connect(&site.owner_url()).await;
    for db in [&plain, &owner] {
        let found = tenantry_migrate::drift::verify(db, &migrator(), &all).await.unwrap();
        let text = found.to_string();
        assert!(text.contains("guards to test_") && text.contains("tenant-2"), "{text}");
        assert!(!text.contains("tenant-1"), "{text}");
    }
    let plan = site.plan(&SetupOptions::default()).await.unwrap();
    assert_eq!(plan.steps.len(), 1, "{plan}");
    site.apply(&SetupOptions::default()).await.unwrap();
    assert_clean(&plain).await;
}

#[tokio::test]
async fn privileges_beyond_rows_are_taken_from_the_application_role() {
    let site = Site::set_up().await;
    let tenancy = site.with_owner().await;
    create(&tenancy, "tenant-1").await.unwrap();
    let [owner, app] = &site.roles[..] else { unreachable!() };
    let plain = site.db.plain().await;
    let sql = format!(
        "GRANT CREATE ON SCHEMA tenant_1 TO {1}; GRANT ALL ON tenant_1.guards TO {1};
         ALTER DEFAULT PRIVILEGES FOR ROLE {0} GRANT TRUNCATE, TRIGGER ON TABLES TO {1}",
        owner.0, app.0
    );
    plain.execute_unprepared(&sql).await.unwrap();
    let plan = site.plan(&SetupOptions::default()).await.unwrap();
    assert_eq!(plan.steps.len(), 2, "{plan}");
    assert!(site.apply(&SetupOptions::default()).await.unwrap().is_empty());
    create(&tenancy, "tenant-2").await.unwrap();
    let app = site.app().await;
    for sql in [
        "CREATE TABLE tenant_1.mine (id int)",
        "TRUNCATE tenant_1.guards CASCADE",
        "TRUNCATE tenant_2.guards CASCADE",
    ] {
        assert_eq!(refused(&app, sql).await, DENIED, "{sql}");
    }
    app.execute_unprepared("DELETE FROM tenant_1.guards").await.unwrap();
    assert_clean(&plain).await;
}

#[tokio::test]
async fn objects_of_another_role_are_named_and_nothing_is_changed() {
    let site = Site::new().await;
    create(&site.db.tenancy().await, "tenant-1").await.unwrap();
    let error = site.apply(&SetupOptions::default()).await.unwrap_err();
    assert!(matches!(error, SetupError::OtherOwner { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("\"postgres\"") && text.contains("schema registry"), "{text}");
    let roles =
        format!("SELECT rolname::text FROM pg_roles WHERE rolname LIKE '{}_%'", site.db.name());
    assert_eq!(texts(&site.db.plain().await, &roles).await, [""; 0]);

    // An existing role becomes the owner, and nothing has to be changed.
    let mut options = SetupOptions::default();
    options.owner_role = Some("postgres".parse().unwrap());
    site.apply(&options).await.unwrap();
    assert_eq!(refused(&site.app().await, "DROP TABLE tenant_1.shifts").await, DENIED);
    assert_clean(&site.db.plain().await).await;
}

#[tokio::test]
async fn roles_that_cannot_be_used_are_refused() {
    let mut site = Site::new().await;
    let boss = site.add_role("boss", "SUPERUSER").await;
    let refusal = async |owner: &str, app: &str| {
        let mut options = taking();
        options.owner_role = Some(owner.parse().unwrap());
        options.app_role = Some(app.parse().unwrap());
        site.apply(&options).await.unwrap_err()
    };
    assert!(matches!(refusal("one", "one").await, SetupError::OneRole(_)));
    assert!(matches!(refusal("one", "postgres").await, SetupError::OwnRole(_)));
    assert!(matches!(refusal("one", &boss).await, SetupError::Superuser(_)));
    for name in ["", "pg_monitor", "public", "none", "a\0b", &"x".repeat(64)] {
        assert!(name.parse::<tenantry_migrate::setup::RoleName>().is_err(), "{name:?}");
    }
}

#[tokio::test]
async fn an_application_role_with_more_rights_loses_them_or_is_named() {
    let mut site = Site::new().await;
    let team = site.add_role("team", "").await;
    let crew = site.add_role("crew", "").await;
    let [owner, app, ..] = &site.roles[..] else { unreachable!() };
    admin(&format!("CREATE ROLE {} LOGIN CREATEDB CREATEROLE BYPASSRLS", app.0)).await;
    admin(&format!("CREATE ROLE {}", owner.0)).await;
    admin(&format!("GRANT {} TO {}", owner.0, app.0)).await;
    let plain = site.db.plain().await;
    let sql = format!(
        "GRANT CREATE ON DATABASE {0} TO {1}; GRANT CREATE ON SCHEMA public TO {1}, PUBLIC;
         ALTER DATABASE {0} OWNER TO {1}",
        site.db.name(),
        app.0
    );
    plain.execute_unprepared(&sql).await.unwrap();
    site.apply(&taking()).await.unwrap();
    let app_db = site.app().await;
    for sql in [
        "CREATE SCHEMA mine",
        "CREATE TABLE public.mine (id int)",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        &format!("SET ROLE {}", owner.0),
        &format!("DROP DATABASE {}", site.db.name()),
    ] {
        assert_eq!(refused(&app_db, sql).await, DENIED, "{sql}");
    }

    // Through a third role, which may have other purposes.
    let sql = format!("GRANT CREATE ON DATABASE {} TO {team}", site.db.name());
    plain.execute_unprepared(&sql).await.unwrap();
    admin(&format!("GRANT {team} TO {}", app.0)).await;
    admin(&format!("GRANT {crew} TO {}", app.0)).await;
    let error = site.apply(&SetupOptions::default()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("may create schemas") && text.contains(&team), "{text}");
    let SetupError::StillPrivileged { member_of, .. } = error else { panic!("{text}") };
    assert_eq!(member_of, [crew, team]);
}

/// As on managed services: the administrator is not a superuser.
#[tokio::test]
async fn an_administrator_who_owns_the_database_sets_it_up() {
    let mut site = Site::new().await;
    let boss = site.add_role("boss", "LOGIN CREATEROLE").await;
    let plain = site.db.plain().await;
    let sql = format!(
        "DROP SCHEMA registry CASCADE; ALTER DATABASE {0} OWNER TO {1}; ALTER SCHEMA public OWNER TO {1}",
        site.db.name(),
        boss
    );
    plain.execute_unprepared(&sql).await.unwrap();
    let db = connect(&site.url(&boss)).await;
    let done = apply(&db, &migrator(), &SetupOptions::default(), |_| {}).await.unwrap();
    assert!(!done.roles_exist && done.remarks()[0].contains("\\password"), "{done:?}");
    tenantry::Tenancy::migrate_all(&site.config().owner_url(site.owner_url())).await.unwrap();
    create(&site.with_owner().await, "tenant-1").await.unwrap();
    assert_eq!(refused(&site.app().await, "DROP TABLE tenant_1.shifts").await, DENIED);
    assert!(plan(&db, &migrator(), &SetupOptions::default()).await.unwrap().is_empty());
    // Neither may the application's role do it by itself.
    let error = apply(&site.app().await, &migrator(), &taking(), |_| {}).await.unwrap_err();
    assert!(matches!(error, SetupError::OwnRole(_)), "{error}");
}

#[tokio::test]
async fn the_right_to_connect_to_other_databases_is_taken_only_if_asked_for() {
    let server = own_server().await;
    let db = connect(&server.url("postgres")).await;
    let mut options = taking();
    options.app_role = Some("app".parse().unwrap());
    db.execute_unprepared("CREATE DATABASE \"Pay \"\"roll\"").await.unwrap();
    let done = apply(&db, &migrator(), &options, |_| {}).await.unwrap();
    assert_eq!(done.other_databases, ["Pay \"roll", "template1"]);
    assert!(done.to_string().contains(r#""Pay ""roll""#), "{done}");
    let other = server.url("Pay \"roll").replacen("postgres@", "app@", 1);
    connect(&other).await.close().await.unwrap();

    options.other_databases = true;
    let done = apply(&db, &migrator(), &options, |_| {}).await.unwrap();
    assert_eq!(done.other_databases, [""; 0]);
    for name in ["Pay \"roll", "template1"] {
        let url = server.url(name).replacen("postgres@", "app@", 1);
        let error = tenantry_migrate::connect::connect_pool(&url, 1).await.unwrap_err();
        assert!(error.to_string().contains("permission denied for database"), "{error}");
    }
}

#[tokio::test]
async fn psql_runs_the_printed_script() {
    let Some(psql) = psql() else { return };
    let site = Site::new().await;
    create(&site.db.tenancy().await, "tenant-1").await.unwrap();
    let script = site.plan(&taking()).await.unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("setup.sql");
    std::fs::write(&file, &script).unwrap();
    let ran = Command::new(psql)
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &site.db.url(), "-f"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}\n{script}", String::from_utf8_lossy(&ran.stderr));
    let left = site.plan(&SetupOptions::default()).await.unwrap();
    assert!(left.is_empty(), "{left}");
}

/// psql comes with the server's programs on some systems only.
fn psql() -> Option<&'static str> {
    let found = Command::new("psql").arg("--version").output();
    found.is_ok_and(|ran| ran.status.success()).then_some("psql")
}

#[tokio::test]
async fn concurrent_runs_end_with_the_same_result() {
    let site = Site::new().await;
    let tenancy = site.db.tenancy().await;
    for number in 0..12 {
        create(&tenancy, &format!("tenant-{number}")).await.unwrap();
    }
    let (options, migrator) = (taking(), migrator());
    let (one, two) = (site.db.plain().await, site.db.plain().await);
    let both = tokio::join!(
        apply(&one, &migrator, &options, |_| {}),
        apply(&two, &migrator, &options, |_| {})
    );
    both.0.unwrap();
    both.1.unwrap();
    assert!(site.plan(&SetupOptions::default()).await.unwrap().is_empty());
    assert_clean(&one).await;
    let roles = texts(&connect(&cluster()).await, "SELECT rolname::text FROM pg_roles").await;
    assert!(site.roles.iter().all(|role| roles.contains(&role.0)), "{roles:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setup_that_is_killed_at_any_step_is_finished_by_the_next() {
    let site = Site::new().await;
    let tenancy = site.db.tenancy().await;
    for number in 0..3 {
        create(&tenancy, &format!("tenant-{number}")).await.unwrap();
    }
    let wire = TcpProxy::new().await;
    let (options, migrator) = (taking(), migrator());
    let mut killed = 0;
    loop {
        let db = connect(&wire.url(site.db.name())).await;
        wire.terminate_after(killed);
        let applied = apply(&db, &migrator, &options, |_| {}).await;
        if !wire.disarm() {
            applied.unwrap();
            break;
        }
        killed += 1;
    }
    assert!(killed > 20, "only {killed} steps were seen");
    assert!(site.plan(&SetupOptions::default()).await.unwrap().is_empty());
    assert_clean(&site.db.plain().await).await;
}
