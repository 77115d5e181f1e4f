//! Times that an option gives as a period, such as 30d, or as a moment.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A number with its unit: days, hours, minutes or seconds.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    let unit = |unit: &str| match unit {
        "d" => Some(86_400),
        "h" => Some(3600),
        "m" => Some(60),
        "s" => Some(1),
        _ => None,
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    let number = number.parse::<u64>().ok();
    let seconds = match (number, rest) {
        (Some(0), "") => Some(0),
        (Some(number), rest) => unit(rest).and_then(|unit| number.checked_mul(unit)),
        (None, _) => None,
    };
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "use a number with d, h, m or s for its unit, such as 30d or 12h".to_owned())
}

/// A period before or after now, or a moment such as 2027-01-31T00:00:00Z.
pub(super) fn moment(
    text: &str,
    shift: impl FnOnce(DateTime<Utc>, TimeDelta) -> Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => Some(at.to_utc()),
        Err(_) => shift(Utc::now(), TimeDelta::from_std(period(text).ok()?).ok()?),
    }
}

#[cfg(test)]
mod tests {
    use tenantry::RenameOptions;

    use super::*;

    #[test]
    fn a_period_has_a_unit() {
        for (text, seconds) in [
            ("30d", Some(2_592_000)),
            ("12h", Some(43_200)),
            ("90m", Some(5400)),
            ("1s", Some(1)),
            ("0", Some(0)),
            ("0d", Some(0)),
            ("30", None),
            ("d", None),
            ("", None),
            ("-1d", None),
            ("1.5d", None),
            ("1 d", None),
            ("1w", None),
            ("99999999999999999999d", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(period(text).ok().map(|it| it.as_secs()), seconds, "{text:?}");
        }
        assert_eq!(period("90d"), Ok(RenameOptions::default().reserve_for));
    }
}
