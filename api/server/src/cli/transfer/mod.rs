//! `tenant export`, `tenant clone`, and `tenant import` of an export.

mod args;
mod output;
mod report;

use std::{io, path::Path, process::ExitCode};

use local_postgres::Access;
use tenantry::{CloneOptions, ExportOptions, ImportOptions, Slug, Tenancy};
use tenantry_migrate::cli::terminal::{INTERRUPTED, print_note};
use tokio::{
    fs::File,
    io::AsyncRead,
    signal::unix::{SignalKind, signal},
};

use super::{
    connect::{Connector, user},
    error::Error,
    options::TenancyArgs,
};
pub(super) use args::{CloneArgs, ExportArgs};
use output::Output;
use report::Bar;

/// Writes a tenant to a file.
pub(super) async fn export(
    args: &TenancyArgs,
    ExportArgs { slug, output, json }: ExportArgs,
    connector: Connector,
) -> Result<ExitCode, Error> {
    let path = output.unwrap_or_else(|| format!("{slug}.tar").into());
    // Before a server is started.
    let mut output = Output::create(&path)?;
    let bar = Bar::new(json, None);
    let options = ExportOptions { progress: bar.on_progress() };
    let work =
        async |tenancy: &Tenancy| Ok(tenancy.export(&slug, output.writer(), &options).await?);
    let done = run(args, connector, work).await?;
    drop(bar);
    let Some(exported) = done else { return Ok(interrupted("nothing was written")) };
    // Now that it can no longer be interrupted.
    output.keep().await?;
    report::exported(&exported, &path, json)?;
    Ok(ExitCode::SUCCESS)
}

/// Creates a tenant from another one.
pub(super) async fn clone(
    args: &TenancyArgs,
    CloneArgs { source, new, structure_only, json }: CloneArgs,
    connector: Connector,
) -> Result<ExitCode, Error> {
    let bar = Bar::new(json, None);
    let options = CloneOptions { structure_only, progress: bar.on_progress() };
    let work = async |tenancy: &Tenancy| Ok(tenancy.clone_tenant(&source, &new, &options).await?);
    let done = run(args, connector, work).await?;
    drop(bar);
    let Some(cloned) = done else { return Ok(interrupted("nothing was created")) };
    report::created(&cloned, &format!("cloned {source}"), json)?;
    Ok(ExitCode::SUCCESS)
}

/// Creates a tenant from an export.
pub(super) async fn import(
    args: &TenancyArgs,
    (path, slug, domains): (&Path, Option<Slug>, bool),
    json: bool,
    connector: Connector,
) -> Result<ExitCode, Error> {
    let (size, reader): (_, Box<dyn AsyncRead + Send + Unpin>) = if path == Path::new("-") {
        (None, Box::new(tokio::io::stdin()))
    } else {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let file = File::open(path).await.map_err(failed)?;
        let found = file.metadata().await.map_err(failed)?;
        if found.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        (found.is_file().then_some(found.len()), Box::new(file))
    };
    let bar = Bar::new(json, size);
    let options = ImportOptions { slug, domains, progress: bar.on_progress() };
    let work = async |tenancy: &Tenancy| Ok(tenancy.import(reader, &options).await?);
    let done = run(args, connector, work).await?;
    drop(bar);
    let Some(imported) = done else { return Ok(interrupted("nothing was created")) };
    report::created(&imported, "imported", json)?;
    Ok(ExitCode::SUCCESS)
}

/// Connects and does the work. Returns `None` if it was interrupted: the database rolls back.
async fn run<T>(
    args: &TenancyArgs,
    connector: Connector,
    work: impl AsyncFnOnce(&Tenancy) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let args = TenancyArgs { spares: 0, ..args.clone() };
    let connected = connector.connect(&args, Access::Shared, user()).await?;
    let done = tokio::select! {
        done = work(&connected.tenancy) => Some(done),
        _ = interrupts.recv() => None,
        _ = terminations.recv() => None,
    };
    connected.tenancy.close().await;
    done.transpose()
}

fn interrupted(effect: &str) -> ExitCode {
    print_note(format_args!("Interrupted: {effect}."));
    ExitCode::from(INTERRUPTED)
}
