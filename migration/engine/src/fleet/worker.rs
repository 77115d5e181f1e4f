//! The workers of a fleet run.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use sea_orm::DatabaseConnection;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{
    Event, Fleet, Member, Stopped,
    batch::AtOnce,
    failure::note_failure,
    notifier::News,
    queue::{End, Job, Patience, Queue},
};
use crate::{
    Action, AnyMigrator, Error, Fault, Target,
    error::privilege::explain,
    lock::Claimant,
    run::non_transactional::Sessions,
    run::transactions::{PAUSE, Ran, Run},
};

pub(super) struct Workers<'a, R> {
    pub(super) db: &'a DatabaseConnection,
    pub(super) migrator: &'a AnyMigrator,
    pub(super) action: &'a Action,
    pub(super) fleet: &'a Fleet,
    pub(super) news: &'a News<'a>,
    pub(super) at_once: &'a AtOnce<'a>,
    pub(super) report: &'a R,
    pub(super) sessions: Sessions,
    /// How many tenants have failed for a missing right.
    pub(super) denied: AtomicUsize,
    /// Whether tenants have lost races for an object that all of them change. Then they take turns.
    pub(super) racing: AtomicBool,
    pub(super) turn: Mutex<()>,
}

/// So many tenants fail for a missing right before no more are begun, if none was migrated.
const DENIED: usize = 3;

/// What to do after a failure.
enum Verdict {
    Again(Duration),
    GiveUp,
    /// The server is gone for everybody.
    GiveUpAll,
}

impl<R: Fn(&Event<'_>) + Sync> Workers<'_, R> {
    /// Counts the tenants to be worked on, and says so.
    pub(super) fn plan(&self, queue: &Queue<'_>, members: &[Member]) {
        let total = queue.plan(members.len());
        self.at_once.tenants.store(total, Ordering::Relaxed);
        (self.report)(&Event::Planned { total });
    }

    /// Works through `members`, until all have ended or no more are to be begun.
    pub(super) async fn work(&self, queue: &Queue<'_>, members: Vec<Member>) {
        queue.fill(members);
        let pool = self.db.get_postgres_connection_pool().options().get_max_connections();
        let jobs = self.fleet.jobs.clamp(1, pool as usize);
        join_all((0..jobs).map(|_| self.worker(queue))).await;
        queue.empty();
    }

    async fn worker(&self, queue: &Queue<'_>) {
        while let Some(mut job) = queue.next().await {
            let begun = Instant::now();
            let ran = self.migrate(&job).await;
            if !ran.as_ref().is_err_and(|error| error.fault().is_some_and(|it| is_away(&it))) {
                queue.answered();
            }
            match ran {
                Ok(Ran::Done(outcome, _)) => {
                    let changed = outcome.changed();
                    if changed {
                        self.news.changed(job.member.id);
                    }
                    let took = begun.elapsed();
                    (self.report)(&Event::Done { member: &job.member, outcome: &outcome, took });
                    queue.end(if changed { &End::Done } else { &End::Skipped });
                }
                // Dropped or, a spare, become a tenant: then it is found as such.
                Ok(Ran::Gone) => queue.end(&End::Skipped),
                // In somebody else's hand, who may be finished soon.
                Ok(Ran::Busy) => {
                    let pause = Duration::from_millis(50 << job.busy.min(4));
                    job.busy += 1;
                    queue.again(job, pause);
                }
                Err(error) => match self.verdict(&mut job, &error, queue) {
                    Verdict::Again(pause) => {
                        let (member, tries) = (&job.member, job.tries);
                        tracing::info!(%member, tries, %error, "to be tried again");
                        queue.again(job, pause);
                    }
                    verdict => {
                        if matches!(verdict, Verdict::GiveUpAll) {
                            queue.close(Stopped::Unavailable);
                        }
                        let error = self.explained(&job.member, error, queue).await;
                        self.fail(&job.member, &error).await;
                        queue.end(&End::Failed);
                    }
                },
            }
        }
    }

    async fn migrate(&self, job: &Job) -> Result<Ran, Error> {
        let racing = || self.racing.load(Ordering::Relaxed);
        let _turn = if racing() { Some(self.turn.lock().await) } else { None };
        let ran = self.try_to_migrate(job).await;
        if ran.as_ref().is_err_and(|error| error.fault() == Some(Fault::Race)) {
            self.racing.store(true, Ordering::Relaxed);
        }
        ran
    }

    async fn try_to_migrate(&self, job: &Job) -> Result<Ran, Error> {
        let target = Target::Schema(job.member.schema.clone());
        let Self { db, migrator, action, fleet, .. } = *self;
        let claimant = Claimant::Member(&job.member);
        let timeouts = fleet.timeouts;
        let sessions = &self.sessions;
        let run = Run { db, target: &target, migrator, action, timeouts, sessions };
        // The last try tells which migration fails, and the second who is in the way.
        if job.tries + 1 == fleet.tries || job.busy > 0 {
            return run.carry_out(claimant).await;
        }
        match self.at_once.migrate(db, &job.member).await {
            Ok(Some(outcome)) => return Ok(Ran::Done(outcome, Some(job.member.id))),
            Ok(None) => return run.carry_out(claimant).await,
            // Waited for no longer than for a moment, so that nobody was held up.
            Err(error) if error.fault() == Some(Fault::LockTimeout) => sleep(PAUSE).await,
            Err(error) if passes(&error) => return Err(error),
            Err(_) => {}
        }
        // PostgreSQL tells of an error before it lets go of the row that was locked.
        for pause in [0, 1, 10] {
            sleep(Duration::from_millis(pause)).await;
            let ran = run.carry_out(claimant).await?;
            if !matches!(ran, Ran::Busy) {
                return Ok(ran);
            }
        }
        Ok(Ran::Busy)
    }

    fn verdict(&self, job: &mut Job, error: &Error, queue: &Queue<'_>) -> Verdict {
        match error.fault() {
            Some(fault) if is_away(&fault) => match queue.away(job, self.fleet.outage) {
                Patience::Lasts => Verdict::Again(Duration::from_millis(500)),
                Patience::EndsForTenant => Verdict::GiveUp,
                Patience::EndsForAll => Verdict::GiveUpAll,
            },
            Some(_) if passes(error) && job.tries + 1 < self.fleet.tries => {
                job.tries += 1;
                // Jittered by the tenant's key, so that rivals do not meet again.
                let jitter = job.member.id.as_uuid().as_u128() % 100;
                Verdict::Again(Duration::from_millis((100 << job.tries.min(6)) + jitter as u64))
            }
            _ => Verdict::GiveUp,
        }
    }

    /// Of many tenants that fail for a missing right, the first one's error says whose it is.
    async fn explained(&self, member: &Member, error: Error, queue: &Queue<'_>) -> Error {
        if error.fault() != Some(Fault::Privilege) {
            return error;
        }
        let before = self.denied.fetch_add(1, Ordering::Relaxed);
        if before + 1 >= DENIED && queue.summary().done == 0 {
            queue.close(Stopped::Privilege);
        }
        if before > 0 {
            return error;
        }
        explain(self.db, &Target::Schema(member.schema.clone()), error).await
    }

    async fn fail(&self, member: &Member, error: &Error) {
        // That this program is older than the schema is no fault of the tenant's.
        let noted = match error {
            Error::UnknownMigrations { .. } => Ok(()),
            error => note_failure(self.db, member, error).await,
        };
        if let Err(error) = noted {
            tracing::warn!(%member, %error, "the failure could not be noted");
        }
        (self.report)(&Event::Failed { member, error });
    }
}

/// Whether the node of this tenant is down, or the whole server.
fn is_away(fault: &Fault) -> bool {
    // A server that takes no writes may be a standby that is promoted soon.
    matches!(fault, Fault::Unavailable | Fault::NoConnection | Fault::ReadOnly)
}

/// Whether another try may go better.
fn passes(error: &Error) -> bool {
    error.fault().is_some_and(|fault| {
        is_away(&fault) || matches!(fault, Fault::Conflict | Fault::LockTimeout | Fault::Race)
    })
}
