//! Commands of other applications: their names, their own commands, and embedded ones.

use tenantry_registry::Slug;

use crate::support::{
    TestDb,
    catalog::texts,
    http_server::HttpServer,
    process::{Ran, program_on},
};

fn ran(program: &str, db: &TestDb, words: &str) -> Ran {
    Ran::on(program, &db.url(), &words.split(' ').collect::<Vec<_>>())
}

#[tokio::test]
async fn an_application_has_commands_of_its_own() {
    let db = TestDb::new().await;
    ran("library", &db, "tenant create city").exits(0);
    // The first book is from the seed.
    assert_eq!(ran("library", &db, "books city").exits(0).stdout, "1\n");
    let unknown = ran("library", &db, "books town --spares 0").exits(1);
    assert_eq!(unknown.stderr, "error: tenant \"town\" not found\n");
    ran("library", &db, "books").exits(2).complains(["Usage: library books"]);
    let help = ran("library", &db, "--help").exits(0);
    help.says([
        "Serve the books of each library",
        "Usage: library",
        "  books        Print the number of books",
        "  migration ",
    ]);
    let version = ran("library", &db, "--version").exits(0).stdout;
    assert_eq!(version, format!("library {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn messages_name_the_command_of_the_application() {
    let db = TestDb::new().await;
    ran("library", &db, "tenant create city").exits(0);
    for program in ["library", "shop"] {
        let up = format!("{program} migration up");
        let unknown = ran(program, &db, "migration up --tenant town").exits(1);
        unknown.complains([&format!("nothing was changed. `{program} tenant list` shows")]);
        ran(program, &db, "migration up").exits(2).complains([&format!("Usage: {up}")]);
        let help = ran(program, &db, "tenant create --help").exits(0);
        help.says([&format!("Usage: {program} tenant create")]);
    }
    texts(&db.plain().await, "DELETE FROM registry.seaql_migrations").await;
    for program in ["library", "shop"] {
        let behind = ran(program, &db, "tenant list").exits(1);
        behind.complains([&format!("(`{program} migration up --registry`)")]);
    }
    texts(&db.plain().await, "DROP SCHEMA registry CASCADE").await;
    for (program, words, hint) in [
        ("library", "migration up --all", "Run `library migration up --registry`"),
        ("shop", "migration verify --all", "Run `shop migration up --registry` first"),
        ("library-migration", "up --all", "Run `library-migration up --registry`"),
    ] {
        ran(program, &db, words).exits(1).complains([hint]);
    }
    // The command of migrations alone keeps its name, and knows that of the other one.
    let db = TestDb::new().await;
    let unknown = ran("migration", &db, "verify --tenant town").exits(1);
    unknown.complains(["tenant \"town\" not found. `tenantry tenant list` shows all tenants"]);
}

#[tokio::test]
async fn the_migration_command_is_a_subcommand_of_every_application() {
    let db = TestDb::new().await;
    texts(&db.plain().await, "DROP SCHEMA IF EXISTS registry CASCADE").await;
    ran("library", &db, "migration up --registry").exits(0).says(["registry: applied "]);
    ran("library", &db, "tenant create city").exits(0);
    let newest = "m20261129_000001_create_books";
    let down = ran("library", &db, "migration down --all --yes").exits(0);
    down.says([&format!("city: rolled back {newest}")]);
    ran("library", &db, "migration status").exits(1).says(["1 behind"]);
    // Of the server, not of migrations: a migration may take longer than a request.
    let words = ["migration", "up", "--all", "--json"];
    let mut up = program_on("library", &db.url(), &words);
    Ran::of(up.env("TENANTRY_STATEMENT_TIMEOUT", "0.001")).exits(0).says([newest]);
    ran("library", &db, "migration verify --all").exits(0);
    ran("library", &db, "migration check").exits(0).says(["1 migration checked: no findings"]);
    assert_eq!(ran("library", &db, "migration list").exits(0).stdout, format!("{newest}\n"));
    ran("library", &db, "migration up --all --statement-timeout 2").exits(0);
    // The options of tenants are not options of migrations.
    ran("library", &db, "migration up --all --spares 2").exits(2).complains(["--spares"]);
}

#[tokio::test]
async fn an_application_with_a_parser_of_its_own_embeds_the_commands() {
    let db = TestDb::new().await;
    let hello = ran("shop", &db, "hello").exits(0);
    assert_eq!(hello.stdout, "hello\n");
    ran("shop", &db, "tenant create corner --name Corner").exits(0).says(["corner", "Corner"]);
    let slug: Slug = "corner".parse().unwrap();
    let mut serving = HttpServer::launch(&mut program_on("shop", &db.url(), &["serve"]));
    assert!(serving.stdout().starts_with("shop listens on "), "{}", serving.stdout());
    let get = async |path: &str| {
        let request = reqwest::Client::new().get(format!("http://{}{path}", serving.address()));
        let response = request.header("host", format!("{slug}.localhost")).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    // Its routes have a state of their own, made after the connection.
    assert_eq!(get("/greeting").await, (200, "Welcome to corner".to_owned()));
    assert_eq!(get("/health").await.0, 204);
    assert!(get("/nowhere").await.1.contains("no-such-path"));
    serving.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(serving.ended().await.code(), Some(0));
}
