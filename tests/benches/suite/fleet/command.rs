//! The `migration` command as it is deployed: time and memory of whole processes.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use local_postgres::Server;

use crate::common::median;

/// The time that a process took, and its peak memory.
struct Took {
    seconds: f64,
    mebibytes: f64,
}

pub fn table(server: &Server) -> String {
    let mut text = String::from("| command | time | memory | goal |\n|---|---|---|---|\n");
    let nothing: Vec<Took> = (0..5).map(|_| run(server, &["up", "--all"])).collect();
    let seconds: Vec<f64> = nothing.iter().map(|took| took.seconds).collect();
    let row = |name: &str, took: &Took, goal: &str| {
        format!("| {name} | {:.2} s | {:.0} MiB | {goal} |\n", took.seconds, took.mebibytes)
    };
    let noop = Took { seconds: median(&seconds), mebibytes: nothing[0].mebibytes };
    text += &row("`up --all` with nothing to do", &noop, "< 0.3 s");
    text += &row("`status`", &run(server, &["status"]), "");
    text += &row("`verify --all`", &run(server, &["verify", "--all"]), "< 30 s");
    text += &row("`down --all`", &run(server, &["down", "--all", "--yes"]), "< 150 MB");
    text += &row("`up --all` that creates a table", &run(server, &["up", "--all"]), "< 150 MB");
    text
}

fn run(server: &Server, arguments: &[&str]) -> Took {
    let started = Instant::now();
    let mut child = Command::new(tests::programs().join("migration"))
        .args(arguments)
        .env("DATABASE_URL", server.url("postgres"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut kibibytes = 0.0;
    let ended = loop {
        if let Some(peak) = peak(&status) {
            kibibytes = peak;
        }
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(ended.success(), "{arguments:?}");
    Took { seconds: started.elapsed().as_secs_f64(), mebibytes: kibibytes / 1024.0 }
}

/// Peak memory of the process, in KiB.
fn peak(status: &str) -> Option<f64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
