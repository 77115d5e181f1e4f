//! The order in which tenants are used.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    common,
    contenders::{
        Contender,
        job::{BOSSES, Job, Named},
    },
    interleaved::Work,
    workload::Workload,
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

    /// The operations in tenants of this distribution, in the same order for all contenders.
    pub fn work(self, contender: &Contender, tenants: &[Arc<Named>], workload: Workload) -> Work {
        self.work_from(0, contender, tenants, workload)
    }

    /// The same from the operation with this number on, for one of several processes.
    pub fn work_from(
        self,
        first: usize,
        contender: &Contender,
        tenants: &[Arc<Named>],
        workload: Workload,
    ) -> Work {
        let order = self.order(tenants.len());
        let tenant = move |number: usize| order[(first + number) % order.len()];
        jobs(contender, tenants, workload, tenant)
    }

    /// The same with reads by primary key.
    pub fn reads(self, contender: &Contender, tenants: &[Arc<Named>]) -> Work {
        self.work(contender, tenants, Workload::Reads)
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

/// Operations in every tenant, this many.
pub async fn warm(contender: &Contender, tenants: &[Arc<Named>], times: usize, workload: Workload) {
    const CLIENTS: usize = 8;
    let many = tenants.len();
    let work = jobs(contender, tenants, workload, move |number| number % many);
    let each = (times * many).div_ceil(CLIENTS);
    common::rate(CLIENTS, each, |piece| work(piece / each)).await;
}

/// Numbered jobs, each in the tenant with the number that `tenant` returns.
fn jobs(
    contender: &Contender,
    tenants: &[Arc<Named>],
    workload: Workload,
    tenant: impl Fn(usize) -> usize + Send + Sync + 'static,
) -> Work {
    let (tenants, next) = (tenants.to_vec(), AtomicUsize::new(0));
    contender.work(move |client| {
        let number = next.fetch_add(1, Ordering::Relaxed);
        Job {
            operation: workload.operation(number),
            tenant: Arc::clone(&tenants[tenant(number)]),
            row: number % BOSSES as usize,
            client,
        }
    })
}

/// A number from 0 to below 1, by SplitMix64 (Steele, Lea, Flood 2014), the same in every run.
pub fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
