use tenantry_migrate::cli::terminal::{Log, print_errors_as_json};
use tracing_subscriber::EnvFilter;

use super::options::LogFormat;

/// Writes the log, and errors in the same format. By default a server logs each request, a command warnings only. A subscriber that the
/// application has installed is kept.
pub(super) fn log_to_stderr(format: LogFormat, serves: bool) {
    let default = if serves { "info,sqlx=warn,sea_orm_migration=warn" } else { "warn" };
    // An empty variable counts as unset, as for options.
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.is_empty());
    let filter = wanted.and_then(|wanted| EnvFilter::try_new(wanted).ok());
    let filter = filter.unwrap_or_else(|| default.into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Log);
    if format == LogFormat::Json {
        print_errors_as_json();
    }
    // Fails if there is a subscriber.
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}
