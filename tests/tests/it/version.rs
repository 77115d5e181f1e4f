//! `--version` of the product.

use std::{fs, path::Path, process::Command};

use crate::support::process::{Ran, program};

#[path = "../../../migration/build.rs"]
#[expect(dead_code, clippy::print_stdout, reason = "the main function of a build script")]
mod build;

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn both_programs_print_their_version_with_a_commit() {
    let in_repository = build::commit(&repository().join("migration")).is_some();
    for name in ["tenantry", "migration"] {
        let ran = Ran::of(program(name).arg("--version")).exits(0);
        let version = format!("{name} {}", env!("CARGO_PKG_VERSION"));
        let commit = ran.stdout.strip_prefix(&version).unwrap().trim_end();
        // Of which commit depends on when the programs were built.
        let (before, after) = (" (commit ", ", 20");
        let named = commit.strip_prefix(before).and_then(|rest| rest.split_once(after));
        let is_hash = |it: &str| it.len() == 12 && it.bytes().all(|byte| byte.is_ascii_hexdigit());
        match in_repository {
            true => assert!(named.is_some_and(|(hash, _)| is_hash(hash)), "{ran:#?}"),
            false => assert!(commit.is_empty(), "{ran:#?}"),
        }
    }
}

#[test]
fn the_commit_is_that_of_the_repository() {
    let git = ["-C", repository().to_str().unwrap(), "rev-parse", "HEAD"];
    let Ok(head) = Command::new("git").args(git).output() else { return };
    if !head.status.success() {
        // Not a repository: an unpacked archive.
        assert_eq!(build::commit(&repository().join("migration")), None);
        return;
    }
    let head = String::from_utf8(head.stdout).unwrap();
    let commit = build::commit(&repository().join("migration")).unwrap();
    assert!(commit.starts_with(&format!("commit {}, 20", &head[..12])), "{commit}");
}

#[test]
fn without_a_repository_there_is_no_commit() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("migration")).unwrap();
    assert_eq!(build::commit(&folder.path().join("migration")), None);
    assert!(build::changed_by_commits(folder.path()).is_empty());
    // Another folder of a repository: a package could be a copy in another repository.
    assert_eq!(build::commit(&repository().join("migration/src")), None);
}
