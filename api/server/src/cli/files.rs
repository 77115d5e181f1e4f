//! Client connections under the limit on open files.

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, rlim_t, setrlimit},
};

use super::error::Error;

/// Files other than connections: the listener, the log, pipes, name resolution, connections to the
/// database that are being replaced.
const RESERVE: rlim_t = 64;

/// Minimum number of client connections.
const MIN_CONNECTIONS: rlim_t = 16;

/// Limit to try if the hard one cannot be reached, as on macOS (`OPEN_MAX`).
const FALLBACK_LIMIT: rlim_t = 10_240;

/// Raises the limit on open files as far as possible. Returns how many client connections it
/// allows in addition to `database` connections, at most `most`.
///
/// # Errors
/// [`Error::FewFiles`] if the limit is too low.
pub(super) fn max_client_connections(most: u32, database: u32) -> Result<u32, Error> {
    let limit = raised()?;
    let taken = RESERVE + rlim_t::from(database);
    let room = limit.saturating_sub(taken);
    if room < MIN_CONNECTIONS {
        return Err(Error::FewFiles { limit, needed: taken + MIN_CONNECTIONS, database });
    }
    Ok(u32::try_from(room).unwrap_or(u32::MAX).min(most))
}

/// The soft limit, raised to the hard one if the system allows it.
fn raised() -> Result<rlim_t, Errno> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    for wanted in [hard, hard.min(FALLBACK_LIMIT)] {
        if wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() {
            return Ok(wanted);
        }
    }
    Ok(soft)
}
