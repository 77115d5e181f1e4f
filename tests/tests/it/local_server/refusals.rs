//! Folders and servers that cannot be used.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use local_postgres::{Access, Server, ServerError, resolve_data_dir};
use nix::sys::signal::{SIGQUIT, kill};

use super::{TestResult, owner::*, support::*};

#[test]
fn refuses_a_folder_with_other_content_and_leaves_it_alone() -> TestResult {
    let scratch = Scratch::new()?;
    let dir = scratch.data();
    fs::create_dir(&dir)?;
    fs::write(dir.join("thesis.txt"), "the only copy")?;
    let error = refused(Server::persistent(&dir, DATABASE, Access::Exclusive))?;
    assert!(matches!(error, ServerError::NotACluster { .. }), "{error}");
    assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
    assert_eq!(names(&dir)?, ["thesis.txt"]);
    assert_eq!(names(scratch.path())?, ["postgres"], "files appeared beside the folder");

    let file = scratch.path().join("file");
    fs::write(&file, "")?;
    let error = refused(Server::persistent(&file, DATABASE, Access::Shared))?;
    assert!(matches!(error, ServerError::NotACluster { .. }), "{error}");
    Ok(())
}

#[test]
fn refuses_a_folder_of_another_major_version() -> TestResult {
    let scratch = Scratch::new()?;
    let dir = scratch.data();
    fs::create_dir(&dir)?;
    fs::write(dir.join("PG_VERSION"), "12\n")?;
    let error = refused(Server::persistent(&dir, DATABASE, Access::Exclusive))?;
    assert!(matches!(error, ServerError::OtherVersion { data_dir: 12, .. }), "{error}");
    assert!(error.to_string().contains("12"), "{error}");
    assert_eq!(names(&dir)?, ["PG_VERSION"]);
    Ok(())
}

#[test]
fn leaves_a_server_alone_that_was_started_by_other_means() -> TestResult {
    let scratch = Scratch::new()?;
    let mut owner = Owner::of(&scratch.data())?;
    // The lock file says which server is managed.
    let lock = scratch.path().join("postgres.lock");
    fs::write(&lock, "1\nanother\n\n")?;
    owner.kill_supervisor()?;
    owner.kill()?;
    let error = refused(Server::persistent(&scratch.data(), DATABASE, Access::Exclusive))?;
    assert!(
        matches!(error, ServerError::UnmanagedServer { pid, .. } if pid == owner.server),
        "{error}"
    );
    kill(pid(owner.server)?, SIGQUIT)?;
    owner.assert_server_gone();
    Ok(())
}

#[test]
fn reports_the_log_of_a_server_that_does_not_start() -> TestResult {
    let error = refused(Server::temporary(&[("shared_buffers", "none at all")]))?;
    assert!(matches!(error, ServerError::Start { .. }), "{error}");
    assert!(error.to_string().contains("invalid value for parameter"), "{error}");
    Ok(())
}

#[test]
fn names_a_pg_bin_that_does_not_exist() -> TestResult {
    let output = owner_command("temporary")?.env("PG_BIN", "/nowhere/at/all").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("PG_BIN is /nowhere/at/all"), "{text}");
    Ok(())
}

#[test]
fn root_keeps_data_elsewhere_if_the_server_may_not_enter_the_folder() -> TestResult {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    assert_eq!(resolve_data_dir(&scratch.data(), SYSTEM_DIR.as_ref())?.inaccessible, None);
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o700))?;

    let error = refused(Server::persistent(&scratch.data(), DATABASE, Access::Exclusive))?;
    assert!(matches!(error, ServerError::Inaccessible { .. }), "{error}");

    let place = resolve_data_dir(&scratch.data(), SYSTEM_DIR.as_ref())?;
    assert_eq!(place.inaccessible.as_deref(), Some(scratch.path()));
    assert_eq!(place, resolve_data_dir(&scratch.data(), SYSTEM_DIR.as_ref())?);
    let _clean_up = RemoveAtEnd(SYSTEM_DIR.into());
    assert_eq!(place.path, Path::new(&format!("{SYSTEM_DIR}{}", scratch.data().display())));
    let server = Server::persistent(&place.path, DATABASE, Access::Exclusive)?;
    let meta = fs::metadata(server.data_dir())?;
    assert_ne!(meta.uid(), 0);
    assert_eq!(meta.mode() & 0o777, 0o700);
    Ok(())
}
