//! The first chapter of docs/GUIDE.md, step by step.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::support::{http_server::HttpServer, process::Ran};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn chapter() -> String {
    let guide = fs::read_to_string(root().join("docs/GUIDE.md")).unwrap();
    let (_, rest) = guide.split_once("\n## A shop in fifteen minutes\n").unwrap();
    rest.split("\n## ").next().unwrap().to_owned()
}

/// The files of the chapter: each path is in bold code before the content.
fn files() -> Vec<(String, String)> {
    let chapter = chapter();
    let named = chapter.split("\n**`").skip(1);
    named
        .map(|rest| {
            let (path, rest) = rest.split_once("`**").unwrap();
            let content = rest.split("```").nth(1).unwrap();
            let (_language, content) = content.split_once('\n').unwrap();
            (path.to_owned(), content.to_owned())
        })
        .collect()
}

/// The commands of the chapter.
fn commands() -> Vec<String> {
    let chapter = chapter();
    let blocks = chapter.split("```sh\n").skip(1);
    blocks.flat_map(|rest| rest.split("```").next().unwrap().lines()).map(str::to_owned).collect()
}

/// The engine's packages and their folders.
const ENGINE: [(&str, &str); 5] = [
    ("tenantry", "service/tenancy"),
    ("tenantry-axum", "api/server"),
    ("tenantry-migrate", "migration/engine"),
    ("tenantry-registry", "entity/registry"),
    ("local-postgres", "migration/postgres"),
];

/// A package of this workspace in place of a published one.
fn with_path(line: &str) -> String {
    let Some((name, spec)) = line.split_once(" = ") else { return line.to_owned() };
    let Some((_, folder)) = ENGINE.iter().find(|(engine, _)| *engine == name) else {
        return line.to_owned();
    };
    let path = format!("path = {:?}", root().join(folder));
    match spec.strip_prefix('{') {
        Some(rest) => format!("{name} = {{ {path},{rest}"),
        None => format!("{name} = {{ {path}, version = {spec} }}"),
    }
}

/// A command of the chapter in a folder, with the same dependencies as this workspace.
fn shell(folder: &Path, line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars() {
        let ours = ["TENANTRY_", "CARGO_PKG_", "CARGO_MANIFEST_"];
        if ours.iter().any(|prefix| name.starts_with(prefix)) || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    // The dependencies are built already, and downloaded.
    command.env("CARGO_TARGET_DIR", tests::programs().parent().unwrap());
    command.env("CARGO_NET_OFFLINE", "true").env("TENANTRY_LISTEN", "127.0.0.1:0");
    command
}

/// A workspace with the shop, and with crates whose names the engine must leave free.
fn workspace() -> TempDir {
    let workspace = tempfile::tempdir().unwrap();
    let folder = workspace.path();
    let members = ["entity", "migration", "service", "api", "shop"];
    let profile = "[profile.dev]\ndebug = \"line-tables-only\"\n[profile.dev.package.\"*\"]\n\
                   debug = false\n";
    let manifest = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n{profile}");
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    for (at, member) in members[..4].iter().enumerate() {
        fs::create_dir_all(folder.join(member).join("src")).unwrap();
        let engine = ENGINE.map(|(name, _)| with_path(&format!("{name} = \"0.1\""))).join("\n");
        let own = members[..at].iter().map(|it| format!("{it} = {{ path = \"../{it}\" }}\n"));
        let manifest = format!(
            "[package]\nname = {member:?}\nversion = \"0.1.0\"\nedition = \"2024\"\n\
             [dependencies]\n{}{engine}\n",
            own.collect::<String>()
        );
        fs::write(folder.join(member).join("Cargo.toml"), manifest).unwrap();
        let uses = members[..at].iter().map(|it| format!("pub use {it};\n"));
        let uses: String = uses.collect();
        let source = format!(
            "{uses}pub use {{local_postgres, tenantry, tenantry_axum, tenantry_migrate, \
             tenantry_registry}};\n"
        );
        fs::write(folder.join(member).join("src/lib.rs"), source).unwrap();
    }
    workspace
}

#[tokio::test]
async fn its_steps_lead_to_two_tenants_over_http() {
    let workspace = workspace();
    let commands = commands();
    let mut commands = commands.iter().map(String::as_str);
    let new = commands.next().unwrap();
    Ran::of(&mut shell(workspace.path(), new)).exits(0);
    let shop = workspace.path().join("shop");
    for (path, content) in files() {
        let content = match path.as_str() {
            "Cargo.toml" => content.lines().map(with_path).collect::<Vec<_>>().join("\n"),
            _ => content,
        };
        fs::write(shop.join(path), content).unwrap();
    }
    Ran::of(&mut shell(workspace.path(), "cargo build --quiet --workspace")).exits(0);

    let serve = commands.next().unwrap();
    // Not a child of a shell, which would outlive the test.
    let mut serving = HttpServer::launch(&mut shell(&shop, &format!("exec {serve}")));
    let address = serving.address().to_string();
    let mut answers = Vec::new();
    for line in commands {
        // Another port, since other servers may use that of the guide.
        let line =
            line.replace("curl ", "curl -sS ").replace(":3000", &format!(":{}", port(&address)));
        answers.push(Ran::of(&mut shell(&shop, &line)).exits(0).stdout);
    }
    let [.., added, acme, globex] = &answers[..] else { panic!("{answers:?}") };
    assert!(added.contains(r#""name":"Anvil","price":1200"#), "{answers:?}");
    assert_eq!(*acme, format!("[{added}]"));
    assert_eq!(globex, "[]");
    let status = Ran::of(&mut shell(&shop, "cargo run --quiet -- migration status")).exits(0);
    assert!(status.stdout.contains("m20261129_000001_create_products"), "{status:?}");
    serving.signal(nix::sys::signal::Signal::SIGINT);
    assert!(serving.ended().await.success());
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}
