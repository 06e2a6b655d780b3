//! The other seats of an attempt: how they introduce themselves, and which of them are verified. Of a ceremony of identities they are the
//! holders that this gatekeeper deals to.
//!
//! Guarantees: nobody is verified but by `phala_gatekeeper::verify_introduction`, on facts of this TEE's own finalised head, one proof
//! showing all of them; anew for each attempt, but for signatures over bytes that were verified before. Introductions are not signed by
//! whom they name, but for the key in them - what holds of the rest is the evidence - so that anybody can send any: only those that name another
//! seat and a key of the attempt wait, of each seat so many, and each copy that differs is judged on its own. The first key of a peer that is
//! verified counts, until the chain has another under which it complained: so one that announces many has two at most, and nobody who
//! complained says in vain what it is sealed to. Does not: keep a relayer from bringing an honest seat's
//! introduction behind as many forged ones each time.

use super::{Sight, Subject};
use crate::{
    chain::{ChainError, Records},
    listed::Listed,
    rules::{Allowance, Rules},
    tee::Notice,
};
use phala_gatekeeper::{verify_introduction, Refusal, VerifiedPeer, Verifier};
use phala_protocol::{
    attestation::encryption_key_hash,
    ceremony::{CeremonyAttempt, Introduction, MAX_ATTACHMENT_BYTES},
    ids::BlockNumber,
    limits::{MAX_COLLATERAL_BYTES, MAX_EVIDENCE_BYTES},
    storage, Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// Introductions of one seat that wait for their facts.
const MAX_WAITING_OF_ONE: usize = 4;

/// The others.
#[derive(Default)]
pub(super) struct Peers {
    /// The attempt; none between attempts.
    of: Option<CeremonyAttempt>,
    /// The other seats of the attempt; empty between attempts.
    expected: BTreeSet<WorkerId>,
    /// Hashes of the keys under which they complained, on chain.
    complained: BTreeMap<WorkerId, Hash>,
    waiting: BTreeMap<WorkerId, Vec<Introduction>>,
    /// Measurements of seats that wait, whose allow-list entries have to be proved.
    measurements: BTreeSet<Hash>,
    verified: BTreeMap<WorkerId, VerifiedPeer>,
    /// Why introductions of each were refused, once each.
    refused: BTreeMap<WorkerId, Vec<Refusal>>,
    /// What is known of their machines, over attempts that follow each other.
    verifier: Verifier,
}

impl Peers {
    /// Forgets everybody: an attempt of these seats begins. What it goes on knowing is which bytes were genuine.
    pub(super) fn begin(&mut self, of: CeremonyAttempt, seats: impl IntoIterator<Item = WorkerId>) {
        let verifier = std::mem::take(&mut self.verifier);
        *self = Self { of: Some(of), expected: seats.into_iter().collect(), verifier, ..Self::default() };
    }

    /// Notes under which keys the chain has complaints, by their hashes.
    pub(super) fn note_complaints(&mut self, keys: impl Iterator<Item = (WorkerId, Hash)>) {
        self.complained = keys.collect();
    }

    /// Takes what is of another seat of the attempt that is not verified yet.
    pub(super) fn take(&mut self, introductions: &[Introduction]) {
        for introduction in introductions {
            let peer = introduction.registration.identity;
            let too_long = introduction.announced.key.len() > MAX_ATTACHMENT_BYTES
                || introduction.evidence.len() > MAX_EVIDENCE_BYTES as usize
                || introduction.collateral.len() > MAX_COLLATERAL_BYTES as usize;
            if too_long
                || Some(introduction.announced.of) != self.of
                || !self.expected.contains(&peer)
                || self.knows(&peer, introduction)
            {
                continue;
            }
            let waiting = self.waiting.entry(peer).or_default();
            if waiting.len() < MAX_WAITING_OF_ONE && !waiting.contains(introduction) {
                waiting.push(introduction.clone());
            }
        }
    }

    /// Whether nothing comes of this introduction: the peer is verified, under the same key or under one that counts before this. A key that
    /// it complained under counts before any other.
    fn knows(&self, peer: &WorkerId, introduction: &Introduction) -> bool {
        self.verified.get(peer).is_some_and(|known| match self.complained.get(peer) {
            Some(complained) if known.key_hash() != *complained => {
                encryption_key_hash(&introduction.announced.key) != *complained
            }
            Some(_) | None => true,
        })
    }

    pub(super) fn wanted_keys(&self) -> Vec<Vec<u8>> {
        let mut keys: Vec<_> = self.waiting.keys().map(storage::worker_key).collect();
        keys.extend(self.measurements.iter().flat_map(Allowance::wanted_keys));
        keys
    }

    /// Judges every introduction whose facts the proof shows. Whoever was verified before `since`, or has lapsed, is a stranger again.
    pub(super) fn observe(
        &mut self,
        records: &Records<'_>,
        sight: &Sight<'_>,
        rules: &Rules,
        listed: &Listed,
        since: BlockNumber,
        notices: &mut Vec<Notice>,
    ) -> Result<(), ChainError> {
        let of = self.of;
        self.verified.retain(|_, peer| of.is_some_and(|of| peer.is_good(of, since, rules.now)));
        let mut measurements = BTreeSet::new();
        for (peer, introductions) in std::mem::take(&mut self.waiting) {
            for introduction in introductions {
                if self.knows(&peer, &introduction) {
                    continue;
                }
                match Subject::of(&peer, records, listed)? {
                    Ok(subject) => {
                        let facts = sight.facts(rules, subject);
                        match verify_introduction(&peer, &introduction, &facts, &mut self.verifier) {
                            Ok(verified) => {
                                self.verified.insert(peer, verified);
                            }
                            Err(refusal) => {
                                let said = self.refused.entry(peer).or_default();
                                if !said.contains(&refusal) {
                                    said.push(refusal);
                                    notices.push(Notice::PeerRefused { peer, refusal });
                                }
                            }
                        }
                    }
                    Err(measurement) => {
                        measurements.extend(measurement);
                        self.waiting.entry(peer).or_default().push(introduction);
                    }
                }
            }
        }
        self.measurements = measurements;
        Ok(())
    }

    /// Whoever is verified.
    pub(super) fn verified(&self) -> &BTreeMap<WorkerId, VerifiedPeer> {
        &self.verified
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::{
        attestation::{Registration, Role},
        ceremony::AnnouncedKey,
        AccountId,
    };

    const OF: CeremonyAttempt = CeremonyAttempt::root(1, 0);

    fn introduction(peer: u8, evidence: &[u8]) -> Introduction {
        let registration = Registration {
            role: Role::Gatekeeper,
            identity: WorkerId([peer; 32]),
            encryption_key: [0; 32],
            operator: AccountId([0; 32]),
            block: 0,
            block_hash: [0; 32],
        };
        let announced = AnnouncedKey { of: OF, key: Vec::new(), signature: [0; 64] };
        Introduction { registration, announced, evidence: evidence.to_vec(), collateral: Vec::new() }
    }

    fn waiting(peers: &Peers) -> Vec<(u8, usize)> {
        peers.waiting.iter().map(|(peer, waiting)| (peer.0[0], waiting.len())).collect()
    }

    #[test]
    fn only_other_seats_of_the_attempt_have_room_and_each_its_own() {
        let mut peers = Peers::default();
        let all: Vec<_> = (0..=255).map(|peer| introduction(peer, b"")).collect();
        peers.take(&all);
        assert!(waiting(&peers).is_empty(), "no attempt");
        peers.begin(OF, [2, 3].map(|peer| WorkerId([peer; 32])));
        peers.take(&all);
        assert_eq!(waiting(&peers), [(2, 1), (3, 1)]);
        // Of another attempt, or of the other ceremony.
        for of in [CeremonyAttempt::root(1, 1), CeremonyAttempt::root(0, 0), CeremonyAttempt::identities(1, 0)] {
            let mut other = introduction(2, b"of another");
            other.announced.of = of;
            peers.take(&[other]);
        }
        assert_eq!(waiting(&peers), [(2, 1), (3, 1)]);
        // The same again, others in its name, and what is too long to be any.
        let copies: Vec<_> = (0..=255).map(|copy| introduction(2, &[copy; 2])).collect();
        peers.take(&copies);
        peers.take(&std::iter::repeat_n(introduction(3, b""), 9).collect::<Vec<_>>());
        peers.take(&[introduction(3, &[0; MAX_EVIDENCE_BYTES as usize + 1])]);
        assert_eq!(waiting(&peers), [(2, MAX_WAITING_OF_ONE), (3, 1)]);
        peers.begin(OF, [WorkerId([4; 32])]);
        assert!(waiting(&peers).is_empty());
    }
}
