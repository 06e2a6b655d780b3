//! What complaints, rejections and confirmations are worth: in a ceremony of roots and in one of identities alike.
//!
//! Guarantees: functions of what they are given; what is refused changes nothing. Who may speak, and when, the rules of each ceremony say
//! before. Seats control what is in a complaint, and through it only what the record says of themselves.

use super::{
    delivery_hash, Attachment, CeremonyAttempt, Complaint, ParcelHeader, Phase, Reason, Refused, MAX_ATTACHMENT_BYTES,
};
use crate::{attestation::encryption_key_hash, Hash};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

impl Complaint {
    /// The one of (accuser, dealer) in `complaints`.
    pub(crate) fn find(complaints: &mut [Self], pair: (u16, u16)) -> Result<&mut Self, Refused> {
        complaints.iter_mut().find(|known| (known.accuser, known.dealer) == pair).ok_or(Refused::NoSuchComplaint)
    }

    /// Takes what the dealer delivers: the parcel of this `header` that is `sealed` to `key`, whose hash it states.
    pub(crate) fn deliver(
        &mut self,
        header: &ParcelHeader,
        key: &Hash,
        hash: Hash,
        sealed: Option<&Attachment>,
    ) -> Result<(), Refused> {
        if self.delivered.is_some() {
            return Err(Refused::AlreadyStated);
        }
        let Some(Attachment::Parcel(parcel)) = sealed else { return Err(Refused::WrongAttachment) };
        let bytes = parcel.encapsulated.len().saturating_add(parcel.body.len());
        if bytes > MAX_ATTACHMENT_BYTES || parcel.header != *header || delivery_hash(key, parcel) != hash {
            return Err(Refused::WrongAttachment);
        }
        self.delivered = Some(hash);
        Ok(())
    }

    /// Takes a dispute of what was delivered, named by its `hash`, so that what a seat says of a fork's parcel is nothing here. Not of an
    /// accuser that `confirmed`.
    pub(crate) fn dispute(&mut self, hash: Hash, confirmed: bool) -> Result<(), Refused> {
        if self.delivered != Some(hash) {
            return Err(Refused::NoSuchDelivery);
        }
        if confirmed || self.disputed {
            return Err(Refused::AlreadyStated);
        }
        self.disputed = true;
        Ok(())
    }
}

/// The hash of an accuser's key in attempt `of`: the one that is `known`, or that of the key which its first complaint brings, which is
/// `announced` if the accuser signed it, and one that anybody can seal to. It may bring the known one again, signed.
pub(crate) fn accusers_key(
    of: &CeremonyAttempt,
    known: Option<Hash>,
    brought: Option<&Attachment>,
    announced: bool,
) -> Result<Hash, Refused> {
    match (known, brought) {
        (Some(known), None) => Ok(known),
        (known, Some(Attachment::Key(brought))) if announced && brought.of == *of => {
            // First: what is longer than a key is not hashed.
            let hash = brought.is_well_formed().then(|| encryption_key_hash(&brought.key));
            hash.filter(|hash| known.is_none_or(|known| known == *hash)).ok_or(Refused::WrongAttachment)
        }
        _ => Err(Refused::WrongAttachment),
    }
}

/// Dealers that so many as the threshold `rejected`; nobody rejects one twice.
pub(crate) fn convicted<'a>(rejected: impl Iterator<Item = &'a u16>, threshold: u16) -> BTreeSet<u16> {
    let mut rejections = BTreeMap::<u16, usize>::new();
    for dealer in rejected {
        let count = rejections.entry(*dealer).or_default();
        *count = count.saturating_add(1);
    }
    let enough = usize::from(threshold);
    rejections.into_iter().filter(|(_, count)| *count >= enough).map(|(dealer, _)| dealer).collect()
}

/// Dealers that delivered nothing, or did not answer a dispute, to an accuser that still `lacks` something.
pub(crate) fn silent(complaints: &[Complaint], lacks: impl Fn(u16) -> bool) -> BTreeMap<u16, Reason> {
    let mut silent = BTreeMap::new();
    for complaint in complaints.iter().filter(|complaint| lacks(complaint.accuser)) {
        if complaint.delivered.is_none() {
            silent.insert(complaint.dealer, Reason::NotDelivered);
        } else if complaint.disputed && complaint.answer.is_none() {
            silent.entry(complaint.dealer).or_insert(Reason::NotAnswered);
        }
    }
    silent
}

/// Accusers of dealers that are at fault: of those in `wrong`, who were convicted, and of those that are `silent`.
pub(crate) fn owed(complaints: &[Complaint], wrong: &BTreeSet<u16>, silent: &BTreeMap<u16, Reason>) -> BTreeSet<u16> {
    let failed = |dealer: &u16| wrong.contains(dealer) || silent.contains_key(dealer);
    complaints.iter().filter(|complaint| failed(&complaint.dealer)).map(|complaint| complaint.accuser).collect()
}

/// What all that take part `confirmed`, if they did, and are as many as the threshold. Nobody confirms in `Commit`.
pub(crate) fn agreed<T: Copy + PartialEq>(
    phase: Phase,
    threshold: u16,
    confirmed: impl Iterator<Item = Option<T>>,
) -> Option<T> {
    let confirmed: Vec<Option<T>> = confirmed.collect();
    let first = confirmed.first().copied().flatten()?;
    let enough = phase != Phase::Commit && confirmed.len() >= usize::from(threshold);
    (enough && confirmed.iter().all(|other| *other == Some(first))).then_some(first)
}

/// The one thing that more `confirmed` than may lie.
pub(crate) fn prevailing<T: Copy + Ord>(confirmed: impl Iterator<Item = T>, may_lie: usize) -> Option<T> {
    let mut counts = BTreeMap::<T, usize>::new();
    for one in confirmed {
        let count = counts.entry(one).or_default();
        *count = count.saturating_add(1);
    }
    let mut proved = counts.into_iter().filter(|(_, count)| *count > may_lie).map(|(one, _)| one);
    match (proved.next(), proved.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}
