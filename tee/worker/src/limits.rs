//! How much one address may ask: a bucket of tokens each.
//!
//! Guarantees: bounded memory whatever addresses appear; the host, who can invent addresses, can only crowd out itself.
//! Does not: protect against a distributed flood - bodies and concurrent queries are bounded beside it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// What one address may ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Requests at once.
    pub burst: f64,
    /// Requests a second, for long.
    pub per_second: f64,
}

/// Addresses remembered.
const MAX_ADDRESSES: usize = 10_000;

/// The buckets.
pub(crate) struct Buckets {
    limits: Limits,
    by_address: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Buckets {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, by_address: Mutex::default() }
    }

    /// Takes a token of `address` at `now`; false if there is none.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> bool {
        let (address, limits) = (subscriber(address), self.limits);
        let mut buckets = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_ADDRESSES {
            buckets.retain(|_, (tokens, at)| refilled(*tokens, *at, now, &limits) < limits.burst);
            if buckets.len() >= MAX_ADDRESSES && !buckets.contains_key(&address) {
                return false;
            }
        }
        let (tokens, at) = buckets.entry(address).or_insert((limits.burst, now));
        *tokens = refilled(*tokens, *at, now, &limits);
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

fn refilled(tokens: f64, at: Instant, now: Instant, limits: &Limits) -> f64 {
    (tokens + now.saturating_duration_since(at).as_secs_f64() * limits.per_second).min(limits.burst)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMITS: Limits = Limits { burst: 60.0, per_second: 30.0 };

    #[test]
    fn an_address_is_held_to_its_rate_and_others_are_not() {
        let (buckets, start) = (Buckets::new(LIMITS), Instant::now());
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        assert_eq!((0..100).filter(|_| buckets.take(one, start)).count(), 60);
        assert!(buckets.take(other, start));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| buckets.take(one, later)).count(), 30);
    }

    #[test]
    fn whoever_has_a_network_of_addresses_has_one_bucket() {
        let (buckets, start) = (Buckets::new(LIMITS), Instant::now());
        let of = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 7, host, host, 0, host]);
        assert_eq!((0..100).filter(|host| buckets.take(of(*host), start)).count(), 60);
        assert!(buckets.take(IpAddr::from([0x2001, 0xdb8, 0, 8, 0, 0, 0, 1]), start), "another network");
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(subscriber(mapped), IpAddr::from([10, 0, 0, 1]));
    }

    #[test]
    fn memory_is_bounded_by_addresses() {
        let (buckets, start) = (Buckets::new(LIMITS), Instant::now());
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let taken = (0..MAX_ADDRESSES as u32 + 10).filter(|number| buckets.take(address(*number), start)).count();
        assert_eq!(taken, MAX_ADDRESSES);
        let later = start + Duration::from_secs(10);
        assert!(buckets.take(address(20_000), later), "idle addresses are forgotten");
    }
}
