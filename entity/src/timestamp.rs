use chrono::{DateTime, SubsecRound, Utc};

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
