use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use super::{table, targets::Named};
use crate::{AnyMigrator, Error, Outcome, State};

/// Writes an error that ended the command.
pub(super) fn failure(error: &impl Display) {
    // Nothing can be done when standard error is gone as well.
    let _ = writeln!(io::stderr(), "error: {error}");
}

/// Writes the names of all migrations.
pub(super) fn list(migrator: &AnyMigrator) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for name in migrator.names() {
        writeln!(out, "{name}")?;
    }
    Ok(())
}

/// What happened to each target, told while it happens and summed up at the end.
#[derive(Default)]
pub(super) struct Report {
    done: usize,
    failed: Vec<String>,
    behind: usize,
    states: Vec<[String; 4]>,
}

impl Report {
    pub(super) fn outcome(
        &mut self,
        named: &Named,
        result: Result<Outcome, Error>,
    ) -> io::Result<()> {
        let Some(outcome) = self.note(named, result) else {
            return Ok(());
        };
        let mut out = io::stdout().lock();
        for name in &outcome.rolled_back {
            writeln!(out, "{named}: rolled back {name}")?;
        }
        for name in &outcome.applied {
            writeln!(out, "{named}: applied {name}")?;
        }
        if outcome.applied.is_empty() && outcome.rolled_back.is_empty() {
            writeln!(out, "{named}: nothing to do")?;
        }
        Ok(())
    }

    pub(super) fn sql(
        &mut self,
        named: &Named,
        result: Result<Vec<String>, Error>,
    ) -> io::Result<()> {
        let Some(statements) = self.note(named, result) else {
            return Ok(());
        };
        let mut out = io::stdout().lock();
        writeln!(out, "-- {named}")?;
        for sql in statements {
            writeln!(out, "{sql};")?;
        }
        Ok(())
    }

    pub(super) fn state(&mut self, named: &Named, result: Result<State, Error>) -> io::Result<()> {
        let Some(state) = self.note(named, result) else {
            return Ok(());
        };
        self.behind += usize::from(!state.pending.is_empty());
        self.states.push([
            named.to_string(),
            state.applied.last().cloned().unwrap_or_else(|| "none".to_owned()),
            state.applied.len().to_string(),
            state.pending.join(" "),
        ]);
        Ok(())
    }

    fn note<T>(&mut self, named: &Named, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => {
                self.done += 1;
                Some(value)
            }
            Err(error) => {
                failure(&format_args!("{named}: {error}"));
                self.failed.push(named.to_string());
                None
            }
        }
    }

    /// The last lines, and the exit status.
    pub(super) fn finish(self) -> io::Result<ExitCode> {
        if !self.states.is_empty() {
            let text = table(Some(["TENANT", "VERSION", "APPLIED", "PENDING"]), self.states);
            writeln!(io::stdout(), "{text}")?;
        }
        if !self.failed.is_empty() {
            let (done, failed) = (self.done, self.failed.len());
            failure(&format_args!("{failed} failed ({}), {done} done", self.failed.join(", ")));
        }
        let all_well = self.failed.is_empty() && self.behind == 0;
        Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.slug {
            Some(slug) => write!(f, "{slug}"),
            None => write!(f, "{}", self.target),
        }
    }
}
