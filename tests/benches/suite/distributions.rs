//! The order in which tenants are used.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    common,
    contenders::{
        Contender,
        job::{BOSSES, Job, Named, Operation},
    },
    interleaved::Work,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// All tenants equally often.
    Uniform,
    /// The n-th tenant n times less often than the first.
    Zipf,
}

impl Distribution {
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "Zipf",
        }
    }

    /// Reads by primary key in tenants of this distribution, in the same order for all contenders.
    pub fn reads(self, contender: &Contender, tenants: &[Arc<Named>]) -> Work {
        let (order, next) = (self.order(tenants.len()), AtomicUsize::new(0));
        reads(contender, tenants, move || order[next.fetch_add(1, Ordering::Relaxed) % order.len()])
    }

    fn order(self, tenants: usize) -> Vec<usize> {
        let weight = |n: usize| match self {
            Self::Uniform => 1.0,
            Self::Zipf => 1.0 / (n + 1) as f64,
        };
        let mut sum = 0.0;
        let sums: Vec<f64> = (0..tenants)
            .map(|n| {
                sum += weight(n);
                sum
            })
            .collect();
        let mut state = 1;
        let mut draw = || sums.partition_point(|below| *below <= random(&mut state) * sum);
        (0..1 << 18).map(|_| draw().min(tenants - 1)).collect()
    }
}

/// Reads in every tenant, this many times.
pub async fn warm(contender: &Contender, tenants: &[Arc<Named>], times: usize) {
    const CLIENTS: usize = 8;
    let (next, number) = (AtomicUsize::new(0), tenants.len());
    let work = reads(contender, tenants, move || next.fetch_add(1, Ordering::Relaxed) % number);
    let each = (times * number).div_ceil(CLIENTS);
    common::rate(CLIENTS, each, |piece| work(piece / each)).await;
}

fn reads(
    contender: &Contender,
    tenants: &[Arc<Named>],
    next: impl Fn() -> usize + Send + Sync + 'static,
) -> Work {
    let (tenants, row) = (tenants.to_vec(), AtomicUsize::new(0));
    contender.work(move |client| Job {
        operation: Operation::Read,
        tenant: Arc::clone(&tenants[next()]),
        row: row.fetch_add(1, Ordering::Relaxed) % BOSSES as usize,
        client,
    })
}

/// A number from 0 to below 1, by SplitMix64 (Steele, Lea, Flood 2014), the same in every run.
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
