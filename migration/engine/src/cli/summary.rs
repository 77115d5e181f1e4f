//! The summary of a run.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use super::{
    failure_groups::{Failure, FailureGroups},
    format::{format_count, format_duration, join_truncated, plural},
    names::CommandNames,
};
use crate::{Action, StopReason, Summary, TenantSelection};

/// Counts and durations of a run.
pub(super) struct RunStats {
    started: Instant,
    /// Duration of each tenant that was changed.
    took: Vec<Duration>,
    skipped: usize,
    failed: usize,
    groups: FailureGroups,
    /// Canaries that failed; `None` once all canaries have succeeded.
    canaries: Option<Vec<String>>,
}

/// The command, as far as the summary depends on it.
pub(super) struct RunRequest<'a> {
    pub(super) action: &'a Action,
    /// `None` for a schema given by name.
    pub(super) who: Option<&'a TenantSelection>,
    pub(super) names: &'a CommandNames,
}

impl RunStats {
    pub(super) fn new(canaries: bool) -> Self {
        Self {
            started: Instant::now(),
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

    /// Returns the number of failures with the same cause so far.
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

    /// The counts so far, without tenants that had nothing to do from the start.
    pub(super) fn summary(&self) -> Summary {
        Summary {
            done: self.took.len(),
            skipped: self.skipped,
            failed: self.failed,
            ..Summary::default()
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Writes the summary: counts, durations, failures by cause and what to do next.
    pub(super) fn write(
        &mut self,
        out: &mut impl Write,
        summary: &Summary,
        request: &RunRequest<'_>,
    ) -> io::Result<()> {
        let Summary { skipped, done, failed, not_started, .. } = *summary;
        if done + failed + not_started == 0 && summary.stopped.is_none() {
            return match (request.who, skipped) {
                (Some(TenantSelection::LastMigrationFailed), 0) => {
                    writeln!(out, "No tenant's last migration failed.")
                }
                (_, 0) => writeln!(out, "No tenants."),
                (_, n) => writeln!(out, "Nothing to do for {}.", plural(n, "tenant")),
            };
        }
        let [changed, unchanged] = match request.action {
            Action::Up(_) | Action::To(_) => ["migrated", "up to date"],
            Action::Down(_) => ["rolled back", "unchanged"],
            Action::Redo | Action::Fresh { .. } => ["changed", "unchanged"],
        };
        let [done, skipped, failed, not_started] =
            [done, skipped, failed, not_started].map(format_count);
        let took = format_duration(self.elapsed());
        write!(
            out,
            "{done} {changed}, {skipped} {unchanged}, {failed} failed, {not_started} not started in {took}"
        )?;
        if let [Some(p50), Some(p95), Some(max)] = self.percentiles() {
            let [p50, p95, max] = [p50, p95, max].map(format_duration);
            write!(out, "; per tenant p50 {p50}, p95 {p95}, max {max}")?;
        }
        writeln!(out)?;
        self.groups.write(out)?;
        self.write_next(out, summary, request)
    }

    /// Writes why the run stopped early, and what to do next.
    fn write_next(
        &self,
        out: &mut impl Write,
        summary: &Summary,
        request: &RunRequest<'_>,
    ) -> io::Result<()> {
        let not_started = summary.not_started;
        let reason = match summary.stopped {
            Some(StopReason::Interrupted) => "Interrupted".to_owned(),
            Some(StopReason::Canary) => {
                let canaries = self.canaries.as_deref().unwrap_or_default();
                let plural = if canaries.len() == 1 { "Canary" } else { "Canaries" };
                let names = join_truncated(canaries.iter().map(String::as_str), canaries.len());
                format!("{plural} {names} failed")
            }
            Some(StopReason::MaxFailures) => "Too many failures (--max-failures)".to_owned(),
            Some(StopReason::Unavailable) => "Server unavailable".to_owned(),
            Some(StopReason::Privilege) => "Missing privilege".to_owned(),
            None => String::new(),
        };
        let always = matches!(summary.stopped, Some(StopReason::Interrupted | StopReason::Canary));
        if !reason.is_empty() && (not_started > 0 || always) {
            writeln!(out, "{reason}: {} not started.", plural(not_started, "tenant"))?;
        }
        let repeatable = matches!(request.action, Action::Up(None) | Action::To(_));
        let fleet = matches!(
            request.who,
            Some(TenantSelection::All | TenantSelection::LastMigrationFailed)
        );
        match (self.failed > 0, not_started > 0) {
            (false, false) => Ok(()),
            (false, true) if repeatable => writeln!(out, "Rerun the command to continue."),
            (true, true) if repeatable => {
                writeln!(out, "Fix the cause, then rerun the command.")
            }
            (true, _) if fleet => writeln!(out, "Fix the cause, then rerun with --only-failed."),
            (true, false) => {
                writeln!(out, "Fix the cause, then rerun the command for the failed tenants.")
            }
            (_, true) => {
                let done = plural(summary.done, "tenant");
                let again = match request.action {
                    Action::Down(_) => format!("roll back {done}"),
                    _ => format!("change {done}"),
                };
                writeln!(
                    out,
                    "Running the command again would {again} once more; `{}` shows the version of \
                     each tenant.",
                    request.names.migration("status")
                )
            }
        }
    }

    /// Median, 95th percentile (nearest rank) and maximum.
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
    fn percentiles_use_the_nearest_rank() {
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
