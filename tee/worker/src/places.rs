//! The connections of one listener, by whose they are, in the order of their beginning.
//!
//! Guarantees: a subscriber - an IPv4 address, or an IPv6 network of 2^64 - has a bounded number of them, and so have all together. When
//! all places are taken, a newcomer gets one of whoever has most: nobody keeps others out by staying. Bounded memory.
//! Does not: protect against a flood from very many such networks, of which one site may have 2^16; they take places from each other, and from
//! whoever is there. Anyone controls who connects and stays.

use crate::limits::subscriber;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};
use tokio::task::{AbortHandle, Id};

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Of all together.
    pub connections: usize,
    /// Of one subscriber: of an IPv4 address, or of an IPv6 network of 2^64.
    pub per_address: usize,
}

/// The connections that are open.
#[derive(Default)]
pub(crate) struct Places {
    next: u64,
    subscribers: HashMap<IpAddr, BTreeMap<u64, AbortHandle>>,
    places: HashMap<Id, (IpAddr, u64)>,
}

impl Places {
    /// Whether whoever comes from `address` may have another connection. Where all places are taken, ends the oldest connection of whoever
    /// has most, if those are more than he has.
    pub(crate) fn make_room(&mut self, address: IpAddr, room: &Room) -> bool {
        let own = self.subscribers.get(&subscriber(address)).map_or(0, BTreeMap::len);
        if own >= room.per_address {
            return false;
        }
        if self.places.len() < room.connections {
            return true;
        }
        let most = self.subscribers.values().max_by_key(|open| (open.len(), Reverse(open.keys().next().copied())));
        let Some(most) = most.filter(|most| most.len() > own) else { return false };
        let Some((_, oldest)) = most.first_key_value() else { return false };
        let id = oldest.id();
        oldest.abort();
        self.leave(id);
        true
    }

    /// A connection of `address` has begun.
    pub(crate) fn enter(&mut self, address: IpAddr, connection: AbortHandle) {
        let subscriber = subscriber(address);
        self.places.insert(connection.id(), (subscriber, self.next));
        self.subscribers.entry(subscriber).or_default().insert(self.next, connection);
        self.next = self.next.wrapping_add(1);
    }

    /// Forgets a connection that has ended, or is about to.
    pub(crate) fn leave(&mut self, id: Id) {
        let Some((subscriber, number)) = self.places.remove(&id) else { return };
        let Some(open) = self.subscribers.get_mut(&subscriber) else { return };
        open.remove(&number);
        if open.is_empty() {
            self.subscribers.remove(&subscriber);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { connections: 6, per_address: 3 };

    /// Whether another connection of `address` was let in.
    fn enters(places: &mut Places, address: IpAddr) -> bool {
        let has_room = places.make_room(address, &ROOM);
        if has_room {
            places.enter(address, tokio::spawn(std::future::pending::<()>()).abort_handle());
        }
        has_room
    }

    fn numbered(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[tokio::test]
    async fn whoever_has_a_network_of_addresses_has_the_places_of_one() {
        let mut places = Places::default();
        let of = |network: u16, host: u16| IpAddr::from([0x2001, 0xdb8, 0, network, host, host, 0, host]);
        let entered: Vec<_> = (0..5).map(|host| enters(&mut places, of(7, host))).collect();
        assert_eq!(entered, [true, true, true, false, false]);
        assert!(enters(&mut places, of(8, 1)), "another network");
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert!(enters(&mut places, mapped) && enters(&mut places, numbered(1)));
        assert_eq!(places.subscribers[&numbered(1)].len(), 2, "one address in both of its forms");
    }

    #[tokio::test]
    async fn whoever_has_most_connections_makes_room_for_whoever_comes() {
        let mut places = Places::default();
        let entered: Vec<_> = [1, 1, 1, 1, 2, 2, 3].iter().map(|last| enters(&mut places, numbered(*last))).collect();
        assert_eq!(entered, [true, true, true, false, true, true, true], "nobody has more than his part");
        let first = places.subscribers[&numbered(1)].values().next().unwrap().clone();
        assert!(enters(&mut places, numbered(4)), "whoever has three gives one");
        let counts = |places: &Places| {
            [1, 2, 3, 4, 5].map(|last| places.subscribers.get(&numbered(last)).map_or(0, BTreeMap::len))
        };
        assert_eq!(counts(&places), [2, 2, 1, 1, 0]);
        while !first.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(!enters(&mut places, numbered(1)), "not for one that has as many as anybody");
        assert!((5..8).all(|last| enters(&mut places, numbered(last))));
        assert_eq!(places.places.len(), ROOM.connections);
        let ids: Vec<_> = places.places.keys().copied().collect();
        for id in ids {
            places.leave(id);
            places.leave(id);
        }
        assert!(places.places.is_empty() && places.subscribers.is_empty(), "whoever left is forgotten");
    }
}
