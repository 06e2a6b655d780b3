//! Connections that are open, by whose they are, in the order of their beginning: as a worker counts its own.
//!
//! Guarantees: a subscriber - an IPv4 address, or an IPv6 network of 2^64 addresses - has a bounded number of them, so has a site - an IPv4
//! network of 2^8 addresses, or an IPv6 network of 2^80, of which one owner commonly has all - and so have all together. When all places
//! are taken, a newcomer gets one of the site that has most, if that has more than his own, and in it of the subscriber that has most; else one
//! of a neighbour in his site who has more than he. A site that has as many as it may goes on among its own in the same way. So nobody
//! keeps others out by staying, nor takes their places by coming from many networks of one site. Bounded memory.
//! Does not: protect against a flood from very many sites. Anyone controls who connects and stays.

use super::Bounds;
use std::{
    cmp::Reverse,
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use tokio::task::{AbortHandle, Id};

/// The oldest first. They are few hundred: whoever counts them looks at each.
#[derive(Default)]
pub(super) struct Open {
    places: Vec<Place>,
}

struct Place {
    site: IpAddr,
    subscriber: IpAddr,
    connection: AbortHandle,
}

impl Open {
    /// Connections of a subscriber.
    pub(super) fn count(&self, subscriber: &IpAddr) -> usize {
        self.places.iter().filter(|place| place.subscriber == *subscriber).count()
    }

    /// Whether a subscriber may have another connection. Where he can have one only for another's, ends that one.
    pub(super) fn make_room(&mut self, subscriber: &IpAddr, bounds: &Bounds) -> bool {
        let site = site(subscriber);
        let own = self.count(subscriber);
        let of_site = self.places.iter().filter(|place| place.site == site).count();
        if own >= bounds.of_one {
            return false;
        }
        let is_site_full = of_site >= bounds.of_site;
        if !is_site_full && self.places.len() < bounds.connections {
            return true;
        }
        let fullest = most(self.places.iter().map(|place| place.site));
        let giving = match fullest {
            Some((fullest, count)) if !is_site_full && count > of_site => fullest,
            _ => site,
        };
        let neighbours = self.places.iter().filter(|place| place.site == giving).map(|place| place.subscriber);
        let Some((giver, count)) = most(neighbours) else { return false };
        if giving == site && count <= own {
            return false;
        }
        let Some(oldest) = self.places.iter().position(|place| place.subscriber == giver) else { return false };
        self.places.remove(oldest).connection.abort();
        true
    }

    /// A subscriber's connection has begun.
    pub(super) fn enter(&mut self, subscriber: IpAddr, connection: AbortHandle) {
        self.places.push(Place { site: site(&subscriber), subscriber, connection });
    }

    /// Forgets a connection that has ended, or is about to.
    pub(super) fn leave(&mut self, id: Id) {
        self.places.retain(|place| place.connection.id() != id);
    }
}

/// The network about a subscriber that commonly has one owner.
fn site(subscriber: &IpAddr) -> IpAddr {
    match subscriber {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8))),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80))),
    }
}

/// Who is named most often, and how often; of several, who is named first.
fn most(names: impl Iterator<Item = IpAddr>) -> Option<(IpAddr, usize)> {
    let mut counts = HashMap::new();
    for (index, name) in names.enumerate() {
        let (count, _) = counts.entry(name).or_insert((0, Reverse(index)));
        *count += 1;
    }
    counts.into_iter().max_by_key(|(_, rank)| *rank).map(|(name, (count, _))| (name, count))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::rates::subscriber;

    const SIX: Bounds = Bounds { connections: 6, of_one: 3, of_site: 5, ..Bounds::USUAL };

    /// Whether another connection of `address` was let in.
    fn enters(open: &mut Open, address: IpAddr) -> bool {
        let of = subscriber(address);
        let has_room = open.make_room(&of, &SIX);
        if has_room {
            open.enter(of, tokio::spawn(std::future::pending::<()>()).abort_handle());
        }
        has_room
    }

    /// An address, each in a site of its own.
    fn numbered(site: u8) -> IpAddr {
        IpAddr::from([10, 0, site, 1])
    }

    #[tokio::test]
    async fn who_holds_most_connections_makes_room_for_whoever_comes() {
        let mut open = Open::default();
        let entered: Vec<_> = [1, 1, 1, 1, 2, 2, 3].iter().map(|site| enters(&mut open, numbered(*site))).collect();
        assert_eq!(entered, [true, true, true, false, true, true, true], "no address has more than its part");
        let first = open.places[0].connection.clone();
        assert!(enters(&mut open, numbered(4)), "whoever has three gives one");
        let counts = |open: &Open| [1, 2, 3, 4, 5].map(|site| open.count(&numbered(site)));
        assert_eq!(counts(&open), [2, 2, 1, 1, 0]);
        while !first.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(!enters(&mut open, numbered(1)), "not for one that has as many as anybody");
        assert!((5..8).all(|site| enters(&mut open, numbered(site))));
        assert_eq!(open.places.len(), SIX.connections);
        let ids: Vec<_> = open.places.iter().map(|place| place.connection.id()).collect();
        for id in ids {
            open.leave(id);
            open.leave(id);
        }
        assert!(open.places.is_empty(), "whoever left is forgotten");
    }

    #[tokio::test]
    async fn strangers_of_one_site_take_nobodys_place_by_coming_from_many_of_its_networks() {
        let of_many: [fn(u8) -> IpAddr; 2] = [
            |number| IpAddr::from([0x2001, 0xdb8, 9, u16::from(number), 0, 0, 0, 1]),
            |number| IpAddr::from([192, 0, 2, number]),
        ];
        for of_many in of_many {
            let of_site =
                |open: &Open| open.places.iter().filter(|place| place.site == site(&subscriber(of_many(0)))).count();
            let mut open = Open::default();
            assert!(enters(&mut open, numbered(1)));
            assert!((0..100).all(|number| enters(&mut open, of_many(number))), "each takes a neighbour's");
            assert_eq!((of_site(&open), open.places.len()), (SIX.of_site, SIX.connections), "and no more");
            // All places are taken, each by another subscriber, and the oldest is nobody's of that site.
            for comes in 2..5 {
                assert!(enters(&mut open, numbered(comes)));
                assert_eq!(of_site(&open), SIX.of_site + 1 - usize::from(comes));
                assert!((100..200).all(|number| enters(&mut open, of_many(number))), "with no gain");
            }
            assert!((1..5).all(|here| open.count(&numbered(here)) == 1));
        }
    }

    #[tokio::test]
    async fn an_address_in_both_of_its_forms_is_one() {
        let mut open = Open::default();
        assert!(enters(&mut open, "::ffff:10.0.1.1".parse().unwrap()) && enters(&mut open, numbered(1)));
        assert_eq!(open.count(&numbered(1)), 2);
        assert!(open.places.iter().all(|place| place.site == IpAddr::from([10, 0, 1, 0])));
    }
}
