//! A model of tenants' lives decides each answer of two servers.
//!
//! Every tenant has some clients, each with rows of its own, and an operator that changes the tenant:
//! suspends, archives, renames, drops, clones, exports and imports it, makes it read-only, creates
//! and revokes keys. Meanwhile connections of the database are terminated, and servers are killed and
//! started again. What was acknowledged is in the model, and each answer is compared with it.
//!
//! By default a few tenants live for some seconds. `./dev oracle SECONDS` runs 24 tenants with eight
//! clients each for longer.

mod access;
mod clients;
mod copies;
mod faults;
mod keys;
mod life;
mod operator;
mod rows;
mod stage;

use std::time::Duration;

use super::dice::Dice;
use crate::support::route::Route;
use stage::{Size, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_that_of_a_model_of_the_tenants_lives() {
    live(Route::Direct).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_that_of_a_model_through_the_worst_pooler() {
    live(Route::proxy().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_that_of_a_model_through_pgbouncer() {
    if let Some(route) = Route::pgbouncer("the oracle of tenants' lives").await {
        live(route).await;
    }
}

/// Lets tenants live with two servers on this route, and compares.
#[expect(clippy::print_stdout, reason = "shown with --nocapture")]
async fn live(route: Route) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (time, size) = match number("ORACLE_SECONDS") {
        Some(seconds) => (Duration::from_secs(seconds), Size { tenants: 24, clients: 8 }),
        None => (Duration::from_secs(8), Size { tenants: 5, clients: 3 }),
    };
    let seed = number("ORACLE_SEED").unwrap_or_else(Dice::seed);
    let way = route.name();
    let stage = Stage::begin(route, size, seed).await;
    let summary = stage.run(time).await;
    println!("oracle {way}: {summary}, seed {seed}");
    assert!(
        summary.faults.is_empty(),
        "{} faults {way} with ORACLE_SEED={seed}:\n{}",
        summary.faults.len(),
        summary.faults.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    );
    assert!(summary.rows > 100 && summary.changes > 10, "little was tried: {summary}");
}
