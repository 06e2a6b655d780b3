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
    received::Received,
    receiving::ReceivingKey,
};
use phala_crypto::Secret;
use phala_protocol::{
    ceremony::{delivery_hash, Attachment, Complaint, Parcel, Phase},
    identities::{HolderRecord, IdentityCeremonyRecord, IdentityRecord, IdentityStatement},
    Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// A holder in one attempt.
pub struct Holder {
    pub(super) attempt: Attempt,
    pub(super) index: u16,
    pub(super) received: Received<Verified, ShareBytes>,
    /// The hash of the record that this holder confirmed, or is about to.
    pub(super) confirmed: Option<Hash>,
    /// What it comes to, once everything is there. Follows from the rest.
    outcome: Option<Outcome>,
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
        Ok(Self { attempt, index, received: Received::new(), confirmed: None, outcome: None, unsealed: false })
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
        self.received.note_deliveries(self.index, &record.complaints);
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
        if self.received.shares.contains_key(&dealer) {
            return Ok(());
        }
        if let Some(delivered) = self.received.delivered.get(&dealer).copied() {
            if delivery_hash(&receiving.hash(), parcel) == delivered {
                let taken = self.open(receiving, parcel);
                if taken.is_err() {
                    self.received.useless.insert(dealer, delivered);
                }
                return taken;
            }
        }
        // Whoever is no dealer cannot have anything opened, and a dealer only so often.
        if self.received.is_spent(dealer, parcel.header.kind) {
            return Err(ParcelRefusal::TooManyWrong);
        }
        let sender = self.attempt.dealer(dealer).ok_or(ParcelRefusal::NoDealer)?;
        verify_sender(&self.attempt.genesis, sender, parcel)?;
        let taken = self.open(receiving, parcel);
        if taken.is_err() {
            self.received.note_wrong(dealer, parcel.header.kind);
        }
        taken
    }

    /// Takes a dealer's package in clear, as its answer to a dispute brings it, or says why it changes nothing.
    pub fn accept_package(&mut self, dealer: u16, bytes: &[u8]) -> Result<(), ParcelRefusal> {
        let committed = self.committed(dealer)?;
        if self.received.knows_package(dealer) {
            return Ok(());
        }
        if self.attempt.package_hash(dealer, bytes) != committed {
            return Err(ParcelRefusal::WrongHash);
        }
        let verified = self.attempt.verify_package(dealer, bytes);
        self.received.note_package(dealer, verified).map_err(ParcelRefusal::from)
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
        let package = self.received.packages.get(&dealer).ok_or(ParcelRefusal::WrongShare)?;
        if !self.attempt.fits(package, self.index, &shares) {
            return Err(ParcelRefusal::WrongShare);
        }
        self.received.shares.insert(dealer, shares);
        Ok(())
    }

    fn take_own(&mut self, own: &Dealer) {
        let same = own.attempt() == self.attempt() && self.attempt.is_own(self.index, own.index);
        if !same || self.received.shares.contains_key(&own.index) {
            return;
        }
        if let Some((package, shares)) = own.own(self.index) {
            // One that does not deal has no place in the roster.
            let _ = self.take(own.index, package, shares);
        }
    }

    /// The hash of the package of a dealer that deals.
    fn committed(&self, dealer: u16) -> Result<Hash, ParcelRefusal> {
        if self.received.roster.is_empty() {
            return Err(ParcelRefusal::TooEarly);
        }
        self.received.roster.get(&dealer).copied().ok_or(ParcelRefusal::NoDealer)
    }

    /// Fixes who deals when the hashes stand; they never change in an attempt.
    fn fix_roster(&mut self, record: &IdentityCeremonyRecord) -> Result<(), CeremonyError> {
        let dealing = record.dealing().filter_map(|dealer| Some((dealer.index, dealer.package?)));
        let roster: BTreeMap<u16, Hash> = dealing.collect();
        if roster.len() < self.attempt.deals() {
            return Err(CeremonyError::TooFew);
        }
        self.unsealed |= self.received.fix_roster(roster).ok_or(CeremonyError::Contradiction)?;
        Ok(())
    }

    /// Takes as this holder's shares the public answers that fit.
    fn take_answers(&mut self, record: &IdentityCeremonyRecord) {
        let (own, attempt) = (self.index, &self.attempt);
        let fitting = |package: &Verified, answer: &[[u8; 32]; 2]| {
            let shares = public(answer);
            attempt.fits(package, own, &shares).then_some(shares)
        };
        self.received.take_answers(own, &record.complaints, fitting);
    }

    /// Adds everything up, once it is all there.
    fn conclude(&mut self, record: &IdentityCeremonyRecord, own: &HolderRecord) -> Result<(), CeremonyError> {
        if self.confirmed.or(own.confirmed) != own.confirmed.or(self.confirmed) {
            return Err(CeremonyError::Foreign);
        }
        if self.outcome.is_none() {
            let of = |dealer: &u16| Some((self.received.packages.get(dealer)?, self.received.shares.get(dealer)?));
            let Some(dealt) = self.received.roster.keys().map(of).collect::<Option<Vec<_>>>() else { return Ok(()) };
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
        let missing = self.received.to_accuse(self.index, &view.record.complaints);
        for dealer in missing.into_iter().filter(|dealer| !self.attempt.is_own(self.index, *dealer)) {
            let beside = match own.key {
                Some(_) => None,
                None => Some(Attachment::Key(view.receiving.announce(view.identity))),
            };
            said.push((IdentityStatement::Complain { dealer }, beside));
        }
    }

    /// Disputes what was delivered and is useless, unless the shares came otherwise.
    fn dispute(&self, record: &IdentityCeremonyRecord, said: &mut Vec<(IdentityStatement, Option<Attachment>)>) {
        let useless = self.received.to_dispute(self.index, &record.complaints);
        said.extend(useless.into_iter().map(|(dealer, parcel)| (IdentityStatement::Dispute { dealer, parcel }, None)));
    }

    /// Dealers that this holder knows to have answered or committed wrongly.
    fn wrong_dealers(&mut self, record: &IdentityCeremonyRecord) -> BTreeSet<u16> {
        let (own, attempt) = (self.index, &self.attempt);
        let judged = |complaint: &Complaint| !attempt.is_own(own, complaint.dealer);
        let fits =
            |package: &Verified, accuser: u16, answer: &[[u8; 32]; 2]| attempt.fits(package, accuser, &public(answer));
        self.received.wrong_dealers(&record.complaints, judged, fits)
    }
}

/// Shares that are public.
fn public([ed25519, sr25519]: &[[u8; 32]; 2]) -> ShareBytes {
    joined(&Secret::new(*ed25519), &Secret::new(*sr25519))
}
