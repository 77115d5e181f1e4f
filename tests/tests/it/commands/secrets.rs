//! Passwords and tokens: never repeated, and not needed on a command line.

use std::{fs, path::PathBuf};

use crate::support::{
    TestDb,
    process::{Ran, program, program_on},
    scratch::Scratch,
};

const COMMANDS: [(&str, &[&str]); 3] = [
    ("migration", &["status", "--registry"]),
    ("tenantry", &["tenant", "list"]),
    ("tenantry", &["serve"]),
];

/// Nothing of a URL that is misread is printed, in whatever place a part of the password lands: as
/// the host, the port, the database, a parameter.
#[test]
fn no_part_of_a_password_that_is_not_escaped_is_printed() {
    for url in [
        "postgres://me:hunter@hunter/hunter@localhost/guards",
        "postgres://me:12@34/hunter@localhost/guards",
        "postgres://me:12/hunter@localhost/guards",
        "postgres://me:hunter/12@localhost/guards",
        "postgres://me:/hunter@localhost:5432/guards",
        "postgres://me:12?hunter@localhost/guards",
        "postgres://me:12?hunter=hunter@localhost/guards",
        "postgres://me:12?dbname=hunter@localhost/guards",
        "postgres://me:12?user=hunter&host=hunter@localhost/guards",
        "postgres://me:12?sslmode=hunter@localhost/guards",
        "postgres://me:12#hunter@localhost/guards",
        "postgres://me:hunter#12@localhost/guards",
        "postgres://me:@hunter/?@localhost/guards",
        "postgres://me:@hunter:12/hunter?x=hunter#hunter@localhost/guards",
        "postgres://me:hunter@[hunter/@localhost/guards",
        "postgres://me:hunter@hunter/hunter@127.0.0.1:1/guards?sslmode=disable",
        "postgres://hunter/hunter@localhost/guards",
        "postgres://hunter@hunter@hunter/hunter@localhost/guards",
        "postgres://me:hunter@hunter\\hunter@localhost/hunter/guards",
        "postgres://me:1@hunter\u{e9}/x",
        "postgres://me:1@hunter!hunter/x",
        "postgres://me:1@hunter;hunter=1/x",
        "postgresql://me:hun\nter@hunter/hunter@localhost/guards",
        "//me:hunter@localhost/guards",
        "postgres:/me:hunter@localhost/guards",
        "postgres//me:hunter@localhost/guards",
        "Postgres://me:hunter@localhost/guards",
        "hunter",
    ] {
        for (name, arguments) in &COMMANDS[..2] {
            let ran = Ran::on(name, url, arguments).exits(1);
            assert!(!format!("{ran:?}").contains("hunter"), "{url}: {ran:#?}");
            let ran = ran.complains(["DATABASE_URL is not a PostgreSQL URL", "%40 for @"]);
            assert_eq!(ran.stderr.lines().count(), 1, "{url}: {ran:#?}");
        }
    }
    let url = "postgres://me:hunter@hunter/hunter@localhost/guards";
    let by_option = ["status", "--database-url", url];
    for mut command in [
        program_on("tenantry", url, &["serve"]),
        program_on("migration", "", &by_option),
        program_on("tenantry", "", &["tenant", "list", "--database-url", url]),
    ] {
        let ran = Ran::of(&mut command).exits(1);
        assert!(!format!("{ran:?}").contains("hunter"), "{ran:#?}");
    }
}

#[tokio::test]
async fn values_of_parameters_that_are_not_known_are_not_logged() {
    let db = TestDb::new().await;
    let url = format!("{}&sslpassword=hunter2&connect_timeout=5&hunter2", db.url());
    for (name, arguments) in &COMMANDS[..2] {
        let ran = Ran::on(name, &url, arguments).exits(0);
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:#?}");
        ran.complains(["DATABASE_URL has unsupported parameters"]);
    }
}

#[tokio::test]
async fn an_at_sign_in_the_password_alone_does_no_harm() {
    let db = TestDb::new().await;
    for password in ["p@ss", "p%40ss%2F", "a:b", "100%", "@"] {
        let url = db.url().replace("postgres@", &format!("postgres:{password}@"));
        Ran::on("migration", &url, &["status"]).exits(0);
    }
}

#[tokio::test]
async fn the_database_url_is_taken_from_a_file() {
    let db = TestDb::new().await;
    let folder = Scratch::new();
    let file = written(&folder, "url", &format!("{}\n", db.url()));
    let file = file.to_str().unwrap();
    for (name, arguments) in &COMMANDS[..2] {
        let by_option = |arguments: &[&str]| {
            let mut command = program(name);
            command.args(arguments).args(["--database-url-file", file]);
            command
        };
        let by_variable = |arguments: &[&str]| {
            let mut command = program(name);
            command.args(arguments).env("DATABASE_URL_FILE", file);
            command
        };
        Ran::of(&mut by_option(arguments)).exits(0);
        Ran::of(&mut by_variable(arguments)).exits(0);
        // What is empty is not given.
        Ran::of(by_variable(arguments).env("DATABASE_URL", "")).exits(0);
        Ran::of(
            program(name)
                .args(*arguments)
                .env("DATABASE_URL_FILE", "")
                .env("DATABASE_URL", db.url()),
        )
        .exits(0);
        // An option wins over a variable, whichever of the two it is.
        let nowhere = "postgres://me:hunter2@127.0.0.1:1/nowhere";
        Ran::of(by_option(arguments).env("DATABASE_URL", nowhere)).exits(0);
        let nowhere_file = written(&folder, "nowhere", nowhere);
        let url = db.url();
        let mut given = program(name);
        given
            .args(*arguments)
            .args(["--database-url", &url])
            .env("DATABASE_URL_FILE", &nowhere_file);
        Ran::of(&mut given).exits(0);
        // Of equal rank, neither is guessed.
        let ran = Ran::of(by_variable(arguments).env("DATABASE_URL", nowhere)).exits(1);
        ran.complains(["DATABASE_URL and DATABASE_URL_FILE are both given; leave one of them out"]);
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_and_not_repeated() {
    let folder = Scratch::new();
    let wrong = written(&folder, "wrong", "me:hunter2@localhost/guards\n");
    let empty = written(&folder, "empty", " \n");
    let absent = folder.path().join("absent");
    for (name, arguments) in COMMANDS {
        for (file, said) in [
            (&wrong, "DATABASE_URL is not a PostgreSQL URL"),
            (&empty, "is empty"),
            (&absent, "No such file"),
        ] {
            let ran =
                Ran::of(program(name).args(arguments).env("DATABASE_URL_FILE", file)).exits(1);
            assert!(!format!("{ran:?}").contains("hunter2"), "{ran:#?}");
            let ran = ran.complains(["error: ", said]);
            let names_it = ran.stderr.contains(file.to_str().unwrap());
            assert!(names_it || file == &wrong, "{ran:#?}");
        }
    }
}

#[test]
fn the_help_says_that_arguments_are_seen_by_others() {
    for (name, arguments) in [
        ("migration", &["--help"][..]),
        ("migration", &["up", "--help"]),
        ("tenantry", &["--help"]),
        ("tenantry", &["serve", "--help"]),
        ("tenantry", &["tenant", "--help"]),
    ] {
        let ran = Ran::of(program(name).args(arguments)).exits(0);
        let text = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("can see a program's arguments"), "{name} {arguments:?}: {text}");
        assert!(text.contains("--database-url-file"), "{name} {arguments:?}: {text}");
    }
    let ran = Ran::of(program("tenantry").args(["serve", "--help"])).exits(0);
    ran.says(["--admin-token-file", "TENANTRY_ADMIN_TOKEN_FILE"]);
}

fn written(folder: &Scratch, name: &str, text: &str) -> PathBuf {
    let file = folder.path().join(name);
    fs::write(&file, text).unwrap();
    file
}
