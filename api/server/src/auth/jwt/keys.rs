//! The public keys of the issuer, fetched again when their lifetime ends or a token names a key that
//! is not known. Tokens do not decide how often: there is a shortest time between two attempts.

use std::{
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jsonwebtoken::Header;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tracing::{info, warn};

use super::{
    key_set::{KeySet, KeySetError},
    schedule::Schedule,
    source::{FetchError, JwksSource},
};

/// How long a request waits for keys that are being fetched.
const PATIENCE: Duration = Duration::from_secs(2);

/// Requests that wait at a time. Further ones are asked to try again.
const MAX_WAITING: usize = 64;

/// Why keys were not received.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

/// What is known about the key of a token.
pub(super) enum Found {
    /// The keys, one of which is that of the token.
    Keys(Arc<KeySet>),
    /// The issuer has no such key.
    Unknown,
    /// There are no keys at the moment.
    Unavailable,
}

pub(super) struct Keys(Arc<Inner>);

struct Inner {
    source: JwksSource,
    state: Mutex<State>,
    /// Number of attempts that have ended.
    attempts: watch::Sender<u64>,
    waiting: Semaphore,
}

#[derive(Default)]
struct State {
    keys: Arc<KeySet>,
    schedule: Schedule,
    is_fetching: bool,
}

impl Keys {
    pub(super) fn new(source: JwksSource) -> Self {
        Self(Arc::new(Inner {
            source,
            state: Mutex::default(),
            attempts: watch::Sender::new(0),
            waiting: Semaphore::new(MAX_WAITING),
        }))
    }

    /// Fetches the keys for the first time.
    pub(super) async fn load(&self) -> Result<(), KeysError> {
        self.0.state().schedule.attempted(Instant::now());
        self.0.fetch().await
    }

    /// The keys for a token. Fetches them if they are due, or if none is that of the token.
    pub(super) async fn find(&self, header: &Header) -> Found {
        let mut attempts = self.0.attempts.subscribe();
        let found = self.0.known(header);
        let is_fetching = match &found {
            // The known keys are used meanwhile.
            Found::Keys(_) => {
                self.start(Schedule::is_due);
                return found;
            }
            Found::Unknown | Found::Unavailable => self.start(Schedule::may_attempt),
        };
        if !is_fetching {
            // An attempt may have ended since.
            return self.0.known(header);
        }
        let Ok(_waiting) = self.0.waiting.try_acquire() else { return Found::Unavailable };
        match timeout(PATIENCE, attempts.changed()).await {
            Ok(_) => self.0.known(header),
            Err(_) => Found::Unavailable,
        }
    }

    /// The keys, if one of them is that of the token, as they are.
    pub(super) fn loaded(&self, header: &Header) -> Option<Arc<KeySet>> {
        match self.0.known(header) {
            Found::Keys(keys) => Some(keys),
            Found::Unknown | Found::Unavailable => None,
        }
    }

    /// Starts to fetch the keys if `wanted`. Returns whether they are being fetched.
    fn start(&self, wanted: impl FnOnce(&Schedule, Instant) -> bool) -> bool {
        let mut state = self.0.state();
        let now = Instant::now();
        if !state.is_fetching && wanted(&state.schedule, now) {
            state.is_fetching = true;
            state.schedule.attempted(now);
            let fetching = Fetching(Arc::clone(&self.0));
            // Not part of the request: a client that hangs up does not abort it.
            tokio::spawn(async move {
                let inner = &fetching.0;
                match inner.fetch().await {
                    Ok(()) => info!(jwks = %inner.source, "fetched the keys of the token issuer"),
                    Err(error) => {
                        let cause = tenantry::explain(&error as &(dyn Error + 'static)).to_string();
                        warn!(jwks = %inner.source, cause, "the keys of the token issuer could not be fetched");
                    }
                }
            });
        }
        state.is_fetching
    }
}

/// An attempt, which has ended when this is dropped, also by a panic.
struct Fetching(Arc<Inner>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.state().is_fetching = false;
        self.0.attempts.send_modify(|number| *number = number.wrapping_add(1));
    }
}

impl Inner {
    async fn fetch(&self) -> Result<(), KeysError> {
        let fetched = self.source.fetch().await?;
        let keys = Arc::new(KeySet::parse(&fetched.body)?);
        let mut state = self.state();
        state.keys = keys;
        state.schedule.received(Instant::now(), fetched.max_age);
        Ok(())
    }

    fn known(&self, header: &Header) -> Found {
        let state = self.state();
        if !state.schedule.is_usable(Instant::now()) {
            return Found::Unavailable;
        }
        match state.keys.find(header) {
            Some(_) => Found::Keys(Arc::clone(&state.keys)),
            None => Found::Unknown,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
