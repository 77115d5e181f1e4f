//! `migration generate`, in a copy of this project's migration crate. No database is there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tempfile::TempDir;
use tenantry_migrate::{
    DynMigrator,
    lint::{Profile, check},
};

use crate::support::{
    TestDb,
    process::{Ran, program},
};

/// What a new file begins with: modules as any other, so they compile.
#[path = "../../../migration/engine/src/cli/generate/template/add_column.rs"]
mod add_column;
#[path = "../../../migration/engine/src/cli/generate/template/create_table.rs"]
mod create_table;

#[path = "../../../migration/engine/src/cli/generate/template/shared.rs"]
mod shared;

const CREATE_TABLE: &str =
    include_str!("../../../migration/engine/src/cli/generate/template/create_table.rs");
const ADD_COLUMN: &str =
    include_str!("../../../migration/engine/src/cli/generate/template/add_column.rs");

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A workspace with the migration crate, and another crate.
struct Workspace(TempDir);

impl Workspace {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["migration/src", "entity/src"] {
            let to = root.path().join(folder);
            fs::create_dir_all(&to).unwrap();
            for entry in fs::read_dir(project().join(folder)).unwrap() {
                let from = entry.unwrap().path();
                if from.extension().is_some_and(|extension| extension == "rs") {
                    fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
                }
            }
        }
        Self(root)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Runs `migration generate` in one of the folders, with a database that is not there.
    fn generate(&self, folder: &str, arguments: &[&str]) -> Ran {
        let mut command = program("migration");
        command.env("DATABASE_URL", "postgres://none@localhost:1/none");
        command.current_dir(self.path(folder)).arg("generate").args(arguments);
        Ran::of(&mut command)
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// The name of the migration that ends with `name`, which is the newest of its folder.
    #[track_caller]
    fn newest(&self, folder: &str, name: &str) -> String {
        let files = self.files(folder);
        let newest = files.iter().rfind(|file| file.starts_with("m2")).unwrap();
        let stem = newest.strip_suffix(".rs").unwrap();
        assert!(stem.ends_with(&format!("_{name}")), "{files:?}");
        stem.to_owned()
    }

    /// What `cargo fmt --check` says of a crate: `lib.rs` leads to all its files.
    #[track_caller]
    fn is_formatted(&self, folder: &str) {
        let mut rustfmt = Command::new("rustfmt");
        rustfmt.args(["--check", "--edition", "2024", "--config-path"]).arg(project());
        Ran::of(rustfmt.arg(self.path(folder).join("lib.rs"))).exits(0);
    }
}

#[test]
fn generate_writes_and_registers_a_migration() {
    let workspace = Workspace::new();
    let folder = "migration/src";
    let before = workspace.read("migration/src/lib.rs");
    workspace.generate(".", &["create_books"]).exits(0).says(["create_books.rs", "lib.rs"]);

    let name = workspace.newest(folder, "create_books");
    let expected = CREATE_TABLE.replace("table_name", "books");
    assert_eq!(workspace.read(&format!("{folder}/{name}.rs")), expected);
    let after = workspace.read("migration/src/lib.rs");
    let added: Vec<&str> = after.lines().filter(|line| !before.contains(line)).collect();
    assert_eq!(
        added,
        [format!("mod {name};"), format!("            Box::new({name}::Migration),")]
    );
    assert!(after.contains(&format!("Box::new({name}::Migration),\n        ]")));
    assert_eq!(after.lines().count(), before.lines().count() + 2);
    workspace.is_formatted(folder);
}

#[test]
fn generate_numbers_after_the_newest() {
    let workspace = Workspace::new();
    let folder = "migration/src";
    workspace.generate(".", &["create_books"]).exits(0);
    let first = workspace.newest(folder, "create_books");
    workspace.generate(folder, &["add_title_to_books"]).exits(0);
    let second = workspace.newest(folder, "add_title_to_books");
    assert_eq!(first[..9], second[..9], "not of one day, or of the newest");
    let number = |name: &str| name[10..16].parse::<u32>().unwrap();
    assert_eq!(number(&second), number(&first) + 1);
    let expected = ADD_COLUMN.replace("table_name", "books").replace("column_name", "title");
    assert_eq!(workspace.read(&format!("{folder}/{second}.rs")), expected);
    workspace.is_formatted(folder);
}

#[test]
fn generate_writes_migrations_of_shared_tables() {
    let workspace = Workspace::new();
    let (folder, before) = ("migration/src/shared", workspace.read("migration/src/lib.rs"));
    let first = workspace.generate(".", &["create_plans", "--shared"]).exits(0);
    first.says(["shared/mod.rs", "Add to ", "SharedMigrator::new(shared::Migrator)"]);
    let name = workspace.newest(folder, "create_plans");
    let second = workspace.generate("migration", &["--shared", "add_price_to_plans"]).exits(0);
    assert!(!second.stdout.contains("Add to"), "{second:#?}");
    let list = workspace.read("migration/src/shared/mod.rs");
    let newest = workspace.newest(folder, "add_price_to_plans");
    for name in [name, newest] {
        assert!(list.contains(&format!("mod {name};")), "{list}");
        assert!(list.contains(&format!("Box::new({name}::Migration)")), "{list}");
    }
    assert_eq!(workspace.read("migration/src/lib.rs"), before);
    fs::write(workspace.path("migration/src/lib.rs"), format!("{before}\nmod shared;\n")).unwrap();
    workspace.is_formatted("migration/src");
    assert!(shared::Migrator.migrations().is_empty());
}

#[test]
fn generate_works_in_any_directory() {
    let workspace = Workspace::new();
    let entity = workspace.files("entity/src");
    for (name, from) in
        [("add_plan_to_guards", "entity/src"), ("other", "migration"), ("x", "entity")]
    {
        workspace.generate(from, &[name]).exits(0);
        workspace.newest("migration/src", name);
    }
    workspace.is_formatted("migration/src");
    assert_eq!(workspace.files("entity/src"), entity);
}

#[test]
fn generate_accepts_the_crate_directory() {
    let workspace = Workspace::new();
    let dir = workspace.path("migration");
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = program("migration");
    command.current_dir(elsewhere.path()).args(["generate", "create_books", "--dir"]).arg(dir);
    Ran::of(&mut command).exits(0);
    workspace.newest("migration/src", "create_books");
}

#[test]
fn concurrent_commands_register_all_migrations() {
    let workspace = Workspace::new();
    std::thread::scope(|scope| {
        for name in ["create_a", "create_b", "create_c", "create_d"] {
            let workspace = &workspace;
            scope.spawn(move || workspace.generate(".", &[name]).exits(0));
        }
    });
    let list = workspace.read("migration/src/lib.rs");
    for name in ["create_a", "create_b", "create_c", "create_d"] {
        assert_eq!(list.matches(&format!("_{name}")).count(), 2, "{list}");
    }
    workspace.is_formatted("migration/src");
}

#[test]
fn errors_change_nothing() {
    let workspace = Workspace::new();
    let folder = "migration/src";
    let before = (workspace.files(folder), workspace.read("migration/src/lib.rs"));
    for name in ["CreateBooks", "create-books", "2nd", "", "../x", "bücher"] {
        workspace.generate(".", &[name]).exits(2).complains([name, "letters a-z, digits and _"]);
    }
    workspace.generate(".", &["create_guards"]).exits(1).complains([
        "\"create_guards\"",
        "_create_guards.rs",
        "another name",
    ]);
    let entity = workspace.path("entity");
    workspace
        .generate(".", &["a", "--dir", entity.to_str().unwrap()])
        .exits(1)
        .complains(["entity/src/lib.rs", "--dir"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = program("migration");
    command.current_dir(elsewhere.path()).args(["generate", "a"]);
    Ran::of(&mut command).exits(1).complains(["no migration crate", "--dir"]);
    assert_eq!((workspace.files(folder), workspace.read("migration/src/lib.rs")), before);
}

#[test]
fn keeps_an_unknown_list_unchanged() {
    let workspace = Workspace::new();
    let folder = "migration/src";
    let list = workspace.path("migration/src/lib.rs");
    fs::write(&list, "mod a;\nfn migrations() -> Vec<M> {\n    all()\n}\n").unwrap();
    let before = workspace.files(folder);
    workspace
        .generate(".", &["create_books"])
        .exits(1)
        .complains(["lib.rs", "nothing was written"]);
    assert_eq!(workspace.files(folder), before);
}

/// Both templates as they are.
struct Templates;

impl MigratorTraitSelf for Templates {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(create_table::Migration), Box::new(add_column::Migration)]
    }
}

#[tokio::test]
async fn templates_run_and_pass_the_lint() {
    let test = TestDb::new().await;
    let migrator = DynMigrator::new(Templates);
    let report = check(&test.plain().await, &migrator, Profile::Citus).await.unwrap();
    assert_eq!(report.migrations, ["create_table", "add_column"]);
    assert!(report.is_clean(), "{report:#?}");
}
