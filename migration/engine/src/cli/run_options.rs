//! The options of a run.

use std::time::Duration;

use clap::Args;

use crate::{Canary, FailureLimit, FleetOptions, Timeouts};

/// How often a tenant is tried that is busy.
const TRIES: u32 = 5;

/// How long a server may be away.
const OUTAGE: Duration = Duration::from_secs(60);

/// How to carry out an action.
#[derive(Debug, Clone, Args)]
pub(super) struct RunOptions {
    /// Print the SQL and change nothing: of several tenants once for each version they start from.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Write a line of JSON for each tenant and a last one that sums up, for machines.
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) json: bool,
    /// How long to wait for a lock, a tenth of a second at a time, so that a busy tenant is not held
    /// up behind its migration; fractions are allowed, 0 waits without a limit and at one go.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds, allow_negative_numbers = true)]
    lock_timeout: Duration,
    /// How long CREATE INDEX CONCURRENTLY and the like wait until transactions have ended that are
    /// older than they are; fractions are allowed, 0 waits without a limit.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds, allow_negative_numbers = true)]
    snapshot_timeout: Duration,
    /// How long a statement may take; fractions are allowed, 0 is for ever.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds, allow_negative_numbers = true)]
    statement_timeout: Duration,
    /// Tenants to work on at the same time [default: twice the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    jobs: Option<u16>,
    /// Begin no more tenants after so many have failed, such as 5 or 1% [default: go on].
    #[arg(long, value_name = "N|P%", value_parser = limit, allow_negative_numbers = true)]
    pub(super) max_failures: Option<FailureLimit>,
    /// Begin with the N oldest tenants of the run; if one of them fails, begin no other.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with_all = ["canary_tag", "schema", "registry"]
    )]
    canary: Option<u32>,
    /// Begin with the tenants that have this tag in the array `tags` of their metadata; if one of
    /// them fails, begin no other.
    #[arg(
        long,
        value_name = "TAG",
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
        conflicts_with_all = ["schema", "registry"]
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
            max_attempts: TRIES,
            outage_timeout: OUTAGE,
            max_failures: self.max_failures,
            canary: number.or_else(|| self.canary_tag.clone().map(Canary::Tag)),
        }
    }
}

/// A timeout on the command line: seconds or a fraction of them, 0 for no limit. PostgreSQL keeps
/// it in milliseconds, and takes none of them for no limit.
///
/// # Errors
/// The rule that the text breaks, and how to write it.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let refuse = |rule| Err(format!("{rule}; write seconds such as 2 or 0.5, or 0 for no limit"));
    let Ok(seconds) = text.parse::<f64>() else { return refuse("it is not a number") };
    if seconds.is_nan() || seconds < 0.0 || seconds > f64::from(i32::MAX / 1000) {
        return refuse("it is not between 0 and 2147483");
    }
    let milliseconds = (seconds * 1000.0).round() as u64;
    if milliseconds == 0 && seconds > 0.0 {
        return refuse("it is less than a millisecond");
    }
    Ok(Duration::from_millis(milliseconds))
}

fn limit(text: &str) -> Result<FailureLimit, String> {
    let refuse = || {
        Err("write a number of tenants such as 5, or a share of them such as 1%, more than 0"
            .to_owned())
    };
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
    fn seconds_may_be_fractions_that_postgresql_can_keep() {
        for (text, milliseconds) in [("0", 0), ("2", 2000), ("0.5", 500), ("0.001", 1)] {
            assert_eq!(seconds(text).unwrap().as_millis(), milliseconds, "{text}");
        }
        for text in ["", "x", "-1", "0.0001", "NaN", "inf", "2147484", "1s"] {
            seconds(text).unwrap_err();
        }
    }

    #[test]
    fn a_limit_is_a_number_or_a_share() {
        assert_eq!(limit("5").unwrap(), FailureLimit::Number(5));
        assert_eq!(limit("0.5%").unwrap(), FailureLimit::Percent(0.5));
        for text in ["", "0", "0%", "-1", "101%", "NaN%", "%", "five", "1.5"] {
            limit(text).unwrap_err();
        }
    }
}
