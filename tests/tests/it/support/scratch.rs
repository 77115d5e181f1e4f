//! A temporary directory for a server.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::process::program;

/// An empty directory that the server's user can enter; removed on drop.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tenantry-test-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// `tenantry` in this directory, without a database URL.
    pub fn tenantry(&self, arguments: &[&str]) -> Command {
        let mut command = program("tenantry");
        command
            .args(arguments)
            .current_dir(self.path())
            .env("TENANTRY_DATA_DIR", self.data())
            .env("TENANTRY_LISTEN", "127.0.0.1:0")
            .env_remove("TENANTRY_ANONYMOUS");
        command
    }
}
