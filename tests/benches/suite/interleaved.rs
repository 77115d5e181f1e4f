//! Short rounds in turn, so that whatever else the machine does disturbs all alike.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use crate::common::median;

/// What each of the clients, by its number, does again and again.
pub type Work = Arc<dyn Fn(usize) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Pieces of work a second, by contender and round.
pub struct Rounds(Vec<Vec<f64>>);

impl Rounds {
    pub async fn of(works: &[Work], clients: usize, length: Duration, rounds: usize) -> Self {
        let mut rates = vec![Vec::new(); works.len()];
        // The first round warms up. Nobody always comes after the same one.
        for round in 0..=rounds {
            for turn in 0..works.len() {
                let who = (turn + round) % works.len();
                let rate = rate(&works[who], clients, length).await;
                if round > 0 {
                    rates[who].push(rate);
                }
            }
        }
        Self(rates)
    }

    /// The rate of a contender: the median of its rounds.
    pub fn rate(&self, who: usize) -> f64 {
        median(&self.0[who])
    }

    /// The rate of one contender by that of another: the median of the ratios of each round.
    pub fn ratio(&self, who: usize, to: usize) -> f64 {
        let pairs = self.0[who].iter().zip(&self.0[to]);
        median(&pairs.map(|(one, other)| one / other).collect::<Vec<_>>())
    }
}

async fn rate(work: &Work, clients: usize, length: Duration) -> f64 {
    let begun = Instant::now();
    let all = (0..clients).map(|client| {
        let work = Arc::clone(work);
        tokio::spawn(async move {
            let mut done = 0;
            while begun.elapsed() < length {
                work(client).await;
                done += 1;
            }
            done
        })
    });
    let done: u32 = join_all(all).await.into_iter().map(Result::unwrap).sum();
    f64::from(done) / begun.elapsed().as_secs_f64()
}

/// A ratio beside what it should be at least.
pub fn against(ratio: f64, goal: f64) -> String {
    if ratio < goal {
        format!("**{ratio:.2}**, goal ≥ {goal} missed")
    } else {
        format!("{ratio:.2}, goal ≥ {goal}")
    }
}

/// A number that an environment variable may change.
pub fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}
