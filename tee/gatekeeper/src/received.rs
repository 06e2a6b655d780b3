//! What one receives in an attempt of a ceremony, of roots or of identities, and what it knows of those who deal.
//!
//! Guarantees: who deals is fixed once; nobody is accused or disputed twice, or whose shares came otherwise; whether an answer fits is found out
//! once. Does not verify: whoever calls looks at hashes of packages, and whether shares fit them, before they are noted here. Peers
//! control packages and shares; records must be facts.

use phala_protocol::{
    ceremony::{Complaint, ParcelKind},
    Hash,
};
use std::collections::{BTreeMap, BTreeSet};

/// Parcels of one kind that a dealer signed and that are wrong, after which no more of them are opened.
const MOST_WRONG_PARCELS: u8 = 8;

/// What one received. `P` is a package that was verified, and `S` shares that fit their package.
pub(crate) struct Received<P, S> {
    /// Who deals, with the hash of its package: empty until the hashes stand.
    pub(crate) roster: BTreeMap<u16, Hash>,
    /// Packages of those who deal.
    pub(crate) packages: BTreeMap<u16, P>,
    /// Dealers whose package is none, although the chain holds its hash.
    pub(crate) broken: BTreeSet<u16>,
    /// Shares by dealer; each pair fits its package.
    pub(crate) shares: BTreeMap<u16, S>,
    /// What dealers delivered on chain, by [`phala_protocol::ceremony::delivery_hash`]. Follows from the newest record.
    pub(crate) delivered: BTreeMap<u16, Hash>,
    /// What was delivered and gives no shares. Follows from what is on chain.
    pub(crate) useless: BTreeMap<u16, Hash>,
    /// How many parcels that a dealer signed were wrong. Begins anew after a restart.
    wrong: BTreeMap<(u16, ParcelKind), u8>,
    /// Whether the answer to (accuser, dealer) fits. Follows from the rest.
    judged: BTreeMap<(u16, u16), bool>,
}

impl<P, S> Received<P, S> {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self {
            roster: BTreeMap::new(),
            packages: BTreeMap::new(),
            broken: BTreeSet::new(),
            shares: BTreeMap::new(),
            delivered: BTreeMap::new(),
            useless: BTreeMap::new(),
            wrong: BTreeMap::new(),
            judged: BTreeMap::new(),
        }
    }

    /// Fixes who deals when the hashes stand; they never change in an attempt. Says whether that is news, and nothing if it contradicts what
    /// was fixed before.
    pub(crate) fn fix_roster(&mut self, roster: BTreeMap<u16, Hash>) -> Option<bool> {
        let news = self.roster != roster;
        if news && !self.roster.is_empty() {
            return None;
        }
        self.roster = roster;
        Some(news)
    }

    /// Whether the dealer's package is here, or known to be none.
    pub(crate) fn knows_package(&self, dealer: u16) -> bool {
        self.packages.contains_key(&dealer) || self.broken.contains(&dealer)
    }

    /// Notes what the bytes are that the dealer committed to: its package, or none.
    pub(crate) fn note_package<E>(&mut self, dealer: u16, decoded: Result<P, E>) -> Result<(), E> {
        match decoded {
            Ok(package) => {
                self.packages.insert(dealer, package);
                Ok(())
            }
            Err(fault) => {
                self.broken.insert(dealer);
                Err(fault)
            }
        }
    }

    /// Whether so many parcels of this kind that the dealer signed were wrong that no more of them are opened.
    pub(crate) fn is_spent(&self, dealer: u16, kind: ParcelKind) -> bool {
        self.wrong.get(&(dealer, kind)).is_some_and(|wrong| *wrong >= MOST_WRONG_PARCELS)
    }

    /// Notes that a parcel which the dealer signed was wrong.
    pub(crate) fn note_wrong(&mut self, dealer: u16, kind: ParcelKind) {
        let wrong = self.wrong.entry((dealer, kind)).or_default();
        *wrong = wrong.saturating_add(1);
    }

    /// Notes what the chain has as delivered to `own`.
    pub(crate) fn note_deliveries(&mut self, own: u16, complaints: &[Complaint]) {
        let own = complaints.iter().filter(|complaint| complaint.accuser == own);
        self.delivered = own.filter_map(|complaint| Some((complaint.dealer, complaint.delivered?))).collect();
    }

    /// Takes public answers to `own`, of which `fitting` makes shares if they fit the dealer's package.
    pub(crate) fn take_answers(
        &mut self,
        own: u16,
        complaints: &[Complaint],
        fitting: impl Fn(&P, &[[u8; 32]; 2]) -> Option<S>,
    ) {
        for complaint in complaints.iter().filter(|complaint| complaint.accuser == own) {
            let dealer = complaint.dealer;
            let (Some(answer), Some(package)) = (complaint.answer, self.packages.get(&dealer)) else { continue };
            if self.shares.contains_key(&dealer) {
                continue;
            }
            if let Some(shares) = fitting(package, &answer) {
                self.shares.insert(dealer, shares);
            }
        }
    }

    /// Dealers of which `own` has no shares, and has not complained.
    pub(crate) fn to_accuse(&self, own: u16, complaints: &[Complaint]) -> Vec<u16> {
        let accused = |dealer: u16| complaints.iter().any(|known| (known.accuser, known.dealer) == (own, dealer));
        let missing = self.roster.keys().copied().filter(|dealer| !self.shares.contains_key(dealer));
        missing.filter(|dealer| !accused(*dealer)).collect()
    }

    /// What was delivered to `own`, is useless, and is not disputed yet, by dealer. Nothing of those whose shares came otherwise.
    pub(crate) fn to_dispute(&self, own: u16, complaints: &[Complaint]) -> Vec<(u16, Hash)> {
        let disputable = |complaint: &Complaint| {
            let (dealer, parcel) = (complaint.dealer, complaint.delivered?);
            let lacks = !complaint.disputed && !self.shares.contains_key(&dealer);
            (lacks && self.useless.get(&dealer) == Some(&parcel)).then_some((dealer, parcel))
        };
        complaints.iter().filter(|complaint| complaint.accuser == own).filter_map(disputable).collect()
    }

    /// Dealers that are known to have committed wrongly, or to have answered wrongly one of the complaints that are to be `judged`. `fits` says
    /// whether an answer to an accuser is right by the dealer's package.
    pub(crate) fn wrong_dealers(
        &mut self,
        complaints: &[Complaint],
        judged: impl Fn(&Complaint) -> bool,
        fits: impl Fn(&P, u16, &[[u8; 32]; 2]) -> bool,
    ) -> BTreeSet<u16> {
        let mut wrong = self.broken.clone();
        for complaint in complaints.iter().filter(|complaint| judged(complaint)) {
            let (accuser, dealer) = (complaint.accuser, complaint.dealer);
            let (Some(answer), Some(package)) = (complaint.answer, self.packages.get(&dealer)) else { continue };
            let right = self.judged.entry((accuser, dealer)).or_insert_with(|| fits(package, accuser, &answer));
            if !*right {
                wrong.insert(dealer);
            }
        }
        wrong
    }
}
