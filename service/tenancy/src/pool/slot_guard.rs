//! A place that is taken, and how it gets a connection and is left.

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
    Lanes,
    checkout::{Lease, State},
    request::Ask,
    scheduler::closed,
    slot::{Pinned, Place},
    timeouts::{CLEANUP, ELSEWHERE, GRACE, NOTICED, SUSPICIOUS},
};

/// A place that is taken, until this is dropped.
pub(super) struct Held {
    lanes: Arc<Lanes>,
    place: usize,
}

/// What is left to be done on a connection.
pub(super) struct Left {
    pub(super) state: State,
    pub(super) in_transaction: bool,
    /// What its statements have done to the session.
    pub(super) effect: Effect,
    /// When the last statement was sent.
    pub(super) since: Instant,
}

impl Held {
    pub(super) async fn best(lanes: Arc<Lanes>, ask: Ask<'_>) -> Result<Self, DbErr> {
        let place = lanes.queue.take(ask).await?;
        Ok(Self { lanes, place })
    }

    /// A certain place, when it is free and the owner may have it instead of one that it holds.
    pub(super) fn if_free(lanes: &Arc<Lanes>, place: usize, ask: Ask<'_>) -> Option<Self> {
        lanes.queue.take_free(place, ask).then(|| Self { lanes: Arc::clone(lanes), place })
    }

    pub(super) fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    /// The connection that is parked here, if it has been used or tried since one was last lost.
    pub(super) fn trusted(&self) -> Option<Pinned> {
        let pinned = self.place().unpark()?;
        if pinned.age == self.lanes.age() && !pinned.read_only {
            return Some(pinned);
        }
        self.park(pinned);
        None
    }

    /// A connection that answers: the one that is parked here, or a new one. While that takes
    /// long, or if it fails, one that idles elsewhere.
    pub(super) async fn supply(self, ask: Ask<'_>) -> Result<Lease, DbErr> {
        let lanes = Arc::clone(&self.lanes);
        let (sender, mut receiver) = oneshot::channel();
        // Goes on when its caller is served elsewhere: then the connection is there for the next.
        lanes.runtime.spawn(async move {
            // A lease that is not received parks its connection.
            let _ = sender.send(self.renew().await);
        });
        let failed = loop {
            tokio::select! {
                biased;
                renewed = &mut receiver => match renewed {
                    Ok(Ok(lease)) => return Ok(lease),
                    Ok(Err(error)) => break error,
                    Err(_) => return Err(closed()),
                },
                lease = async { sleep(ELSEWHERE).await; lanes.idle(ask).await } => {
                    if let Some(lease) = lease {
                        return Ok(lease);
                    }
                }
            }
        };
        // The server may take no more connections, and serve those that there are.
        let others = async {
            while lanes.open.load(Ordering::Relaxed) > 0 && !lanes.is_closed() {
                if let Some(lease) = lanes.idle(ask).await {
                    return Some(lease);
                }
                sleep(ELSEWHERE).await;
            }
            None
        };
        timeout(lanes.patience, others).await.ok().flatten().ok_or(failed)
    }

    async fn renew(self) -> Result<Lease, DbErr> {
        let pinned = match self.tried().await {
            Some(pinned) => pinned,
            None => {
                let age = self.lanes.age();
                self.place().pin(&self.lanes.opener, age, &self.lanes.open).await?
            }
        };
        Ok(Lease::new(pinned, self))
    }

    /// The connection that is parked here, if it answers. Else it is closed.
    async fn tried(&self) -> Option<Pinned> {
        let mut pinned = self.place().unpark()?;
        if !self.may_park(&pinned) {
            pinned.retire().await;
            return None;
        }
        let age = self.lanes.age();
        let answers = matches!(timeout(CLEANUP, pinned.send("")).await, Ok(Ok(_)));
        if answers {
            pinned.age = age;
            return Some(pinned);
        }
        if pinned.age == age {
            self.lanes.doubt();
        }
        None
    }

    /// Tries the connection that is parked here, and closes it when it has ended or is too old.
    pub(super) async fn look_after(self, too_quiet: bool) {
        match self.tried().await {
            Some(pinned) if too_quiet => pinned.retire().await,
            Some(pinned) => self.put_back(pinned, Effect::None).await,
            None => {}
        }
    }

    /// Does what is left to be done on a connection, and gives it and its place back.
    ///
    /// The server is not waited for longer than for a moment. A statement that it goes on with is
    /// ended by closing the connection, which the server notices within a second; the place is
    /// free at once.
    pub(super) async fn clean_up(self, mut pinned: Pinned, left: Left) {
        let bound = match left.state {
            State::Ended => return,
            State::Late => return self.abandon(pinned).await,
            State::Rest if !left.in_transaction => {
                return self.put_back(pinned, left.effect).await;
            }
            State::Rest => CLEANUP,
            State::Busy => GRACE,
        };
        let word = if left.in_transaction { "ROLLBACK" } else { "" };
        match timeout(bound, pinned.send(word)).await {
            Ok(Ok(_)) => self.put_back(pinned, left.effect).await,
            // The answer was that of the statement before, or there is none.
            Ok(Err(_)) => {}
            Err(_) => {
                if left.since.elapsed() > SUSPICIOUS {
                    self.lanes.doubt();
                }
                self.abandon(pinned).await;
            }
        }
    }

    /// Closes a connection whose server process may be at work. Only so many of these may there be
    /// at the same time, so that requests which are given up at once do not use up the server's
    /// connections: if there are more, the place stays taken until one is gone.
    async fn abandon(self, pinned: Pinned) {
        drop(pinned);
        let ending = Arc::clone(&self.lanes.ending);
        let permit = ending.acquire().await;
        drop(self);
        sleep(NOTICED).await;
        drop(permit);
    }

    /// Parks a connection whose session is, or can be made, as tenants expect it. Else closes it.
    async fn put_back(&self, mut pinned: Pinned, effect: Effect) {
        let is_fit = self.may_park(&pinned)
            && match effect {
                Effect::None => true,
                Effect::Reset => pinned.reset(&self.lanes.opener).await,
                Effect::Replace => false,
            };
        if is_fit {
            self.park(pinned);
        } else {
            pinned.retire().await;
        }
    }

    pub(super) fn park(&self, pinned: Pinned) {
        self.place().park(pinned);
    }

    /// Whether a connection may be used once more.
    pub(super) fn may_park(&self, pinned: &Pinned) -> bool {
        let current = pinned.age.primary == self.lanes.age().primary;
        current && !self.lanes.is_closed() && !self.place().is_worn(pinned)
    }

    fn place(&self) -> &Place {
        &self.lanes.places[self.place]
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.lanes.queue.give_back(self.place);
    }
}

impl Lanes {
    /// A connection that idles and can be used.
    async fn idle(self: &Arc<Self>, ask: Ask<'_>) -> Option<Lease> {
        for place in 0..self.places.len() {
            if self.places[place].has_one()
                && let Some(held) = Held::if_free(self, place, ask)
            {
                let pinned = match ask.owner.tenant().and_then(|_| held.trusted()) {
                    Some(pinned) => Some(pinned),
                    None => held.tried().await,
                };
                if let Some(pinned) = pinned {
                    return Some(Lease::new(pinned, held));
                }
            }
        }
        None
    }
}
