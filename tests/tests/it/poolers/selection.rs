//! The tests of a tenant's handle pass through a pooler, and with literals in place of parameters, as
//! they do without: they run once more, in a process of their own whose handles use the route that a
//! variable names.

use std::process::Command;

use tests::pgbouncer::Program;

use crate::support::route;

/// Everything that handles do with rows. The registry, creations and migrations do not go through a
/// pooler; `direct_url` and `poolers::faults` test that, and type changes.
const SELECTED: [&str; 2] = ["conformance::", "read_only_tenants::transactions::"];

/// Tests of the session after a transaction, which is another one, and of statements that are refused
/// because they need a session.
const OF_SESSIONS: [&str; 3] = [
    "a_temporary_table_of_one_tenant_does_not_hide_the_table_of_the_next",
    "the_search_path_ends_with_the_transaction",
    "a_placeholder_in_a_string_that_postgresql_reads_as_a_name_is_reported",
];

/// Tests that name a table without its schema, to see the refusal. The server logs a statement of the
/// simple query protocol before it reads it, so that the log shows the name, which is a fault elsewhere.
const WITHOUT_A_SCHEMA: [&str; 2] =
    ["the_search_path_ends_with_the_transaction", "a_statement_without_the_schema_is_refused"];

#[expect(clippy::print_stdout, reason = "shown with --nocapture")]
async fn pass(name: &str, skipped: &[&str]) {
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(SELECTED).env(route::VARIABLE, name);
    for skipped in skipped.iter().chain(&["poolers::"]) {
        tests.args(["--skip", skipped]);
    }
    let ran = tokio::task::spawn_blocking(move || tests.output().unwrap()).await.unwrap();
    let output = String::from_utf8_lossy(&ran.stdout);
    let passed = output.lines().find_map(|line| line.strip_prefix("test result: ok. "));
    let passed = passed.and_then(|line| line.split(' ').next()?.parse::<usize>().ok());
    assert!(ran.status.success() && passed.is_some_and(|tests| tests > 60), "{output}");
    println!("{name}: {passed:?} tests");
}

#[tokio::test]
async fn tests_of_handles_pass_through_the_worst_pooler() {
    pass(route::PROXY, &OF_SESSIONS).await;
}

#[tokio::test]
async fn tests_of_handles_pass_with_literals() {
    pass(route::LITERALS, &WITHOUT_A_SCHEMA).await;
}

#[tokio::test]
async fn tests_of_handles_pass_through_pgbouncer() {
    if Program::that_prepares("tests of handles").is_some() {
        pass(route::PGBOUNCER, &OF_SESSIONS).await;
    }
}
