//! The status of a tenant, and how operators change it.

use std::{fmt, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ColumnTrait, Condition, QueryFilter, QueryOrder,
    sea_query::{Expr, SimpleExpr},
};
use tenantry_registry::{Reason, Slug, audit::Action, tenant};
use thiserror::Error;
use tracing::info;

use super::{Availability, Error, Tenancy, TenantInfo, TenantUnavailable, locked_row::Changed};

/// How long the data of an archived tenant is kept if the operator says nothing else: 30 days.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Longest period that is stored: 100 years. A longer one is shortened to it.
const MAX_PERIOD: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// A change of a tenant's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transition {
    /// [`Tenancy::suspend`].
    Suspend,
    /// [`Tenancy::resume`].
    Resume,
    /// [`Tenancy::archive`].
    Archive,
    /// [`Tenancy::restore`].
    Restore,
    /// [`Tenancy::purge`].
    Purge,
    /// [`Tenancy::drop`].
    Drop,
}

/// The status of a tenant does not allow a change. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "tenant {slug} is {status} and cannot be {}; it can be {}",
    refused.participle(), or(possible)
)]
#[non_exhaustive]
pub struct InvalidTransition {
    /// The tenant.
    pub slug: Slug,
    /// Its status.
    pub status: &'static str,
    /// The change that is not possible.
    pub refused: Transition,
    /// The changes that are possible.
    pub possible: &'static [Transition],
}

impl Transition {
    /// The change as a verb, such as `suspend`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Archive => "archive",
            Self::Restore => "restore",
            Self::Purge => "purge",
            Self::Drop => "drop",
        }
    }

    /// As in "the tenant can be suspended".
    fn participle(self) -> &'static str {
        match self {
            Self::Suspend => "suspended",
            Self::Resume => "resumed",
            Self::Archive => "archived",
            Self::Restore => "restored",
            Self::Purge => "purged",
            Self::Drop => "dropped",
        }
    }

    /// The change in the audit log.
    fn action(self) -> Action {
        match self {
            Self::Suspend => Action::Suspended,
            Self::Resume => Action::Resumed,
            Self::Archive => Action::Archived,
            Self::Restore => Action::Restored,
            Self::Purge | Self::Drop => Action::Dropping,
        }
    }

    /// The changes of a status.
    fn possible(from: tenant::Status) -> &'static [Self] {
        match from {
            tenant::Status::Active => &[Self::Suspend, Self::Archive, Self::Drop],
            tenant::Status::Suspended => &[Self::Resume, Self::Archive, Self::Drop],
            tenant::Status::Archived => &[Self::Restore, Self::Purge],
            // The drop is continued.
            tenant::Status::Spare | tenant::Status::Dropping | tenant::Status::Dropped => {
                &[Self::Drop]
            }
        }
    }

    /// The error for a tenant whose status does not allow the change.
    pub(super) fn refuse(self, slug: &Slug, status: tenant::Status) -> Error {
        let (slug, possible) = (slug.clone(), Self::possible(status));
        InvalidTransition { slug, status: status.as_str(), refused: self, possible }.into()
    }

    /// The columns that the change sets in a row; none if it was made before.
    fn apply(self, row: &tenant::Model, slug: &Slug, with: &Detail) -> Result<Columns, Error> {
        use tenant::{Column as C, Status as S};
        let now = tenantry_registry::now();
        let status = |status: S| (C::Status, Expr::value(status));
        let since = || (C::StatusSince, Expr::value(now));
        let reason = |reason: Option<String>| (C::StatusReason, Expr::value(reason));
        let before = |before: Option<S>| (C::StatusBefore, Expr::value(before));
        let purge_after = |at: Option<DateTime<Utc>>| (C::PurgeAfter, Expr::value(at));
        Ok(match (self, row.status) {
            (Self::Suspend, S::Active) => {
                vec![status(S::Suspended), since(), reason(with.reason.clone())]
            }
            (Self::Suspend, S::Suspended)
                if with.reason.is_some() && with.reason != row.status_reason =>
            {
                vec![reason(with.reason.clone())]
            }
            (Self::Resume, S::Suspended) => vec![status(S::Active), since(), reason(None)],
            (Self::Archive, S::Active | S::Suspended) => {
                let previous = Some(row.status).filter(|status| *status != S::Active);
                let end = purge_after(Some(after(now, with.grace.unwrap_or(DEFAULT_GRACE))));
                vec![status(S::Archived), since(), before(previous), end]
            }
            (Self::Archive, S::Archived) => match with.grace {
                Some(grace) => {
                    // From the same moment, so that a repeated request changes nothing.
                    let end = Some(after(row.status_since.unwrap_or(now), grace));
                    if row.purge_after == end { Vec::new() } else { vec![purge_after(end)] }
                }
                None => Vec::new(),
            },
            (Self::Restore, S::Archived) => {
                let previous = row.status_before.unwrap_or(S::Active);
                let mut columns = vec![status(previous), since(), before(None), purge_after(None)];
                if previous == S::Active {
                    columns.push(reason(None));
                }
                columns
            }
            (Self::Suspend | Self::Restore, S::Suspended)
            | (Self::Resume | Self::Restore, S::Active) => Vec::new(),
            (_, other) => return Err(self.refuse(slug, other)),
        })
    }
}

type Columns = Vec<(tenant::Column, SimpleExpr)>;

/// What a change is given.
#[derive(Default)]
struct Detail {
    reason: Option<String>,
    grace: Option<Duration>,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Tenancy {
    /// Suspends a tenant: every process refuses its statements, from the next one of each handle on,
    /// until it is [resumed](Self::resume). Returns its new entry.
    ///
    /// The reason is for operators ([`TenantInfo::status_reason`]); no client of the tenant sees it.
    /// For a suspended tenant it replaces the reason, and without one nothing is changed.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// let slug = "acme".parse()?;
    /// tenancy.suspend(&slug, Some("invoice 4711 is not paid".parse()?)).await?;
    /// tenancy.resume(&slug).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// - [`Error::UnknownTenant`];
    /// - [`Error::InvalidTransition`] if the tenant is archived or being dropped;
    /// - [`Error::BeingMigrated`] if another program has locked the tenant for 10 seconds.
    pub async fn suspend(&self, slug: &Slug, reason: Option<Reason>) -> Result<TenantInfo, Error> {
        let reason = reason.map(|reason| reason.to_string());
        self.change_status(slug, Transition::Suspend, Detail { reason, ..Detail::default() }).await
    }

    /// Makes a suspended tenant active again. Nothing is changed if it is active.
    ///
    /// # Errors
    /// As for [`suspend`](Self::suspend).
    pub async fn resume(&self, slug: &Slug) -> Result<TenantInfo, Error> {
        self.change_status(slug, Transition::Resume, Detail::default()).await
    }

    /// Archives a tenant, active or suspended: every process refuses its statements, and its data is
    /// kept for `grace`, without one for [`DEFAULT_GRACE`]. Until it is [purged](Self::purge), it can
    /// be [restored](Self::restore). Nothing is deleted by itself.
    ///
    /// For an archived tenant the grace is changed; it counts from when the tenant was archived.
    /// Without one nothing is changed.
    ///
    /// # Errors
    /// - [`Error::UnknownTenant`];
    /// - [`Error::InvalidTransition`] if the tenant is being dropped;
    /// - [`Error::BeingMigrated`] if another program has locked the tenant for 10 seconds.
    pub async fn archive(&self, slug: &Slug, grace: Option<Duration>) -> Result<TenantInfo, Error> {
        self.change_status(slug, Transition::Archive, Detail { reason: None, grace }).await
    }

    /// Gives an archived tenant the status that it had before: active, or suspended with its reason.
    /// Nothing is changed if it is not archived.
    ///
    /// # Errors
    /// As for [`archive`](Self::archive).
    pub async fn restore(&self, slug: &Slug) -> Result<TenantInfo, Error> {
        self.change_status(slug, Transition::Restore, Detail::default()).await
    }

    /// The tenants to [purge](Self::purge): the archived ones whose grace has ended, and those whose
    /// purge was interrupted. Ordered by id.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn expired(&self) -> Result<Vec<TenantInfo>, Error> {
        let archived = Condition::all()
            .add(tenant::Column::Status.eq(tenant::Status::Archived))
            .add(tenant::Column::PurgeAfter.lte(tenantry_registry::now()));
        let interrupted = Condition::all()
            .add(tenant::Column::Status.eq(tenant::Status::Dropping))
            .add(tenant::Column::PurgeAfter.is_not_null());
        let rows = tenant::Entity::find_living()
            .filter(Condition::any().add(archived).add(interrupted))
            .order_by_asc(tenant::Column::Id)
            .all(&self.inner.db)
            .await?;
        self.infos(rows).await
    }

    async fn change_status(
        &self,
        slug: &Slug,
        transition: Transition,
        detail: Detail,
    ) -> Result<TenantInfo, Error> {
        let action = transition.action();
        let changed =
            self.change_row(slug, &action, |row| transition.apply(row, slug, &detail)).await;
        let Changed { row, is_changed } = changed.map_err(|error| match error {
            Error::Unavailable(TenantUnavailable {
                availability: Availability::Dropped, ..
            }) => transition.refuse(slug, tenant::Status::Dropping),
            other => other,
        })?;
        // Not only when the notification arrives.
        self.inner.cache.invalidate_tenant(row.id);
        if is_changed {
            info!(tenant = %slug, "tenant {}", transition.participle());
        }
        self.info(row).await
    }
}

/// So long after a moment.
pub(super) fn after(from: DateTime<Utc>, period: Duration) -> DateTime<Utc> {
    let period = TimeDelta::from_std(period.min(MAX_PERIOD)).unwrap_or_default();
    tenantry_registry::microseconds(from + period)
}

fn or(possible: &[Transition]) -> String {
    let words: Vec<&str> = possible.iter().map(|it| it.participle()).collect();
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
