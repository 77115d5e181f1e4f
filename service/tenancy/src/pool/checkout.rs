//! A connection in use.

use std::{sync::Arc, time::Instant};

use sea_orm::DbErr;
use tenantry_migrate::DbErrorKind;

use super::{
    super::statement::Effect,
    TenantPool, read_only,
    request::Request,
    scheduler::closed,
    slot::PooledConnection,
    slot_guard::{SlotGuard, Unfinished},
    timeouts::{connection_lost, is_broken, is_timeout, lost_prepared_statements},
};

/// A connection and its slot, returned to the pool when this is dropped: at once if the session is
/// clean, otherwise when [`SlotGuard::clean_up`] is done.
pub(super) struct Checkout {
    /// `None` only while it is dropped.
    held: Option<(PooledConnection, SlotGuard)>,
    state: CheckoutState,
    in_transaction: bool,
    /// Whether the transaction is read-only, as the caller or its tenant demands.
    read_only: bool,
    pub(super) enforcement: Enforcement,
    /// What its statements have done to the session.
    effect: Effect,
    /// When the last statement was sent.
    sent_at: Instant,
}

/// What keeps a transaction of a read-only tenant read-only.
#[derive(Clone, Copy, Default)]
pub(super) struct Enforcement {
    /// Whether the mode is set. The end of a savepoint may undo it.
    pub(super) is_set: bool,
    /// Whether a query has run: from then on a statement cannot make the transaction writable.
    pub(super) has_queried: bool,
    /// Whether the tenant was read-only at one of the statements. It may be writable again.
    pub(super) by_tenant: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckoutState {
    /// No answer is pending.
    Idle,
    /// A statement was sent and its answer is pending.
    InFlight,
    /// The answer is overdue.
    TimedOut,
    /// The connection is closed.
    Broken,
}

impl Checkout {
    /// Takes the best connection. The registry and lifecycle get only one that answers a ping, as
    /// their statements are rare and not retried.
    pub(super) async fn acquire(
        pool: Arc<TenantPool>,
        request: Request<'_>,
    ) -> Result<Self, DbErr> {
        let tenant = request.tenant;
        let guard = SlotGuard::acquire(pool, request).await?;
        let mut checkout = match tenant.and_then(|_| guard.take_current()) {
            Some(connection) => Self::new(connection, guard),
            // Boxed, since its large state would be part of every statement's future.
            None => Box::pin(guard.verified(request)).await?,
        };
        if let (Some(tenant), Some((connection, _))) = (tenant, &mut checkout.held) {
            connection.memory.record_tenant(tenant);
        }
        Ok(checkout)
    }

    pub(super) fn new(connection: PooledConnection, guard: SlotGuard) -> Self {
        Self {
            held: Some((connection, guard)),
            state: CheckoutState::Idle,
            in_transaction: false,
            read_only: false,
            enforcement: Enforcement::default(),
            effect: Effect::None,
            sent_at: Instant::now(),
        }
    }

    /// The result of a statement that had the connection for itself.
    pub(super) async fn end<T>(mut self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        let result = self.finish(result);
        if self.in_transaction && result.is_ok() {
            // Boxed, as it is rare.
            Box::pin(read_only::commit(&mut self)).await?;
        }
        result
    }

    /// The connection, for a statement with this effect. [`finish`](Self::finish) takes its result.
    pub(super) fn start(&mut self, effect: Effect) -> Result<&mut PooledConnection, DbErr> {
        if matches!(self.state, CheckoutState::TimedOut | CheckoutState::Broken) {
            return Err(connection_lost());
        }
        self.effect = self.effect.max(effect);
        self.state = CheckoutState::InFlight;
        self.sent_at = Instant::now();
        let (in_transaction, is_unchanged) = (self.in_transaction, self.effect == Effect::None);
        let (connection, guard) = self.held.as_mut().ok_or_else(closed)?;
        let needs_name = guard.pool().is_pooled() && !in_transaction;
        connection.statements.set_session(is_unchanged, needs_name);
        Ok(connection)
    }

    pub(super) fn finish<T>(&mut self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        self.state = CheckoutState::Idle;
        let Err(error) = result else { return result };
        let Some((connection, guard)) = &mut self.held else { return Err(error) };
        if is_broken(&error) {
            self.state = match is_timeout(&error) {
                true => CheckoutState::TimedOut,
                false => CheckoutState::Broken,
            };
            guard.pool().suspect_all();
        } else if !self.read_only && DbErrorKind::of(&error) == DbErrorKind::ReadOnly {
            guard.pool().set_read_only(connection);
            return Err(as_connection_error(error));
        } else if lost_prepared_statements(&error) {
            self.effect = Effect::Replace;
        }
        Err(error)
    }

    /// The server has reported that it accepts no writes.
    pub(super) fn set_server_read_only(&mut self) {
        if let Some((connection, guard)) = &mut self.held {
            guard.pool().set_read_only(connection);
        }
    }

    pub(super) fn connection(&mut self) -> Result<&mut PooledConnection, DbErr> {
        self.held.as_mut().map(|(connection, _)| connection).ok_or_else(closed)
    }

    /// To be called before `BEGIN` is sent: if the caller does not wait for the answer, the server
    /// begins the transaction all the same.
    pub(super) fn begin_transaction(&mut self, read_only: bool) {
        (self.in_transaction, self.read_only) = (true, read_only);
    }

    pub(super) fn end_transaction(&mut self) {
        self.in_transaction = false;
    }

    /// Whether the pooler would give others a session that statements of this transaction may have
    /// changed.
    pub(super) fn must_reset_in_transaction(&self) -> bool {
        self.is_pooled() && self.effect >= Effect::Reset
    }

    /// Whether the connection leads through a pooler in transaction mode.
    pub(super) fn is_pooled(&self) -> bool {
        self.held.as_ref().is_some_and(|(_, guard)| guard.pool().is_pooled())
    }

    /// The session has been reset.
    pub(super) fn set_reset(&mut self) {
        self.effect = Effect::None;
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// The rest of the transaction is read-only.
    pub(super) fn set_read_only(&mut self) {
        self.read_only = true;
    }

    /// Detects statements such as `SET TRANSACTION READ ONLY`.
    pub(super) fn detect_read_only(&mut self, sql: &str) {
        let sql = sql.trim_ascii_start();
        if sql.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("set")) {
            let sql = sql.to_ascii_lowercase();
            self.read_only |= sql.contains("read") && sql.contains("only");
        }
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let Some((connection, guard)) = self.held.take() else { return };
        let Self { state, in_transaction, effect, sent_at, .. } = *self;
        let is_clean = state == CheckoutState::Idle && !in_transaction && effect == Effect::None;
        if is_clean && guard.is_reusable(&connection) && !connection.is_memory_due() {
            guard.put_idle(connection);
            return;
        }
        let runtime = guard.pool().runtime.clone();
        let left = Unfinished { state, in_transaction, effect, sent_at };
        runtime.spawn(guard.clean_up(connection, left));
    }
}

/// The error of a server that accepts no writes, as an error of the connection: the statement is
/// not at fault.
fn as_connection_error(error: DbErr) -> DbErr {
    match error {
        DbErr::Exec(source) | DbErr::Query(source) => DbErr::Conn(source),
        other => other,
    }
}
