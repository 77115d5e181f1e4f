//! Numbers, times and names as people read them.

use std::time::Duration;

use indicatif::HumanCount;
use sea_orm::prelude::DateTimeUtc;

/// How many names are given before the rest is only counted.
pub(super) const MAX_LISTED: usize = 10;

/// A number with commas.
pub(super) fn format_count(n: usize) -> HumanCount {
    HumanCount(n as u64)
}

/// So many tenants.
pub(super) fn format_tenants(n: usize) -> String {
    format!("{} tenant{}", format_count(n), if n == 1 { "" } else { "s" })
}

/// The first names, and how many more there are of `all`.
pub(super) fn join_truncated<'a>(names: impl Iterator<Item = &'a str>, all: usize) -> String {
    let shown: Vec<&str> = names.take(MAX_LISTED).collect();
    let names = shown.join(", ");
    match all - shown.len() {
        0 => names,
        more => format!("{names} and {} more", format_count(more)),
    }
}

/// A time that something took.
pub(super) fn format_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        _ if time < Duration::from_secs(1) => format!("{} ms", time.as_millis()),
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A time, to the minute.
pub(super) fn format_timestamp(at: DateTimeUtc) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn times_are_as_exact_as_they_matter() {
        for (milliseconds, text) in [
            (0, "0 ms"),
            (250, "250 ms"),
            (21_430, "21.4 s"),
            (200_000, "3 min 20 s"),
            (3_900_000, "1 h 5 min"),
        ] {
            assert_eq!(super::format_duration(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn of_many_names_the_first_are_given() {
        let names = || (1..=12).map(|_| "a");
        assert_eq!(super::join_truncated(names().take(2), 2), "a, a");
        let text = super::join_truncated(names(), 1012);
        assert_eq!(text, "a, a, a, a, a, a, a, a, a, a and 1,002 more");
    }
}
