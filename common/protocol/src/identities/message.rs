//! What dealers and holders sign.
//!
//! Guarantees: a signature's payload binds chain, era, attempt, index and content; whether the index is a dealer's or a holder's follows from the
//! content. Verifies nothing, and bounds nothing that it decodes. Whoever speaks and whoever carries it control every byte.
//! What stands beside a statement is a [`crate::ceremony::Attachment`], and what is sealed travels as a [`crate::ceremony::Parcel`].

use crate::{ceremony::Said, domain, hash_value, Hash};
use codec::{Decode, DecodeWithMemTracking, Encode};

/// What a dealer or a holder says on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum IdentityStatement {
    /// Of a dealer: this is the hash of my package.
    #[codec(index = 0)]
    Commit {
        /// [`dealing_hash`].
        package: Hash,
    },
    /// Of a holder: I have no valid shares of this dealer. The key under which I receive is beside my first complaint.
    #[codec(index = 1)]
    Complain {
        /// Its index.
        dealer: u16,
    },
    /// Of a dealer: the parcel beside this holds the accuser's shares and my package, sealed to the accuser.
    #[codec(index = 2)]
    Deliver {
        /// Index of the accuser.
        accuser: u16,
        /// [`crate::ceremony::delivery_hash`].
        parcel: Hash,
    },
    /// Of a holder: what this dealer delivered to me does not open, or is not what it owes me.
    #[codec(index = 3)]
    Dispute {
        /// Its index.
        dealer: u16,
        /// What it delivered: a dispute made on a fork, of another parcel, is none on the chain.
        parcel: Hash,
    },
    /// Of a dealer: these are the shares that the accuser disputes, in public; my package is beside my first answer.
    #[codec(index = 4)]
    Answer {
        /// Index of the accuser.
        accuser: u16,
        /// Of Ed25519, then of sr25519: canonical scalars.
        shares: [[u8; 32]; 2],
    },
    /// Of a holder: this dealer's answer, or its package, is wrong.
    #[codec(index = 5)]
    Reject {
        /// Its index.
        dealer: u16,
    },
    /// Of a holder: I hold my shares of both keys, and this is the record of them.
    #[codec(index = 6)]
    Confirm {
        /// [`super::IdentityRecord::hash`].
        record: Hash,
    },
}

impl IdentityStatement {
    /// Whether a dealer says it; otherwise a holder does.
    pub const fn is_of_dealer(&self) -> bool {
        matches!(self, Self::Commit { .. } | Self::Deliver { .. } | Self::Answer { .. })
    }

    /// What it says.
    pub const fn said(&self) -> Said<Hash> {
        match *self {
            Self::Commit { package } => Said::Commit { package },
            Self::Complain { dealer } => Said::Complain { dealer },
            Self::Deliver { accuser, parcel } => Said::Deliver { accuser, parcel },
            Self::Dispute { dealer, parcel } => Said::Dispute { dealer, parcel },
            Self::Answer { accuser, shares } => Said::Answer { accuser, shares },
            Self::Reject { dealer } => Said::Reject { dealer },
            Self::Confirm { record } => Said::Confirm(record),
        }
    }

    /// [`Said::contradicts`], both of one dealer or holder in one attempt.
    pub fn contradicts(&self, other: &Self) -> bool {
        self.said().contradicts(&other.said())
    }
}

/// A statement under its gatekeeper's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct SignedIdentityStatement {
    /// The era whose set receives the keys.
    pub era: u32,
    /// The attempt.
    pub attempt: u32,
    /// Index of the dealer or holder, from 1: see [`IdentityStatement::is_of_dealer`].
    pub index: u16,
    /// What it says.
    pub statement: IdentityStatement,
    /// Ed25519 by its gatekeeper over [`Self::signing_payload`].
    pub signature: [u8; 64],
}

impl SignedIdentityStatement {
    /// The 32 bytes that the gatekeeper signs.
    pub fn signing_payload(&self, genesis: &Hash) -> Hash {
        hash_value(domain::IDENTITY_STATEMENT, &(genesis, self.era, self.attempt, self.index, self.statement))
    }
}

/// Hash of a dealer's package, as the chain keeps it: bound to the attempt, so that no package serves two.
pub fn dealing_hash(genesis: &Hash, era: u32, attempt: u32, dealer: u16, package: &[u8]) -> Hash {
    hash_value(domain::IDENTITY_DEALING, &(genesis, era, attempt, dealer, package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_binds_chain_era_attempt_index_and_content() {
        let statement = IdentityStatement::Complain { dealer: 4 };
        let signed = SignedIdentityStatement { era: 1, attempt: 2, index: 3, statement, signature: [0; 64] };
        let payload = signed.signing_payload(&[7; 32]);
        let rejected = IdentityStatement::Reject { dealer: 4 };
        for other in [
            signed.signing_payload(&[8; 32]),
            SignedIdentityStatement { era: 2, ..signed }.signing_payload(&[7; 32]),
            SignedIdentityStatement { attempt: 3, ..signed }.signing_payload(&[7; 32]),
            SignedIdentityStatement { index: 4, ..signed }.signing_payload(&[7; 32]),
            SignedIdentityStatement { statement: rejected, ..signed }.signing_payload(&[7; 32]),
        ] {
            assert_ne!(other, payload);
        }
        let hash = dealing_hash(&[7; 32], 1, 2, 3, b"package");
        for other in [
            dealing_hash(&[8; 32], 1, 2, 3, b"package"),
            dealing_hash(&[7; 32], 2, 2, 3, b"package"),
            dealing_hash(&[7; 32], 1, 3, 3, b"package"),
            dealing_hash(&[7; 32], 1, 2, 4, b"package"),
            dealing_hash(&[7; 32], 1, 2, 3, b"packagf"),
            crate::ceremony::package_hash(&[7; 32], 1, 2, 3, b"package"),
        ] {
            assert_ne!(other, hash);
        }
    }

    #[test]
    fn what_contradicts_itself_is_of_one_kind_and_of_one_accuser() {
        let (commit, confirm) = (
            |byte| IdentityStatement::Commit { package: [byte; 32] },
            |byte| IdentityStatement::Confirm { record: [byte; 32] },
        );
        let answer = |accuser, byte| IdentityStatement::Answer { accuser, shares: [[byte; 32]; 2] };
        for (one, other) in [(commit(1), commit(2)), (confirm(1), confirm(2)), (answer(1, 1), answer(1, 2))] {
            assert!(one.contradicts(&other) && !one.contradicts(&one));
        }
        assert!(!commit(1).contradicts(&confirm(2)) && !answer(1, 1).contradicts(&answer(2, 2)));
        assert!(commit(1).is_of_dealer() && answer(1, 1).is_of_dealer() && !confirm(1).is_of_dealer());
    }
}
