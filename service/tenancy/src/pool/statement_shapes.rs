//! What is known of statements that were executed: enough to send them with literals.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sea_orm::sqlx::postgres::PgRow;

use super::{
    super::{
        cold_statements::ColdStatements,
        statement::{LiteralType, LiteralUse},
    },
    text_rows::{Columns, is_exact},
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
    /// Whether the connections lead through a pooler, where another client may have left the session
    /// with another `extra_float_digits`.
    is_pooled: bool,
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
    may_have: LiteralUse,
    /// How often it was sent with literals for its rows.
    sent: u32,
    /// How often it had to be sent again.
    missed: u32,
}

/// What to do with a statement that is not kept prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Prepare,
    /// Prepare it and [`learn`](StatementShapes::learn).
    Learn,
    /// Send it with literals.
    Literals,
}

impl StatementShapes {
    /// `None` if no statement is sent with literals.
    pub(super) fn new(cold: ColdStatements, is_pooled: bool) -> Option<Self> {
        let trusts = match cold {
            ColdStatements::Prepared => return None,
            ColdStatements::Literal => false,
            #[cfg(feature = "testing")]
            ColdStatements::LiteralAtOnce => true,
        };
        Some(Self { known: Mutex::default(), trusts, is_pooled })
    }

    /// What to do with a statement. `rows` says whether its rows are read.
    pub(super) fn way(&self, shape: &str, parameters: &[LiteralType], rows: bool) -> Way {
        if self.trusts {
            let allowed = LiteralUse::of(shape).allows(rows);
            return if allowed { Way::Literals } else { Way::Prepare };
        }
        let mut known = self.known();
        let Some(found) = known.shapes.get_mut(shape) else {
            return if shape.len() <= MAX_SHAPE { Way::Learn } else { Way::Prepare };
        };
        if *found.parameters != *parameters || !found.may_have.allows(rows) {
            return Way::Prepare;
        }
        match found.columns {
            _ if !rows => Way::Literals,
            None => Way::Learn,
            Some(Columns::Exact) => {
                found.sent = found.sent.saturating_add(1);
                Way::Literals
            }
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
        let may_have = LiteralUse::of(shape);
        let mut known = self.known();
        if let Some(found) = known.shapes.get_mut(shape) {
            found.columns = found.columns.or(columns);
            return;
        }
        if known.shapes.len() >= CAPACITY || known.bytes + shape.len() > MAX_BYTES {
            *known = Known::default();
        }
        known.bytes += shape.len();
        let parameters = parameters.into_boxed_slice();
        let found = Shape { parameters, columns, may_have, sent: 0, missed: 0 };
        known.shapes.insert(shape.into(), found);
    }

    /// The columns of a row.
    pub(super) fn columns(&self, row: &PgRow) -> Columns {
        Columns::of(row, !self.is_pooled)
    }

    /// Whether the driver reads these rows of a shape as from the binary form.
    pub(super) fn are_exact(&self, rows: &[PgRow], shape: &str) -> bool {
        let columns = rows.first().map_or(Columns::Exact, |row| self.columns(row));
        let are_exact = columns == Columns::Exact && rows.iter().all(is_exact);
        if !are_exact {
            self.miss(shape, columns);
        }
        are_exact
    }

    /// Remembers that a shape with these columns has to be sent again. It is prepared from now on if
    /// the driver does not read such columns, or if that was more than one in sixteen.
    fn miss(&self, shape: &str, columns: Columns) {
        if let Some(found) = self.known().shapes.get_mut(shape) {
            found.missed = found.missed.saturating_add(1);
            let is_frequent = found.missed.saturating_mul(16) > found.sent.saturating_add(16);
            if columns == Columns::Inexact || is_frequent {
                found.columns = Some(Columns::Inexact);
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
