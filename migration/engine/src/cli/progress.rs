//! Output during a run: lines or a progress bar, or a JSON line for each tenant.

use std::{
    fmt,
    io::{self, IsTerminal},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tenantry_registry::Slug;

use super::{
    failure_groups::Failure,
    hint::with_hint,
    names::CommandNames,
    summary::{RunRequest, RunStats},
    terminal::{
        Progress, counting_bar, print_error, print_json_line, print_text, show_failures,
        show_progress,
    },
};
use crate::{Error, Event, FleetTenant, MigrationOutcome, StopReason, Summary};

/// With more tenants, a terminal shows the bar but no line for each tenant.
const MAX_LINES_WITH_BAR: usize = 20;

/// How many failures with the same cause are printed above the bar, which counts all.
const MAX_SAME_CAUSE: usize = 3;

const COMMITTED_EACH: &str = "committed after each migration, as PostgreSQL refuses them in one \
    transaction (SQLSTATE 55P04 or 55006)";

/// How a schema is called in the output: its tenant's slug, or its name.
pub(super) struct TenantLabel<'a> {
    pub(super) tenant: Option<&'a Slug>,
    pub(super) schema: &'a str,
}

/// A line of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum JsonEvent<'a> {
    Done {
        tenant: Option<&'a str>,
        schema: &'a str,
        applied: &'a [String],
        rolled_back: &'a [String],
        /// Whether each migration was committed separately.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        committed_each: bool,
        ms: u128,
    },
    Failed {
        tenant: Option<&'a str>,
        schema: &'a str,
        migration: Option<&'a str>,
        sqlstate: Option<String>,
        message: String,
    },
    Summary {
        done: usize,
        skipped: usize,
        failed: usize,
        not_started: usize,
        stopped: Option<StopReason>,
        p50_ms: Option<u128>,
        p95_ms: Option<u128>,
        max_ms: Option<u128>,
        seconds: f64,
    },
}

pub(super) struct RunReporter {
    json: bool,
    /// The label, if the run has a single schema.
    single: Option<String>,
    names: CommandNames,
    state: Mutex<State>,
}

struct State {
    stats: RunStats,
    total: usize,
    bar: Option<Progress>,
}

impl RunReporter {
    pub(super) fn new(
        json: bool,
        single: Option<String>,
        canaries: bool,
        names: CommandNames,
    ) -> Self {
        let state = State { stats: RunStats::new(canaries), total: 0, bar: None };
        Self { json, single, names, state: Mutex::new(state) }
    }

    pub(super) fn event(&self, event: &Event<'_>) {
        match event {
            Event::Planned { total } => self.planned(*total),
            Event::CanariesDone => self.state().stats.canaries_done(),
            Event::Done { tenant, outcome, took } => {
                self.done(&TenantLabel::of(tenant), outcome, *took);
            }
            Event::Failed { tenant, error } => self.failed(&TenantLabel::of(tenant), error),
        }
    }

    fn planned(&self, total: usize) {
        let mut state = self.state();
        state.total = total;
        match &state.bar {
            Some(bar) => bar.set_length(total as u64),
            None if total > 1 && !self.json && io::stderr().is_terminal() => {
                state.bar = Some(show_progress(counting_bar(total)));
            }
            None => {}
        }
    }

    pub(super) fn done(&self, name: &TenantLabel<'_>, outcome: &MigrationOutcome, took: Duration) {
        let mut state = self.state();
        if !outcome.changed() {
            state.stats.skipped();
        } else {
            state.stats.done(took);
            if self.json {
                print_json_line(&JsonEvent::Done {
                    tenant: name.tenant.map(Slug::as_str),
                    schema: name.schema,
                    applied: &outcome.applied,
                    rolled_back: &outcome.rolled_back,
                    committed_each: outcome.committed_each,
                    ms: took.as_millis(),
                });
            } else if state.bar.is_none()
                || state.total <= MAX_LINES_WITH_BAR
                || !io::stdout().is_terminal()
            {
                let back =
                    outcome.rolled_back.iter().map(|it| format!("{name}: rolled back {it}\n"));
                let on = outcome.applied.iter().map(|it| format!("{name}: applied {it}\n"));
                let each = outcome.committed_each.then(|| format!("{name}: {COMMITTED_EACH}\n"));
                print_text(&back.chain(on).chain(each).collect::<String>());
            }
        }
        state.advance();
    }

    pub(super) fn failed(&self, name: &TenantLabel<'_>, error: &Error) {
        let mut state = self.state();
        let same = state.stats.failed(&Failure {
            tenant: &name.to_string(),
            schema: name.schema,
            migration: error.migration(),
            sqlstate: error.sqlstate().as_deref(),
            message: &error.reason(),
        });
        if self.json {
            print_json_line(&JsonEvent::Failed {
                tenant: name.tenant.map(Slug::as_str),
                schema: name.schema,
                migration: error.migration(),
                sqlstate: error.sqlstate(),
                message: error.reason(),
            });
        } else if state.bar.is_none() || same <= MAX_SAME_CAUSE {
            print_error(format_args!("{name}: {}", with_hint(error, &self.names)));
        }
        state.advance();
    }

    /// Prints the summary. `summary` is `None` if the run itself failed.
    pub(super) fn finish(self, summary: Option<Summary>, request: &RunRequest<'_>) {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.bar = None;
        let stats = &mut state.stats;
        let ended = stats.summary();
        if summary.is_none() && ended == Summary::default() {
            return;
        }
        let summary = summary.unwrap_or(ended);
        match &self.single {
            _ if self.json => {
                let Summary { done, skipped, failed, not_started, stopped } = summary;
                let [p50_ms, p95_ms, max_ms] =
                    stats.percentiles().map(|time| time.map(|time| time.as_millis()));
                let seconds = stats.elapsed().as_millis() as f64 / 1000.0;
                print_json_line(&JsonEvent::Summary {
                    done,
                    skipped,
                    failed,
                    not_started,
                    stopped,
                    p50_ms,
                    p95_ms,
                    max_ms,
                    seconds,
                });
            }
            Some(name) if summary.not_started == 0 => {
                if summary.done + summary.failed == 0 {
                    print_text(&format!("{name}: nothing to do\n"));
                }
            }
            _ => {
                let mut report = Vec::new();
                let _ = stats.write(&mut report, &summary, request);
                print_text(&String::from_utf8_lossy(&report));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn advance(&self) {
        if let Some(bar) = &self.bar {
            show_failures(bar, self.stats.summary().failed, "failed");
            bar.inc(1);
        }
    }
}

impl<'a> TenantLabel<'a> {
    fn of(member: &'a FleetTenant) -> Self {
        Self { tenant: member.slug.as_ref(), schema: member.schema.as_str() }
    }
}

impl fmt::Display for TenantLabel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tenant.map_or(self.schema, Slug::as_str))
    }
}
