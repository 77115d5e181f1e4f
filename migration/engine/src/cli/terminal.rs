//! What the commands share at a terminal: progress, output around it, prompts and Ctrl-C.

use std::{
    convert::Infallible,
    error::Error,
    fmt::{self, Display},
    io::{self, BufRead, IsTerminal, Write},
    process::ExitCode,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{SecondsFormat, Utc};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;

use super::format::format_count;

/// Exit status after Ctrl-C: 128 + SIGINT.
pub const INTERRUPTED: u8 = 130;

/// Exit status if the output is closed, as by `head`: 128 + SIGPIPE.
pub const OUTPUT_CLOSED: u8 = 141;

/// The progress bars on standard error.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Shows `bar` on standard error until it is dropped.
#[must_use]
pub fn show_progress(bar: ProgressBar) -> Progress {
    let bar = BARS.add(bar);
    bar.enable_steady_tick(Duration::from_millis(200));
    Progress(bar)
}

/// A progress bar that is shown.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl std::ops::Deref for Progress {
    type Target = ProgressBar;

    fn deref(&self) -> &ProgressBar {
        &self.0
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        BARS.remove(&self.0);
    }
}

/// A bar that counts tenants to `total`.
pub(super) fn counting_bar(total: usize) -> ProgressBar {
    let done = "[{bar:24}] {human_pos}/{human_len}";
    bar(ProgressBar::new(total as u64), done, "ETA {eta}", ProgressState::pos)
}

/// A bar that counts the bytes of a file, and a spinner if its size is unknown. `tenants` is the
/// number of tenants so far.
#[must_use]
pub fn file_bar(size: Option<u64>, tenants: Arc<AtomicU64>) -> ProgressBar {
    let count = move |_: &ProgressState| tenants.load(Ordering::Relaxed);
    match size {
        Some(size) => bar(ProgressBar::new(size), "[{bar:24}] {percent}%", "ETA {eta}", count),
        None => bar(ProgressBar::new_spinner(), "{spinner}", "{elapsed}", count),
    }
}

/// A bar that counts bytes to `size`, and a spinner if that is unknown.
#[must_use]
pub fn bytes_bar(size: Option<u64>) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (
            ProgressBar::new(size),
            "[{bar:24}] {percent}%  {bytes}  {binary_bytes_per_sec}  ETA {eta}  {msg}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {bytes}  {binary_bytes_per_sec}  {elapsed}  {msg}",
        ),
    };
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("##-"))
}

/// A bar with the rate of what is counted and a message, in one style for all commands.
fn bar(
    bar: ProgressBar,
    done: &str,
    time: &str,
    count: impl Fn(&ProgressState) -> u64 + Clone + Send + Sync + 'static,
) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("{done}  {{rate}}  {time}  {{msg:.red}}"))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("##-")
        .with_key("rate", move |state: &ProgressState, out: &mut dyn fmt::Write| {
            let seconds = state.elapsed().as_secs_f64().max(0.001);
            let _ = write!(out, "{:.0}/s", count(state) as f64 / seconds);
        });
    bar.with_style(style)
}

/// Sets the number of failures that a bar shows, and what happened to them.
pub fn show_failures(bar: &ProgressBar, failed: usize, verb: &str) {
    if failed > 0 {
        bar.set_message(format!("{} {verb}", format_count(failed)));
    }
}

/// Runs `print` while progress bars are hidden.
pub fn suspend_progress<T>(print: impl FnOnce() -> T) -> T {
    BARS.suspend(print)
}

/// Writes a line to standard error, above progress bars. Errors are ignored: a program can report
/// them nowhere else.
pub fn print_note(note: impl Display) {
    let _ = suspend_progress(|| writeln!(io::stderr(), "{note}"));
}

/// Whether [`print_error`] writes JSON.
static JSON_ERRORS: AtomicBool = AtomicBool::new(false);

/// Makes [`print_error`] write a line of JSON for each error, in the format of the log.
pub fn print_errors_as_json() {
    JSON_ERRORS.store(true, Ordering::Relaxed);
}

/// Writes `error: …` to standard error, or a line of JSON.
pub fn print_error(error: impl Display) {
    if !JSON_ERRORS.load(Ordering::Relaxed) {
        return print_note(format_args!("error: {error}"));
    }
    let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let (level, message) = ("ERROR", error.to_string());
    print_note(serde_json::json!({ "timestamp": timestamp, "level": level, "message": message }));
}

/// Prints the error of a command and returns its exit status. A closed output ends a command
/// without a message.
pub fn failure(error: &(dyn Error + 'static), message: impl Display) -> ExitCode {
    let io = error.downcast_ref::<io::Error>();
    if io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::from(OUTPUT_CLOSED);
    }
    print_error(message);
    ExitCode::FAILURE
}

/// Writes to standard output, above progress bars. A run continues if its output is not read.
pub fn print_text(text: &str) {
    let _ = suspend_progress(|| io::stdout().write_all(text.as_bytes()));
}

/// Writes a JSON document to standard output, indented.
///
/// # Errors
/// If standard output is closed.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// Writes a line of JSON to standard output.
pub fn print_json_line(value: &impl Serialize) {
    let json = serde_json::to_string(value).unwrap_or_default();
    print_text(&format!("{json}\n"));
}

/// Standard error as the writer of a log, which keeps progress bars intact.
#[derive(Debug)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        suspend_progress(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Awaits `work`. The first Ctrl-C sets `stop` and calls `notify`; the second exits the process.
pub async fn finish_or_abort<T>(
    work: impl Future<Output = T>,
    stop: &AtomicBool,
    notify: impl Fn(),
) -> T {
    tokio::select! {
        done = work => done,
        never = handle_interrupts(stop, notify) => match never {},
    }
}

async fn handle_interrupts(stop: &AtomicBool, notify: impl Fn()) -> Infallible {
    loop {
        // Without a handler, Ctrl-C ends the process, and PostgreSQL rolls back.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        if stop.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED.into());
        }
        notify();
    }
}

/// Reports the first Ctrl-C.
pub fn print_interrupted() {
    print_note("Interrupted: finishing the tenants in progress. Press Ctrl-C again to abort.");
}

/// Why a prompt was not confirmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfirmError {
    /// The answer was another one.
    #[error("not confirmed: {answer:?} is not {expected}; nothing was changed")]
    NotConfirmed {
        /// What was typed.
        answer: String,
        /// What confirms.
        expected: String,
    },
    /// Standard input is not a terminal.
    #[error("stdin is not a terminal; pass --yes to confirm (nothing was changed)")]
    NoTerminal,
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Prints `prompt` and reads a line from the terminal, which has to be `expected`.
///
/// # Errors
/// [`ConfirmError`] unless it is.
pub fn confirm(prompt: &str, expected: &str) -> Result<(), ConfirmError> {
    if !io::stdin().is_terminal() {
        return Err(ConfirmError::NoTerminal);
    }
    let mut out = io::stderr().lock();
    write!(out, "{prompt}")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        answer if answer == expected => Ok(()),
        answer => Err(ConfirmError::NotConfirmed {
            answer: answer.to_owned(),
            expected: expected.to_owned(),
        }),
    }
}
