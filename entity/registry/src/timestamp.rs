use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::{self, NotSet},
    Set,
};
use uuid::Uuid;

/// The time of day as PostgreSQL keeps it: UTC, whole microseconds.
///
/// `timestamptz` has a resolution of one microsecond (PostgreSQL manual, 8.5). Cutting the rest
/// off here makes a value that was written equal to the value that is read back.
///
/// ```
/// use chrono::Timelike;
/// assert_eq!(tenantry_registry::now().nanosecond() % 1_000, 0);
/// ```
#[must_use]
pub fn now() -> DateTime<Utc> {
    microseconds(Utc::now())
}

/// The same moment as PostgreSQL keeps it: whole microseconds, and without leap seconds.
///
/// RFC 3339 can write a leap second, and chrono keeps it apart from the second after it. For
/// PostgreSQL both are the same, so what chrono takes for earlier may be equal there.
///
/// ```
/// let moment = |text: &str| tenantry_registry::microseconds(text.parse().unwrap());
/// assert_eq!(moment("2016-12-31T23:59:60Z"), moment("2017-01-01T00:00:00Z"));
/// assert_eq!(moment("2016-12-31T23:59:59.0000019Z"), moment("2016-12-31T23:59:59.000001Z"));
/// ```
#[must_use]
pub fn microseconds(at: DateTime<Utc>) -> DateTime<Utc> {
    // There are that many for every moment that chrono knows.
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

/// What every row of a tenant gets before it is saved: an id of version 7 and both timestamps on
/// insert, a new `updated_at` and the old `inserted_at` on update.
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
