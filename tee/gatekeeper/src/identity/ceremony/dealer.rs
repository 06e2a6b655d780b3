//! A dealer: what it commits to, sends, delivers and answers.
//!
//! Guarantees: idempotent - the same view says the same until the record holds it. Shares are delivered on chain to whoever complained, under the
//! key that it complained under, and answered in public only in `Settle`, before its last call, to a dispute that stands: what the
//! chain would not take must not be public either. The record must be a fact; holders control complaints and disputes.

use super::{
    attempt::{Attempt, Dealt, ShareBytes},
    CeremonyError, Turn, View,
};
use crate::{dkg::seal_parcel, identity::IdentityShares, peer::VerifiedPeer};
use phala_crypto::Secret;
use phala_protocol::{
    ceremony::{delivery_hash, Attachment, Parcel, Phase},
    identities::{IdentityCeremonyRecord, IdentityRecord, IdentityStatement},
    Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// A dealer in one attempt.
pub struct Dealer {
    pub(super) attempt: Attempt,
    pub(super) index: u16,
    pub(super) seed: Secret<[u8; 32]>,
    pub(super) dealt: Dealt,
    /// What was sealed, by recipient and its key: sent again as it is, on chain too.
    posted: BTreeMap<(u16, Hash), Parcel>,
    /// Whether it answered more than is on disk: until [`Self::mark_sealed`], whatever fails.
    unsealed: bool,
}

impl Dealer {
    /// Begins the attempt of `record` for `gatekeeper`, which hands over its `shares` of what is in `former`; both are none where keys are
    /// made. `seed` is made once for a ceremony, unpredictable, and sealed before this is called. It is as secret as the shares, and for as
    /// long: it is to be dropped, in memory and on disk, when the ceremony is over.
    pub fn begin(
        genesis: &Hash,
        gatekeeper: &WorkerId,
        seed: &Secret<[u8; 32]>,
        record: &IdentityCeremonyRecord,
        former: Option<&IdentityRecord>,
        shares: Option<&IdentityShares>,
    ) -> Result<Self, CeremonyError> {
        let attempt = Attempt::new(genesis, record, former)?;
        let index = record.dealer_index(gatekeeper).ok_or(CeremonyError::NoSeat)?;
        if shares.is_some_and(|shares| shares.index() != index) {
            return Err(CeremonyError::NoShares);
        }
        let seed = Secret::<[u8; 32]>::fill(|bytes| bytes.copy_from_slice(seed.expose()));
        let dealt = attempt.deal(index, shares, &seed)?;
        Ok(Self { attempt, index, seed, dealt, posted: BTreeMap::new(), unsealed: false })
    }

    /// The era and the attempt.
    pub fn attempt(&self) -> (u32, u32) {
        (self.attempt.era, self.attempt.attempt)
    }

    /// The dealer's index, from 1.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Notes that [`Self::to_secret_bytes`], made after the last [`Self::step`], is on disk. Not to be called when the write failed.
    pub fn mark_sealed(&mut self) {
        self.unsealed = false;
    }

    /// Looks at the chain: what is to be said and sent now.
    pub fn step(&mut self, view: &View<'_>) -> Result<Turn, CeremonyError> {
        let record = view.record;
        self.attempt.check(record)?;
        let own = record.dealer(self.index).ok_or(CeremonyError::NoSeat)?;
        if let Some(fault) = own.left_out {
            return Err(CeremonyError::LeftOut(fault));
        }
        let package = self.package_hash();
        if own.package.is_some_and(|committed| committed != package) {
            return Err(CeremonyError::Foreign);
        }
        let mut turn = Turn::default();
        if record.phase == Phase::Commit && own.package.is_none() {
            self.say(view, &mut turn, IdentityStatement::Commit { package }, None);
        }
        if record.phase != Phase::Commit && record.agreed.is_none() && record.deals(self.index) {
            self.post(view, &mut turn)?;
            match record.phase {
                Phase::Deliver if !record.is_last_call(view.head) => self.deliver(view, &mut turn)?,
                Phase::Settle if !record.is_last_call(view.head) => self.answer(view, &mut turn)?,
                Phase::Commit | Phase::Share | Phase::Deliver | Phase::Settle => {}
            }
        }
        turn.seal_first = self.unsealed;
        Ok(turn)
    }

    /// The hash of this dealer's package.
    pub(super) fn package_hash(&self) -> Hash {
        self.attempt.package_hash(self.index, &self.dealt.package)
    }

    /// What it deals to the holder that it is itself.
    pub(super) fn own(&self, holder: u16) -> Option<(&[u8], ShareBytes)> {
        Some((&self.dealt.package[..], self.dealt.shares(holder)?))
    }

    fn say(&self, view: &View<'_>, turn: &mut Turn, statement: IdentityStatement, beside: Option<Attachment>) {
        turn.statements.push((self.attempt.sign(view.identity, self.index, statement), beside));
    }

    /// Seals what holders lack to all that have not confirmed.
    fn post(&mut self, view: &View<'_>, turn: &mut Turn) -> Result<(), CeremonyError> {
        for (to, holder) in view.record.receiving() {
            if self.attempt.is_own(to, self.index) || holder.confirmed.is_some() {
                continue;
            }
            match view.peer(self.attempt.of(), &holder.gatekeeper) {
                Some(peer) => turn.parcels.push(self.sealed(view, peer, to)?),
                None => turn.strangers.push(holder.gatekeeper),
            }
        }
        Ok(())
    }

    /// Delivers to each accuser that still lacks it what this dealer owes it, sealed to the key that it complained under.
    fn deliver(&mut self, view: &View<'_>, turn: &mut Turn) -> Result<(), CeremonyError> {
        let own = self.index;
        for complaint in view.record.complaints.iter().filter(|complaint| complaint.dealer == own) {
            let accuser = complaint.accuser;
            let Some(holder) = view.record.holder(accuser) else { continue };
            let lacks = holder.left_out.is_none() && holder.confirmed.is_none() && complaint.delivered.is_none();
            let (true, false, Some(key)) = (lacks, self.attempt.is_own(accuser, own), holder.key) else { continue };
            let peer = view.peer(self.attempt.of(), &holder.gatekeeper);
            let Some(peer) = peer.filter(|peer| peer.key_hash() == key) else {
                turn.strangers.push(holder.gatekeeper);
                continue;
            };
            let parcel = self.sealed(view, peer, accuser)?;
            let statement = IdentityStatement::Deliver { accuser, parcel: delivery_hash(&key, &parcel) };
            self.say(view, turn, statement, Some(Attachment::Parcel(parcel)));
        }
        Ok(())
    }

    /// Answers the first disputes of this dealer's deliveries, as many as holders may lie: honest ones dispute none. An accuser that has
    /// confirmed since needs no answer. The package stands beside, until an answer does.
    fn answer(&mut self, view: &View<'_>, turn: &mut Turn) -> Result<(), CeremonyError> {
        let (own, record) = (self.index, view.record);
        let of_own = || record.complaints.iter().filter(move |complaint| complaint.dealer == own);
        let shown = of_own().any(|complaint| complaint.answer.is_some());
        for complaint in of_own().filter(|complaint| complaint.disputed) {
            let accuser = complaint.accuser;
            let lacks =
                record.holder(accuser).is_some_and(|holder| holder.left_out.is_none() && holder.confirmed.is_none());
            if !lacks || self.attempt.is_own(accuser, own) {
                continue;
            }
            // Others than these were answered on a fork.
            let before = self.dealt.answered();
            if !before.contains(&accuser) && before.len() >= self.attempt.tolerated() {
                continue;
            }
            self.unsealed |= !before.contains(&accuser);
            let accusers = BTreeSet::from([accuser]);
            let shares = self.attempt.answer(&mut self.dealt, accuser, &accusers).map_err(|_| CeremonyError::Failed)?;
            if complaint.answer.is_none() {
                let beside = (!shown).then(|| Attachment::Package(self.dealt.package.clone()));
                self.say(view, turn, IdentityStatement::Answer { accuser, shares }, beside);
            }
        }
        Ok(())
    }

    /// What this dealer owes a holder, sealed to it: the same bytes each time.
    fn sealed(&mut self, view: &View<'_>, peer: &VerifiedPeer, to: u16) -> Result<Parcel, CeremonyError> {
        let known = (to, peer.key_hash());
        if let Some(parcel) = self.posted.get(&known) {
            return Ok(parcel.clone());
        }
        let shares = self.dealt.shares(to).ok_or(CeremonyError::Failed)?;
        let content = Secret::new([&shares.expose()[..], &self.dealt.package[..]].concat());
        let header = self.attempt.header(self.index, to);
        let genesis = &self.attempt.genesis;
        let parcel = seal_parcel(genesis, view.identity, peer.key(), header, content.expose(), view.entropy)
            .map_err(|_| CeremonyError::Failed)?;
        self.posted.insert(known, parcel.clone());
        Ok(parcel)
    }
}
