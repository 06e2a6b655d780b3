//! What the rules of a transcript have to know of a kind of ceremony, and what both kinds have in common.
//!
//! Guarantees: functions of their arguments. Whoever made a transcript controls its records and statements; the number of seats, dealers and
//! holders is bounded by [`CeremonyKind::is_seated`], which is asked first.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use codec::{DecodeWithMemTracking, Encode};
use core::fmt::Debug;
use phala_protocol::{
    ceremony::{Complaint, Confirmed, Fault, Phase, Reason, Said, SignedStatement},
    identities::SignedIdentityStatement,
    ids::BlockNumber,
    Hash, WorkerId,
};

/// Answers in public, by accuser and dealer.
pub(super) type Answers = BTreeMap<(u16, u16), [[u8; 32]; 2]>;

/// A statement under a gatekeeper's identity.
pub trait Signed: Copy + Debug + Eq + Encode + DecodeWithMemTracking {
    /// What seats or holders confirm.
    type Keys;

    /// The era and the attempt that it is of.
    fn place(&self) -> (u32, u32);
    /// The index of whoever says it, from 1.
    fn index(&self) -> u16;
    /// What it says.
    fn said(&self) -> Said<Self::Keys>;
    /// The 32 bytes that are signed.
    fn payload(&self, genesis: &Hash) -> Hash;
    /// The signature over them.
    fn signature(&self) -> &[u8; 64];

    /// What it confirms, if that is what it says.
    fn confirms(&self) -> Option<Self::Keys> {
        match self.said() {
            Said::Confirm(keys) => Some(keys),
            _ => None,
        }
    }
}

/// Both kinds of statement have the same fields beside what is said.
macro_rules! signed {
    ($($statement:ty: $keys:ty;)*) => {$(
        impl Signed for $statement {
            type Keys = $keys;

            fn place(&self) -> (u32, u32) {
                (self.era, self.attempt)
            }

            fn index(&self) -> u16 {
                self.index
            }

            fn said(&self) -> Said<$keys> {
                self.statement.said()
            }

            fn payload(&self, genesis: &Hash) -> Hash {
                self.signing_payload(genesis)
            }

            fn signature(&self) -> &[u8; 64] {
                &self.signature
            }
        }
    )*};
}

signed! {
    SignedStatement: Confirmed;
    SignedIdentityStatement: Hash;
}

/// A kind of ceremony, as the chain's record of it.
pub trait CeremonyKind: Clone + Debug + Eq + Encode + DecodeWithMemTracking {
    /// What is signed in it.
    type Statement: Signed<Keys = Self::Keys>;
    /// What seats or holders confirm.
    type Keys: Copy + Debug + Ord;
    /// Who may be left out of an attempt.
    type Party: Copy + Debug + Ord;

    /// The era.
    fn era(&self) -> u32;
    /// The attempt.
    fn attempt(&self) -> u32;
    /// The phase.
    fn phase(&self) -> Phase;
    /// The last block of the phase.
    fn until(&self) -> BlockNumber;
    /// The complaints of the attempt.
    fn complaints(&self) -> &[Complaint];
    /// Whether those who take part are there, each once, no more than there may be, and the threshold is theirs.
    fn is_seated(&self) -> bool;
    /// Whether it is of the same ceremony as `first`.
    fn is_of(&self, first: &Self) -> bool;
    /// Whether complaints and rejections are of two different gatekeepers that are there, each pair once, and what is agreed on follows
    /// from the record itself; and of identities, whether as many deal as it takes, and whoever is left out said nothing.
    fn is_sound(&self) -> bool;
    /// Whether nothing is there that cannot have been said yet.
    fn is_timely(&self) -> bool;
    /// Whether it only adds to `before`, of the same attempt.
    fn follows(&self, before: &Self) -> bool;
    /// Whether all that take part said what the phase asks of all.
    fn is_complete(&self) -> bool;
    /// What all that take part confirmed, if they did.
    fn agreed(&self) -> Option<Self::Keys>;
    /// What each confirmed, by its index.
    fn confirmed(&self) -> BTreeMap<u16, Self::Keys>;
    /// Who may be left out, in the record's order, and who is.
    fn left_out(&self) -> Vec<(Self::Party, Option<Fault>)>;
    /// Whom the end of the attempt leaves out, if it ends with this record, and leads to `after`, of the next attempt.
    fn leads_to(&self, after: &Self) -> Option<BTreeMap<Self::Party, Reason>>;
    /// The gatekeeper that has to have signed this, if there is one.
    fn speaker(&self, signed: &Self::Statement) -> Option<WorkerId>;
    /// The hash of the package that the dealer of this index committed to.
    fn package(&self, dealer: u16) -> Option<Hash>;
    /// What the seat or holder of this index confirmed.
    fn confirmation(&self, index: u16) -> Option<Self::Keys>;
    /// Whether the seat or holder of this index rejected the dealer.
    fn has_rejected(&self, index: u16, dealer: u16) -> bool;
}

/// Whether the record has something else in the place of this statement. `answers` are those of the record.
pub(super) fn differs<R: CeremonyKind>(record: &R, signed: &R::Statement, answers: &Answers) -> bool {
    let index = signed.index();
    match signed.said() {
        Said::Commit { package } => record.package(index).is_some_and(|recorded| recorded != package),
        Said::Confirm(keys) => record.confirmation(index).is_some_and(|recorded| recorded != keys),
        Said::Answer { accuser, shares } => answers.get(&(accuser, index)).is_some_and(|recorded| *recorded != shares),
        // A delivery is sealed anew after a crash.
        Said::Complain { .. } | Said::Deliver { .. } | Said::Dispute { .. } | Said::Reject { .. } => false,
    }
}

/// Whether the record, which is of the statement's era and attempt, shows that it was taken of whom it names.
pub(super) fn has_taken<R: CeremonyKind>(record: &R, signed: &R::Statement) -> bool {
    let index = signed.index();
    let complaint = |accuser: u16, dealer: u16| complaint(record.complaints(), accuser, dealer);
    record.speaker(signed).is_some()
        && match signed.said() {
            Said::Commit { package } => record.package(index) == Some(package),
            Said::Complain { dealer } => complaint(index, dealer).is_some(),
            Said::Deliver { accuser, parcel } => {
                complaint(accuser, index).is_some_and(|known| known.delivered == Some(parcel))
            }
            Said::Dispute { dealer, parcel } => {
                complaint(index, dealer).is_some_and(|known| known.disputed && known.delivered == Some(parcel))
            }
            Said::Answer { accuser, shares } => {
                complaint(accuser, index).is_some_and(|known| known.answer == Some(shares))
            }
            Said::Reject { dealer } => record.has_rejected(index, dealer),
            Said::Confirm(keys) => record.confirmation(index) == Some(keys),
        }
}

/// What was answered in public.
pub(super) fn answers(complaints: &[Complaint]) -> Answers {
    let answer = |complaint: &Complaint| Some(((complaint.accuser, complaint.dealer), complaint.answer?));
    complaints.iter().filter_map(answer).collect()
}

/// The complaint of this accuser about this dealer.
pub(super) fn complaint(complaints: &[Complaint], accuser: u16, dealer: u16) -> Option<&Complaint> {
    complaints.iter().find(|known| (known.accuser, known.dealer) == (accuser, dealer))
}

/// Whether what a record showed it still shows.
pub(super) fn kept<T: PartialEq>(old: &Option<T>, new: &Option<T>) -> bool {
    old.is_none() || old == new
}

/// Whether `after` has the complaints `before` in their order, with what was said of each, and perhaps more behind them.
pub(super) fn complaints_follow<'a>(mut before: impl Iterator<Item = &'a Complaint>, after: &[Complaint]) -> bool {
    let mut later = after.iter();
    before.all(|old| {
        later.next().is_some_and(|new| {
            (old.accuser, old.dealer) == (new.accuser, new.dealer)
                && kept(&old.delivered, &new.delivered)
                && (!old.disputed || new.disputed)
                && kept(&old.answer, &new.answer)
        })
    })
}

/// Whether the chain may have dropped `old` when `Deliver` ended before a record with the complaints `after`: it does so with all on which
/// nothing was delivered of an accuser that nobody could seal to, which had lapsed.
pub(super) fn may_be_in_vain(old: &Complaint, after: &[Complaint]) -> bool {
    old.delivered.is_none() && after.iter().all(|new| new.accuser != old.accuser || new.delivered.is_some())
}

/// Whether each pair is `sound` and there once.
pub(super) fn are_distinct(mut pairs: impl Iterator<Item = (u16, u16)>, sound: impl Fn(u16, u16) -> bool) -> bool {
    let mut known = BTreeSet::new();
    pairs.all(|(one, other)| sound(one, other) && known.insert((one, other)))
}

/// Whether nothing is disputed that was not delivered or answered that is not disputed, and nothing was said before its phase: `spoke` that
/// something was confirmed, complained of or rejected, and `judged` that something was rejected.
pub(super) fn are_timely(phase: Phase, complaints: &[Complaint], spoke: bool, judged: bool) -> bool {
    let unfounded = complaints
        .iter()
        .any(|known| (known.disputed && known.delivered.is_none()) || (known.answer.is_some() && !known.disputed));
    let premature = match phase {
        Phase::Commit => spoke || !complaints.is_empty(),
        Phase::Share => judged || complaints.iter().any(|known| known.delivered.is_some()),
        Phase::Deliver => judged || complaints.iter().any(|known| known.answer.is_some()),
        Phase::Settle => false,
    };
    !unfounded && !premature
}
