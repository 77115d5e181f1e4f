//! A slot that is held: how it gets its connection and what is done when it is released.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use sea_orm::DbErr;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    super::statement::Effect,
    TenantPool,
    checkout::{Checkout, CheckoutState},
    request::Request,
    scheduler::closed,
    session_settings::ROLLBACK_AND_RESET,
    slot::{PooledConnection, Slot},
    timeouts::{CANCEL_GRACE, CLEANUP, CONNECT_HEAD_START, DISCONNECT_NOTICED, SUSPECT_AFTER},
};

/// Holds a slot until it is dropped.
pub(super) struct SlotGuard {
    pool: Arc<TenantPool>,
    slot: usize,
}

/// The state in which a checkout leaves its connection.
pub(super) struct Unfinished {
    pub(super) state: CheckoutState,
    pub(super) in_transaction: bool,
    /// What its statements have done to the session.
    pub(super) effect: Effect,
    /// When the last statement was sent.
    pub(super) sent_at: Instant,
}

impl SlotGuard {
    pub(super) async fn acquire(
        pool: Arc<TenantPool>,
        request: Request<'_>,
    ) -> Result<Self, DbErr> {
        let slot = pool.scheduler.acquire(request).await?;
        Ok(Self { pool, slot })
    }

    /// Takes a certain slot if it is free and the owner may have it in place of one that it holds.
    pub(super) fn try_acquire(
        pool: &Arc<TenantPool>,
        slot: usize,
        request: Request<'_>,
    ) -> Option<Self> {
        pool.scheduler.try_acquire(slot, request).then(|| Self { pool: Arc::clone(pool), slot })
    }

    pub(super) fn pool(&self) -> &Arc<TenantPool> {
        &self.pool
    }

    pub(super) fn slot(&self) -> &Slot {
        &self.pool.slots[self.slot]
    }

    /// The idle connection, if it has worked since a connection was last lost.
    pub(super) fn take_current(&self) -> Option<PooledConnection> {
        let connection = self.slot().take_idle()?;
        if connection.generation == self.pool.generation() && !connection.read_only {
            return Some(connection);
        }
        self.put_idle(connection);
        None
    }

    /// A connection that answers: the idle one or a new one. While opening it takes long, or if it
    /// fails, an idle one of another slot.
    pub(super) async fn verified(self, request: Request<'_>) -> Result<Checkout, DbErr> {
        let pool = Arc::clone(&self.pool);
        let (sender, mut receiver) = oneshot::channel();
        // Continues when the caller takes another connection: this one is ready for the next.
        pool.runtime.spawn(async move {
            // A checkout that is not received leaves its connection idle.
            let _ = sender.send(self.verify_or_connect().await);
        });
        let failed = loop {
            tokio::select! {
                biased;
                verified = &mut receiver => match verified {
                    Ok(Ok(checkout)) => return Ok(checkout),
                    Ok(Err(error)) => break error,
                    Err(_) => return Err(closed()),
                },
                other = async { sleep(CONNECT_HEAD_START).await; pool.take_idle(request).await } => {
                    if let Some(checkout) = other {
                        return Ok(checkout);
                    }
                }
            }
        };
        // The server may accept no more connections but serve those that are open.
        let other = async {
            while pool.open.load(Ordering::Relaxed) > 0 && !pool.is_closed() {
                if let Some(checkout) = pool.take_idle(request).await {
                    return Some(checkout);
                }
                sleep(CONNECT_HEAD_START).await;
            }
            None
        };
        timeout(pool.acquire_timeout, other).await.ok().flatten().ok_or(failed)
    }

    async fn verify_or_connect(self) -> Result<Checkout, DbErr> {
        let connection = match self.take_verified().await {
            Some(connection) => connection,
            None => {
                let generation = self.pool.generation();
                self.pool.scheduler.set_new(self.slot);
                self.slot().connect(&self.pool.connector, generation, &self.pool.open).await?
            }
        };
        Ok(Checkout::new(connection, self))
    }

    /// The idle connection, if it answers a ping. Otherwise it is closed.
    async fn take_verified(&self) -> Option<PooledConnection> {
        let mut connection = self.slot().take_idle()?;
        if !self.is_reusable(&connection) {
            connection.close().await;
            return None;
        }
        let generation = self.pool.generation();
        if matches!(timeout(CLEANUP, connection.execute_batch("")).await, Ok(Ok(_))) {
            connection.generation = generation;
            return Some(connection);
        }
        if connection.generation == generation {
            self.pool.suspect_all();
        }
        None
    }

    /// Pings the idle connection, and closes it if it is broken, expired or `unused`.
    pub(super) async fn check_idle(self, unused: bool) {
        match self.take_verified().await {
            Some(connection) if unused => connection.close().await,
            Some(connection) => self.recycle(connection, Effect::None).await,
            None => {}
        }
    }

    /// Ends what a checkout has left unfinished, and releases the connection and its slot.
    ///
    /// The server gets only a moment for that. A statement that takes longer is ended by closing
    /// the connection, which the server notices within a second; the slot is free at once.
    pub(super) async fn clean_up(self, mut connection: PooledConnection, left: Unfinished) {
        let bound = match left.state {
            CheckoutState::Broken => return,
            CheckoutState::TimedOut => return self.close_hard(connection).await,
            CheckoutState::Idle if !left.in_transaction => {
                return self.recycle(connection, left.effect).await;
            }
            CheckoutState::Idle => CLEANUP,
            CheckoutState::InFlight => CANCEL_GRACE,
        };
        let must_reset = self.pool.is_pooled() && left.effect >= Effect::Reset;
        let sql = match left.in_transaction {
            true if must_reset => ROLLBACK_AND_RESET.as_str(),
            true => "ROLLBACK",
            false => "",
        };
        match timeout(bound, connection.execute_batch(sql)).await {
            Ok(Ok(_)) => self.recycle(connection, left.effect).await,
            // The error may be that of the statement in flight.
            Ok(Err(_)) => {}
            Err(_) => {
                if left.sent_at.elapsed() > SUSPECT_AFTER {
                    self.pool.suspect_all();
                }
                self.close_hard(connection).await;
            }
        }
    }

    /// Closes a connection whose server process may be busy. The number of such processes is
    /// bounded, so that many cancelled requests do not use up the server's connections: beyond it,
    /// the slot stays taken until one of them has ended.
    async fn close_hard(self, connection: PooledConnection) {
        drop(connection);
        let ending = Arc::clone(&self.pool.ending);
        let permit = ending.acquire().await;
        drop(self);
        sleep(DISCONNECT_NOTICED).await;
        drop(permit);
    }

    /// Makes a connection idle if its session is, or can be made, as every tenant expects it.
    /// Otherwise closes it.
    async fn recycle(&self, mut connection: PooledConnection, effect: Effect) {
        let is_clean = self.is_reusable(&connection)
            && match effect {
                Effect::None => true,
                // Nothing was left in a session: see `Executor::permit` and the end of transactions.
                Effect::Local | Effect::Reset if self.pool.is_pooled() => true,
                // `after_connect` runs on a new connection only.
                Effect::Local | Effect::Reset if connection.customised => false,
                Effect::Local | Effect::Reset => connection.reset(&self.pool.connector).await,
                Effect::Replace => false,
            };
        if is_clean && connection.is_memory_due() && !connection.ask_memory().await {
            return connection.close().await;
        }
        if connection.memory.is_exceeded() {
            self.pool.replaced.fetch_add(1, Ordering::Relaxed);
        }
        if is_clean && self.is_reusable(&connection) {
            self.put_idle(connection);
        } else {
            connection.close().await;
        }
    }

    pub(super) fn put_idle(&self, connection: PooledConnection) {
        self.slot().put_idle(connection);
    }

    pub(super) fn is_reusable(&self, connection: &PooledConnection) -> bool {
        connection.generation.primary == self.pool.generation().primary
            && !self.pool.is_closed()
            && !self.slot().is_expired(connection)
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.pool.scheduler.release(self.slot);
    }
}

impl TenantPool {
    /// An idle connection of any slot that can be used.
    async fn take_idle(self: &Arc<Self>, request: Request<'_>) -> Option<Checkout> {
        for slot in 0..self.slots.len() {
            if self.slots[slot].has_idle()
                && let Some(guard) = SlotGuard::try_acquire(self, slot, request)
            {
                let connection = match request.tenant.and_then(|_| guard.take_current()) {
                    Some(connection) => Some(connection),
                    None => guard.take_verified().await,
                };
                if let Some(connection) = connection {
                    return Some(Checkout::new(connection, guard));
                }
            }
        }
        None
    }
}
