//! Export and import of one large tenant, compared with `pg_dump` and `pg_restore` of its schema.
//!
//! Environment variables: `MEGABYTES` (1024), `ROUNDS` (3).

use std::{
    fmt::Write,
    process::{Command, Stdio},
};

use local_postgres::Server;
use sea_orm::{ConnectionTrait, DatabaseConnection};

use crate::{
    common::{self, median, page, pool},
    interleaved::{against, number},
    processes::Took,
};

/// Bytes of one guard with its shift, as text of `COPY`.
const PAIR: usize = 430;

pub async fn run() {
    let (megabytes, rounds) = (number("MEGABYTES", 1024), number("ROUNDS", 3));
    let server = common::server().await;
    let db = pool(&server, 1).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (dump, tar) = (path("big.dump"), path("big.tar"));
    tenant(&server, &["create", "big"]);
    fill(&db, megabytes * 1_000_000 / PAIR).await;
    let mut took: [Vec<Took>; 4] = Default::default();
    for round in 0..rounds {
        let copy = format!("copy-{round}");
        execute(&db, "CREATE DATABASE restored").await;
        let url = server.url("restored");
        let restore = ["--no-owner", "--exit-on-error", "--dbname", &url, &dump];
        let out = server.url("postgres");
        let dumped = ["-Fc", "--compress=0", "-n", "big", "--file", &dump, "--dbname", &out];
        took[0].push(tool("pg_dump", &dumped));
        took[1].push(tenant(&server, &["export", "big", "--output", &tar]));
        took[2].push(tool("pg_restore", &restore));
        took[3].push(tenant(&server, &["import", &tar, "--as", &copy]));
        execute(&db, "DROP DATABASE restored").await;
        tenant(&server, &["drop", &copy, "--yes"]);
        execute(&db, "CHECKPOINT").await;
    }
    let size = std::fs::metadata(&tar).unwrap().len() as f64 / 1e6;
    let mut body = format!(
        "One tenant with {size:.0} MB of rows as text: guards, and as many shifts that refer to \
         them. Whole processes, files on disk, in turns; medians of {rounds} rounds. `pg_dump -Fc \
         --compress=0 -n` and `pg_restore` with one job.\n\n\
         | work | PostgreSQL's | Tenantry | ratio | peak memory |\n|---|---|---|---|---|\n"
    );
    for (name, theirs, ours) in [("export", 0, 1), ("import", 2, 3)] {
        let [theirs, own] = [theirs, ours].map(|it: usize| {
            size / median(&took[it].iter().map(|took| took.seconds).collect::<Vec<_>>())
        });
        let memory = took[ours].iter().map(|took| took.mebibytes).fold(0.0, f64::max);
        writeln!(
            body,
            "| {name} | {theirs:.0} MB/s | {own:.0} MB/s | {} | {memory:.0} MiB, goal < 64 |",
            against(own / theirs, 0.5)
        )
        .unwrap();
    }
    page::write("transfer", "Export and import", server.version(), &body);
    db.close().await.unwrap();
    common::stop(server).await;
}

async fn fill(db: &DatabaseConnection, rows: usize) {
    // Keys are ordered by time, as those of version 7.
    let guards = format!(
        "INSERT INTO big.guards (id, name, position, inserted_at, updated_at)
         SELECT (lpad(to_hex(n), 12, '0') || substr(md5(n::text), 13))::uuid,
             'Guard ' || n || repeat(' of the north', 8), 'Gate ' || n % 100,
             now() - n * interval '1 second', now() FROM generate_series(1, {rows}) n"
    );
    let shifts =
        "INSERT INTO big.shifts (id, guard_id, starts_at, ends_at, inserted_at, updated_at)
         SELECT id, id, inserted_at, inserted_at + interval '8 hours', inserted_at, updated_at
         FROM big.guards";
    for sql in [&guards, shifts, "VACUUM ANALYZE"] {
        execute(db, sql).await;
    }
}

async fn execute(db: &DatabaseConnection, sql: &str) {
    db.execute_unprepared(sql).await.unwrap();
}

fn tenant(server: &Server, arguments: &[&str]) -> Took {
    let mut command = Command::new(tests::programs().join("tenantry"));
    command.arg("tenant").args(arguments).env("DATABASE_URL", server.url("postgres"));
    Took::by(command.stdout(Stdio::null()))
}

fn tool(name: &str, arguments: &[&str]) -> Took {
    let mut command = match std::env::var_os("PG_BIN") {
        Some(folder) => Command::new(std::path::Path::new(&folder).join(name)),
        None => Command::new(name),
    };
    Took::by(command.args(arguments))
}
