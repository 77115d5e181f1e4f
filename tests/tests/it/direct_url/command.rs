//! Commands use the direct URL in place of the database URL; a server uses both.

use std::process::Command;

use crate::support::{
    TestDb,
    catalog::schemas,
    http_server::{HttpServer, TOKEN},
    process::{Ran, program_on},
    scratch::Scratch,
};

/// Where no server listens.
const NOWHERE: &str = "postgres://postgres@127.0.0.1:1/nowhere";

fn with_direct(name: &str, url: &str, direct: &str, arguments: &[&str]) -> Command {
    let mut command = program_on(name, url, arguments);
    command.env("TENANTRY_DIRECT_URL", direct);
    command
}

#[tokio::test]
async fn commands_never_touch_the_pooler() {
    let db = TestDb::new().await;
    for (name, arguments) in [
        ("migration", vec!["up", "--registry"]),
        ("tenantry", vec!["tenant", "create", "tenant-1"]),
        ("tenantry", vec!["tenant", "list"]),
        ("tenantry", vec!["key", "list"]),
        ("tenantry", vec!["doctor"]),
        ("tenantry", vec!["audit"]),
        ("migration", vec!["up", "--all"]),
        ("migration", vec!["status"]),
        ("migration", vec!["verify", "--all"]),
        ("tenantry", vec!["setup", "--print-sql", "--take-ownership"]),
    ] {
        Ran::of(&mut with_direct(name, NOWHERE, &db.url(), &arguments)).exits(0);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("direct");
    std::fs::write(&file, format!("{}\n", db.url())).unwrap();
    let mut command = program_on("tenantry", NOWHERE, &["tenant", "drop", "tenant-1", "--yes"]);
    Ran::of(command.env("TENANTRY_DIRECT_URL_FILE", &file)).exits(0);
    assert_eq!(schemas(&db.plain().await).await, ["public", "registry"]);
}

#[tokio::test]
async fn errors_name_the_direct_url_and_never_print_it() {
    let db = TestDb::new().await;
    assert_eq!(schemas(&db.plain().await).await, ["public", "registry"]);
    let secret = "hunter2-of-the-direct-url";
    for (name, arguments) in [
        ("tenantry", vec!["tenant", "list"]),
        ("migration", vec!["status"]),
        ("tenantry", vec!["serve"]),
    ] {
        for (direct, text) in [
            (
                format!("mysql://me:{secret}@localhost/d"),
                "TENANTRY_DIRECT_URL is not a PostgreSQL URL",
            ),
            (format!("postgres://me:{secret}@127.0.0.1:1/d"), "cannot connect"),
        ] {
            let mut command = with_direct(name, &db.url(), &direct, &arguments);
            let ran = Ran::of(command.env("RUST_LOG", "debug")).exits(1).complains([text]);
            assert!(!format!("{ran:?}").contains(secret), "{ran:#?}");
            assert!(!ran.stderr.contains("DATABASE_URL"), "{ran:#?}");
        }
    }
    let scratch = Scratch::new();
    let mut command = scratch.tenantry(&["serve", "--listen", "127.0.0.1:0"]);
    Ran::of(command.env("TENANTRY_DIRECT_URL", db.url()))
        .exits(1)
        .complains(["TENANTRY_DIRECT_URL is given without DATABASE_URL"]);
    assert!(!scratch.data().exists());
}

#[tokio::test]
async fn a_role_without_the_settings_is_refused_with_statements_that_help() {
    let db = TestDb::new().await;
    let serve = || {
        let mut command = HttpServer::command(&db.url());
        command.env("TENANTRY_DIRECT_URL", db.url()).env("TENANTRY_ADMIN_TOKEN", TOKEN);
        command
    };
    let ran =
        Ran::of(&mut serve()).exits(1).complains(["search_path", "setup --apply", "RECONNECT"]);
    let (_, rest) = ran.stderr.split_once("Run: ").unwrap();
    let (statements, _) = rest.split_once("; and let").unwrap();
    let plain = db.plain().await;
    sea_orm::ConnectionTrait::execute_unprepared(&plain, statements).await.unwrap();
    let server = HttpServer::launch(&mut serve());
    assert_ne!(server.address().port(), 0);
}
