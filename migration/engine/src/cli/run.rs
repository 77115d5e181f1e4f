//! Carrying out an action, on one schema or on many tenants.

use std::{
    convert::Infallible,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use sea_orm::DatabaseConnection;

use super::{
    args::RunArgs,
    data_loss,
    progress::{RunReporter, TenantLabel},
    summary::RunRequest,
    targets,
    terminal::print_error,
};
use crate::{
    Action, DynMigrator, Event, FleetOptions, StopReason, Summary, Target, TenantSelection,
    fleet_tenants, run, run_fleet,
};

/// Exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// What to do, and by which migrators.
pub(super) struct Job<'a> {
    pub(super) db: &'a DatabaseConnection,
    pub(super) action: &'a Action,
    pub(super) args: &'a RunArgs,
    /// Whether data may be deleted without asking.
    pub(super) confirmed: bool,
}

impl Job<'_> {
    /// Works on one schema. The first Ctrl-C still finishes it.
    pub(super) async fn on_schema(
        &self,
        target: &Target,
        migrator: &DynMigrator,
        fleet: &FleetOptions,
    ) -> Result<ExitCode, Box<dyn std::error::Error>> {
        if matches!(self.action, Action::Fresh { .. }) && !self.confirmed {
            targets::confirm_fresh(&[target.name()])?;
        }
        let name = TenantLabel { tenant: None, schema: target.name() };
        let reporter = RunReporter::new(self.args.options.json, Some(name.to_string()), false);
        let begun = Instant::now();
        let stop = AtomicBool::new(false);
        let running = run(self.db, target, migrator, self.action, fleet.timeouts);
        let result = finished(running, &stop).await;
        match &result {
            Ok(outcome) => reporter.done(&name, outcome, begun.elapsed()),
            Err(error) => reporter.failed(&name, error),
        }
        reporter.finish(None, &RunRequest { action: self.action, who: None });
        Ok(if stop.load(Ordering::SeqCst) {
            ExitCode::from(INTERRUPTED)
        } else if result.is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// Works on tenants. The first Ctrl-C finishes what is in hand.
    pub(super) async fn on_tenants(
        &self,
        mut who: TenantSelection,
        migrator: &DynMigrator,
        fleet: &FleetOptions,
    ) -> Result<ExitCode, Box<dyn std::error::Error>> {
        if matches!(self.action, Action::Fresh { .. }) && !self.confirmed {
            // Exactly those that were shown, whoever comes meanwhile.
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
        let reporter = RunReporter::new(self.args.options.json, single, fleet.canary.is_some());
        let tell = |event: &Event<'_>| reporter.event(event);
        let running = run_fleet(self.db, migrator, &who, self.action, fleet, &stop, tell);
        let result = finished(running, &stop).await;
        reporter.finish(
            result.as_ref().ok().copied(),
            &RunRequest { action: self.action, who: Some(&who) },
        );
        Ok(match result? {
            Summary { stopped: Some(StopReason::Interrupted), .. } => ExitCode::from(INTERRUPTED),
            Summary { failed: 0, not_started: 0, .. } => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

/// Waits for `work`, also after the first Ctrl-C, which sets `stop`.
async fn finished<T>(work: impl Future<Output = T>, stop: &AtomicBool) -> T {
    tokio::select! {
        done = work => done,
        never = interrupted(stop) => match never {},
    }
}

/// Sets `stop` at the first Ctrl-C and ends the program at the second.
async fn interrupted(stop: &AtomicBool) -> Infallible {
    loop {
        // Without a handler Ctrl-C ends the program, which loses nothing either.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        if stop.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED.into());
        }
        print_error(&"stopping: finishing what is in hand; once more to end at once");
    }
}
