//! Which gatekeeper has which seat in which attempt: a set that is elected after a cancelled ceremony has other gatekeepers in some.
//!
//! A seat is its validator's, and keeps its index; whoever the validator has bound when the set is elected has the seat in all attempts of its
//! ceremony, whatever is bound since.

use crate::members::{attempt_of, Members, Peers};
use phala_crypto::signature::ed25519::IdentityKey;
use phala_gatekeeper::ReceivingKey;
use phala_protocol::{
    ceremony::{CeremonyAttempt, Parcel},
    WorkerId,
};
use std::{collections::BTreeSet, sync::Arc};

/// Seats in the attempts of one era.
pub struct Seating<'a> {
    members: &'a Members,
    /// The first attempt of each set, with the numbers of those that have its seats.
    sets: Vec<(u32, Vec<u16>)>,
}

impl<'a> Seating<'a> {
    /// The first gatekeepers of so many seats.
    pub fn new(members: &'a Members, seats: u16) -> Self {
        assert!(seats <= members.seats(), "{seats} seats, and gatekeepers for {}", members.seats());
        Self { members, sets: vec![(0, (1..=seats).collect())] }
    }

    /// Another set from this attempt on: these seats have other gatekeepers than before.
    pub fn elect(&mut self, first_attempt: u32, replaced: &BTreeSet<u16>) {
        let present = (1u16..).zip(self.numbers(first_attempt).to_vec());
        let seat =
            |(index, number): (u16, u16)| if replaced.contains(&index) { self.members.spare(index) } else { number };
        let elected = present.map(seat).collect();
        self.sets.push((first_attempt, elected));
    }

    /// How many sets there were.
    pub fn sets(&self) -> usize {
        self.sets.len()
    }

    /// All gatekeepers.
    pub fn members(&self) -> &'a Members {
        self.members
    }

    /// The numbers of those that have the seats in an attempt, in order.
    pub fn numbers(&self, attempt: u32) -> &[u16] {
        let set = self.sets.iter().rev().find(|(first, _)| *first <= attempt);
        set.map(|(_, numbers)| numbers.as_slice()).unwrap()
    }

    /// The number of the gatekeeper that has the seat of `index` in an attempt.
    pub fn number(&self, index: u16, attempt: u32) -> u16 {
        self.numbers(attempt)[usize::from(index) - 1]
    }

    /// The identities of those that have the seats in an attempt, in order.
    pub fn ids(&self, attempt: u32) -> Vec<WorkerId> {
        let identities = self.numbers(attempt).iter().map(|number| self.members.identity(*number));
        identities.map(|identity| WorkerId(identity.public())).collect()
    }

    /// The identity key of the seat of `index` in an attempt.
    pub fn identity(&self, index: u16, attempt: u32) -> &'a IdentityKey {
        self.members.identity(self.number(index, attempt))
    }

    /// The key under which the seat of `index` receives in an attempt.
    pub fn receiving(&self, index: u16, of: CeremonyAttempt) -> Arc<ReceivingKey> {
        self.members.receiving(self.number(index, of.attempt), of)
    }

    /// What opens a parcel.
    pub fn opener(&self, parcel: &Parcel) -> Arc<ReceivingKey> {
        self.receiving(parcel.header.to, attempt_of(parcel))
    }

    /// Those that have the seats in an attempt, as the others know them, without the seats that are `away`: nobody verifies whoever the chain
    /// does not have as registered.
    pub fn peers(&self, of: CeremonyAttempt, away: &BTreeSet<u16>) -> Arc<Peers> {
        let seats = (1u16..).zip(self.numbers(of.attempt));
        let present = seats.filter(|(index, _)| !away.contains(index)).map(|(_, number)| *number);
        self.members.peers_among(of, present.collect())
    }
}
