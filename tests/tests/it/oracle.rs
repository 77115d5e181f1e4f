//! Two servers on one database, and a model of all tenants that decides which answers are possible.
//!
//! Clients write and read rows over persistent connections, while tenants are dropped and created
//! again with the same slug, a domain is moved between tenants, one server is paused from time to
//! time, and one tenant is flooded. All events are recorded with their times and checked afterwards:
//! an answer that no order of events can explain is a fault.
//!
//! By default it takes some seconds. `./dev oracle SECONDS` runs it for longer, and `ORACLE_SEED=N`
//! repeats the choices of a failed run.

mod dice;
mod history;
mod judge;
mod lives;
mod play;
mod rules;
mod verdicts;

use std::time::Duration;

use dice::Dice;
use play::Play;

use crate::support::route::Route;

/// Length of the default run.
const SHORT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_crosses_or_is_lost_and_nothing_hangs() {
    rows(Route::Direct).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_crosses_or_is_lost_with_literals() {
    rows(Route::Literals).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_crosses_or_is_lost_through_the_worst_pooler() {
    rows(Route::proxy().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_crosses_or_is_lost_through_pgbouncer() {
    if let Some(route) = Route::pgbouncer("the oracle of rows").await {
        rows(route).await;
    }
}

/// Plays with two servers on this route, and judges.
#[expect(clippy::print_stdout, reason = "shown with --nocapture")]
async fn rows(route: Route) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let time = number("ORACLE_SECONDS").map_or(SHORT, Duration::from_secs);
    let seed = number("ORACLE_SEED").unwrap_or_else(Dice::seed);
    let way = route.name();
    let play = Play::begin(route, seed).await;
    let history = play.run(time).await;
    let faults = judge::judge(&history);
    println!("oracle {way}: {history}, seed {seed}");
    assert!(
        faults.is_empty(),
        "{} faults {way} with ORACLE_SEED={seed}:\n{}",
        faults.len(),
        faults.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    );
    let stored = history.writes.iter().filter(|write| write.answer == history::Answer::Stored);
    assert!(stored.count() > 100 && history.reads.len() > 50, "little was tried: {history}");
}
