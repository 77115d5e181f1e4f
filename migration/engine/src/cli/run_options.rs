//! Options of a run.

use std::time::Duration;

use clap::Args;

use crate::{Canary, FailureLimit, FleetOptions, Timeouts};

/// Options of `up`, `down`, `to`, `redo` and `fresh`.
#[derive(Debug, Clone, Args)]
pub(super) struct RunOptions {
    /// Print the SQL and change nothing; for several tenants, once for each version they are at.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print a JSON line for each tenant, and a last one with the summary.
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) json: bool,
    /// Lock timeout (fractions allowed; 0 disables it). A migration waits at most a tenth of a second
    /// at a time, so that the tenant's queries do not queue behind it; with 0 it waits in the queue.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds, allow_negative_numbers = true)]
    lock_timeout: Duration,
    /// How long statements such as CREATE INDEX CONCURRENTLY wait for older transactions to end
    /// (fractions allowed; 0 disables the timeout).
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds, allow_negative_numbers = true)]
    snapshot_timeout: Duration,
    /// Statement timeout (fractions allowed; 0 disables it).
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds, allow_negative_numbers = true)]
    statement_timeout: Duration,
    /// Tenants to migrate in parallel [default: twice the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    jobs: Option<u16>,
    /// Stop starting tenants after this many failures, such as 5 or 1% [default: no limit].
    #[arg(long, value_name = "N|P%", value_parser = limit, allow_negative_numbers = true)]
    pub(super) max_failures: Option<FailureLimit>,
    /// Migrate the N oldest tenants first, and no other if one of them fails.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with_all = ["canary_tag", "schema", "registry", "shared"]
    )]
    canary: Option<u32>,
    /// Migrate tenants with this tag (in the array `tags` of their metadata) first, and no other if
    /// one of them fails.
    #[arg(
        long,
        value_name = "TAG",
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
        conflicts_with_all = ["schema", "registry", "shared"]
    )]
    canary_tag: Option<String>,
}

impl RunOptions {
    pub(super) fn fleet(&self) -> FleetOptions {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let number = self.canary.map(|number| Canary::Number(number as usize));
        FleetOptions {
            jobs: self.jobs.map_or(2 * cores, usize::from),
            timeouts: Timeouts {
                lock: Some(self.lock_timeout),
                snapshot: Some(self.snapshot_timeout),
                statement: Some(self.statement_timeout),
            },
            max_failures: self.max_failures,
            canary: number.or_else(|| self.canary_tag.clone().map(Canary::Tag)),
            ..FleetOptions::default()
        }
    }
}

/// Parses a timeout in seconds, with fractions; 0 disables it. PostgreSQL stores milliseconds, so a
/// shorter timeout would disable it, too.
///
/// # Errors
/// The reason, and an example.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let refuse = |reason| Err(format!("{reason}; use seconds such as 2 or 0.5, or 0 for no limit"));
    let Ok(seconds) = text.parse::<f64>() else { return refuse("not a number") };
    if seconds.is_nan() || seconds < 0.0 || seconds > f64::from(i32::MAX / 1000) {
        return refuse("not between 0 and 2147483");
    }
    let milliseconds = (seconds * 1000.0).round() as u64;
    if milliseconds == 0 && seconds > 0.0 {
        return refuse("less than a millisecond");
    }
    Ok(Duration::from_millis(milliseconds))
}

fn limit(text: &str) -> Result<FailureLimit, String> {
    let refuse =
        || Err("use a positive number of tenants such as 5, or a percentage such as 1%".to_owned());
    match text.strip_suffix('%') {
        Some(share) => match share.trim_end().parse::<f64>() {
            Ok(share) if share > 0.0 && share <= 100.0 => Ok(FailureLimit::Percent(share)),
            _ => refuse(),
        },
        None => match text.parse::<usize>() {
            Ok(number) if number > 0 => Ok(FailureLimit::Number(number)),
            _ => refuse(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{limit, seconds};
    use crate::FailureLimit;

    #[test]
    fn accepts_seconds_that_postgresql_can_store() {
        for (text, milliseconds) in [("0", 0), ("2", 2000), ("0.5", 500), ("0.001", 1)] {
            assert_eq!(seconds(text).unwrap().as_millis(), milliseconds, "{text}");
        }
        for text in ["", "x", "-1", "0.0001", "NaN", "inf", "2147484", "1s"] {
            seconds(text).unwrap_err();
        }
    }

    #[test]
    fn accepts_a_number_or_a_percentage() {
        assert_eq!(limit("5").unwrap(), FailureLimit::Number(5));
        assert_eq!(limit("0.5%").unwrap(), FailureLimit::Percent(0.5));
        for text in ["", "0", "0%", "-1", "101%", "NaN%", "%", "five", "1.5"] {
            limit(text).unwrap_err();
        }
    }
}
