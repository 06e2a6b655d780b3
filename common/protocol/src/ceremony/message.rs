//! What seats sign, and what they send each other.
//!
//! Guarantees: a signature's payload binds chain, era, attempt, seat and content. Verifies nothing, and bounds nothing that it decodes:
//! whoever reads bytes bounds their number before. Seats and whoever carries their messages control every byte.

use super::{AnnouncedKey, Confirmed, Said};
use crate::{attestation::Registration, domain, hash_value, Hash};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode};

/// What a seat says on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Statement {
    /// This is the hash of my package.
    #[codec(index = 0)]
    Commit {
        /// [`package_hash`].
        package: Hash,
    },
    /// I have no valid share of this dealer. The key under which I receive is beside my first complaint.
    #[codec(index = 1)]
    Complain {
        /// Its index.
        dealer: u16,
    },
    /// These are the shares that the accuser disputes, in public; my package is beside my first answer.
    #[codec(index = 2)]
    Answer {
        /// Index of the accuser.
        accuser: u16,
        /// Of the root, then of the beacon: canonical Ristretto scalars.
        shares: [[u8; 32]; 2],
    },
    /// This dealer's answer, or its package, is wrong.
    #[codec(index = 3)]
    Reject {
        /// Its index.
        dealer: u16,
    },
    /// I hold my shares of these keys.
    #[codec(index = 4)]
    Confirm(Confirmed),
    /// The parcel beside this holds my package and the accuser's shares, sealed to the accuser.
    #[codec(index = 5)]
    Deliver {
        /// Index of the accuser.
        accuser: u16,
        /// [`delivery_hash`].
        parcel: Hash,
    },
    /// What this dealer delivered to me does not open, or is not what it owes me.
    #[codec(index = 6)]
    Dispute {
        /// Its index.
        dealer: u16,
        /// What it delivered: a dispute made on a fork, of another parcel, is none on the chain.
        parcel: Hash,
    },
}

/// Bytes that an attachment has at most. A delivery of the largest root has 5,620, beside header and signature.
pub const MAX_ATTACHMENT_BYTES: usize = 6_144;

/// What stands on chain beside a statement, which is small. The record holds the hash of each, so that whoever has the bytes, from
/// wherever, can tell that they are the ones; blocks hold them for everybody.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Attachment {
    /// Of a complaint: the accuser's key of this attempt, as it announces it.
    #[codec(index = 0)]
    Key(AnnouncedKey),
    /// Of a delivery: what is delivered.
    #[codec(index = 1)]
    Parcel(Parcel),
    /// Of an answer: the dealer's package, in clear.
    #[codec(index = 2)]
    Package(Vec<u8>),
}

/// Hash of what is delivered on chain, bound to the key that it is sealed to ([`crate::attestation::encryption_key_hash`]): nobody
/// disputes what was sealed to a key that it does not have.
pub fn delivery_hash(key: &Hash, parcel: &Parcel) -> Hash {
    hash_value(domain::CEREMONY_DELIVERY, &(key, parcel))
}

/// A statement under its seat's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct SignedStatement {
    /// The era.
    pub era: u32,
    /// The attempt.
    pub attempt: u32,
    /// The seat's index, from 1.
    pub index: u16,
    /// What it says.
    pub statement: Statement,
    /// Ed25519 by the seat's gatekeeper over [`Self::signing_payload`].
    pub signature: [u8; 64],
}

impl Statement {
    /// What it says.
    pub const fn said(&self) -> Said<Confirmed> {
        match *self {
            Self::Commit { package } => Said::Commit { package },
            Self::Complain { dealer } => Said::Complain { dealer },
            Self::Answer { accuser, shares } => Said::Answer { accuser, shares },
            Self::Reject { dealer } => Said::Reject { dealer },
            Self::Confirm(keys) => Said::Confirm(keys),
            Self::Deliver { accuser, parcel } => Said::Deliver { accuser, parcel },
            Self::Dispute { dealer, parcel } => Said::Dispute { dealer, parcel },
        }
    }

    /// [`Said::contradicts`], both of one seat in one attempt.
    pub fn contradicts(&self, other: &Self) -> bool {
        self.said().contradicts(&other.said())
    }
}

impl SignedStatement {
    /// The 32 bytes that the gatekeeper signs.
    pub fn signing_payload(&self, genesis: &Hash) -> Hash {
        hash_value(domain::CEREMONY_STATEMENT, &(genesis, self.era, self.attempt, self.index, self.statement))
    }
}

/// Hash of a dealer's package, as the chain keeps it: bound to the attempt, so that no package serves two.
pub fn package_hash(genesis: &Hash, era: u32, attempt: u32, index: u16, package: &[u8]) -> Hash {
    hash_value(domain::CEREMONY_PACKAGE, &(genesis, era, attempt, index, package))
}

/// What is sealed in a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum ParcelKind {
    /// A dealer's package; its hash stands on chain.
    #[codec(index = 0)]
    Package,
    /// The recipient's shares of the dealer's polynomials, of the root and then of the beacon; the package shows whether they are right.
    #[codec(index = 1)]
    Share,
    /// Both, shares first, as it is delivered on chain.
    #[codec(index = 2)]
    Delivery,
    /// Of a ceremony of identities, whose indices the header has then: the recipient's shares, and the dealer's package. The same
    /// whether it is sent or delivered on chain: see [`crate::identities`].
    #[codec(index = 3)]
    Identities,
}

/// Who sends what to whom: the associated data of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct ParcelHeader {
    /// The era.
    pub era: u32,
    /// The attempt.
    pub attempt: u32,
    /// Index of the sender, from 1.
    pub from: u16,
    /// Index of the recipient.
    pub to: u16,
    /// What is in it.
    pub kind: ParcelKind,
}

/// A sealed message from one seat to another: HPKE to the recipient's X-Wing key of this attempt with info [`domain::CEREMONY_PARCEL`] and the
/// genesis. What is in it is proved otherwise: a package by its hash on chain, a share by the package. The signature is there so that
/// whoever is no seat cannot have a seat decapsulate for nothing; of a delivery the statement's is looked at instead.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Parcel {
    /// Who sends what to whom.
    pub header: ParcelHeader,
    /// The X-Wing ciphertext.
    pub encapsulated: Vec<u8>,
    /// The AEAD's output.
    pub body: Vec<u8>,
    /// Ed25519 by the sender's gatekeeper over [`Self::signing_payload`].
    pub signature: [u8; 64],
}

impl Parcel {
    /// The 32 bytes that the sender signs.
    pub fn signing_payload(&self, genesis: &Hash) -> Hash {
        hash_value(domain::CEREMONY_SENDER, &(genesis, self.header, &self.encapsulated, &self.body))
    }
}

/// A seat as it introduces itself to the others, who verify its evidence themselves before they seal anything to it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct Introduction {
    /// What the evidence binds; the role is that of a gatekeeper.
    pub registration: Registration,
    /// The key under which it receives in the attempt under way, signed by the identity that the registration names.
    pub announced: AnnouncedKey,
    /// SCALE of `phala_attest::Evidence`.
    pub evidence: Vec<u8>,
    /// SCALE of `phala_attest::Collateral`, as last accepted by the chain; the relayer adds it.
    pub collateral: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_binds_chain_era_attempt_seat_and_content() {
        let signed = SignedStatement {
            era: 1,
            attempt: 2,
            index: 3,
            statement: Statement::Complain { dealer: 4 },
            signature: [0; 64],
        };
        let payload = signed.signing_payload(&[7; 32]);
        let others = [
            signed.signing_payload(&[8; 32]),
            SignedStatement { era: 2, ..signed }.signing_payload(&[7; 32]),
            SignedStatement { attempt: 3, ..signed }.signing_payload(&[7; 32]),
            SignedStatement { index: 4, ..signed }.signing_payload(&[7; 32]),
            SignedStatement { statement: Statement::Reject { dealer: 4 }, ..signed }.signing_payload(&[7; 32]),
        ];
        assert!(others.iter().all(|other| *other != payload));
        let hash = package_hash(&[7; 32], 1, 2, 3, b"package");
        for other in [
            package_hash(&[8; 32], 1, 2, 3, b"package"),
            package_hash(&[7; 32], 2, 2, 3, b"package"),
            package_hash(&[7; 32], 1, 3, 3, b"package"),
            package_hash(&[7; 32], 1, 2, 4, b"package"),
            package_hash(&[7; 32], 1, 2, 3, b"packagf"),
        ] {
            assert_ne!(other, hash);
        }
    }

    #[test]
    fn a_delivery_binds_the_key_and_every_byte() {
        let header = ParcelHeader { era: 1, attempt: 2, from: 3, to: 4, kind: ParcelKind::Delivery };
        let parcel = Parcel { header, encapsulated: Vec::from([1]), body: Vec::from([2]), signature: [3; 64] };
        let hash = delivery_hash(&[7; 32], &parcel);
        let signed = parcel.signing_payload(&[7; 32]);
        assert_ne!(parcel.signing_payload(&[8; 32]), signed);
        assert_ne!(delivery_hash(&[8; 32], &parcel), hash);
        for other in [
            Parcel { header: ParcelHeader { to: 5, ..header }, ..parcel.clone() },
            Parcel { encapsulated: Vec::from([2]), ..parcel.clone() },
            Parcel { body: Vec::from([1]), ..parcel.clone() },
        ] {
            assert_ne!(delivery_hash(&[7; 32], &other), hash);
            assert_ne!(other.signing_payload(&[7; 32]), signed);
        }
        assert_ne!(delivery_hash(&[7; 32], &Parcel { signature: [4; 64], ..parcel }), hash);
    }

    #[test]
    fn only_what_can_be_said_once_contradicts_itself() {
        let commit = |byte| Statement::Commit { package: [byte; 32] };
        let confirm = |byte| Statement::Confirm(Confirmed { share_list: [byte; 32], beacon: [1; 32] });
        let answer = |accuser, byte| Statement::Answer { accuser, shares: [[1; 32], [byte; 32]] };
        let deliver = |byte| Statement::Deliver { accuser: 1, parcel: [byte; 32] };
        assert!(commit(1).contradicts(&commit(2)) && confirm(1).contradicts(&confirm(2)));
        assert!(answer(1, 1).contradicts(&answer(1, 2)));
        let compatible = [
            (commit(1), commit(1)),
            (commit(1), confirm(2)),
            (answer(1, 1), answer(2, 2)),
            (Statement::Complain { dealer: 1 }, Statement::Complain { dealer: 2 }),
            (Statement::Reject { dealer: 1 }, Statement::Reject { dealer: 2 }),
            // Sealed anew after a crash.
            (deliver(1), deliver(2)),
        ];
        assert!(compatible.iter().all(|(first, second)| !first.contradicts(second)));
    }
}
