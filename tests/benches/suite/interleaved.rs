//! Short alternating rounds, so that other load on the machine affects all contenders equally.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use crate::common::median;

/// The operation that each client, by its number, repeats.
pub type Work = Arc<dyn Fn(usize) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Operations per second, by contender and round.
pub struct Rounds(pub Vec<Vec<f64>>);

impl Rounds {
    pub async fn of(works: &[Work], clients: usize, length: Duration, rounds: usize) -> Self {
        let mut rates = vec![Vec::new(); works.len()];
        // The first round warms up. The order rotates.
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

    /// The rate of one contender divided by that of another: the median of the ratios of all rounds.
    pub fn ratio(&self, who: usize, to: usize) -> f64 {
        let pairs = self.0[who].iter().zip(&self.0[to]);
        median(&pairs.map(|(one, other)| one / other).collect::<Vec<_>>())
    }
}

/// Operations per second of all clients together.
pub async fn rate(work: &Work, clients: usize, length: Duration) -> f64 {
    let started = Instant::now();
    let all = (0..clients).map(|client| {
        let work = Arc::clone(work);
        tokio::spawn(async move {
            let mut done = 0;
            while started.elapsed() < length {
                work(client).await;
                done += 1;
            }
            done
        })
    });
    let done: u32 = join_all(all).await.into_iter().map(Result::unwrap).sum();
    f64::from(done) / started.elapsed().as_secs_f64()
}

/// A ratio and its goal.
pub fn against(ratio: f64, goal: f64) -> String {
    if ratio < goal {
        format!("**{ratio:.2}**, goal ≥ {goal} missed")
    } else {
        format!("{ratio:.2}, goal ≥ {goal}")
    }
}

/// A number that an environment variable can override.
pub fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}
