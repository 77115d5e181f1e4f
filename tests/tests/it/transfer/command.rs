//! `tenantry tenant export`, `clone` and `import` of an export.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sea_orm::ConnectionTrait;
use serde_json::Value;

use super::contents;
use crate::support::{
    TestDb,
    catalog::texts,
    http_server::eventually,
    process::{Ran, at_terminal, program_on},
    scratch::Scratch,
};

/// A database with a tenant that has rows, and a folder.
struct Place {
    db: TestDb,
    folder: Scratch,
}

impl Place {
    async fn new(guards: u32) -> Self {
        let db = TestDb::new().await;
        Ran::on("tenantry", &db.url(), &["tenant", "create", "acme", "--name", "Acme"]).exits(0);
        let sql = format!(
            "INSERT INTO acme.guards (id, name, position, inserted_at, updated_at)
             SELECT gen_random_uuid(), repeat('Abu', 200), 'Gate', now(), now()
             FROM generate_series(1, {guards})"
        );
        db.plain().await.execute_unprepared(&sql).await.unwrap();
        Self { db, folder: Scratch::new() }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = program_on("tenantry", &self.db.url(), &["tenant"]);
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// The names of all files, hidden ones too.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_exported_to_a_file_and_imported_from_it() {
    let place = Place::new(10).await;
    place
        .run(&["export", "acme"])
        .exits(0)
        .says(["exported acme to acme.tar: 10 rows of 2 tables"]);
    assert_eq!(place.files(), ["acme.tar"]);
    let mode = fs::metadata(place.folder.path().join("acme.tar")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others could read it");
    place
        .run(&["import", "acme.tar", "--as", "acme-2"])
        .exits(0)
        .says(["imported as acme-2: 10 rows of 2 tables"]);
    place
        .run(&["clone", "acme", "acme-3"])
        .exits(0)
        .says(["cloned acme as acme-3: 10 rows of 2 tables"]);
    place
        .run(&["clone", "acme", "acme-4", "--structure-only"])
        .exits(0)
        .says(["0 rows of 2 tables"]);
    let plain = place.db.plain().await;
    for schema in ["acme_2", "acme_3"] {
        assert_eq!(contents(&plain, schema).await, contents(&plain, "acme").await);
    }
    // Again: the file is replaced, the slug is taken.
    place.run(&["export", "acme", "--output", "acme.tar"]).exits(0);
    place.run(&["import", "acme.tar"]).exits(1).complains(["slug acme is already taken"]);
    place.run(&["export", "nobody"]).exits(1).complains(["tenant \"nobody\" not found"]);
    assert_eq!(place.files(), ["acme.tar"]);
    crate::commands::migration(&place.db, "verify --all").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_passes_through_a_pipe_and_reports_as_json() {
    let place = Place::new(10).await;
    let mut export = place.command(&["export", "acme", "--output", "-", "--json"]);
    let mut export = export.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut import = place.command(&["import", "-", "--format", "tar", "--as", "acme-2", "--json"]);
    import.stdin(export.stdout.take().unwrap());
    let imported: Value = serde_json::from_str(&Ran::of(&mut import).exits(0).stdout).unwrap();
    assert_eq!(imported["tenant"]["slug"], "acme-2");
    assert_eq!(imported["tenant"]["name"], "Acme");
    assert_eq!((&imported["rows"], &imported["tables"]), (&10.into(), &2.into()));
    let exported: Value = serde_json::from_str(&Ran::ended(export).exits(0).stderr).unwrap();
    assert_eq!((&exported["slug"], &exported["rows"]), (&"acme".into(), &10.into()));
    // The data of a pipe that ends early are refused.
    let whole = place.command(&["export", "acme", "-o", "-"]).output().unwrap().stdout;
    let mut import = place.command(&["import", "-", "--format", "tar", "--as", "acme-3"]);
    let import = import.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut import = import.spawn().unwrap();
    import.stdin.take().unwrap().write_all(&whole[..whole.len() - 2000]).unwrap();
    Ran::ended(import).exits(1).complains(["the export is incomplete"]);
    for (arguments, said) in [
        (&["import", "-"][..], "--format csv, jsonl or tar"),
        (&["import", "x.tar", "--dry-run"], "--dry-run does not apply to an export"),
        (&["import", "x.csv", "--as", "a"], "--as does not apply to a list of tenants"),
    ] {
        place.run(arguments).exits(2).complains([said]);
    }
    place.run(&["import", "missing.tar"]).exits(1).complains(["missing.tar"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_neither_a_file_nor_a_tenant() {
    let place = Place::new(200_000).await;
    let plain = place.db.plain().await;
    let active = "SELECT count(*)::text FROM pg_stat_activity
                  WHERE datname = current_database() AND query LIKE 'COPY%' AND state = 'active'";
    let folder = Scratch::new();
    let archive = folder.path().join("whole.tar");
    let archive = archive.to_str().unwrap();
    place.run(&["export", "acme", "--output", archive]).exits(0);
    for (arguments, signal) in [
        (&["export", "acme"][..], Signal::SIGINT),
        (&["export", "acme"], Signal::SIGTERM),
        (&["clone", "acme", "acme-2"], Signal::SIGINT),
        (&["clone", "acme", "acme-2"], Signal::SIGKILL),
        (&["import", archive, "--as", "acme-2"], Signal::SIGINT),
        (&["import", archive, "--as", "acme-2"], Signal::SIGTERM),
    ] {
        let mut command = place.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let started = Instant::now();
        while texts(&plain, active).await == ["0"] {
            assert!(started.elapsed() < Duration::from_secs(20), "no rows are copied");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        kill(pid, signal).unwrap();
        let ran = Ran::ended(child);
        if signal != Signal::SIGKILL {
            ran.exits(130).complains(["Interrupted: nothing was"]);
        }
        assert_eq!(place.files(), Vec::<String>::new());
        eventually("the copy ends", async || texts(&plain, active).await == ["0"]).await;
        let left = "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'acme_%'";
        assert_eq!(texts(&plain, left).await, Vec::<String>::new());
        place.run(&["show", "acme-2"]).exits(1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_takes_the_domains_only_if_asked_for_and_only_if_they_are_free() {
    let place = Place::new(1).await;
    place.run(&["domain", "add", "acme", "guards.example.org"]).exits(0);
    place.run(&["export", "acme"]).exits(0);
    place.run(&["import", "acme.tar", "--as", "acme-2"]).exits(0);
    let domains = ["import", "acme.tar", "--as", "acme-3", "--domains"];
    place.run(&domains).exits(1).complains(["guards.example.org"]);
    place.run(&["domain", "remove", "acme", "guards.example.org"]).exits(0);
    place.run(&domains).exits(0);
    let sql = "SELECT slug FROM registry.domains JOIN registry.tenants t ON t.id = tenant_id";
    assert_eq!(texts(&place.db.plain().await, sql).await, ["acme-3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_killed_export_has_left_does_not_stop_the_next_one() {
    let place = Place::new(1).await;
    // Of an earlier process with the same id: in a container all have the same.
    let export = place.command(&[]);
    let program = export.get_program().to_str().unwrap();
    let line = format!("touch .acme.tar.$$.unfinished; exec {program} tenant export acme");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &line]).env("DATABASE_URL", place.db.url());
    Ran::of(command.current_dir(place.folder.path())).exits(0);
    assert!(place.files().contains(&"acme.tar".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_the_progress_and_a_note_names_cycles() {
    let place = Place::new(20_000).await;
    let cycle = "ALTER TABLE acme.guards ADD shift_id uuid REFERENCES acme.shifts";
    place.db.plain().await.execute_unprepared(cycle).await.unwrap();
    let note = "note: foreign keys form a cycle, which an import loads all the same: guards -> shifts \
                -> guards";
    let quiet = place.run(&["export", "acme"]).exits(0).complains([note]);
    assert!(!quiet.stderr.contains("/2)"), "{quiet:#?}");
    let json = place.run(&["export", "acme", "--json"]).exits(0);
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["cycles"], serde_json::json!([["guards", "shifts"]]));
    let file = place.folder.path().join("shown.tar");
    let mut command = place.command(&["export", "acme", "--output", file.to_str().unwrap()]);
    let shown = at_terminal(command.env("TERM", "xterm"), "").exits(0);
    assert!(shown.stdout.contains("/2)") && shown.stdout.contains(note), "{shown:#?}");
}
