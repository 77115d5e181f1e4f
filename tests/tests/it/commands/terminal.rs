//! Output that is not read, narrow terminals, errors as JSON, completions and manual pages.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{migration, tenantry, with_tenants};
use crate::support::{
    TestDb,
    process::{Ran, at_terminal, program, program_on},
    scratch::Scratch,
};

#[tokio::test]
async fn a_command_whose_output_is_closed_ends_without_a_message() {
    let db = with_tenants(["tenant-1"]).await;
    for (name, words, code) in [
        ("tenantry", "tenant list", 141),
        ("tenantry", "tenant list --json", 141),
        ("tenantry", "tenant show tenant-1", 141),
        ("tenantry", "tenant create tenant-2", 141),
        ("tenantry", "tenant domain add tenant-1 a.example.org", 141),
        ("tenantry", "tenant domain list tenant-1", 141),
        ("tenantry", "tenant limit tenant-1", 141),
        ("tenantry", "tenant drop tenant-2 --yes", 141),
        ("tenantry", "completions bash", 141),
        ("tenantry", "migration status", 141),
        ("tenantry", "serve", 141),
        ("migration", "status --json", 141),
        ("migration", "status --all", 141),
        ("migration", "list", 141),
        ("migration", "list --tenant tenant-1", 141),
        ("migration", "verify --all", 141),
        ("migration", "check", 141),
        ("migration", "down --all --dry-run", 141),
        // A run goes on.
        ("migration", "down --all --yes", 0),
        ("migration", "up --all", 0),
        ("tenantry", "--help", 0),
        ("library", "books tenant-1 --help", 0),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let mut command = program_on(name, &db.url(), &words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::ended(child).exits(code);
        let errors = ran.stderr.lines().filter(|line| !line.contains(" INFO ")).count();
        assert_eq!(errors, 0, "{name} {words:?} {ran:#?}");
    }
}

/// Runs a command in a terminal of this width.
fn at_width(width: u16, db: &TestDb, words: &str) -> Ran {
    let program = program_on("tenantry", &db.url(), &[]);
    let path = program.get_program().to_str().unwrap();
    let mut command = Command::new("sh");
    let line = format!("stty cols {width} rows 24; exec {path} {words}");
    command.args(["-c", &line]).env("TERM", "xterm").env("DATABASE_URL", db.url());
    at_terminal(&command, "")
}

#[tokio::test]
async fn tables_fit_the_terminal() {
    let db = TestDb::new().await;
    let hosts: String = (0..9).map(|n| format!(" --domain host-{n}.example.org")).collect();
    tenantry(&db, &format!("tenant create tenant-1{hosts}")).exits(0);
    let narrow = at_width(80, &db, "tenant list").exits(0);
    assert!(narrow.stdout.lines().all(|line| line.chars().count() <= 80), "{narrow:#?}");
    let narrow =
        narrow.says(["SLUG", "host-0", "…", "(not shown in full: DOMAINS, CREATED; use --wide)"]);
    assert!(!narrow.stdout.contains("TAGS"), "{narrow:#?}");
    for wide in [at_width(80, &db, "tenant list --wide"), at_width(400, &db, "tenant list")] {
        wide.exits(0).says(["host-8.example.org", "TAGS", "CREATED"]);
    }
    // A pipe has no width.
    tenantry(&db, "tenant list").exits(0).says(["host-8.example.org", "TAGS", "CREATED"]);
    migration(&db, "down --all --yes").exits(0);
    let status = at_width(50, &db, "migration status").exits(1);
    status.says(["TENANTS", "VERSION", "(not shown in full: ", "use --wide)"]);
    at_width(50, &db, "migration status --wide").exits(1).says(["OLDEST", "last changed"]);
}

#[tokio::test]
async fn errors_are_json_if_the_log_is() {
    let db = TestDb::new().await;
    for words in ["tenant show tenant-1", "migration up --tenant tenant-1"] {
        let ran = tenantry(&db, &format!("{words} --log-format json")).exits(1);
        let error: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(error["level"], "ERROR", "{error}");
        assert!(error["message"].as_str().unwrap().contains("tenant-1\" not found"), "{error}");
        assert!(error["timestamp"].as_str().unwrap().ends_with('Z'), "{error}");
    }
    let mut command = program_on("tenantry", "postgres://none@127.0.0.1:1/none", &["serve"]);
    let ran = Ran::of(command.env("TENANTRY_LOG_FORMAT", "json")).exits(1);
    let last: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert!(last["message"].as_str().unwrap().contains("127.0.0.1:1"), "{last}");
}

#[test]
fn an_invalid_domain_or_prefix_is_an_error_of_its_option() {
    for (option, variable, value, rule) in [
        ("--base-domain", "TENANTRY_BASE_DOMAIN", "exa_mple.com", "only letters, digits"),
        ("--base-domain", "TENANTRY_BASE_DOMAIN", "example.com:80", "no port"),
        ("--base-domain", "TENANTRY_BASE_DOMAIN", "-a.com", "hyphen"),
        ("--schema-prefix", "TENANTRY_SCHEMA_PREFIX", "No", "at most 15 of a-z"),
        ("--schema-prefix", "TENANTRY_SCHEMA_PREFIX", "pg_", "other than"),
        ("--schema-prefix", "TENANTRY_SCHEMA_PREFIX", "a_prefix_that_is_long", "at most 15"),
    ] {
        let said = format!("invalid value '{value}' for '{option} <");
        let words = ["tenant", "list", &*format!("{option}={value}")];
        Ran::of(program("tenantry").args(words)).exits(2).complains([&said, rule]);
        let mut command = program("tenantry");
        Ran::of(command.env(variable, value)).exits(2).complains([&said, rule]);
    }
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    for (program_name, own) in [("tenantry", "import"), ("library", "books"), ("shop", "hello")] {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let ran = Ran::of(program(program_name).args(["completions", shell])).exits(0);
            ran.says([program_name, own, "migration", "verify", "base-domain"]);
        }
        let folder = Scratch::new();
        let man = folder.path().join("share/man1");
        let mut command = program(program_name);
        command.env("DATABASE_URL", "postgres://me:hunter2@localhost/a");
        command.env("TENANTRY_DATA_DIR", "folder-of-this-test");
        Ran::of(command.arg("man").arg(&man)).exits(0);
        let page = |name: &str| {
            let text = fs::read_to_string(man.join(format!("{program_name}{name}.1"))).unwrap();
            assert!(!text.contains("hunter2") && !text.contains("folder-of-this-test"), "{text}");
            text
        };
        assert!(page("").contains(own) || page("-tenant").contains(own));
        assert!(page("-tenant-create").contains("Display name"));
        assert!(page("-migration-verify").contains("allow"));
    }
    Ran::of(program("tenantry").args(["completions", "csh"])).exits(2).complains(["bash"]);
    let ran = Ran::of(program("tenantry").args(["man", "/dev/null/man"])).exits(1);
    ran.complains(["error: /dev/null/man: "]);
}
