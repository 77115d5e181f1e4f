//! The entries of the audit log as a stream, in all processes.
//!
//! The table is read; notifications only say when. So nothing is lost while notifications are not
//! received, and a slow consumer takes no memory. Neither ids nor times are in the order of commits:
//! an entry is new if the snapshot up to which everything was delivered does not contain its
//! transaction.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement};
use serde::{Deserialize, Serialize};
use tenantry_registry::audit;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, warn};
use uuid::Uuid;

use super::AuditEntry;
use crate::{DbErrorKind, Error, Tenancy};

/// Most entries that are read ahead of a consumer.
const PAGE: usize = 200;

/// How long notifications are relied on.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Pause after an error of the connection.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A change, as an entry of the audit log, see [`Tenancy::events`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The entry.
    pub entry: AuditEntry,
    /// Where a later stream continues after this event, see [`Tenancy::events_after`].
    pub position: EventPosition,
}

/// A position in the stream of events. It can be stored, as JSON for example, and used by another
/// process of the same database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPosition {
    /// Everything that it contains was delivered.
    done: Snapshot,
    /// The snapshot whose new entries are being delivered, and the last one of them.
    partly: Option<(Snapshot, EntryKey)>,
}

/// A snapshot of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Snapshot {
    /// As PostgreSQL writes it: `xmin:xmax:` and the transactions in progress between them.
    snapshot: Arc<str>,
    /// When it was taken, by the server's clock.
    at: DateTime<Utc>,
}

/// Entries are delivered in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct EntryKey {
    xact: String,
    id: Uuid,
}

impl Tenancy {
    /// The changes that all processes make from now on, each after its commit. So a program can react
    /// to tenants that are created, renamed, dropped and so on; an action that it does not know
    /// should be ignored.
    ///
    /// Changes of one tenant come in the order in which they were made. While the database cannot be
    /// reached, the stream waits, and then delivers what it has missed; it reads again, a page at a
    /// time, as fast as it is consumed. Every stream delivers all events. An event may come twice
    /// after the server was replaced by another one. The stream ends when the tenancy is
    /// [closed](Self::close), or after an error.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// use futures_util::TryStreamExt;
    /// use tenantry::Action;
    ///
    /// let mut events = tenancy.events().await?;
    /// while let Some(event) = events.try_next().await? {
    ///     let Some(slug) = &event.entry.slug else { continue };
    ///     match event.entry.action {
    ///         Action::Created => println!("welcome, {slug}"),
    ///         Action::Dropped => println!("good-bye, {slug}"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Database`]. In the stream: an error of the database other than a lost connection.
    pub async fn events(&self) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        let done = Snapshot::take(&self.inner.db).await?;
        Ok(self.events_after(EventPosition { done, partly: None }))
    }

    /// As [`events`](Self::events), but continues after an event, also one of a program that has
    /// ended: a program that stores the [position](Event::position) of each event after handling it
    /// misses none. Entries that were deleted after [`Config::audit_retention`] are not delivered.
    ///
    /// [`Config::audit_retention`]: crate::Config::audit_retention
    pub fn events_after(
        &self,
        position: EventPosition,
    ) -> BoxStream<'static, Result<Event, Error>> {
        let changes = self.inner.view.entries_changed.subscribe();
        let reader = Reader {
            tenancy: self.clone(),
            changes,
            position,
            page: VecDeque::new(),
            ended: false,
            warned: false,
        };
        let next = |mut reader: Reader| async { Some((reader.next().await?, reader)) };
        stream::unfold(reader, next).boxed()
    }
}

struct Reader {
    tenancy: Tenancy,
    /// Marked when there may be new entries.
    changes: watch::Receiver<()>,
    position: EventPosition,
    /// Entries that were read and not delivered yet.
    page: VecDeque<(EntryKey, AuditEntry)>,
    ended: bool,
    warned: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if self.ended || self.tenancy.inner.pool.is_closed() {
                return None;
            }
            if let Some((key, entry)) = self.page.pop_front() {
                if let Some((_, last)) = &mut self.position.partly {
                    *last = key;
                }
                return Some(Ok(Event { entry, position: self.position.clone() }));
            }
            // Before the query, so that a change after it causes another one.
            self.changes.borrow_and_update();
            match self.read().await {
                Ok(()) => self.warned = false,
                Err(error) if is_transient(&error) => self.pause(&error).await,
                Err(error) => {
                    self.ended = true;
                    return (!self.tenancy.inner.pool.is_closed()).then(|| Err(error.into()));
                }
            }
            if self.page.is_empty() && !self.warned {
                // Fails when the view is gone, which this tenancy prevents, or when no notification
                // has come for long, which may have been lost.
                let _ = timeout(MAX_WAIT, self.changes.changed()).await;
            }
        }
    }

    async fn pause(&mut self, error: &DbErr) {
        if self.warned {
            debug!(%error, "events still cannot be read");
        } else {
            warn!(%error, "events cannot be read; retrying");
        }
        self.warned = true;
        sleep(RETRY_PAUSE).await;
    }

    /// Reads the next page. Without entries, everything of the current snapshot was delivered.
    async fn read(&mut self) -> Result<(), DbErr> {
        loop {
            let db = &self.tenancy.inner.db;
            let (until, after) = match self.position.partly.clone() {
                Some((until, last)) => (until, Some(last)),
                None => (Snapshot::take(db).await?, None),
            };
            let was_partly = after.is_some();
            let page = read_page(db, &self.position.done, &until, after.as_ref()).await?;
            if page.is_empty() {
                (self.position.done, self.position.partly) = (until, None);
                if was_partly {
                    // There may be entries that the next snapshot contains.
                    continue;
                }
            } else if self.position.partly.is_none() {
                self.position.partly = Some((until, EntryKey::first()));
            }
            self.page = page.into();
            return Ok(());
        }
    }
}

impl EntryKey {
    /// Before all others.
    fn first() -> Self {
        Self { xact: "0".to_owned(), id: Uuid::nil() }
    }
}

impl Snapshot {
    async fn take(db: &impl ConnectionTrait) -> Result<Self, DbErr> {
        // The time is read after the snapshot was taken, so an entry that the snapshot contains is
        // older.
        let sql = "SELECT pg_current_snapshot()::text, clock_timestamp()";
        let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
        let row = row.ok_or_else(|| DbErr::RecordNotFound("no snapshot".to_owned()))?;
        let snapshot: String = row.try_get_by_index(0)?;
        Ok(Self { snapshot: snapshot.into(), at: row.try_get_by_index(1)? })
    }

    /// The oldest transaction that was in progress.
    fn xmin(&self) -> &str {
        self.snapshot.split(':').next().unwrap_or_default()
    }
}

/// Entries that `until` contains and `done` does not.
///
/// The numbers of transactions are those of one server. Where another one has taken its place, such
/// as a standby that has lost the last transactions, or a restored dump, entries count as new if
/// they are younger than `done`, and entries with numbers of the former server do not count if they
/// are much older.
const NEW: &str = "SELECT id, at, actor, action, tenant_id, slug, request_id, before, after,
        xact::text AS number
    FROM registry.audit
    WHERE (xact >= $2::text::xid8 AND NOT pg_visible_in_snapshot(xact, $1::text::pg_snapshot)
            AND at > $3 - interval '1 day'
        OR at > $3)
    AND pg_visible_in_snapshot(xact, $4::text::pg_snapshot)
    AND (xact, id) > ($5::text::xid8, $6)
    ORDER BY xact, id LIMIT $7";

async fn read_page(
    db: &impl ConnectionTrait,
    done: &Snapshot,
    until: &Snapshot,
    after: Option<&EntryKey>,
) -> Result<Vec<(EntryKey, AuditEntry)>, DbErr> {
    let after = after.cloned().unwrap_or_else(EntryKey::first);
    let values = [
        done.snapshot.as_ref().into(),
        done.xmin().into(),
        done.at.into(),
        until.snapshot.as_ref().into(),
        after.xact.into(),
        after.id.into(),
        (PAGE as i64).into(),
    ];
    let query = Statement::from_sql_and_values(DbBackend::Postgres, NEW, values);
    let rows = db.query_all_raw(query).await?;
    rows.iter()
        .map(|row| {
            let entry = audit::Model::from_query_result(row, "")?;
            Ok((EntryKey { xact: row.try_get("", "number")?, id: entry.id }, entry.into()))
        })
        .collect()
}

/// Whether the same query may succeed later.
fn is_transient(error: &DbErr) -> bool {
    matches!(
        DbErrorKind::of(error),
        DbErrorKind::Unavailable
            | DbErrorKind::PoolTimeout
            | DbErrorKind::Timeout
            | DbErrorKind::ReadOnly
            | DbErrorKind::SerializationConflict
    )
}
