//! `tenantry serve` with a local PostgreSQL server.

use std::{fs, os::unix::fs::PermissionsExt};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{
    http_server::{HttpServer, eventually},
    process::Ran,
    scratch::Scratch,
};

#[tokio::test]
async fn exits_with_its_postgresql_and_names_the_log() {
    let scratch = Scratch::new();
    let mut serving = HttpServer::launch(&mut scratch.tenantry(&["serve"]));
    let folder = scratch.data().join("postgres");
    let pid = fs::read_to_string(folder.join("postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGQUIT).unwrap();
    assert_eq!(serving.ended().await.code(), Some(1));
    let log = folder.join("server.log");
    eventually("the log is named", async || {
        let said = serving.stderr();
        said.contains("exited unexpectedly") && said.contains(log.to_str().unwrap())
    })
    .await;
    // The next one finds everything in order.
    Ran::of(&mut scratch.tenantry(&["tenant", "list"])).exits(0).says(["tenant-1"]);
}

#[tokio::test]
async fn names_an_invalid_token_file_and_creates_a_removed_one() {
    let scratch = Scratch::new();
    let file = scratch.data().join("admin-token");
    fs::create_dir(scratch.data()).unwrap();
    fs::set_permissions(scratch.data(), fs::Permissions::from_mode(0o755)).unwrap();
    for bad in [&b""[..], b"\n", b"short\n", b"with a blank in the middle\n", b"\xff\xfe"] {
        fs::write(&file, bad).unwrap();
        let ran = Ran::of(&mut scratch.tenantry(&["serve"])).exits(1);
        let ran = ran.complains([file.to_str().unwrap(), "remove the file to create a new one"]);
        assert!(!ran.stderr.contains("blank in the middle"), "{ran:?}");
        assert_eq!(fs::read(&file).unwrap(), bad, "it was changed");
    }
    fs::remove_file(&file).unwrap();
    // What a program left that was killed while it wrote.
    fs::write(file.with_extension("new"), "half").unwrap();
    let serving = HttpServer::launch(&mut scratch.tenantry(&["serve"]));
    let token = fs::read_to_string(&file).unwrap();
    eventually("the token is printed", async || serving.stdout().contains(token.trim())).await;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!file.with_extension("new").exists());
}

#[tokio::test]
async fn the_welcome_names_a_tenant_that_is_there() {
    let scratch = Scratch::new();
    Ran::of(&mut scratch.tenantry(&["tenant", "create", "tenant-2"])).exits(0);
    Ran::of(&mut scratch.tenantry(&["tenant", "create", "tenant-3"])).exits(0);
    // The oldest, and tenant-1 as soon as there is one.
    for wanted in ["tenant-2", "tenant-1"] {
        let mut command = scratch.tenantry(&["serve"]);
        command.env("TENANTRY_ADMIN_TOKEN", "a-token-that-is-given");
        let mut serving = HttpServer::launch(&mut command);
        eventually("the welcome is complete", async || {
            serving.stdout().matches("  curl ").count() == 3
        })
        .await;
        let welcome = serving.stdout();
        assert!(welcome.contains("Bearer $TENANTRY_ADMIN_TOKEN\""), "{welcome}");
        assert!(welcome.contains(&format!("http://{wanted}.localhost:")), "{welcome}");
        serving.signal(Signal::SIGTERM);
        assert_eq!(serving.ended().await.code(), Some(0));
        if wanted == "tenant-2" {
            Ran::of(&mut scratch.tenantry(&["tenant", "create", "tenant-1"])).exits(0);
        }
    }
}
