//! `tenantry tenant import`: many tenants out of a file.
//!
//! The file is read by a thread of its own, a few lines ahead of the tasks that create the
//! tenants, so that its length does not matter. Every tenant is created in a transaction of its
//! own: what is cut off is done when the command is run again, and what is there already is left
//! alone.

mod args;
mod create;
mod csv;
mod duplicates;
mod jsonl;
mod newlines;
mod report;
mod row;
mod source;

use std::{io, process::ExitCode, thread};

use local_postgres::Access;
use tenantry::{NewTenant, Tenancy};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
};

pub(super) use args::ImportArgs;
pub(super) use csv::HeaderError;

use tenantry_migrate::TenantMigrator;

use super::{
    args::TenancyArgs,
    connect::{connect_tenancy, user},
    error::Error,
};
use create::{Outcome, create_with_retry};
use duplicates::Duplicates;
use report::{ImportSummary, Report};
use row::{LineRef, Row};
use source::Source;

/// A line, and the tenant to be made of it or why there can be none.
type Checked = io::Result<(LineRef, Result<NewTenant, String>)>;

/// Exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Creates the tenants of a file. The status is 0 when all are there, 1 when a line was refused.
pub(super) async fn run<M: TenantMigrator + Clone + 'static>(
    args: &TenancyArgs,
    import: &ImportArgs,
    migrator: &M,
) -> Result<ExitCode, Error> {
    // First, so that a file that cannot be read starts nothing.
    let Source { path, size, rows } = Source::open(import)?;
    let mut args = args.clone();
    if import.dry_run {
        // They would be made at once.
        args.spares = 0;
    }
    let connected = connect_tenancy(&args, Access::Shared, user(), migrator).await?;
    let report = Report::new(import.json, import.dry_run, size);
    let jobs = import.jobs(args.max_connections);
    let mut crew = Crew::new(connected.tenancy.clone(), jobs, import.dry_run, report);
    let interrupted = crew.work(read(rows, jobs)).await?;
    connected.tenancy.close().await;
    let ImportSummary { refused, .. } = crew.report.finish();
    if let Some(source) = crew.unreadable {
        return Err(Error::File { path, source });
    }
    if let Some(source) = crew.gone {
        return Err(Error::Gone(source));
    }
    Ok(match (interrupted, refused) {
        (true, _) => ExitCode::from(INTERRUPTED),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}

/// Reads and checks line after line, a few ahead of who takes them.
fn read(
    rows: impl Iterator<Item = io::Result<Row>> + Send + 'static,
    ahead: usize,
) -> mpsc::Receiver<Checked> {
    let (sender, lines) = mpsc::channel(ahead);
    // Not one of the runtime's threads: those are waited for at the end, and this one may be
    // waiting for a line to be typed.
    thread::spawn(move || {
        let mut duplicates = Duplicates::default();
        for row in rows {
            let line = row.map(|row| row.check(&mut duplicates));
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    lines
}

/// Those who create the tenants.
struct Crew {
    tenancy: Tenancy,
    jobs: usize,
    dry_run: bool,
    report: Report,
    in_hand: JoinSet<(LineRef, Outcome)>,
    stop: watch::Sender<bool>,
    /// The file could not be read to its end.
    unreadable: Option<io::Error>,
    /// The database went away.
    gone: Option<tenantry::Error>,
}

impl Crew {
    fn new(tenancy: Tenancy, jobs: usize, dry_run: bool, report: Report) -> Self {
        let (in_hand, stop) = (JoinSet::new(), watch::Sender::new(false));
        Self { tenancy, jobs, dry_run, report, in_hand, stop, unreadable: None, gone: None }
    }

    /// Takes lines until there are no more or something says to stop, and finishes those that it
    /// has taken. Tells whether it was Ctrl-C that said so; the second one ends the program.
    async fn work(&mut self, mut lines: mpsc::Receiver<Checked>) -> io::Result<bool> {
        let mut interrupts = signal(SignalKind::interrupt())?;
        let (mut interrupted, mut at_end) = (false, false);
        loop {
            let takes = !at_end && !*self.stop.borrow();
            if !takes && self.in_hand.is_empty() {
                return Ok(interrupted);
            }
            tokio::select! {
                _ = interrupts.recv() => {
                    if interrupted {
                        std::process::exit(INTERRUPTED.into());
                    }
                    interrupted = true;
                    self.report.interrupted();
                    self.stop.send_replace(true);
                }
                Some(done) = self.in_hand.join_next() => match done {
                    Ok((place, outcome)) => self.note(&place, outcome),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                line = lines.recv(), if takes && self.in_hand.len() < self.jobs => match line {
                    Some(Ok((place, Ok(tenant)))) => self.begin(place, tenant),
                    Some(Ok((place, Err(reason)))) => self.note(&place, Outcome::Refused(reason)),
                    Some(Err(error)) => (self.unreadable, at_end) = (Some(error), true),
                    None => at_end = true,
                },
            }
        }
    }

    fn begin(&mut self, place: LineRef, tenant: NewTenant) {
        let (tenancy, dry_run, stop) = (self.tenancy.clone(), self.dry_run, self.stop.subscribe());
        self.in_hand.spawn(async move {
            let outcome = create_with_retry(&tenancy, &tenant, dry_run, stop).await;
            (place, outcome)
        });
    }

    fn note(&mut self, place: &LineRef, outcome: Outcome) {
        match outcome {
            Outcome::Created => self.report.created(),
            Outcome::AlreadyExists => self.report.already_existed(),
            Outcome::Refused(reason) => {
                self.report.refused(place.line, place.slug.as_deref(), &reason);
            }
            Outcome::Cancelled => return,
            Outcome::DatabaseLost(error) => {
                self.gone.get_or_insert(error);
                self.stop.send_replace(true);
                return;
            }
        }
        self.report.progress(place.end);
    }
}
