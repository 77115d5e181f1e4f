//! What a run has come to, summed up at its end.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use super::{
    failure_groups::{Failure, FailureGroups},
    format::{format_count, format_duration, format_tenants, join_truncated},
};
use crate::{Action, StopReason, Summary, TenantSelection};

/// What has happened so far.
pub(super) struct RunStats {
    begun: Instant,
    /// How long each took that was migrated.
    took: Vec<Duration>,
    skipped: usize,
    failed: usize,
    groups: FailureGroups,
    /// Canaries that failed; none once they are through.
    canaries: Option<Vec<String>>,
}

/// What was asked for, as far as it matters for what to do next.
pub(super) struct RunRequest<'a> {
    pub(super) action: &'a Action,
    /// The tenants; none for a schema that was named as such.
    pub(super) who: Option<&'a TenantSelection>,
}

impl RunStats {
    pub(super) fn new(canaries: bool) -> Self {
        Self {
            begun: Instant::now(),
            took: Vec::new(),
            skipped: 0,
            failed: 0,
            groups: FailureGroups::default(),
            canaries: canaries.then(Vec::new),
        }
    }

    pub(super) fn done(&mut self, took: Duration) {
        self.took.push(took);
    }

    pub(super) fn skipped(&mut self) {
        self.skipped += 1;
    }

    /// Returns how many have failed by now for the same cause.
    pub(super) fn failed(&mut self, failure: &Failure<'_>) -> usize {
        self.failed += 1;
        if let Some(canaries) = &mut self.canaries {
            canaries.push(failure.tenant.to_owned());
        }
        self.groups.add(failure)
    }

    pub(super) fn canaries_done(&mut self) {
        self.canaries = None;
    }

    /// The counts so far. Who had nothing to do from the start is not among them.
    pub(super) fn summary(&self) -> Summary {
        Summary {
            done: self.took.len(),
            skipped: self.skipped,
            failed: self.failed,
            ..Summary::default()
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The report for people.
    pub(super) fn write(
        &mut self,
        out: &mut impl Write,
        summary: &Summary,
        request: &RunRequest<'_>,
    ) -> io::Result<()> {
        let Summary { skipped, done, failed, not_started: left, .. } = *summary;
        if done + failed + left == 0 && summary.stopped.is_none() {
            return match (request.who, skipped) {
                (Some(TenantSelection::LastMigrationFailed), 0) => {
                    writeln!(out, "no tenant's last migration has failed")
                }
                (_, 0) => writeln!(out, "there are no tenants"),
                (_, 1) => writeln!(out, "nothing to do for the one tenant"),
                (_, n) => writeln!(out, "nothing to do for any of {}", format_tenants(n)),
            };
        }
        write!(
            out,
            "{} done, {} skipped, {} failed, {} not begun in {}",
            format_count(done),
            format_count(skipped),
            format_count(failed),
            format_count(left),
            format_duration(self.elapsed())
        )?;
        if let [Some(p50), Some(p95), Some(max)] = self.percentiles() {
            let [p50, p95, max] = [p50, p95, max].map(format_duration);
            write!(out, "; per tenant p50 {p50}, p95 {p95}, max {max}")?;
        }
        writeln!(out)?;
        self.groups.write(out)?;
        self.write_next(out, summary, request)
    }

    /// Why the run ended where it did, and how to go on.
    fn write_next(
        &self,
        out: &mut impl Write,
        summary: &Summary,
        request: &RunRequest<'_>,
    ) -> io::Result<()> {
        let left = summary.not_started;
        let why = match summary.stopped {
            Some(StopReason::Interrupted) => Some("interrupted".to_owned()),
            Some(StopReason::Canary) => {
                let canaries = self.canaries.as_deref().unwrap_or_default();
                let plural = if canaries.len() == 1 { "canary" } else { "canaries" };
                let names = join_truncated(canaries.iter().map(String::as_str), canaries.len());
                Some(format!("{plural} {names} failed"))
            }
            _ if left == 0 => None,
            Some(StopReason::MaxFailures) => Some("too many failed (--max-failures)".to_owned()),
            Some(StopReason::Unavailable) => Some("the server is away".to_owned()),
            Some(StopReason::Privilege) => Some("the role lacks a right".to_owned()),
            None => None,
        };
        if let Some(why) = why {
            writeln!(out, "{why}; {} not begun", format_count(left))?;
        }
        let repeatable = matches!(request.action, Action::Up(None) | Action::To(_));
        let fleet = matches!(
            request.who,
            Some(TenantSelection::All | TenantSelection::LastMigrationFailed)
        );
        let how = match (self.failed > 0, left > 0) {
            (false, false) => return Ok(()),
            (false, true) if repeatable => "run the command again",
            (true, true) if repeatable => "mend the cause, then run the command again",
            (true, _) if fleet => "mend the cause, then run the command with --only-failed",
            (true, false) => "mend the cause, then run the command again for those that failed",
            (_, true) => {
                "`migration status` tells who is where; run again, it would change the others too"
            }
        };
        writeln!(out, "to go on: {how}")
    }

    /// The median, the 95th percentile by nearest rank, and the most.
    pub(super) fn percentiles(&mut self) -> [Option<Duration>; 3] {
        self.took.sort_unstable();
        [50, 95, 100].map(|percent| {
            let rank = (self.took.len() * percent).div_ceil(100);
            self.took.get(rank.checked_sub(1)?).copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::RunStats;

    #[test]
    fn percentiles_are_times_that_some_tenant_took() {
        let milliseconds = |times: &[u64]| {
            let mut stats = RunStats::new(false);
            for time in times {
                stats.done(Duration::from_millis(*time));
            }
            stats.percentiles().map(|time| time.map(|time| time.as_millis()))
        };
        assert_eq!(milliseconds(&[]), [None; 3]);
        assert_eq!(milliseconds(&[7]), [Some(7); 3]);
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(milliseconds(&hundred), [Some(50), Some(95), Some(100)]);
    }
}
