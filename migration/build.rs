//! Sets the variable `VERSION`: the version of the package and the commit.

use std::{env, path::Path, process::Command};

fn main() {
    let variable = |name| env::var(name).unwrap_or_default();
    let (mut version, folder) = (variable("CARGO_PKG_VERSION"), variable("CARGO_MANIFEST_DIR"));
    println!("cargo:rerun-if-changed=build.rs");
    let folder = Path::new(&folder);
    for file in changed_by_commits(folder) {
        println!("cargo:rerun-if-changed={file}");
    }
    version += &commit(folder).map(|commit| format!(" ({commit})")).unwrap_or_default();
    println!("cargo:rustc-env=VERSION={version}");
}

/// Commit and date, such as `commit 05c244c6ad01, 2026-11-29`. `None` without git, and in a
/// repository that only contains a copy of this one.
pub fn commit(folder: &Path) -> Option<String> {
    let prefix = git(folder, &["rev-parse", "--show-prefix"])?;
    let format = "--format=commit %h, %cs";
    (prefix == "migration/").then(|| git(folder, &["log", "-1", "--abbrev=12", format])).flatten()
}

/// Files of git that change with the commit.
pub fn changed_by_commits(folder: &Path) -> Vec<String> {
    let branch = git(folder, &["symbolic-ref", "HEAD"]);
    let names = [Some("HEAD".to_owned()), branch, Some("packed-refs".to_owned())];
    let paths = names.into_iter().flatten();
    let paths = paths.filter_map(|name| git(folder, &["rev-parse", "--git-path", &name]));
    paths.filter(|path| folder.join(path).exists()).collect()
}

/// What git prints; `None` if there is no git or it fails.
fn git(folder: &Path, words: &[&str]) -> Option<String> {
    let ran = Command::new("git").arg("-C").arg(folder).args(words).output().ok()?;
    ran.status.success().then(|| String::from_utf8_lossy(&ran.stdout).trim().to_owned())
}
