//! `tenantry tenant import`: many tenants out of a file.

mod files;
mod refusals;
mod stops;

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{
    TestDb,
    catalog::texts,
    process::{Ran, program_on},
    scratch::Scratch,
};

/// A file to import and the database to import it into.
struct Import {
    db: TestDb,
    folder: Scratch,
}

impl Import {
    async fn new() -> Self {
        Self { db: TestDb::new().await, folder: Scratch::new() }
    }

    /// `tenantry tenant import` of a file of this name and content, with these options.
    fn command(&self, file: &str, content: impl AsRef<[u8]>, options: &[&str]) -> Command {
        let path = self.folder.path().join(file);
        fs::write(&path, content).unwrap();
        let mut command = program_on("tenantry", &self.db.url(), &["tenant", "import"]);
        command.arg(path).args(options);
        command
    }

    fn run(&self, file: &str, content: impl AsRef<[u8]>, options: &[&str]) -> Ran {
        Ran::of(&mut self.command(file, content, options))
    }

    /// Every tenant as `slug name [tags] hosts`, sorted.
    async fn tenants(&self) -> Vec<String> {
        let sql = "SELECT concat_ws(' ', slug, metadata->>'name', metadata->>'tags',
                       (SELECT string_agg(hostname, ' ' ORDER BY hostname)
                        FROM registry.domains WHERE tenant_id = id))
                   FROM registry.tenants ORDER BY slug";
        texts(&self.db.plain().await, sql).await
    }

    async fn count(&self) -> usize {
        let sql = "SELECT count(*)::text FROM registry.tenants";
        texts(&self.db.plain().await, sql).await[0].parse().unwrap()
    }

    /// Waits until so many tenants are there.
    async fn until(&self, count: usize) {
        let started = Instant::now();
        while self.count().await < count {
            assert!(started.elapsed() < Duration::from_secs(60), "{} tenants", self.count().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Every schema is what the migrations make, and every tenant has one.
    fn is_whole(&self) {
        super::migration(&self.db, "verify --all").exits(0);
        super::migration(&self.db, "status --all").exits(0);
    }
}

/// Starts it with all of its streams at hand.
fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// CSV of tenants with everything.
fn csv(count: usize) -> String {
    let line = |number| format!("t-{number},Tenant {number},t{number}.example.org,eu;n{number}\n");
    "slug,name,domain,tags\n".to_owned() + &(0..count).map(line).collect::<String>()
}
