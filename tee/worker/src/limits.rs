//! How much one address may ask: a bucket of tokens each.
//!
//! Guarantees: bounded memory whatever addresses appear; the host, who can invent addresses, can only crowd out itself.
//! Does not: protect against a distributed flood - bodies and concurrent queries are bounded beside it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Requests that an address may make at once.
pub(crate) const BURST: f64 = 60.0;
/// Requests a second that an address may make for long.
pub(crate) const PER_SECOND: f64 = 30.0;
/// Addresses remembered.
const MAX_ADDRESSES: usize = 10_000;

/// The buckets.
#[derive(Default)]
pub(crate) struct Buckets(Mutex<HashMap<IpAddr, (f64, Instant)>>);

impl Buckets {
    /// Takes a token of `address` at `now`; false if there is none.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_ADDRESSES {
            buckets.retain(|_, (tokens, at)| refilled(*tokens, *at, now) < BURST);
            if buckets.len() >= MAX_ADDRESSES && !buckets.contains_key(&address) {
                return false;
            }
        }
        let (tokens, at) = buckets.entry(address).or_insert((BURST, now));
        *tokens = refilled(*tokens, *at, now);
        *at = now;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}

fn refilled(tokens: f64, at: Instant, now: Instant) -> f64 {
    (tokens + now.saturating_duration_since(at).as_secs_f64() * PER_SECOND).min(BURST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_address_is_held_to_its_rate_and_others_are_not() {
        let (buckets, start) = (Buckets::default(), Instant::now());
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        assert_eq!((0..100).filter(|_| buckets.take(one, start)).count(), BURST as usize);
        assert!(buckets.take(other, start));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| buckets.take(one, later)).count(), PER_SECOND as usize);
    }

    #[test]
    fn memory_is_bounded_by_addresses() {
        let (buckets, start) = (Buckets::default(), Instant::now());
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let taken = (0..MAX_ADDRESSES as u32 + 10).filter(|number| buckets.take(address(*number), start)).count();
        assert_eq!(taken, MAX_ADDRESSES);
        let later = start + Duration::from_secs(10);
        assert!(buckets.take(address(20_000), later), "idle addresses are forgotten");
    }
}
