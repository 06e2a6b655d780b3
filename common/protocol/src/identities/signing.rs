//! Signing as a contract: what holders of an identity say to one another, and the signature that comes of it.
//!
//! A message that has left a cluster ([`crate::egress::EgressAction::Message`]) is signed under the identity that belongs to its contract.
//! Each holder commits to nonces towards a coordinator; the coordinator sends those of at least a threshold around as one list; each holder
//! on it answers with its part; the coordinator adds the parts up (FROST, RFC 9591). Who coordinates follows from item and attempt, and an
//! attempt is a span of blocks, so that all agree without a clock and whoever withholds is passed by.
//!
//! What is signed is [`EgressSignature::payload`]: 32 bytes, BLAKE2b-256 of a label, chain, scheme and the item's id, which binds cluster,
//! sequence, contract, destination and content. It is no transaction of a Substrate chain, whose signed bytes are longer than 32, or the
//! BLAKE2b-256 of more than 256 bytes where these are 91 and begin with the label's length and the label; nor of chains that sign another hash, or a hash of bytes
//! that begin otherwise.
//!
//! Guarantees: bounded decoding. Holders and hosts control messages, and anyone may show a signature: allegations until
//! `phala_gatekeeper::identity` and `phala_crypto::egress` judge them. Does not: say which items may be signed.

use super::Scheme;
use crate::{ceremony::MAX_SEATS, domain, hash_value, ids::BlockNumber, Hash};
use alloc::vec::Vec;
use codec::{Decode, DecodeAll, DecodeWithMemTracking, Encode, MaxEncodedLen};

/// Blocks of one attempt to sign an item: a minute of 6 s blocks. In it a holder's letters make three ways.
pub const SIGNING_ATTEMPT_BLOCKS: BlockNumber = 10;
/// Messages that a gatekeeper signs at once, each in both schemes: relayers have room for what holders say about so many.
pub const MOST_SIGNED_AT_ONCE: usize = 32;
/// Bytes of a signer's commitments.
pub const NONCE_COMMITMENTS_BYTES: usize = 66;
/// Bytes of the longest [`SigningMessage`]: a list of all seats.
pub const MAX_SIGNING_MESSAGE_BYTES: usize = 1 + SESSION_BYTES + 2 + NONCE_COMMITMENTS_BYTES * MAX_SEATS;
/// Bytes of a [`SigningSession`].
const SESSION_BYTES: usize = 1 + 32 + 32 + 4;

/// One attempt to sign one item. Nothing of one serves another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
pub struct SigningSession {
    /// Under which kind of key.
    pub scheme: Scheme,
    /// The sharing of the identity that signs: a hash that names its holders, so that nothing of one set serves another.
    pub sharing: Hash,
    /// The item's id, which binds the chain.
    pub item: Hash,
    /// The attempt, from 0: how many times [`SIGNING_ATTEMPT_BLOCKS`] have passed since the item left.
    pub attempt: u32,
}

/// A signer's commitments to the nonces of one signature, as they travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
pub struct NonceCommitments {
    /// The signer's index.
    pub index: u16,
    /// Commitment to the hiding nonce.
    pub hiding: [u8; 32],
    /// Commitment to the binding nonce.
    pub binding: [u8; 32],
}

/// A signer's part of one signature, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
pub struct PartialSignature {
    /// The signer's index.
    pub index: u16,
    /// A canonical scalar.
    pub part: [u8; 32],
}

/// What one holder says to another: in a [`SigningLetter`], which says who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub enum SigningMessage {
    /// To the coordinator: commitments to nonces that are used in this session alone.
    #[codec(index = 0)]
    Commit {
        /// The session.
        session: SigningSession,
        /// The sender's commitments.
        commitments: NonceCommitments,
    },
    /// From the coordinator: who signs together, by their commitments.
    #[codec(index = 1)]
    List {
        /// The session.
        session: SigningSession,
        /// At least a threshold of commitments, ascending by index.
        commitments: Vec<NonceCommitments>,
    },
    /// To the coordinator: the sender's part.
    #[codec(index = 2)]
    Part {
        /// The session.
        session: SigningSession,
        /// [`SigningSession::list_hash`] of the list that it is of.
        list: Hash,
        /// The part.
        part: PartialSignature,
    },
}

/// A message as it travels between gatekeepers, under its sender's identity key. There is nothing secret in it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct SigningLetter {
    /// Index of the holder that speaks.
    pub from: u16,
    /// Index of the holder that is spoken to.
    pub to: u16,
    /// The message; its session names the sharing, and so who has which index.
    pub message: SigningMessage,
    /// Ed25519 by the sender over [`Self::signing_payload`].
    pub signature: [u8; 64],
}

impl SigningLetter {
    /// The 32 bytes that the sender signs: no letter of it serves another recipient, chain or session.
    pub fn signing_payload(&self, genesis: &Hash) -> Hash {
        hash_value(domain::IDENTITY_LETTER, &(genesis, self.from, self.to, &self.message))
    }
}

/// Bytes are no message between holders; the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes are no message of a signing session, or longer than one may be")]
pub struct BadSigningMessage;

impl SigningSession {
    /// The hash by which a part names the list that it was made for.
    pub fn list_hash(&self, commitments: &[NonceCommitments]) -> Hash {
        hash_value(domain::IDENTITY_LIST, &(self, commitments))
    }

    /// The place of the coordinator among `holders` holders in their order, from 0: each in turn, beginning at one that the item decides.
    /// 0 where there is no holder.
    pub fn coordinator(&self, holders: usize) -> usize {
        let (first, _) = self.item.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let turn = u128::from(u64::from_le_bytes(*first)).wrapping_add(self.attempt.into());
        let place = turn.checked_rem(holders as u128).unwrap_or(0);
        // Below the number of holders.
        usize::try_from(place).unwrap_or(0)
    }
}

impl SigningMessage {
    /// Decodes a message of at most [`MAX_SIGNING_MESSAGE_BYTES`], and nothing after it.
    pub fn decode_bounded(bytes: &[u8]) -> Result<Self, BadSigningMessage> {
        if bytes.len() > MAX_SIGNING_MESSAGE_BYTES {
            return Err(BadSigningMessage);
        }
        Self::decode_all(&mut &bytes[..]).map_err(|_| BadSigningMessage)
    }

    /// The session that it says it is of.
    pub fn session(&self) -> &SigningSession {
        match self {
            Self::Commit { session, .. } | Self::List { session, .. } | Self::Part { session, .. } => session,
        }
    }
}

/// A signature by the identity of the contract that sent an item: `Egress::Signatures[(cluster, sequence, scheme)]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct EgressSignature {
    /// The item's id.
    pub item: Hash,
    /// Of which kind.
    pub scheme: Scheme,
    /// The contract's public key of that kind: its address elsewhere.
    pub key: [u8; 32],
    /// The signature over [`Self::payload`]: RFC 8032, or as schnorrkel writes one under the context `substrate`.
    pub signature: [u8; 64],
}

impl EgressSignature {
    /// The bytes that are signed for the item with this id on the chain with this genesis.
    pub fn payload(genesis: &Hash, scheme: Scheme, item: &Hash) -> Hash {
        hash_value(domain::EGRESS_SIGNATURE, &(genesis, scheme, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        egress::{EgressAction, EgressItem},
        hash::blake2_256,
        ids::{to_hex, ClusterId, ContractId},
    };

    const SESSION: SigningSession =
        SigningSession { scheme: Scheme::Ed25519, sharing: [1; 32], item: [2; 32], attempt: 3 };

    fn commitments(index: u16) -> NonceCommitments {
        NonceCommitments { index, hiding: [4; 32], binding: [5; 32] }
    }

    #[test]
    fn what_is_signed_binds_chain_scheme_and_item_and_is_golden() {
        let action = EgressAction::Message { destination: b"there".to_vec(), payload: b"hello".to_vec() };
        let item = EgressItem { cluster: ClusterId(1), sequence: 7, contract: ContractId([3; 32]), action };
        let id = item.id(&[9; 32]);
        let payload = EgressSignature::payload(&[9; 32], Scheme::Ed25519, &id);
        // By another implementation, over bytes that were written out by hand.
        assert_eq!(to_hex(&id), "0xf213b80ab06a68c39caa6e684a89eba203ea71ad703b52939bcf21369c35666a");
        assert_eq!(to_hex(&payload), "0x1dbb5c558f975c2227eb48767f6b6427832587206985c14d464c71c445948177");
        let other = EgressSignature::payload(&[9; 32], Scheme::Ristretto255, &id);
        assert_eq!(to_hex(&other), "0xaced8697853243f71dd76da4686d5408bbb521be34c332119f641540e50a5651");
        let label = domain::EGRESS_SIGNATURE.as_bytes();
        let bytes = [&[label.len() as u8][..], label, &[9; 32], &[0], &id].concat();
        assert_eq!(payload, blake2_256(&bytes));
        // Substrate signs the hash of what is longer than 256 bytes.
        assert_eq!(bytes.len(), 91);
        assert_ne!(payload, EgressSignature::payload(&[8; 32], Scheme::Ed25519, &id));
        assert_ne!(payload, EgressSignature::payload(&[9; 32], Scheme::Ed25519, &[0; 32]));
    }

    #[test]
    fn messages_decode_whole_within_their_bound_or_not_at_all() {
        let list = |count: usize| SigningMessage::List {
            session: SESSION,
            commitments: (0..count).map(|index| commitments(index as u16)).collect(),
        };
        let longest = list(MAX_SEATS).encode();
        assert_eq!(SESSION.encoded_size(), SESSION_BYTES);
        assert_eq!(commitments(1).encoded_size(), NONCE_COMMITMENTS_BYTES);
        assert!(longest.len() <= MAX_SIGNING_MESSAGE_BYTES);
        assert_eq!(SigningMessage::decode_bounded(&longest), Ok(list(MAX_SEATS)));
        assert_eq!(SigningMessage::decode_bounded(&list(MAX_SEATS + 1).encode()), Err(BadSigningMessage));
        let part = PartialSignature { index: 1, part: [6; 32] };
        let message = SigningMessage::Part { session: SESSION, list: [7; 32], part };
        let bytes = message.encode();
        assert_eq!(bytes.len(), 1 + 69 + 32 + 34);
        assert_eq!(SigningMessage::decode_bounded(&bytes), Ok(message));
        assert_eq!(SigningMessage::decode_bounded(&bytes[..bytes.len() - 1]), Err(BadSigningMessage));
        assert_eq!(SigningMessage::decode_bounded(&[&bytes[..], &[0]].concat()), Err(BadSigningMessage));
        assert_eq!(SigningMessage::decode_bounded(&[3]), Err(BadSigningMessage));
        assert_eq!(SigningMessage::decode_bounded(&[]), Err(BadSigningMessage));
        // A count that promises more than is there takes no memory.
        let mut short = list(0).encode();
        let end = short.len() - 1;
        short.truncate(end);
        short.extend([0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(SigningMessage::decode_bounded(&short), Err(BadSigningMessage));
    }

    #[test]
    fn every_holder_coordinates_in_turn_and_nothing_else_decides() {
        for holders in [1usize, 4, 21, MAX_SEATS] {
            let first = SESSION.coordinator(holders);
            for turn in 0..holders {
                let later = SigningSession { attempt: SESSION.attempt + turn as u32, ..SESSION };
                assert_eq!(later.coordinator(holders), (first + turn) % holders);
            }
        }
        let last = SigningSession { item: [0xff; 32], attempt: u32::MAX, ..SESSION };
        assert!(last.coordinator(7) < 7);
        assert_eq!(SESSION.coordinator(0), 0);
    }

    #[test]
    fn a_list_has_another_hash_in_each_session_and_with_each_signer() {
        let list = [commitments(1), commitments(2)];
        let hash = SESSION.list_hash(&list);
        let others = [
            SigningSession { scheme: Scheme::Ristretto255, ..SESSION }.list_hash(&list),
            SigningSession { sharing: [0; 32], ..SESSION }.list_hash(&list),
            SigningSession { item: [0; 32], ..SESSION }.list_hash(&list),
            SigningSession { attempt: 4, ..SESSION }.list_hash(&list),
            SESSION.list_hash(&list[..1]),
            SESSION.list_hash(&[commitments(1), commitments(3)]),
        ];
        assert!(others.iter().all(|other| *other != hash));
    }
}
