//! The `migration` command as it is deployed: time and memory of whole processes.

use std::process::{Command, Stdio};

use local_postgres::Server;

use crate::{common::median, processes::Took};

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
    let mut command = Command::new(tests::programs().join("migration"));
    command.args(arguments).env("DATABASE_URL", server.url("postgres")).stdout(Stdio::null());
    Took::by(&mut command)
}
