//! The connections of one listener, by whose they are, in the order of their beginning.
//!
//! Guarantees: a subscriber - an IPv4 address, or an IPv6 network of 2^64 addresses - has a bounded number of them, so has a site - an IPv4
//! network of 2^8 addresses, or an IPv6 network of 2^80, of which one owner commonly has all - and so have all together. When all places
//! are taken, a newcomer gets one of the site that has most, if that has more than his own, and in it of the subscriber that has most; else one
//! of a neighbour in his site who has more than he. A site that has as many as it may goes on among its own in the same way. So nobody
//! keeps others out by staying, nor takes their places by coming from many networks of one site. Bounded memory.
//! Does not: protect against a flood from very many sites; they take places from each other, and from whoever is there. Anyone controls who
//! connects and stays.

use crate::limits::subscriber;
use std::{
    cmp::Reverse,
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use tokio::task::{AbortHandle, Id};

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Of all together.
    pub connections: usize,
    /// Of one subscriber: of an IPv4 address, or of an IPv6 network of 2^64.
    pub per_address: usize,
    /// Of one site: of an IPv4 network of 2^8 addresses, or of an IPv6 network of 2^80.
    pub per_site: usize,
}

/// The connections that are open, the oldest first. They are few hundred: whoever counts them looks at each.
#[derive(Default)]
pub(crate) struct Places {
    open: Vec<Place>,
}

struct Place {
    site: IpAddr,
    subscriber: IpAddr,
    connection: AbortHandle,
}

impl Places {
    /// Whether whoever comes from `address` may have another connection. Where he can have one only for another's, ends that one.
    pub(crate) fn make_room(&mut self, address: IpAddr, room: &Room) -> bool {
        let subscriber = subscriber(address);
        let site = site(subscriber);
        let own = self.open.iter().filter(|place| place.subscriber == subscriber).count();
        let of_site = self.open.iter().filter(|place| place.site == site).count();
        if own >= room.per_address {
            return false;
        }
        let is_site_full = of_site >= room.per_site;
        if !is_site_full && self.open.len() < room.connections {
            return true;
        }
        let fullest = most(self.open.iter().map(|place| place.site));
        let giving = match fullest {
            Some((fullest, count)) if !is_site_full && count > of_site => fullest,
            _ => site,
        };
        let neighbours = self.open.iter().filter(|place| place.site == giving).map(|place| place.subscriber);
        let Some((giver, count)) = most(neighbours) else { return false };
        if giving == site && count <= own {
            return false;
        }
        let Some(oldest) = self.open.iter().position(|place| place.subscriber == giver) else { return false };
        self.open.remove(oldest).connection.abort();
        true
    }

    /// A connection of `address` has begun.
    pub(crate) fn enter(&mut self, address: IpAddr, connection: AbortHandle) {
        let subscriber = subscriber(address);
        self.open.push(Place { site: site(subscriber), subscriber, connection });
    }

    /// Forgets a connection that has ended, or is about to.
    pub(crate) fn leave(&mut self, id: Id) {
        self.open.retain(|place| place.connection.id() != id);
    }
}

/// The network about a subscriber that commonly has one owner.
fn site(subscriber: IpAddr) -> IpAddr {
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
    use super::*;

    const ROOM: Room = Room { connections: 6, per_address: 3, per_site: 5 };

    /// Whether another connection of `address` was let in.
    fn enters(places: &mut Places, address: IpAddr) -> bool {
        let has_room = places.make_room(address, &ROOM);
        if has_room {
            places.enter(address, tokio::spawn(std::future::pending::<()>()).abort_handle());
        }
        has_room
    }

    /// An address, each in a site of its own.
    fn numbered(site: u8) -> IpAddr {
        IpAddr::from([10, 0, site, 1])
    }

    fn network(site: u16, network: u16, host: u16) -> IpAddr {
        IpAddr::from([0x2001, 0xdb8, site, network, host, host, 0, host])
    }

    fn count(places: &Places, counted: impl Fn(&Place) -> bool) -> usize {
        places.open.iter().filter(|place| counted(place)).count()
    }

    #[tokio::test]
    async fn whoever_has_a_network_of_addresses_has_the_places_of_one() {
        let mut places = Places::default();
        let entered: Vec<_> = (0..5).map(|host| enters(&mut places, network(0, 7, host))).collect();
        assert_eq!(entered, [true, true, true, false, false]);
        assert!(enters(&mut places, network(0, 8, 1)), "another network");
        let mapped = "::ffff:10.0.1.1".parse().unwrap();
        assert!(enters(&mut places, mapped) && enters(&mut places, numbered(1)));
        assert_eq!(count(&places, |place| place.subscriber == numbered(1)), 2, "one address in both of its forms");
        let site = IpAddr::from([10, 0, 1, 0]);
        assert_eq!(count(&places, |place| place.site == site), 2, "and one site");
    }

    #[tokio::test]
    async fn whoever_has_most_connections_makes_room_for_whoever_comes() {
        let mut places = Places::default();
        let entered: Vec<_> = [1, 1, 1, 1, 2, 2, 3].iter().map(|site| enters(&mut places, numbered(*site))).collect();
        assert_eq!(entered, [true, true, true, false, true, true, true], "nobody has more than his part");
        let first = places.open[0].connection.clone();
        assert!(enters(&mut places, numbered(4)), "whoever has three gives one");
        let counts =
            |places: &Places| [1, 2, 3, 4, 5].map(|site| count(places, |place| place.subscriber == numbered(site)));
        assert_eq!(counts(&places), [2, 2, 1, 1, 0]);
        while !first.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(!enters(&mut places, numbered(1)), "not for one that has as many as anybody");
        assert!((5..8).all(|site| enters(&mut places, numbered(site))));
        assert_eq!(places.open.len(), ROOM.connections);
        let ids: Vec<_> = places.open.iter().map(|place| place.connection.id()).collect();
        for id in ids {
            places.leave(id);
            places.leave(id);
        }
        assert!(places.open.is_empty(), "whoever left is forgotten");
    }

    #[tokio::test]
    async fn a_site_takes_nobodys_place_by_coming_from_many_of_its_networks() {
        let of_many: [fn(u8) -> IpAddr; 2] =
            [|number| network(9, u16::from(number), 1), |number| IpAddr::from([192, 0, 2, number])];
        for of_many in of_many {
            let site = site(subscriber(of_many(0)));
            let of_site = |places: &Places| count(places, |place| place.site == site);
            let mut places = Places::default();
            assert!(enters(&mut places, numbered(1)));
            assert!((0..100).all(|number| enters(&mut places, of_many(number))), "each takes a neighbour's");
            assert_eq!((of_site(&places), places.open.len()), (ROOM.per_site, ROOM.connections), "and no more");
            // All places are taken, each by another subscriber, and the oldest is nobody's of that site.
            for comes in 2..5 {
                assert!(enters(&mut places, numbered(comes)));
                assert_eq!(of_site(&places), ROOM.per_site + 1 - usize::from(comes));
                assert!((100..200).all(|number| enters(&mut places, of_many(number))), "with no gain");
            }
            assert!((1..5).all(|here| count(&places, |place| place.subscriber == numbered(here)) == 1));
        }
    }

    #[tokio::test]
    async fn of_a_site_whoever_has_most_gives_a_place_to_his_neighbour() {
        let mut places = Places::default();
        let entered = [1, 1, 1, 2, 2, 2, 2].map(|own| enters(&mut places, network(9, own, 1)));
        assert_eq!(entered, [true, true, true, true, true, true, false], "the sixth takes one of the first's");
        assert!(enters(&mut places, network(9, 3, 1)) && enters(&mut places, network(9, 4, 1)));
        let counts = |places: &Places| {
            [1, 2, 3, 4].map(|own| count(places, |place| place.subscriber == subscriber(network(9, own, 0))))
        };
        assert_eq!(counts(&places), [1, 2, 1, 1]);
        assert!(enters(&mut places, network(9, 1, 1)) && !enters(&mut places, network(9, 1, 1)));
        assert_eq!(counts(&places), [2, 1, 1, 1], "nobody gives to one who has as many");
    }
}
