//! What is known of statements that were executed: enough to send them with literals.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    super::{
        cold_statements::ColdStatements,
        statement::{LiteralType, only_reads},
    },
    text_rows::Columns,
};

/// Maximum number of shapes.
const CAPACITY: usize = 10_000;

/// Maximum size of all their texts, in bytes.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Maximum size of the text of a shape, in bytes.
const MAX_SHAPE: usize = 8 * 1024;

/// The shapes of statements: their SQL with the placeholder, which is the same for all tenants. One
/// for each pool.
///
/// A shape that was executed as a prepared statement is one statement with parameters of these
/// types. When there is no more room, all are forgotten; one execution learns a shape again.
pub(super) struct StatementShapes {
    known: Mutex<Known>,
    /// Whether a shape needs no first execution.
    trusts: bool,
}

#[derive(Default)]
struct Known {
    shapes: HashMap<Box<str>, Shape>,
    bytes: usize,
}

struct Shape {
    parameters: Box<[LiteralType]>,
    /// `None` as long as no row was seen.
    columns: Option<Columns>,
    only_reads: bool,
}

/// What to do with a statement that is not kept prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Prepare,
    /// Prepare it and [`learn`](StatementShapes::learn).
    Learn,
    /// Send it with literals. If it only reads, it may be sent again.
    Literals {
        only_reads: bool,
    },
}

impl StatementShapes {
    /// `None` if no statement is sent with literals.
    pub(super) fn new(cold: ColdStatements) -> Option<Self> {
        let trusts = match cold {
            ColdStatements::Prepared => return None,
            ColdStatements::Literal => false,
            #[cfg(feature = "testing")]
            ColdStatements::LiteralAtOnce => true,
        };
        Some(Self { known: Mutex::default(), trusts })
    }

    /// What to do with a statement. `rows` says whether its rows are read.
    pub(super) fn way(&self, shape: &str, parameters: &[LiteralType], rows: bool) -> Way {
        let known = self.known();
        let Some(found) = known.shapes.get(shape) else {
            if self.trusts {
                return Way::Literals { only_reads: only_reads(shape) };
            }
            return if shape.len() <= MAX_SHAPE { Way::Learn } else { Way::Prepare };
        };
        let literals = Way::Literals { only_reads: found.only_reads };
        if *found.parameters != *parameters {
            return Way::Prepare;
        }
        match found.columns {
            _ if !rows => literals,
            None => Way::Learn,
            Some(Columns::Exact) => literals,
            Some(Columns::Inexact) => Way::Prepare,
        }
    }

    /// Remembers a shape that was executed as a prepared statement, and the columns of its rows.
    pub(super) fn learn(
        &self,
        shape: &str,
        parameters: Vec<LiteralType>,
        columns: Option<Columns>,
    ) {
        let mut known = self.known();
        if let Some(found) = known.shapes.get_mut(shape) {
            found.columns = found.columns.or(columns);
            return;
        }
        let only_reads = only_reads(shape);
        if known.shapes.len() >= CAPACITY || known.bytes + shape.len() > MAX_BYTES {
            *known = Known::default();
        }
        known.bytes += shape.len();
        let parameters = parameters.into_boxed_slice();
        known.shapes.insert(shape.into(), Shape { parameters, columns, only_reads });
    }

    /// Remembers that the columns of a shape may have other types.
    pub(super) fn set_inexact(&self, shape: &str) {
        if let Some(found) = self.known().shapes.get_mut(shape) {
            found.columns = Some(Columns::Inexact);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
