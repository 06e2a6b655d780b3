//! What is said in a ceremony, whichever kind it is of.
//!
//! Statements of roots and of identities have formats of their own; what they say is the same, and the rules that are the same for both look
//! at this. Guarantees nothing about who says it. Whoever speaks controls every byte.

use crate::Hash;

/// What a dealer or whoever receives says; `K` is what is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<K> {
    /// Of a dealer: this is the hash of my package.
    Commit {
        /// The hash.
        package: Hash,
    },
    /// I have no valid shares of this dealer.
    Complain {
        /// Its index.
        dealer: u16,
    },
    /// Of a dealer: the parcel beside this holds what I owe the accuser, sealed to it.
    Deliver {
        /// Index of the accuser.
        accuser: u16,
        /// [`super::delivery_hash`].
        parcel: Hash,
    },
    /// What this dealer delivered to me does not open, or is not what it owes me.
    Dispute {
        /// Its index.
        dealer: u16,
        /// What it delivered.
        parcel: Hash,
    },
    /// Of a dealer: these are the shares that the accuser disputes, in public.
    Answer {
        /// Index of the accuser.
        accuser: u16,
        /// Of both polynomials: canonical scalars.
        shares: [[u8; 32]; 2],
    },
    /// This dealer's answer, or its package, is wrong.
    Reject {
        /// Its index.
        dealer: u16,
    },
    /// I hold my shares of these keys.
    Confirm(K),
}

impl<K: PartialEq> Said<K> {
    /// Whether one of the two cannot be true when the other is, both of one speaker in one attempt. What is delivered is sealed anew after a
    /// crash.
    pub fn contradicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Commit { package: one }, Self::Commit { package: other }) => one != other,
            (Self::Confirm(one), Self::Confirm(other)) => one != other,
            (Self::Answer { accuser: a, shares: one }, Self::Answer { accuser: b, shares: other }) => {
                a == b && one != other
            }
            _ => false,
        }
    }
}
