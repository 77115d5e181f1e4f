//! `tenant import`: creates the tenants of a file.
//!
//! A thread reads the file a few lines ahead of the tasks that create the tenants, so that the file
//! is never in memory as a whole. Each tenant is created in its own transaction, and a tenant that
//! exists already is left alone, so an import is resumed by running it again.

mod args;
mod create;
mod csv;
mod jsonl;
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

use tenantry_migrate::cli::terminal::INTERRUPTED;

use super::{
    connect::{Connector, user},
    error::Error,
    options::TenancyArgs,
    outcome::Outcome,
    transfer,
};
use create::create_with_retry;
use report::{ImportSummary, Report};
use row::{Duplicates, LineRef, Row};
use source::Source;

/// A line, and the tenant to create or the reason why there is none.
type Checked = io::Result<(LineRef, Result<NewTenant, String>)>;

/// Creates the tenants of a file. The status is 0 if all exist, 1 if a line was rejected.
pub(super) async fn run(
    args: &TenancyArgs,
    import: &ImportArgs,
    connector: Connector,
) -> Result<ExitCode, Error> {
    if let Some((slug, domains)) = import.export()? {
        return transfer::import(args, (&import.file, slug, domains), import.json, connector).await;
    }
    // First, so that no server is started for a file that cannot be read.
    let Source { path, size, rows } = Source::open(import)?;
    let mut args = args.clone();
    if import.dry_run {
        // A dry run changes nothing, so it creates no spares.
        args.spares = 0;
    }
    let connected = connector.connect(&args, Access::Shared, user()).await?;
    let report = Report::new(import.json, import.dry_run, size);
    let jobs = import.jobs(args.max_connections);
    let mut importer = Importer::new(connected.tenancy.clone(), jobs, import.dry_run, report);
    let interrupted = importer.work(read(rows, jobs)).await?;
    connected.tenancy.close().await;
    let ImportSummary { rejected, .. } = importer.report.finish();
    if let Some(source) = importer.unreadable {
        return Err(Error::File { path, source });
    }
    if let Some(error) = importer.hopeless {
        return Err(error);
    }
    Ok(match (interrupted, rejected) {
        (true, _) => ExitCode::from(INTERRUPTED),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}

/// Reads and checks lines in a thread, `ahead` of the receiver.
fn read(
    rows: impl Iterator<Item = io::Result<Row>> + Send + 'static,
    ahead: usize,
) -> mpsc::Receiver<Checked> {
    let (sender, lines) = mpsc::channel(ahead);
    // Not one of the runtime's threads: the runtime waits for those at the end, and this one may
    // wait for a line on standard input.
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

/// Creates tenants in parallel tasks.
struct Importer {
    tenancy: Tenancy,
    jobs: usize,
    dry_run: bool,
    report: Report,
    tasks: JoinSet<(LineRef, Outcome)>,
    stop: watch::Sender<bool>,
    /// The file could not be read to the end.
    unreadable: Option<io::Error>,
    /// No more tenants can be created.
    hopeless: Option<Error>,
}

impl Importer {
    fn new(tenancy: Tenancy, jobs: usize, dry_run: bool, report: Report) -> Self {
        let (tasks, stop) = (JoinSet::new(), watch::Sender::new(false));
        Self { tenancy, jobs, dry_run, report, tasks, stop, unreadable: None, hopeless: None }
    }

    /// Processes lines until the end, Ctrl-C or an error, and finishes those in progress. Returns
    /// whether Ctrl-C was pressed; the second one exits the process.
    async fn work(&mut self, mut lines: mpsc::Receiver<Checked>) -> io::Result<bool> {
        let mut interrupts = signal(SignalKind::interrupt())?;
        let (mut interrupted, mut at_end) = (false, false);
        loop {
            let takes = !at_end && !*self.stop.borrow();
            if !takes && self.tasks.is_empty() {
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
                Some(done) = self.tasks.join_next() => match done {
                    Ok((line, outcome)) => self.record(&line, outcome),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                line = lines.recv(), if takes && self.tasks.len() < self.jobs => match line {
                    Some(Ok((line, Ok(tenant)))) => self.spawn(line, tenant),
                    Some(Ok((line, Err(reason)))) => self.record(&line, Outcome::Rejected(reason)),
                    Some(Err(error)) => (self.unreadable, at_end) = (Some(error), true),
                    None => at_end = true,
                },
            }
        }
    }

    fn spawn(&mut self, line: LineRef, tenant: NewTenant) {
        let (tenancy, dry_run, stop) = (self.tenancy.clone(), self.dry_run, self.stop.subscribe());
        self.tasks.spawn(async move {
            let outcome = create_with_retry(&tenancy, &tenant, dry_run, stop).await;
            (line, outcome)
        });
    }

    fn record(&mut self, line: &LineRef, outcome: Outcome) {
        match outcome {
            Outcome::Created => self.report.created(),
            Outcome::AlreadyExists => self.report.already_existed(),
            Outcome::Rejected(reason) => {
                self.report.rejected(line.line, line.slug.as_deref(), &reason);
            }
            Outcome::Cancelled => return,
            Outcome::Hopeless(error) => {
                self.hopeless.get_or_insert(error);
                self.stop.send_replace(true);
                return;
            }
        }
        self.report.progress(line.end);
    }
}
