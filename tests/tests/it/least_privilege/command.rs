//! The same with the commands.

use sea_orm::ConnectionTrait;

use super::{DropRole, Site};
use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    process::{Ran, program, program_on},
};

impl Site {
    /// Runs a program with the application's URL, and that of the owner if `owner`.
    fn run(&self, name: &str, owner: bool, arguments: &[&str]) -> Ran {
        let mut command = program_on(name, &self.app_url(), arguments);
        if owner {
            command.env("TENANTRY_OWNER_URL", self.owner_url());
        }
        Ran::of(&mut command)
    }
}

#[tokio::test]
async fn from_an_empty_database_to_a_tenant() {
    let site = Site::new().await;
    site.db.plain().await.execute_unprepared("DROP SCHEMA registry CASCADE").await.unwrap();
    let url = site.db.url();
    let script = Ran::on("tenantry", &url, &["setup", "--print-sql"]).exits(0);
    let [owner, app] = &site.roles[..] else { unreachable!() };
    let script = script.says([
        &format!("CREATE ROLE {} LOGIN", owner.0),
        &format!("GRANT USAGE ON SCHEMAS TO {}", app.0),
        &format!("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC", site.db.name()),
    ]);
    assert!(!script.stdout.to_lowercase().contains(" password '"), "{script:#?}");
    Ran::on("tenantry", &url, &["setup", "--apply"])
        .exits(0)
        .says(["roles: 2 statements", "owns schemas and tables"])
        .complains(["\\password"]);
    // Again, with the other name of the command.
    let again = Ran::on("migration", &url, &["setup", "--apply"]).exits(0);
    assert!(
        !again.stdout.contains("statements") && !again.stderr.contains("password"),
        "{again:#?}"
    );

    site.run("migration", false, &["up", "--registry"])
        .exits(1)
        .complains(["permission denied", "TENANTRY_OWNER_URL"]);
    site.run("migration", true, &["up", "--registry"]).exits(0);
    site.run("tenantry", false, &["tenant", "create", "tenant-1"])
        .exits(1)
        .complains(["may not create schemas", "`--owner-url`, or `TENANTRY_OWNER_URL`"]);
    site.run("tenantry", true, &["tenant", "create", "tenant-1"]).exits(0);
    site.run("tenantry", false, &["tenant", "list"]).exits(0).says(["tenant-1"]);
    site.run("tenantry", false, &["tenant", "drop", "tenant-1", "--yes"]).exits(1);
    site.run("migration", true, &["verify", "--all"]).exits(0);
    site.run("migration", true, &["check"]).exits(0);
    site.run("migration", true, &["up", "--all"]).exits(0);
    site.run("tenantry", true, &["tenant", "drop", "tenant-1", "--yes"]).exits(0);
}

#[tokio::test]
async fn objects_of_another_role_are_refused_with_the_options_that_help() {
    let site = Site::new().await;
    Ran::on("tenantry", &site.db.url(), &["setup", "--print-sql"])
        .exits(1)
        .complains(["but to \"postgres\"", "--owner-role ROLE, or --take-ownership"]);
    Ran::on("tenantry", &site.db.url(), &["setup"]).exits(2);
    Ran::on("tenantry", &site.db.url(), &["setup", "--apply", "--print-sql"]).exits(2);
    Ran::on("tenantry", &site.db.url(), &["setup", "--apply", "--app-role", "pg_mine"])
        .exits(2)
        .complains(["reserved by PostgreSQL"]);
}

#[tokio::test]
async fn the_owners_url_is_read_from_a_file_and_never_printed() {
    let site = Site::set_up().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("owner");
    std::fs::write(&file, format!("{}\n", site.owner_url())).unwrap();
    let mut command = program_on("tenantry", &site.app_url(), &["tenant", "create", "tenant-1"]);
    Ran::of(command.env("TENANTRY_OWNER_URL_FILE", &file)).exits(0);

    let secret = "hunter2-of-the-owner";
    let wrong = site.url(&format!("stranger:{secret}"));
    for (name, arguments) in
        [("tenantry", vec!["tenant", "create", "tenant-2"]), ("migration", vec!["up", "--all"])]
    {
        let mut command = program_on(name, &site.app_url(), &arguments);
        let ran = Ran::of(command.env("TENANTRY_OWNER_URL", &wrong).env("RUST_LOG", "debug"));
        let ran = ran.exits(1);
        assert!(!format!("{ran:?}").contains(secret), "{ran:#?}");
        assert!(!ran.stderr.contains("DATABASE_URL"), "{ran:#?}");
        let bad = format!("mysql://me:{secret}@localhost/d");
        let mut command = program_on(name, &site.app_url(), &arguments);
        let ran = Ran::of(command.env("TENANTRY_OWNER_URL", bad)).exits(1);
        let ran = ran.complains(["TENANTRY_OWNER_URL is not a PostgreSQL URL"]);
        assert!(!format!("{ran:?}").contains(secret), "{ran:#?}");
    }
    let scratch = crate::support::scratch::Scratch::new();
    let mut command = scratch.tenantry(&["tenant", "list"]);
    Ran::of(command.env("TENANTRY_OWNER_URL", site.owner_url()))
        .exits(1)
        .complains(["TENANTRY_OWNER_URL is given without DATABASE_URL"]);
    assert!(!scratch.data().exists());
}

#[tokio::test]
async fn an_owners_url_that_is_not_compared_or_of_another_database_changes_nothing() {
    let (site, other) = (Site::set_up().await, TestDb::new().await);
    let plain = other.plain().await;
    plain.execute_unprepared("DROP SCHEMA registry CASCADE").await.unwrap();
    let before = schemas(&plain).await;
    for arguments in [
        ["up", "--registry"],
        ["up", "--all"],
        ["fresh", "--schema=mine"],
        ["status", "--all"],
        ["verify", "--all"],
        ["list", "--all"],
    ] {
        let mut command = program_on("migration", &site.app_url(), &arguments);
        Ran::of(command.env("TENANTRY_OWNER_URL", other.url()))
            .exits(1)
            .complains(["TENANTRY_OWNER_URL leads to another database than DATABASE_URL"]);
        let mut command = program("migration");
        command.args(arguments).env("TENANTRY_OWNER_URL", other.url());
        Ran::of(&mut command)
            .exits(1)
            .complains(["TENANTRY_OWNER_URL is given without DATABASE_URL"]);
    }
    assert_eq!(schemas(&plain).await, before);
    let waiting = "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(texts(&plain, waiting).await, ["0"]);
}

#[tokio::test]
async fn an_import_of_a_list_without_the_right_stops_at_once() {
    let site = Site::set_up().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.csv");
    let lines: String = (0..200).map(|number| format!("t-{number}\n")).collect();
    std::fs::write(&file, format!("slug\n{lines}")).unwrap();
    let ran = site.run("tenantry", false, &["tenant", "import", file.to_str().unwrap()]).exits(1);
    assert_eq!(ran.stderr.matches("may not create schemas").count(), 1, "{ran:#?}");
    ran.complains(["`--owner-url`, or `TENANTRY_OWNER_URL`"]).says(["0 created"]);
    site.run("tenantry", true, &["tenant", "import", file.to_str().unwrap()]).exits(0);
}

#[tokio::test]
async fn roles_with_names_that_need_quotes_are_set_up() {
    let site = Site::new().await;
    let names = ["O'ner \"1\"", "Äpp; DROP"].map(|name| format!("{} {name}", site.db.name()));
    let roles = names.map(DropRole);
    let arguments = [
        "setup",
        "--apply",
        "--take-ownership",
        "--owner-role",
        &roles[0].0,
        "--app-role",
        &roles[1].0,
    ];
    Ran::on("tenantry", &site.db.url(), &arguments).exits(0);
    let left: Vec<&str> =
        arguments.iter().map(|it| if *it == "--apply" { "--print-sql" } else { *it }).collect();
    Ran::on("tenantry", &site.db.url(), &left).exits(0).says(["-- Nothing is missing."]);
    // The roles have privileges in the database.
    drop(site);
    drop(roles);
}
