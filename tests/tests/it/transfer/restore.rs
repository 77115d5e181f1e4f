//! The commands of docs/OPERATIONS.md that restore one tenant from a backup of the database.

use std::{env, fs, path::Path, process::Command};

use sea_orm::ConnectionTrait;

use crate::support::{
    TestDb,
    catalog::texts,
    database::{admin, path_with_pg_dump, server},
    process::{Ran, program_on},
    scratch::Scratch,
};

fn commands() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("<!-- restore: ").unwrap();
    let (_, block) = rest.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_of_yesterday_is_restored_beside_today_by_the_commands_of_the_page() {
    let Some(path) = path_with_pg_dump() else { return };
    let db = TestDb::new().await;
    let plain = db.plain().await;
    for slug in ["acme", "globex"] {
        Ran::on("tenantry", &db.url(), &["tenant", "create", slug]).exits(0);
    }
    let insert = "INSERT INTO acme.guards (id, name, position, inserted_at, updated_at)
                  VALUES (gen_random_uuid(), 'Abu', 'Gate', now(), now())";
    plain.execute_unprepared(insert).await.unwrap();
    let folder = Scratch::new();
    // The programs are in the PATH of a user.
    let folders = [tests::programs()].into_iter().chain(env::split_paths(&path));
    let path = env::join_paths(folders).unwrap();
    let mut dump = Command::new("pg_dump");
    dump.current_dir(folder.path()).env("PATH", &path);
    dump.args(["--format", "custom", "--file", "yesterday.dump", "--dbname", &db.url()]);
    Ran::of(&mut dump).exits(0);
    plain.execute_unprepared("UPDATE acme.guards SET name = 'Eve'").await.unwrap();
    let scratch = format!("{}_yesterday", db.name());
    admin(&format!("CREATE DATABASE {scratch}")).await;
    let commands = commands();
    assert_eq!(commands.lines().count(), 3, "{commands}");
    let program = program_on("tenantry", &db.url(), &[]);
    let mut shell = Command::new("sh");
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
        .args(["-ec", &commands])
        .env("PATH", &path)
        .env("SCRATCH_URL", server().url(&scratch))
        .current_dir(folder.path());
    Ran::of(&mut shell).exits(0).says(["imported as acme-yesterday: 1 rows of 2 tables"]);
    admin(&format!("DROP DATABASE {scratch} WITH (FORCE)")).await;
    let name = |schema: &str| format!("SELECT name FROM {schema}.guards");
    assert_eq!(texts(&plain, &name("acme_yesterday")).await, ["Abu"]);
    assert_eq!(texts(&plain, &name("acme")).await, ["Eve"]);
    crate::commands::migration(&db, "verify --all").exits(0);
}
