//! What the clients of a benchmark do.

use crate::{
    contenders::{job::Operation, shop},
    distributions::random,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// Reads by primary key.
    Reads,
    /// The requests of an application with six tables: of five, four read and one writes.
    Application,
}

impl Workload {
    pub fn name(self) -> &'static str {
        match self {
            Self::Reads => Operation::Read.name(),
            Self::Application => "application",
        }
    }

    /// The operation with this number, the same in every run.
    pub fn operation(self, number: usize) -> Operation {
        const READS: f64 = 0.8;
        if self == Self::Reads {
            return Operation::Read;
        }
        let draw = random(&mut (number as u64));
        let of = |share: f64, many: usize| ((share * many as f64) as usize).min(many - 1);
        if draw < READS {
            Operation::Shape(of(draw / READS, shop::READS))
        } else {
            Operation::Write(of((draw - READS) / (1.0 - READS), shop::TRANSACTIONS.len()))
        }
    }
}
