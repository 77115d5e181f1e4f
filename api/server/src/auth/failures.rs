use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use moka::sync::Cache;

/// Number of failures of an address in a [`WINDOW`] after which its credentials are not checked.
const MAX_FAILURES: u32 = 30;

/// How long failures are counted, from the first one on.
const WINDOW: Duration = Duration::from_secs(60);

/// Maximum number of addresses with failures that are remembered.
const MAX_ADDRESSES: u64 = 20_000;

/// The failed authentications of each client address.
#[derive(Clone)]
pub(super) struct Failures(Cache<IpAddr, Arc<Window>>);

struct Window {
    since: Instant,
    failures: AtomicU32,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MAX_ADDRESSES).time_to_live(WINDOW).build())
    }

    /// Counts a failure.
    pub(super) fn count(&self, address: IpAddr) {
        let new = || Arc::new(Window { since: Instant::now(), failures: AtomicU32::new(0) });
        self.0.get_with(network(address), new).failures.fetch_add(1, Ordering::Relaxed);
    }

    /// How long the address has to wait, if it has failed too often.
    pub(super) fn wait(&self, address: IpAddr) -> Option<Duration> {
        let window = self.0.get(&network(address))?;
        let exceeded = window.failures.load(Ordering::Relaxed) >= MAX_FAILURES;
        exceeded.then(|| WINDOW.saturating_sub(window.since.elapsed()))
    }
}

/// The address; of IPv6 the first 64 bits, which is what one client is given (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_after_its_failures_and_others_do_not() {
        let failures = Failures::new();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (one, same, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),
        ] {
            for _ in 0..MAX_FAILURES {
                assert_eq!(failures.wait(ip(one)), None);
                failures.count(ip(one));
            }
            let wait = failures.wait(ip(same)).unwrap();
            assert!(wait <= WINDOW && !wait.is_zero(), "{wait:?}");
            assert_eq!(failures.wait(ip(other)), None);
        }
    }
}
