use chrono::{DateTime, SubsecRound, Utc};
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
/// assert_eq!(entity::now().nanosecond() % 1_000, 0);
/// ```
#[must_use]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// What every row of a tenant gets before it is saved: an id of version 7 and both timestamps on
/// insert, a new `updated_at` and the old `inserted_at` on update.
pub(crate) fn stamp(
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
