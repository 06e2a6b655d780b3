//! How many letters one address may bring, or parts of snapshots take: a bucket of tokens each. Bounded memory, whatever addresses appear.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Letters at once: what a hundred seats send one of them, twice.
const BURST: f64 = 512.0;
/// Letters a second, for long.
const PER_SECOND: f64 = 64.0;
/// Addresses remembered.
const MAX_ADDRESSES: usize = 10_000;

/// The buckets.
pub(crate) struct Rates {
    buckets: Mutex<HashMap<IpAddr, (f64, Instant)>>,
    /// How many times the usual rate.
    times: f64,
}

impl Rates {
    /// For strangers.
    pub(crate) fn usual() -> Self {
        Self { buckets: Mutex::default(), times: 1.0 }
    }

    /// For strangers that ask for parts of snapshots: half a megabyte each, 8 a second for long.
    pub(crate) fn of_parts() -> Self {
        Self { buckets: Mutex::default(), times: 0.125 }
    }

    /// For relayers that the operator named, behind each of which may be many TEEs.
    pub(crate) fn of_peers() -> Self {
        Self { buckets: Mutex::default(), times: 8.0 }
    }

    /// Takes a token of `address` at `now`; false if there is none.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> bool {
        let (burst, per_second) = (BURST * self.times, PER_SECOND * self.times);
        let refilled = |tokens: f64, at: Instant| {
            (tokens + now.saturating_duration_since(at).as_secs_f64() * per_second).min(burst)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_ADDRESSES && !buckets.contains_key(&address) {
            buckets.retain(|_, (tokens, at)| refilled(*tokens, *at) < burst);
            if buckets.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let (tokens, at) = buckets.entry(address).or_insert((burst, now));
        *tokens = refilled(*tokens, *at);
        *at = now;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}

/// The address as far as one subscriber does not choose it: an IPv6 network gives every one of them 2^64.
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_address_is_held_to_its_rate_and_others_are_not() {
        let (rates, start) = (Rates::usual(), Instant::now());
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert_eq!((0..1_000).filter(|_| rates.take(one, start)).count(), 512);
        assert!(rates.take(other, start));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1_000).filter(|_| rates.take(one, later)).count(), 64);
        let peers = Rates::of_peers();
        assert_eq!((0..10_000).filter(|_| peers.take(one, start)).count(), 8 * 512);
        assert_eq!((0..10_000).filter(|_| peers.take(one, later)).count(), 8 * 64);
        let parts = Rates::of_parts();
        assert_eq!((0..1_000).filter(|_| parts.take(one, start)).count(), 64);
        let network = |host: u16| subscriber(IpAddr::from([0x2001, 0xdb8, 0, 7, host, 0, 0, host]));
        assert_eq!(network(1), network(2));
    }

    #[test]
    fn memory_is_bounded_by_addresses_and_idle_ones_are_forgotten() {
        let (rates, start) = (Rates::usual(), Instant::now());
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let taken = (0..MAX_ADDRESSES as u32 + 10).filter(|number| rates.take(address(*number), start)).count();
        assert_eq!(taken, MAX_ADDRESSES);
        assert!(rates.take(address(20_000), start + Duration::from_secs(10)));
    }
}
