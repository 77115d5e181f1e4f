//! How many connections of clients there is room for under the limit on open files.

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, rlim_t, setrlimit},
};

use super::error::Error;

/// Files beside connections: the listener, the log, pipes, look-ups of names, connections to the
/// database that are being replaced.
const RESERVE: rlim_t = 64;

/// Fewest connections of clients that are worth a start.
const FEWEST: rlim_t = 16;

/// What to try where the limit cannot be raised to the hard one, as on macOS (`OPEN_MAX`).
const MODEST: rlim_t = 10_240;

/// Raises the limit on open files as far as this program may, and tells how many connections of
/// clients there is room for beside so many to the database: at most `most`.
///
/// # Errors
/// [`Error::FewFiles`] when the limit is too low to serve.
pub(super) fn max_client_connections(most: u32, database: u32) -> Result<u32, Error> {
    let limit = raised()?;
    let taken = RESERVE + rlim_t::from(database);
    let room = limit.saturating_sub(taken);
    if room < FEWEST {
        return Err(Error::FewFiles { limit, needed: taken + FEWEST, database });
    }
    Ok(u32::try_from(room).unwrap_or(u32::MAX).min(most))
}

/// The soft limit, raised to the hard one where the system lets us.
fn raised() -> Result<rlim_t, Errno> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    for wanted in [hard, hard.min(MODEST)] {
        if wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() {
            return Ok(wanted);
        }
    }
    Ok(soft)
}
