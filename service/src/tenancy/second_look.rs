//! A look at the registry when a statement of a tenant has failed.
//!
//! While a breaking migration is applied, or a tenant is dropped, a statement may be under way
//! that the process would refuse a moment later. PostgreSQL then reports that a table or a column
//! is missing. Before the error is returned, the tenant's row tells whether that is the reason.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use entity::registry::TenantId;
use migration::Fault;
use sea_orm::DbErr;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tracing::debug;

use super::{
    Scope,
    access::{Access, Refused},
    fitness::{Build, Standing},
    lanes::Lanes,
    shared::Shared,
};

/// How long the caller waits for the registry before it gets the error as it is.
const WITHIN: Duration = Duration::from_secs(2);

/// Where to look, and what a row is measured by.
pub(super) struct Looker {
    /// Not kept alive by this: what a thread remembers of tenants outlives the runtime.
    lanes: Weak<Lanes>,
    pub(super) build: Build,
}

/// How long a refusal is believed. Its announcement is on the way, and that of its end would be.
const BELIEVED: Duration = Duration::from_millis(250);

/// What was seen last.
pub(super) type Seen = Mutex<Option<Look>>;

/// One look, which all statements share that failed before it began, so that a thousand of them
/// cause few queries.
#[derive(Debug)]
pub(super) struct Look {
    begun: Instant,
    /// None when the registry did not answer.
    found: Option<Standing>,
}

impl Look {
    /// Whether it tells of a statement that failed then.
    fn tells_of(&self, failed: Instant) -> bool {
        let refuses = self.found.as_ref().is_some_and(|found| found.access != Access::Active);
        self.begun >= failed || refuses && failed - self.begun < BELIEVED
    }
}

impl Looker {
    pub(super) fn new(lanes: &Arc<Lanes>, build: Build) -> Self {
        Self { lanes: Arc::downgrade(lanes), build }
    }

    async fn look(&self, id: TenantId) -> Option<Standing> {
        let db = self.lanes.upgrade()?.registry();
        match self.build.standings(&db, &[id]).await {
            Ok(standings) => standings.into_iter().next().map(|(_, standing)| standing),
            Err(error) => {
                debug!(%error, "the row of a tenant whose statement failed could not be read");
                None
            }
        }
    }
}

impl std::fmt::Debug for Looker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Looker").field(&self.build).finish()
    }
}

impl Shared {
    /// Why the tenant may not be used, as the registry has it at this moment.
    async fn refusal(&self) -> Option<Refused> {
        let failed = Instant::now();
        let look = async {
            let mut seen = self.seen.lock().await;
            if let Some(look) = seen.as_ref().filter(|look| look.tells_of(failed)) {
                return look.found.clone();
            }
            let begun = Instant::now();
            let found = self.looker.look(self.id).await;
            *seen = Some(Look { begun, found: found.clone() });
            found
        };
        let Standing { access, applied, newest, unknown } = timeout(WITHIN, look).await.ok()??;
        if access == Access::Active {
            return None;
        }
        if access == Access::Dropped {
            // For good. Other states may have changed again; their announcements tell.
            self.set(access.into());
        }
        Some(Refused { slug: self.slug.clone(), access, applied, newest, unknown })
    }
}

impl<C> Scope<C> {
    /// The error of a statement; the refusal of the tenant, if that is what it comes from.
    pub(super) async fn explain(&self, error: DbErr) -> DbErr {
        if !may_come_of_a_change(&error) {
            return error;
        }
        match self.shared.refusal().await {
            Some(refused) => refused.into(),
            None => error,
        }
    }
}

/// Whether a schema that has been changed or dropped meanwhile gives such an error: all of class 42
/// (a name that is missing, ambiguous or of another kind or type; a privilege that is missing) and
/// 3F (the schema itself), constraints that the statement did not know (23502, 23514), an object
/// that is no longer what it was (55000), and what PostgreSQL reports of a relation that goes while
/// it is opened (XX000).
fn may_come_of_a_change(error: &DbErr) -> bool {
    // Of a connection that could not be opened they say something else.
    let of_a_statement = matches!(error, DbErr::Exec(_) | DbErr::Query(_));
    of_a_statement
        && Fault::sqlstate(error).is_some_and(|code| {
            code.starts_with("42")
                || code.starts_with("3F")
                || ["23502", "23514", "55000", "XX000"].contains(&code.as_str())
        })
}
