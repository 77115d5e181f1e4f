//! The documentation agrees with the code.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::Arg;

const BEGIN: &str = "<!-- configuration: written by the test `readme` with UPDATE_DOCS=1 -->\n";
const END: &str = "<!-- end of configuration -->\n";

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Every argument of a command and its subcommands that can be set by a variable.
fn variables(command: &clap::Command, rows: &mut BTreeMap<String, [String; 3]>) {
    for arg in command.get_arguments() {
        let Some(name) = arg.get_env() else { continue };
        let option = arg.get_long().map(|long| format!("`--{long}`")).unwrap_or_default();
        // The first command is the server.
        let row = || [option, default(arg), meaning(arg)];
        rows.entry(name.to_str().unwrap().to_owned()).or_insert_with(row);
    }
    for subcommand in command.get_subcommands() {
        variables(subcommand, rows);
    }
}

fn default(arg: &Arg) -> String {
    match arg.get_default_values().first().and_then(|value| value.to_str()) {
        Some("") | None => String::new(),
        Some(value) => format!("`{value}`"),
    }
}

fn meaning(arg: &Arg) -> String {
    arg.get_long_help().or_else(|| arg.get_help()).unwrap().to_string().replace('\n', " ")
}

fn table() -> String {
    let mut rows = BTreeMap::new();
    variables(&api::app().command(), &mut rows);
    for (name, meaning) in tenantry_migrate::connect::VARIABLES {
        rows.insert(name.to_owned(), [String::new(), String::new(), meaning.to_owned()]);
    }
    let mut text = "| variable | option | default | meaning |\n|---|---|---|---|\n".to_owned();
    for (name, [option, default, meaning]) in rows {
        text.push_str(&format!(
            "| `{name}` | {option} | {default} | {} |\n",
            meaning.trim_end_matches('.')
        ));
    }
    text
}

#[test]
fn the_table_of_variables_is_that_of_the_commands() {
    let path = root().join("docs/CONFIGURATION.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the marker is there");
    let (found, after) = rest.split_once(END).expect("the end marker is there");
    let wanted = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(found, wanted, "run the tests once with UPDATE_DOCS=1");
}

#[test]
fn every_dependency_has_its_line() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("[workspace.dependencies]\n").unwrap();
    let (section, _) = rest.split_once("\n[").unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let cells = readme.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let named: Vec<&str> = cells.flat_map(|cell| cell.split(", ")).collect();
    let mut count = 0;
    for line in section.lines().filter(|line| line.contains(" = ") && !line.contains("path = ")) {
        let name = line.split(" = ").next().unwrap();
        assert!(named.contains(&name), "{name} has no line in the README's table");
        count += 1;
    }
    assert!(count > 10);
}

#[test]
fn every_test_that_security_names_exists() {
    let text = fs::read_to_string(root().join("docs/SECURITY.md")).unwrap();
    let mut count = 0;
    for name in text.split('`').skip(1).step_by(2).filter(|name| name.contains("::")) {
        let (folder, path) = match name.split_once(": ") {
            Some((krate, path)) => (root().join(krate).join("src"), path),
            None => (root().join("tests/tests/it"), name),
        };
        let mut words: Vec<&str> = path.split("::").collect();
        words.retain(|word| *word != "tests");
        let file = |words: &[&str]| {
            let file = folder.join(words.join("/"));
            let [plain, module] = [file.with_extension("rs"), file.join("mod.rs")];
            fs::read_to_string(plain).or_else(|_| fs::read_to_string(module)).ok()
        };
        // A whole module, or a function in one.
        let exists = file(&words).is_some_and(|text| text.contains("fn "))
            || words.split_last().is_some_and(|(function, module)| {
                file(module).is_some_and(|text| text.contains(&format!("fn {function}()")))
            });
        assert!(exists, "docs/SECURITY.md names {name}, which is not there");
        count += 1;
    }
    assert!(count > 30, "{count}");
}

#[test]
fn every_link_of_the_documentation_leads_to_a_file() {
    let root = root();
    let mut pages = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    pages.extend(fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let mut count = 0;
    for page in pages.iter().filter(|page| page.extension().is_some_and(|it| it == "md")) {
        let text = fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if file.starts_with("https://") {
                continue;
            }
            let target = if file.is_empty() { page } else { &page.parent().unwrap().join(file) };
            assert!(target.exists(), "{} links to {link}", page.display());
            let headings = fs::read_to_string(target).unwrap_or_default().to_lowercase();
            let headings = headings.replace('-', " ");
            let heading = heading.replace('-', " ");
            let found = heading.is_empty() || headings.contains(&format!("# {heading}\n"));
            assert!(found, "{} links to {link}", page.display());
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

/// All source files below `folder`, a line each.
fn list(folder: &Path, files: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|it| it == "rs") {
            files.push_str(&format!("{}\n", entry.display()));
        } else if entry.is_dir() && !entry.ends_with("target") {
            list(&entry, files);
        }
    }
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let mut files = String::new();
    list(&root(), &mut files);
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let words = text.split(|it: char| it.is_whitespace() || "`(),:;".contains(it));
    let mut count = 0;
    for name in words.filter(|word| word.ends_with(".rs")) {
        let ending = format!("/{}", name.trim_start_matches("…/"));
        assert!(files.lines().any(|file| file.ends_with(&ending)), "{name} is gone");
        count += 1;
    }
    assert!(count > 20, "{count}");
}
