//! The product's own programs, started the way a user starts them.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};

/// The `tenantry` or `migration` program, built first if need be: `cargo test` builds only test
/// binaries. Its environment is empty of our variables.
pub fn program(name: &str) -> Command {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--workspace", "--bins"])
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(built.success(), "the programs do not build");
        // target/debug/deps/it-… → target/debug
        let test_binary = std::env::current_exe().unwrap();
        test_binary.ancestors().nth(2).unwrap().to_owned()
    });
    let mut command = Command::new(folder.join(name));
    for (name, _) in std::env::vars() {
        if name.starts_with("TENANTRY_") || name == "DATABASE_URL" || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}
