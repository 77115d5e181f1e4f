//! A connection in use.

use std::{sync::Arc, time::Instant};

use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait, sqlx::PgPool};
use tenantry_migrate::DbErrorKind;
use tokio::time::timeout;

use super::{
    super::statement::Effect,
    Lanes,
    request::Ask,
    scheduler::closed,
    slot::Pinned,
    slot_guard::{Held, Left},
    timeouts::{CLEANUP, DDL, has_ended, has_forgotten, is_late, lost, no_answer},
};

/// A connection and its place, given back when this is dropped.
///
/// If nothing is left to be done that is at once; else when it is done, see [`Held::clean_up`].
pub(super) struct Lease {
    /// Both are there until it is dropped.
    holding: Option<(Pinned, Held)>,
    state: State,
    in_transaction: bool,
    /// Whether the transaction takes no writes because its caller has asked for that.
    read_only: bool,
    /// What its statements have done to the session.
    effect: Effect,
    /// When the last statement was sent.
    since: Instant,
}

/// A place whose connection a transaction of SeaORM has. It is given back when this is dropped.
pub(super) struct Borrowed(Option<(PgPool, Held)>);

/// What a connection is waiting for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Rest,
    /// The answer to a statement.
    Busy,
    /// The answer to a statement, which has not come in time.
    Late,
    /// The connection has ended.
    Ended,
}

impl Lease {
    /// Takes the connection that suits best. For the registry, only one that answers: it is asked
    /// seldom, and by those who have no handle that would try again.
    pub(super) async fn take(lanes: Arc<Lanes>, ask: Ask<'_>) -> Result<Self, DbErr> {
        let tenant = ask.owner.tenant();
        let held = Held::best(lanes, ask).await?;
        let mut lease = match tenant.and_then(|_| held.trusted()) {
            Some(pinned) => Self::new(pinned, held),
            // Apart: the state of what opens a connection is large, and every statement would carry it.
            None => Box::pin(held.supply(ask)).await?,
        };
        if let (Some(tenant), Some((pinned, _))) = (tenant, &mut lease.holding) {
            pinned.meet(tenant);
        }
        Ok(lease)
    }

    pub(super) fn new(pinned: Pinned, held: Held) -> Self {
        Self {
            holding: Some((pinned, held)),
            state: State::Rest,
            in_transaction: false,
            read_only: false,
            effect: Effect::None,
            since: Instant::now(),
        }
    }

    /// The connection, for a statement with this effect. Its end is reported to
    /// [`settle`](Self::settle).
    pub(super) fn begin(&mut self, effect: Effect) -> Result<&mut Pinned, DbErr> {
        if matches!(self.state, State::Late | State::Ended) {
            return Err(lost());
        }
        self.effect = self.effect.max(effect);
        self.state = State::Busy;
        self.since = Instant::now();
        self.pinned()
    }

    /// The server has answered a statement, or will not.
    pub(super) fn settle<T>(&mut self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        self.state = State::Rest;
        let Err(error) = result else { return result };
        let Some((pinned, held)) = &mut self.holding else { return Err(error) };
        if has_ended(&error) {
            self.state = if is_late(&error) { State::Late } else { State::Ended };
            held.lanes().doubt();
        } else if !self.read_only && DbErrorKind::of(&error) == DbErrorKind::ReadOnly {
            held.lanes().demote(pinned);
            return Err(of_server(error));
        } else if has_forgotten(&error) {
            self.effect = Effect::Replace;
        }
        Err(error)
    }

    /// The server takes no writes.
    pub(super) fn demote(&mut self) {
        if let Some((pinned, held)) = &mut self.holding {
            held.lanes().demote(pinned);
        }
    }

    pub(super) fn pinned(&mut self) -> Result<&mut Pinned, DbErr> {
        self.holding.as_mut().map(|(pinned, _)| pinned).ok_or_else(closed)
    }

    /// A transaction is about to be begun.
    pub(super) fn open(&mut self, read_only: bool) {
        (self.in_transaction, self.read_only) = (true, read_only);
    }

    /// The transaction has been ended.
    pub(super) fn close(&mut self) {
        self.in_transaction = false;
    }

    pub(super) fn is_open(&self) -> bool {
        self.in_transaction
    }

    /// The caller has asked for no writes in the rest of the transaction.
    pub(super) fn refuse_writes(&mut self) {
        self.read_only = true;
    }

    /// Notices a statement such as `SET TRANSACTION READ ONLY`.
    pub(super) fn heed(&mut self, sql: &str) {
        let sql = sql.trim_ascii_start();
        if sql.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("set")) {
            let sql = sql.to_ascii_lowercase();
            self.read_only |= sql.contains("read") && sql.contains("only");
        }
    }

    /// Has SeaORM begin a transaction of its own, on a connection of its own. That is closed
    /// afterwards: migrations may change the session.
    pub(super) async fn lend(mut self) -> Result<(DatabaseTransaction, Borrowed), DbErr> {
        // This one has shown that the server can be reached.
        let (pinned, held) = self.holding.take().ok_or_else(closed)?;
        pinned.retire().await;
        let pool = held.lanes().opener.pool(DDL);
        let patience = held.lanes().patience;
        let borrowed = Borrowed(Some((pool.clone(), held)));
        let begun = timeout(patience, DatabaseConnection::from(pool.clone()).begin()).await;
        let txn = begun.unwrap_or_else(|_| Err(no_answer(patience)))?;
        // From now on the pool closes what comes back, without waiting for a statement's answer.
        drop(pool.close());
        Ok((txn, borrowed))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((pinned, held)) = self.holding.take() else { return };
        let Self { state, in_transaction, effect, since, .. } = *self;
        let is_clean = state == State::Rest && !in_transaction && effect == Effect::None;
        if is_clean && held.may_park(&pinned) {
            held.park(pinned);
            return;
        }
        let runtime = held.lanes().runtime.clone();
        runtime.spawn(held.clean_up(pinned, Left { state, in_transaction, effect, since }));
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some((pool, held)) = self.0.take() else { return };
        let runtime = held.lanes().runtime.clone();
        runtime.spawn(async move {
            let _ = timeout(CLEANUP, pool.close()).await;
            drop(held);
        });
    }
}

/// Makes an error of the connection of one that says that the server accepts no writes, where the
/// statement's caller has not asked for that.
pub(super) fn of_server(error: DbErr) -> DbErr {
    let is_read_only = DbErrorKind::of(&error) == DbErrorKind::ReadOnly;
    match error {
        DbErr::Exec(source) | DbErr::Query(source) if is_read_only => DbErr::Conn(source),
        other => other,
    }
}
