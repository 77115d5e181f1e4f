//! Shifts: when a guard is on duty.

use chrono::{DateTime, TimeDelta, Utc};
use entity::shift::{ActiveModel, Column, Entity};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
    QuerySelect, Select, Set,
};
use serde::Deserialize;
use tenantry_registry::microseconds;
use uuid::Uuid;
use validator::{Validate, ValidationErrors};

pub use entity::shift::Model as Shift;

use crate::{Error, input::failure};
use tenantry::{
    DbErrorKind, Input, Slug, Tenancy, TenantScope,
    page::{self, Page, PageRequest},
};

/// First and last microsecond of the years 0000 to 9999, the range of RFC 3339.
const FIRST: DateTime<Utc> = micros(-62_167_219_200_000_000);
const LAST: DateTime<Utc> = micros(253_402_300_799_999_999);

const fn micros(unix: i64) -> DateTime<Utc> {
    match DateTime::from_timestamp_micros(unix) {
        Some(at) => at,
        None => DateTime::UNIX_EPOCH,
    }
}

/// A new shift. Both fields are required.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewShift {
    /// Start of the shift.
    #[validate(required(message = "is required"))]
    pub starts_at: Option<DateTime<Utc>>,
    /// End of the shift (exclusive): after `starts_at`, by 24 hours at most.
    #[validate(required(message = "is required"))]
    pub ends_at: Option<DateTime<Utc>>,
}

/// A change of a shift. Absent fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShiftChange {
    /// Start of the shift.
    #[serde(deserialize_with = "not_null")]
    pub starts_at: Option<DateTime<Utc>>,
    /// End of the shift (exclusive).
    #[serde(deserialize_with = "not_null")]
    pub ends_at: Option<DateTime<Utc>>,
}

impl Input for NewShift {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        self.starts_at = self.starts_at.map(microseconds);
        self.ends_at = self.ends_at.map(microseconds);
        let required = self.validate();
        match rules(self.starts_at, self.ends_at) {
            Ok(()) => required,
            Err(mut errors) => {
                // No field is in both: the rules apply to fields that are present.
                errors.0.extend(required.err().into_iter().flat_map(|missing| missing.0));
                Err(errors)
            }
        }
    }
}

impl Input for ShiftChange {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        self.starts_at = self.starts_at.map(microseconds);
        self.ends_at = self.ends_at.map(microseconds);
        rules(self.starts_at, self.ends_at)
    }
}

/// Filter of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Shifts of this guard.
    pub guard_id: Option<Uuid>,
    /// Shifts that end after this time.
    pub from: Option<DateTime<Utc>>,
    /// Shifts that start before this time.
    pub until: Option<DateTime<Utc>>,
}

/// Creates a shift of a guard.
///
/// # Errors
/// [`Error::Invalid`] with all invalid fields; [`Error::NotFound`] if the guard does not exist;
/// [`Error::Tenancy`].
pub async fn create(
    tenancy: &Tenancy,
    slug: &Slug,
    guard_id: Uuid,
    input: NewShift,
) -> Result<Shift, Error> {
    create_in(&tenancy.tenant(slug).await?, guard_id, input).await
}

/// [`create`] in the caller's scope.
///
/// # Errors
/// As for [`create`].
pub async fn create_in(
    scope: &impl TenantScope,
    guard_id: Uuid,
    mut input: NewShift,
) -> Result<Shift, Error> {
    input.check()?;
    let shift = ActiveModel {
        guard_id: Set(guard_id),
        starts_at: Set(input.starts_at.unwrap_or_default()),
        ends_at: Set(input.ends_at.unwrap_or_default()),
        ..Default::default()
    };
    shift.insert(scope).await.map_err(|error| match DbErrorKind::of(&error) {
        DbErrorKind::ForeignKey(name) if name == "shifts_guard_id_fkey" => {
            Error::NotFound { noun: "guard", id: guard_id }
        }
        _ => error.into(),
    })
}

/// The shift with this id.
///
/// # Errors
/// [`Error::Tenancy`].
pub async fn get(tenancy: &Tenancy, slug: &Slug, id: Uuid) -> Result<Option<Shift>, Error> {
    get_in(&tenancy.tenant(slug).await?, id).await
}

/// [`get`] in the caller's scope.
///
/// # Errors
/// As for [`get`].
pub async fn get_in(scope: &impl TenantScope, id: Uuid) -> Result<Option<Shift>, Error> {
    Ok(Entity::find_by_id(id).one(scope).await?)
}

/// A page of shifts, ordered by id.
///
/// # Errors
/// [`Error::Tenancy`].
pub async fn list(
    tenancy: &Tenancy,
    slug: &Slug,
    filter: &Filter,
    page: PageRequest,
) -> Result<Page<Shift>, Error> {
    list_in(&tenancy.tenant(slug).await?, filter, page).await
}

/// [`list`] in the caller's scope.
///
/// # Errors
/// As for [`list`].
pub async fn list_in(
    scope: &impl TenantScope,
    filter: &Filter,
    page: PageRequest,
) -> Result<Page<Shift>, Error> {
    Ok(page::fetch(scope, filter.select(), Column::Id, page, |shift| shift.id).await?)
}

/// Number of shifts.
///
/// # Errors
/// [`Error::Tenancy`].
pub async fn count(tenancy: &Tenancy, slug: &Slug, filter: &Filter) -> Result<u64, Error> {
    count_in(&tenancy.tenant(slug).await?, filter).await
}

/// [`count`] in the caller's scope.
///
/// # Errors
/// As for [`count`].
pub async fn count_in(scope: &impl TenantScope, filter: &Filter) -> Result<u64, Error> {
    Ok(filter.select().count(scope).await?)
}

/// Changes a shift and returns it.
///
/// # Errors
/// [`Error::Invalid`] with all invalid fields, [`Error::NotFound`], [`Error::Tenancy`].
pub async fn update(
    tenancy: &Tenancy,
    slug: &Slug,
    id: Uuid,
    change: ShiftChange,
) -> Result<Shift, Error> {
    update_in(&tenancy.tenant(slug).await?, id, change).await
}

/// [`update`] in the caller's scope.
///
/// # Errors
/// As for [`update`].
pub async fn update_in(
    scope: &impl TenantScope,
    id: Uuid,
    mut change: ShiftChange,
) -> Result<Shift, Error> {
    change.check()?;
    // The rules apply to both times, so the row is locked while the unchanged one is read.
    let txn = scope.begin().await?;
    let shift = Entity::find_by_id(id).lock_exclusive().one(&txn).await?;
    let shift = shift.ok_or(Error::NotFound { noun: "shift", id })?;
    if change == ShiftChange::default() {
        return Ok(shift);
    }
    let starts_at = change.starts_at.unwrap_or(shift.starts_at);
    let ends_at = change.ends_at.unwrap_or(shift.ends_at);
    rules(Some(starts_at), Some(ends_at))?;
    let mut shift = shift.into_active_model();
    shift.starts_at = Set(starts_at);
    shift.ends_at = Set(ends_at);
    let shift = shift.update(&txn).await?;
    txn.commit().await?;
    Ok(shift)
}

/// Deletes a shift.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Tenancy`].
pub async fn delete(tenancy: &Tenancy, slug: &Slug, id: Uuid) -> Result<(), Error> {
    delete_in(&tenancy.tenant(slug).await?, id).await
}

/// [`delete`] in the caller's scope.
///
/// # Errors
/// As for [`delete`].
pub async fn delete_in(scope: &impl TenantScope, id: Uuid) -> Result<(), Error> {
    match Entity::delete_by_id(id).exec(scope).await?.rows_affected {
        0 => Err(Error::NotFound { noun: "shift", id }),
        _ => Ok(()),
    }
}

/// Both times are in range, and a shift ends after it starts, by 24 hours at most.
fn rules(
    starts_at: Option<DateTime<Utc>>,
    ends_at: Option<DateTime<Utc>>,
) -> Result<(), ValidationErrors> {
    let mut errors = ValidationErrors::new();
    for (field, at) in [("starts_at", starts_at), ("ends_at", ends_at)] {
        if at.is_some_and(|at| !(FIRST..=LAST).contains(&at)) {
            errors.add(field, failure("range", "must be in the years 0000 to 9999"));
        }
    }
    if let (Some(starts_at), Some(ends_at)) = (starts_at, ends_at) {
        if ends_at <= starts_at {
            errors.add("ends_at", failure("after_start", "must be later than starts_at"));
        } else if ends_at - starts_at > TimeDelta::hours(24) {
            errors.add("ends_at", failure("too_long", "must be at most 24 hours after starts_at"));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// A time has no empty value, so `null` is an error of deserialization.
fn not_null<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    DateTime::deserialize(input).map(Some)
}

/// The nearest time that a shift can have, for comparisons.
fn storable(at: DateTime<Utc>) -> DateTime<Utc> {
    microseconds(at).clamp(FIRST, LAST)
}

impl Filter {
    fn select(&self) -> Select<Entity> {
        let mut select = Entity::find();
        if let Some(guard_id) = self.guard_id {
            select = select.filter(Column::GuardId.eq(guard_id));
        }
        if let Some(from) = self.from.map(storable) {
            select = select.filter(Column::EndsAt.gt(from));
        }
        if let Some(until) = self.until.map(storable) {
            select = select.filter(Column::StartsAt.lt(until));
        }
        select
    }
}
