use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::{self, NotSet},
    Set,
};
use uuid::Uuid;

/// The current time as PostgreSQL stores it: UTC, whole microseconds.
///
/// `timestamptz` has a resolution of one microsecond (PostgreSQL manual, 8.5). Truncating it
/// here makes a written value equal to the one that is read back.
///
/// ```
/// use chrono::Timelike;
/// assert_eq!(tenantry_registry::now().nanosecond() % 1_000, 0);
/// ```
#[must_use]
pub fn now() -> DateTime<Utc> {
    microseconds(Utc::now())
}

/// A time as PostgreSQL stores it: whole microseconds, without leap seconds.
///
/// chrono distinguishes a leap second from the second after it, PostgreSQL does not.
///
/// ```
/// let moment = |text: &str| tenantry_registry::microseconds(text.parse().unwrap());
/// assert_eq!(moment("2016-12-31T23:59:60Z"), moment("2017-01-01T00:00:00Z"));
/// assert_eq!(moment("2016-12-31T23:59:59.0000019Z"), moment("2016-12-31T23:59:59.000001Z"));
/// ```
#[must_use]
pub fn microseconds(at: DateTime<Utc>) -> DateTime<Utc> {
    // Every time of chrono has microseconds, so the fallback is not used.
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

/// Sets the columns that all tables of a tenant share, before a row is saved: an id of version 7 and
/// both timestamps on insert, `updated_at` on update.
pub fn stamp(
    id: &mut ActiveValue<Uuid>,
    inserted_at: &mut ActiveValue<DateTime<Utc>>,
    updated_at: &mut ActiveValue<DateTime<Utc>>,
    insert: bool,
) {
    let now = now();
    if insert {
        if id.is_not_set() {
            *id = Set(Uuid::now_v7());
        }
        *inserted_at = Set(now);
    } else {
        *inserted_at = NotSet;
    }
    *updated_at = Set(now);
}
