//! Numbers, times and names in the output of commands.

use std::time::Duration;

use indicatif::HumanCount;
use sea_orm::prelude::DateTimeUtc;

/// How many names a list shows; the rest is counted.
pub(super) const MAX_LISTED: usize = 10;

/// A number with commas: `12,345`.
#[must_use]
pub fn format_count(n: usize) -> HumanCount {
    HumanCount(n as u64)
}

/// A number of things: `1 tenant`, `12,345 tenants`.
#[must_use]
pub fn plural(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", format_count(n), if n == 1 { "" } else { "s" })
}

/// The first names of `all`: `a, b and 12 more`.
#[must_use]
pub fn join_truncated<'a>(names: impl Iterator<Item = &'a str>, all: usize) -> String {
    let shown: Vec<&str> = names.take(MAX_LISTED).collect();
    let names = shown.join(", ");
    match all - shown.len() {
        0 => names,
        more => format!("{names} and {} more", format_count(more)),
    }
}

/// A duration: `250 ms`, `21.4 s`, `3 min 20 s`.
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
    fn formats_durations_with_their_largest_units() {
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
    fn lists_the_first_ten_names() {
        let names = || (1..=12).map(|_| "a");
        assert_eq!(super::join_truncated(names().take(2), 2), "a, a");
        let text = super::join_truncated(names(), 1012);
        assert_eq!(text, "a, a, a, a, a, a, a, a, a, a and 1,002 more");
    }
}
