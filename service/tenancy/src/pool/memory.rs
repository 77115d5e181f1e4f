//! Keeps the server process of a connection below its budget of memory.
//!
//! A server process caches the catalog entries of every table that it has used, and keeps them until
//! it ends; so does it with the plans of prepared statements. Both grow with statements that the
//! connection has not sent before. So after a number of those the process is asked how much memory
//! it has allocated, and its connection is replaced if that is more than the budget.

use std::collections::HashSet;

use sea_orm::sqlx::{self, Executor, PgConnection, Row};

/// Whether a role may ask. A superuser may grant it to others, which [`setup`] does.
///
/// [`setup`]: tenantry_migrate::setup
pub(super) const MAY_ASK: &str = "coalesce(has_function_privilege(\
    to_regprocedure('pg_catalog.pg_get_backend_memory_contexts()'), 'EXECUTE'), false)";

/// What a process has allocated, in bytes (PostgreSQL manual, `pg_backend_memory_contexts`).
const ALLOCATED: &str =
    "SELECT sum(total_bytes)::bigint FROM pg_catalog.pg_get_backend_memory_contexts()";

/// What a prepared statement takes up with its plan. Measured for reads by primary key: 16 KiB.
const STATEMENT: u64 = 16 * 1024;

/// What a tenant takes up in a process that may not be asked: two tables with two indexes, and a
/// prepared statement. An estimate.
const TENANT: u64 = 48 * 1024;

/// What a process takes up in any case. An estimate.
const PROCESS: u64 = 4 * 1024 * 1024;

/// Number of tenants that such a process may serve in any case.
const FEWEST: u64 = 16;

/// Numbers of statements that are kept.
const KEPT: std::ops::RangeInclusive<u64> = 100..=10_000;

/// Bounds of the number of new statements until a process is asked again.
const STEP: std::ops::RangeInclusive<u64> = 128..=16_384;

/// Number of statements that connections with this budget keep prepared: as many as fit into a
/// quarter of it.
pub(in super::super) fn fitting_statements(budget: Option<u64>) -> usize {
    let fitting = budget.map_or(u64::MAX, |budget| budget / 4 / STATEMENT);
    fitting.clamp(*KEPT.start(), *KEPT.end()) as usize
}

/// The memory of the server process of one connection.
pub(super) struct ProcessMemory {
    /// In bytes; `None` for no limit.
    budget: Option<u64>,
    source: Source,
}

enum Source {
    /// The process is asked.
    Asked {
        /// When it was last asked: bytes, and the number of new statements up to then.
        last: (u64, u64),
        /// Number of new statements at which it is asked next.
        next: u64,
    },
    /// The role may not ask; the tenants that the connection has served.
    Estimated(HashSet<u64>),
}

impl ProcessMemory {
    pub(super) fn new(budget: Option<u64>, may_ask: bool) -> Self {
        let source = match may_ask {
            true => Source::Asked { last: (0, 0), next: *STEP.start() },
            false => Source::Estimated(HashSet::new()),
        };
        Self { budget, source }
    }

    /// The connection serves a tenant.
    pub(super) fn record_tenant(&mut self, tenant: u64) {
        if self.budget.is_some()
            && let Source::Estimated(tenants) = &mut self.source
        {
            tenants.insert(tenant);
        }
    }

    /// Whether the process has to be asked, after this many new statements.
    pub(super) fn is_due(&self, statements: u64) -> bool {
        match self.source {
            Source::Asked { next, .. } => self.budget.is_some() && statements >= next,
            Source::Estimated(_) => false,
        }
    }

    /// Asks the process. Returns the number of bytes that it has allocated.
    pub(super) async fn ask(&self, connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
        let row = connection.fetch_one(sqlx::raw_sql(ALLOCATED)).await?;
        let bytes: i64 = row.try_get(0)?;
        Ok(bytes.unsigned_abs())
    }

    /// The process has answered after this many new statements.
    pub(super) fn set_allocated(&mut self, bytes: u64, statements: u64) {
        let (Some(budget), Source::Asked { last, next }) = (self.budget, &mut self.source) else {
            return;
        };
        let new = statements.saturating_sub(last.1).max(1);
        // At least a little, so that a process that does not grow is asked again some time.
        let each = (bytes.saturating_sub(last.0) / new).max(64);
        let left = budget.saturating_sub(bytes) / each;
        *last = (bytes, statements);
        // Half of what is left, since the next statements may be larger.
        *next = statements + (left / 2).clamp(*STEP.start(), *STEP.end());
    }

    /// Whether the process takes up more than its budget. However small that is, the connection serves
    /// some tenants first.
    pub(super) fn is_exceeded(&self) -> bool {
        let Some(budget) = self.budget else { return false };
        match &self.source {
            Source::Asked { last: (bytes, _), .. } => *bytes > budget,
            Source::Estimated(tenants) => {
                let tenants = tenants.len() as u64;
                tenants > FEWEST && PROCESS + tenants * TENANT > budget
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBIBYTE: u64 = 1024 * 1024;

    /// How often a process is asked before its connection is replaced, and what it has allocated by
    /// then, if every new statement takes this much.
    fn grow(budget: u64, each: u64) -> (usize, u64) {
        let mut memory = ProcessMemory::new(Some(budget), true);
        let mut asked = 0;
        for statements in 1..1_000_000 {
            if memory.is_due(statements) {
                asked += 1;
                memory.set_allocated(2 * MEBIBYTE + statements * each, statements);
            }
            if memory.is_exceeded() {
                return (asked, 2 * MEBIBYTE + statements * each);
            }
        }
        (asked, 0)
    }

    #[test]
    fn a_process_is_asked_seldom_and_before_it_has_grown_much_beyond_its_budget() {
        for each in [4, 30, 200] {
            let (asked, bytes) = grow(64 * MEBIBYTE, each * 1024);
            assert!(asked < 15, "asked {asked} times at {each} KiB");
            let most = 64 * MEBIBYTE + 128 * each * 1024;
            assert!((64 * MEBIBYTE..=most).contains(&bytes), "{bytes} at {each} KiB");
        }
        // It has cached all there is.
        let (asked, bytes) = grow(64 * MEBIBYTE, 0);
        assert!((50..200).contains(&asked) && bytes == 0, "{asked} {bytes}");
    }

    #[test]
    fn without_the_right_to_ask_tenants_are_counted() {
        let mut memory = ProcessMemory::new(Some(64 * MEBIBYTE), false);
        let limit = (64 * MEBIBYTE - PROCESS) / TENANT;
        for tenant in 0..limit {
            memory.record_tenant(tenant);
            memory.record_tenant(0);
        }
        assert!(!memory.is_exceeded() && !memory.is_due(u64::MAX));
        memory.record_tenant(limit);
        assert!(memory.is_exceeded());
        let mut tiny = ProcessMemory::new(Some(1), false);
        (0..FEWEST).for_each(|tenant| tiny.record_tenant(tenant));
        assert!(!tiny.is_exceeded());
    }

    #[test]
    fn without_a_budget_nothing_is_exceeded() {
        for may_ask in [false, true] {
            let mut memory = ProcessMemory::new(None, may_ask);
            (0..10_000).for_each(|tenant| memory.record_tenant(tenant));
            assert!(!memory.is_due(u64::MAX) && !memory.is_exceeded());
        }
        assert_eq!(fitting_statements(None), 10_000);
        assert_eq!(fitting_statements(Some(64 * MEBIBYTE)), 1024);
        assert_eq!(fitting_statements(Some(1)), 100);
    }
}
