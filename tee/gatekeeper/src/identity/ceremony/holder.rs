//! A holder: what it takes, confirms, complains of, disputes and rejects.
//!
//! Guarantees: idempotent - the same view says the same until the record holds it. A missing parcel is complained of at the end of the
//! phase only, when it can no longer be on its way; a wrong one never, for anybody can send it in another's name. What was delivered on
//! chain is disputed only if it is useless: what a host keeps from its gatekeeper is not. Dealers control parcels, packages and
//! answers; the record must be a fact.

use super::{
    attempt::{Attempt, ShareBytes, Verified},
    CeremonyError, Dealer, ParcelRefusal, Turn, View,
};
use crate::{
    dkg::{open_parcel, verify_sender},
    identity::{pair::joined, verify_identities, IdentityShares, IDENTITY_SHARE_BYTES},
    receiving::ReceivingKey,
};
use phala_crypto::Secret;
use phala_protocol::{
    ceremony::{delivery_hash, Attachment, Parcel, Phase},
    identities::{HolderRecord, IdentityCeremonyRecord, IdentityRecord, IdentityStatement},
    Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// Parcels that a dealer signed and that are wrong, after which no more of it are opened.
const MOST_WRONG_PARCELS: u8 = 8;

/// A holder in one attempt.
pub struct Holder {
    pub(super) attempt: Attempt,
    pub(super) index: u16,
    /// Who deals, with the hash of its package: empty until the hashes stand.
    pub(super) roster: BTreeMap<u16, Hash>,
    /// Packages of those who deal.
    pub(super) packages: BTreeMap<u16, Verified>,
    /// Dealers whose package is none, although the chain holds its hash.
    pub(super) broken: BTreeSet<u16>,
    /// This holder's shares; each pair fits its package.
    pub(super) shares: BTreeMap<u16, ShareBytes>,
    /// What dealers delivered to this holder on chain, by [`delivery_hash`]. Follows from the newest record.
    delivered: BTreeMap<u16, Hash>,
    /// What was delivered and gives no share. Follows from what is on chain.
    useless: BTreeMap<u16, Hash>,
    /// The hash of the record that this holder confirmed, or is about to.
    pub(super) confirmed: Option<Hash>,
    /// What it comes to, once everything is there. Follows from the rest.
    outcome: Option<Outcome>,
    /// How many parcels that a dealer signed were wrong. Begins anew after a restart.
    wrong: BTreeMap<u16, u8>,
    /// Whether the answer to (accuser, dealer) fits. Follows from the rest.
    judged: BTreeMap<(u16, u16), bool>,
    /// Whether the roster or `confirmed` is another than on disk: until [`Holder::mark_sealed`], whatever fails.
    unsealed: bool,
}

/// What an attempt gives a holder. It counts when the chain has the record, and is nothing before.
pub struct Outcome {
    /// The record, which the holder confirms the hash of, and anyone shows the chain when all did.
    pub record: IdentityRecord,
    /// The holder's shares.
    pub shares: IdentityShares,
}

impl Holder {
    /// Begins the attempt of `record` for `gatekeeper`, which receives shares of what is in `former`, or of keys that are made.
    pub fn begin(
        genesis: &Hash,
        gatekeeper: &WorkerId,
        record: &IdentityCeremonyRecord,
        former: Option<&IdentityRecord>,
    ) -> Result<Self, CeremonyError> {
        let attempt = Attempt::new(genesis, record, former)?;
        let index = record.holder_index(gatekeeper).ok_or(CeremonyError::NoSeat)?;
        Ok(Self {
            attempt,
            index,
            roster: BTreeMap::new(),
            packages: BTreeMap::new(),
            broken: BTreeSet::new(),
            shares: BTreeMap::new(),
            delivered: BTreeMap::new(),
            useless: BTreeMap::new(),
            confirmed: None,
            outcome: None,
            wrong: BTreeMap::new(),
            judged: BTreeMap::new(),
            unsealed: false,
        })
    }

    /// The era and the attempt.
    pub fn attempt(&self) -> (u32, u32) {
        (self.attempt.era, self.attempt.attempt)
    }

    /// The holder's index, from 1.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// What the attempt gives, once everything was received.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// What the attempt gave, at its end: when the chain has a record with the hash of this one's.
    pub fn into_outcome(self) -> Option<Outcome> {
        self.outcome
    }

    /// Notes that [`Self::to_secret_bytes`], made after the last [`Self::step`], is on disk. Not to be called when the write failed.
    pub fn mark_sealed(&mut self) {
        self.unsealed = false;
    }

    /// Looks at the chain: what is to be said now. `own` is the dealer that this gatekeeper is, if it is one: it sends itself no parcel.
    pub fn step(&mut self, view: &View<'_>, own: Option<&Dealer>) -> Result<Turn, CeremonyError> {
        let record = view.record;
        self.attempt.check(record)?;
        let holder = record.holder(self.index).ok_or(CeremonyError::NoSeat)?;
        if let Some(fault) = holder.left_out {
            return Err(CeremonyError::LeftOut(fault));
        }
        let mut turn = Turn::default();
        if record.phase == Phase::Commit {
            return Ok(turn);
        }
        self.fix_roster(record)?;
        if let Some(own) = own {
            self.take_own(own);
        }
        self.note_deliveries(record);
        self.take_answers(record);
        self.conclude(record, holder)?;
        if record.agreed.is_none() {
            self.state(view, holder, &mut turn);
        }
        turn.seal_first = self.unsealed;
        Ok(turn)
    }

    /// Takes a parcel, sent or delivered on chain, or says why it changes nothing. One that was taken before changes nothing either.
    pub fn accept(&mut self, receiving: &ReceivingKey, parcel: &Parcel) -> Result<(), ParcelRefusal> {
        let dealer = parcel.header.from;
        let ours = parcel.header == self.attempt.header(dealer, self.index);
        if !ours || self.attempt.is_own(self.index, dealer) {
            return Err(ParcelRefusal::WrongAddressee);
        }
        self.committed(dealer)?;
        if self.shares.contains_key(&dealer) {
            return Ok(());
        }
        if let Some(delivered) = self.delivered.get(&dealer).copied() {
            if delivery_hash(&receiving.hash(), parcel) == delivered {
                let taken = self.open(receiving, parcel);
                if taken.is_err() {
                    self.useless.insert(dealer, delivered);
                }
                return taken;
            }
        }
        // Whoever is no dealer cannot have anything opened, and a dealer only so often.
        let wrong = self.wrong.get(&dealer).copied().unwrap_or_default();
        if wrong >= MOST_WRONG_PARCELS {
            return Err(ParcelRefusal::TooManyWrong);
        }
        let sender = self.attempt.dealer(dealer).ok_or(ParcelRefusal::NoDealer)?;
        verify_sender(&self.attempt.genesis, sender, parcel)?;
        let taken = self.open(receiving, parcel);
        if taken.is_err() {
            self.wrong.insert(dealer, wrong.saturating_add(1));
        }
        taken
    }

    /// Takes a dealer's package in clear, as its answer to a dispute brings it, or says why it changes nothing.
    pub fn accept_package(&mut self, dealer: u16, bytes: &[u8]) -> Result<(), ParcelRefusal> {
        let committed = self.committed(dealer)?;
        if self.packages.contains_key(&dealer) || self.broken.contains(&dealer) {
            return Ok(());
        }
        if self.attempt.package_hash(dealer, bytes) != committed {
            return Err(ParcelRefusal::WrongHash);
        }
        match self.attempt.verify_package(dealer, bytes) {
            Ok(package) => {
                self.packages.insert(dealer, package);
                Ok(())
            }
            Err(fault) => {
                self.broken.insert(dealer);
                Err(fault.into())
            }
        }
    }

    fn open(&mut self, receiving: &ReceivingKey, parcel: &Parcel) -> Result<(), ParcelRefusal> {
        let content = open_parcel(&self.attempt.genesis, receiving.secret(), parcel)?;
        let split = content.expose().split_at_checked(IDENTITY_SHARE_BYTES);
        let (shares, package) = split.ok_or(ParcelRefusal::WrongShare)?;
        let shares = ShareBytes::from_slice(shares).ok_or(ParcelRefusal::WrongShare)?;
        self.take(parcel.header.from, package, shares)
    }

    /// Takes shares with their package.
    fn take(&mut self, dealer: u16, package: &[u8], shares: ShareBytes) -> Result<(), ParcelRefusal> {
        self.accept_package(dealer, package)?;
        let package = self.packages.get(&dealer).ok_or(ParcelRefusal::WrongShare)?;
        if !self.attempt.fits(package, self.index, &shares) {
            return Err(ParcelRefusal::WrongShare);
        }
        self.shares.insert(dealer, shares);
        Ok(())
    }

    fn take_own(&mut self, own: &Dealer) {
        let same = own.attempt() == self.attempt() && self.attempt.is_own(self.index, own.index);
        if !same || self.shares.contains_key(&own.index) {
            return;
        }
        if let Some((package, shares)) = own.own(self.index) {
            // One that does not deal has no place in the roster.
            let _ = self.take(own.index, package, shares);
        }
    }

    /// The hash of the package of a dealer that deals.
    fn committed(&self, dealer: u16) -> Result<Hash, ParcelRefusal> {
        if self.roster.is_empty() {
            return Err(ParcelRefusal::TooEarly);
        }
        self.roster.get(&dealer).copied().ok_or(ParcelRefusal::NoDealer)
    }

    /// Fixes who deals when the hashes stand; they never change in an attempt.
    fn fix_roster(&mut self, record: &IdentityCeremonyRecord) -> Result<(), CeremonyError> {
        let dealing = record.dealing().filter_map(|dealer| Some((dealer.index, dealer.package?)));
        let roster: BTreeMap<u16, Hash> = dealing.collect();
        if roster.len() < self.attempt.deals() {
            return Err(CeremonyError::TooFew);
        }
        if !self.roster.is_empty() && self.roster != roster {
            return Err(CeremonyError::Contradiction);
        }
        self.unsealed |= self.roster != roster;
        self.roster = roster;
        Ok(())
    }

    /// Notes what the chain has as delivered to this holder.
    fn note_deliveries(&mut self, record: &IdentityCeremonyRecord) {
        let own = record.complaints.iter().filter(|complaint| complaint.accuser == self.index);
        self.delivered = own.filter_map(|complaint| Some((complaint.dealer, complaint.delivered?))).collect();
    }

    /// Takes as this holder's shares the public answers that fit.
    fn take_answers(&mut self, record: &IdentityCeremonyRecord) {
        for complaint in record.complaints.iter().filter(|complaint| complaint.accuser == self.index) {
            let Some(answer) = complaint.answer else { continue };
            let shares = public(&answer);
            let package = self.packages.get(&complaint.dealer);
            let fits = package.is_some_and(|package| self.attempt.fits(package, self.index, &shares));
            if fits && !self.shares.contains_key(&complaint.dealer) {
                self.shares.insert(complaint.dealer, shares);
            }
        }
    }

    /// Adds everything up, once it is all there.
    fn conclude(&mut self, record: &IdentityCeremonyRecord, own: &HolderRecord) -> Result<(), CeremonyError> {
        if self.confirmed.or(own.confirmed) != own.confirmed.or(self.confirmed) {
            return Err(CeremonyError::Foreign);
        }
        if self.outcome.is_none() {
            let of = |dealer: &u16| Some((self.packages.get(dealer)?, self.shares.get(dealer)?));
            let Some(dealt) = self.roster.keys().map(of).collect::<Option<Vec<_>>>() else { return Ok(()) };
            let (keys, shares) = self.attempt.conclude(self.index, &dealt)?;
            let holders = record.receiving().map(|(index, holder)| (index, holder.gatekeeper));
            let made = keys.to_record(self.attempt.era, holders);
            // As whoever reads it verifies it.
            verify_identities(&made).map_err(|_| CeremonyError::Failed)?;
            self.outcome = Some(Outcome { record: made, shares });
        }
        let Some(hash) = self.outcome.as_ref().map(|outcome| outcome.record.hash()) else { return Ok(()) };
        if self.confirmed.or(own.confirmed).is_some_and(|confirmed| confirmed != hash) {
            return Err(CeremonyError::Foreign);
        }
        self.unsealed |= self.confirmed != Some(hash);
        self.confirmed = Some(hash);
        Ok(())
    }

    /// What is to be said now.
    fn state(&mut self, view: &View<'_>, own: &HolderRecord, turn: &mut Turn) {
        let record = view.record;
        let mut said = Vec::new();
        if let (Some(hash), None) = (self.confirmed, own.confirmed) {
            said.push((IdentityStatement::Confirm { record: hash }, None));
        }
        match record.phase {
            Phase::Share if record.is_last_call(view.head) => self.complain(view, own, &mut said),
            Phase::Deliver => self.dispute(record, &mut said),
            Phase::Settle => {
                for dealer in self.wrong_dealers(record) {
                    if !own.rejected.contains(&dealer) {
                        said.push((IdentityStatement::Reject { dealer }, None));
                    }
                }
            }
            Phase::Commit | Phase::Share => {}
        }
        let signed = said
            .into_iter()
            .map(|(statement, beside)| (self.attempt.sign(view.identity, self.index, statement), beside));
        turn.statements.extend(signed);
    }

    /// Complains of every dealer whose shares are missing, with this gatekeeper's key until a complaint of it stands.
    fn complain(&self, view: &View<'_>, own: &HolderRecord, said: &mut Vec<(IdentityStatement, Option<Attachment>)>) {
        for dealer in self.roster.keys().copied() {
            let known = view
                .record
                .complaints
                .iter()
                .any(|complaint| (complaint.accuser, complaint.dealer) == (self.index, dealer));
            if known || self.shares.contains_key(&dealer) || self.attempt.is_own(self.index, dealer) {
                continue;
            }
            let beside = match own.key {
                Some(_) => None,
                None => Some(Attachment::Key(view.receiving.announce(view.identity))),
            };
            said.push((IdentityStatement::Complain { dealer }, beside));
        }
    }

    /// Disputes what was delivered and is useless, unless the shares came otherwise.
    fn dispute(&self, record: &IdentityCeremonyRecord, said: &mut Vec<(IdentityStatement, Option<Attachment>)>) {
        for complaint in record.complaints.iter().filter(|complaint| complaint.accuser == self.index) {
            let (Some(parcel), false) = (complaint.delivered, complaint.disputed) else { continue };
            let dealer = complaint.dealer;
            if self.useless.get(&dealer) == Some(&parcel) && !self.shares.contains_key(&dealer) {
                said.push((IdentityStatement::Dispute { dealer, parcel }, None));
            }
        }
    }

    /// Dealers that this holder knows to have answered or committed wrongly.
    fn wrong_dealers(&mut self, record: &IdentityCeremonyRecord) -> BTreeSet<u16> {
        let mut wrong = self.broken.clone();
        for complaint in &record.complaints {
            let (accuser, dealer) = (complaint.accuser, complaint.dealer);
            let Some(answer) = complaint.answer else { continue };
            let Some(package) = self.packages.get(&dealer) else { continue };
            if self.attempt.is_own(self.index, dealer) {
                continue;
            }
            let attempt = &self.attempt;
            let fits = self
                .judged
                .entry((accuser, dealer))
                .or_insert_with(|| attempt.fits(package, accuser, &public(&answer)));
            if !*fits {
                wrong.insert(dealer);
            }
        }
        wrong
    }
}

/// Shares that are public.
fn public([ed25519, sr25519]: &[[u8; 32]; 2]) -> ShareBytes {
    joined(&Secret::new(*ed25519), &Secret::new(*sr25519))
}
