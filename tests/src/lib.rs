//! What the integration tests and the benchmarks share; all of them are in `tests/` and `benches/`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod pgbouncer;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};

/// The folder of the product's programs, which are built first if need be: `cargo test` and
/// `cargo bench` build only their own. Those of the release for a benchmark.
pub fn programs() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // `cargo test` sets CARGO. Without it, use the cargo in PATH; rustup's cargo then selects
        // the same toolchain for all programs.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build
            .args(["build", "--quiet", "--workspace", "--bins", "--examples"])
            .stdin(Stdio::null());
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        // `cargo test` sets variables of the test's package. With them, build scripts that depend
        // on such variables run again, and half of the dependencies are rebuilt.
        for (name, _) in std::env::vars() {
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                build.env_remove(name);
            }
        }
        let built = build.status().unwrap();
        assert!(built.success(), "the programs do not build");
        // target/debug/deps/it-… → target/debug
        let test_binary = std::env::current_exe().unwrap();
        test_binary.ancestors().nth(2).unwrap().to_owned()
    });
    folder.clone()
}

/// Writes a line that is seen: `eprintln!` is captured with the output of the test.
pub fn say(line: &str) {
    io::stderr().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}
