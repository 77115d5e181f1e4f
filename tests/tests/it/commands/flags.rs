//! The flags of migrations: `non-transactional` and `breaking`.

use serde_json::json;

use crate::support::{
    TestDb,
    catalog::{schemas_with, texts},
    process::{Ran, program_on},
};

const NOWHERE: &str = "postgres://none@localhost:1/none";

fn library(db: &str, words: &str) -> Ran {
    Ran::on("library-migration", db, &words.split(' ').collect::<Vec<_>>())
}

#[tokio::test]
async fn list_shows_the_flags_of_each_migration() {
    let ran = library(NOWHERE, "list").exits(0);
    assert_eq!(ran.stdout, "m1_books\nm2_index  non-transactional\nm3_drop   breaking\n");
    let flags = |name, alone, breaking| json!({ "name": name, "non_transactional": alone, "breaking": breaking });
    let listed = library(NOWHERE, "list --json").exits(0).json();
    let wanted = [
        flags("m1_books", false, false),
        flags("m2_index", true, false),
        flags("m3_drop", false, true),
    ];
    assert_eq!(listed, json!(wanted));
}

#[tokio::test]
async fn rejects_an_unknown_name_in_breaking() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    texts(&plain, "CREATE SCHEMA branch").await;
    for words in [
        "list",
        "check",
        "up --schema branch",
        "up --all",
        "up --all --dry-run",
        "status",
        "verify --all",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let mut command = program_on("library-migration", &db.url(), &words);
        let ran = Ran::of(command.env("LIBRARY_MISSPELT", "1")).exits(1);
        let ran =
            ran.complains(["breaking() lists \"m3_dorp\", but the migrator has no migration"]);
        assert_eq!(ran.stdout, "", "{words:?}");
    }
    assert!(schemas_with(&plain, "books").await.is_empty());
    library(&db.url(), "up --schema branch").exits(0).says(["branch: applied m3_drop"]);
}
