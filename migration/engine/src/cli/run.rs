//! Runs an action on one schema or on many tenants.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use sea_orm::DatabaseConnection;

use super::{
    args::RunArgs,
    data_loss,
    names::CommandNames,
    progress::{RunReporter, TenantLabel},
    summary::RunRequest,
    targets,
    terminal::{INTERRUPTED, finish_or_abort, print_interrupted},
};
use crate::{
    Action, DynMigrator, Event, FleetOptions, StopReason, Summary, Target, TenantSelection,
    fleet_tenants, run, run_fleet,
};

/// A command that changes schemas.
pub(super) struct Job<'a> {
    pub(super) db: &'a DatabaseConnection,
    pub(super) action: &'a Action,
    pub(super) args: &'a RunArgs,
    /// Whether data may be deleted without a prompt.
    pub(super) confirmed: bool,
    pub(super) names: &'a CommandNames,
}

impl Job<'_> {
    /// Changes schemas, one after the other until one fails. After the first Ctrl-C the one in
    /// progress is still finished.
    pub(super) async fn on_schemas(
        &self,
        schemas: &[(Target, DynMigrator)],
        fleet: &FleetOptions,
    ) -> Result<ExitCode, Box<dyn std::error::Error>> {
        if matches!(self.action, Action::Fresh { .. }) && !self.confirmed {
            let names: Vec<&str> = schemas.iter().map(|(target, _)| target.name()).collect();
            targets::confirm_fresh(&names)?;
        }
        let request = RunRequest { action: self.action, who: None, names: self.names };
        let json = self.args.options.json;
        let (mut last, stop) = (None, AtomicBool::new(false));
        let mut code = ExitCode::SUCCESS;
        for (target, migrator) in schemas {
            let name = TenantLabel { tenant: None, schema: target.name() };
            let single = Some(name.to_string());
            // With --json there is one summary.
            let reporter = last
                .take()
                .unwrap_or_else(|| RunReporter::new(json, single, false, self.names.clone()));
            let started = Instant::now();
            let running = run(self.db, target, migrator, self.action, fleet.timeouts);
            let result = finish_or_abort(running, &stop, print_interrupted).await;
            match &result {
                Ok(outcome) => reporter.done(&name, outcome, started.elapsed()),
                Err(error) => reporter.failed(&name, error),
            }
            match json {
                true => last = Some(reporter),
                false => reporter.finish(None, &request),
            }
            if stop.load(Ordering::SeqCst) {
                code = ExitCode::from(INTERRUPTED);
                break;
            }
            if result.is_err() {
                code = ExitCode::FAILURE;
                break;
            }
        }
        if let Some(reporter) = last {
            reporter.finish(None, &request);
        }
        Ok(code)
    }

    /// Changes tenants. After the first Ctrl-C the tenants in progress are finished.
    pub(super) async fn on_tenants(
        &self,
        mut who: TenantSelection,
        migrator: &DynMigrator,
        fleet: &FleetOptions,
    ) -> Result<ExitCode, Box<dyn std::error::Error>> {
        if matches!(self.action, Action::Fresh { .. }) && !self.confirmed {
            // Exactly the tenants in the prompt, even if others are created meanwhile.
            let shown = fleet_tenants(self.db, &who).await?;
            if !shown.is_empty() {
                let schemas: Vec<&str> = shown.iter().map(|it| it.schema.as_str()).collect();
                targets::confirm_fresh(&schemas)?;
            }
            who = TenantSelection::Only(shown);
        } else if !self.confirmed
            && matches!(who, TenantSelection::All | TenantSelection::LastMigrationFailed)
        {
            let dropped = data_loss::dropped(self.db, &who, migrator, self.action).await?;
            if !dropped.is_empty() {
                targets::confirm_drops(&dropped)?;
            }
        }
        let stop = AtomicBool::new(false);
        let single = match &who {
            TenantSelection::Only(members) if members.len() == 1 => Some(members[0].to_string()),
            _ => None,
        };
        let (json, canaries) = (self.args.options.json, fleet.canary.is_some());
        let reporter = RunReporter::new(json, single, canaries, self.names.clone());
        let tell = |event: &Event<'_>| reporter.event(event);
        let running = run_fleet(self.db, migrator, &who, self.action, fleet, &stop, tell);
        let result = finish_or_abort(running, &stop, print_interrupted).await;
        reporter.finish(
            result.as_ref().ok().copied(),
            &RunRequest { action: self.action, who: Some(&who), names: self.names },
        );
        Ok(match result? {
            Summary { stopped: Some(StopReason::Interrupted), .. } => ExitCode::from(INTERRUPTED),
            Summary { failed: 0, not_started: 0, .. } => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}
