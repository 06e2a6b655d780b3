//! What passes between a TEE and the relayer on its host.
//!
//! The relayer asks for [`TeeStatus`], fetches from the chain what it names, and brings a [`Delivery`]; what the TEE has for others
//! waits in `outgoing` until the TEE sees on the chain that it arrived. A relayer that drops, reorders, repeats or forges anything
//! costs time and nothing else: every part of a delivery is proved against finality, or sealed, or signed.
//!
//! Guarantees: bounded decoding. The host controls deliveries wholly; statuses carry nothing secret.

use crate::{
    attestation::{Registration, Role},
    beacon::{BeaconPartial, BeaconRecord, Period},
    ceremony::{Attachment, Introduction, Parcel, SignedStatement, MAX_SEATS},
    chain_state::RootRecord,
    egress::{EgressItem, ProvedEgress},
    heartbeat::SignedHeartbeat,
    identities::{
        signing::{EgressSignature, SigningLetter},
        IdentityRecord, SignedIdentityStatement,
    },
    ids::{BlockNumber, ClusterId, CodeHash, Epoch, WorkerId},
    inbox::Head,
    keys::{KeyAnswer, SignedKeyRequest},
    result::{SignedRekey, SignedResult},
    snapshot::{SnapshotPart, SnapshotStand},
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemLimit, DecodeWithMemTracking, Encode};

/// Bytes of one delivery, and of a status: a relayer takes no longer one.
pub const MAX_DELIVERY_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of memory of one delivery. An empty part is one byte on the wire and 24 in memory; honest parts have hundreds.
const MAX_DELIVERY_MEMORY: usize = MAX_DELIVERY_BYTES * 5 / 4;

/// Bytes of the letters in one delivery; the rest waits for the next. A gatekeeper lets as many bytes of them wait for its next proof.
pub const MAX_MAIL_BYTES: usize = 4 * 1024 * 1024;
/// Requests for keys in one delivery: a gatekeeper looks at no more of one, and lets no more wait.
pub const MOST_INQUIRIES: usize = 64;
/// Of them, those of one worker.
pub const MOST_INQUIRIES_OF_ONE: usize = 8;
/// Answers to requests for keys that a worker opens of one delivery: as many as a relayer lets wait for it - of every seat, for the open
/// epoch and for the next - of TEEs that are served beside it, of relayers that the operator named, and of strangers, each by itself.
pub const MOST_ANSWERS: usize = 3 * 2 * MAX_SEATS;

/// What a TEE says to its relayer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TeeStatus {
    /// Who it is.
    pub identity: WorkerId,
    /// In which role.
    pub role: Role,
    /// The chain it follows.
    pub genesis: Hash,
    /// The finalised block it has verified.
    pub height: BlockNumber,
    /// That block's hash.
    pub head: Hash,
    /// Storage keys to prove in the next delivery, beside the boundaries of the items.
    pub wanted_keys: Vec<Vec<u8>>,
    /// How far it has come in each inbox it serves.
    pub inboxes: Vec<InboxCursor>,
    /// Code it needs to go on.
    pub wanted_codes: Vec<CodeHash>,
    /// Era and attempt of the key ceremony that a gatekeeper takes part in: what stands on chain beside statements of it is wanted.
    pub attempt: Option<(u32, u32)>,
    /// The same of the ceremony of identities that a gatekeeper takes part in, as dealer, holder or both.
    pub identity_attempt: Option<(u32, u32)>,
    /// Ids of the messages whose signing a gatekeeper has begun or waits to begin, if it holds shares of identities: others that have left,
    /// and that the chain lacks a signature of, are wanted. None where it holds no share.
    pub signing: Option<Vec<Hash>>,
    /// How it stands to snapshots of its cluster's state; none where it neither can make one nor lacks one.
    pub snapshot: Option<SnapshotStand>,
    /// What it has for chain and gatekeepers; repeated until it sees that it arrived.
    pub outgoing: Vec<Outgoing>,
}

/// How far a TEE has come in one inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InboxCursor {
    /// The cluster.
    pub cluster: ClusterId,
    /// The head it has executed up to.
    pub head: Head,
    /// Whether it can take items now: it has the keys it needs.
    pub ready: bool,
}

/// Something for the chain, or for a gatekeeper.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outgoing {
    /// To the chain, from the operator's account: register with this evidence.
    #[codec(index = 0)]
    Register {
        /// What the evidence binds.
        registration: Registration,
        /// SCALE of `phala_attest::Evidence`.
        evidence: Vec<u8>,
    },
    /// To the chain, through governance: this seat's signature under a root.
    #[codec(index = 1)]
    RecordRoot {
        /// The root.
        root: RootRecord,
        /// Ed25519 over [`RootRecord::signing_payload`].
        signature: [u8; 64],
    },
    /// To the chain: the envelope key of a cluster's next epoch.
    #[codec(index = 2)]
    AnnounceKey {
        /// The cluster.
        cluster: ClusterId,
        /// The era whose root the key is of.
        era: u32,
        /// The epoch.
        epoch: Epoch,
        /// X-Wing public key.
        public_key: Vec<u8>,
        /// Ed25519 over [`crate::envelope::announcement_payload`].
        signature: [u8; 64],
    },
    /// To the chain: a result. Results of one cluster stand in the order of their boundaries.
    #[codec(index = 3)]
    Result(SignedResult),
    /// To the chain: the binding of two epochs' commitments.
    #[codec(index = 4)]
    Rekey(SignedRekey),
    /// To a gatekeeper: a request for keys. The relayer adds the collateral.
    #[codec(index = 5)]
    AskKeys(KeyInquiry),
    /// To a worker: a gatekeeper's sealed answer.
    #[codec(index = 6)]
    AnswerKeys {
        /// Whose request is answered.
        worker: WorkerId,
        /// Hash that the worker signed: [`crate::keys::KeyRequest::signing_payload`].
        request: Hash,
        /// The answer.
        answer: KeyAnswer,
    },
    /// To the chain: a statement of this gatekeeper's seat in the key ceremony.
    #[codec(index = 7)]
    State(SignedStatement),
    /// To the chain: a statement with what stands beside it.
    #[codec(index = 8)]
    StateWith {
        /// The statement.
        statement: SignedStatement,
        /// What stands beside it.
        attachment: Attachment,
    },
    /// To another gatekeeper: who this one is. The relayer adds the collateral.
    #[codec(index = 9)]
    Introduce {
        /// To whom.
        to: WorkerId,
        /// With its evidence.
        introduction: Introduction,
    },
    /// To another gatekeeper: a sealed message of the ceremony.
    #[codec(index = 10)]
    Post {
        /// To whom.
        to: WorkerId,
        /// The message.
        parcel: Parcel,
    },
    /// To the chain: the beacon key of an era, whose hash it awaits.
    #[codec(index = 11)]
    BeaconKey(BeaconRecord),
    /// To the chain: this holder's evaluation of the beacon for the period that is due.
    #[codec(index = 12)]
    BeaconPartial {
        /// The era whose key answers.
        era: u32,
        /// The period.
        period: Period,
        /// The evaluation.
        partial: BeaconPartial,
    },
    /// To the chain: what a contract sends out of its cluster. Items of one cluster stand in the order of their sequences.
    #[codec(index = 13)]
    Egress(ProvedEgress),
    /// To the chain: a statement of this gatekeeper in the ceremony of identities.
    #[codec(index = 14)]
    StateIdentity {
        /// The statement.
        statement: SignedIdentityStatement,
        /// What stands beside it, if anything does.
        attachment: Option<Attachment>,
    },
    /// To the chain: the record that all holders confirmed.
    #[codec(index = 15)]
    ShowIdentities(IdentityRecord),
    /// To another gatekeeper: a message of a signing session.
    #[codec(index = 16)]
    Sign {
        /// To whom.
        to: WorkerId,
        /// The message.
        letter: SigningLetter,
    },
    /// To the chain: a contract's signature under a message that has left.
    #[codec(index = 17)]
    AttachSignature {
        /// The cluster that sent it.
        cluster: ClusterId,
        /// Its place among what the cluster sent.
        sequence: u64,
        /// The signature.
        signature: EgressSignature,
    },
    /// To the chain: the sign of life for which the beacon asks this worker.
    #[codec(index = 18)]
    Heartbeat(SignedHeartbeat),
}

/// A request for keys with the evidence that the gatekeeper verifies itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct KeyInquiry {
    /// The request.
    pub request: SignedKeyRequest,
    /// What the evidence binds.
    pub registration: Registration,
    /// SCALE of `phala_attest::Evidence`.
    pub evidence: Vec<u8>,
    /// SCALE of `phala_attest::Collateral`, as last accepted by the chain; the relayer adds it.
    pub collateral: Vec<u8>,
}

/// Items of one inbox, whole boundaries at a time.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct InboxItems {
    /// The cluster.
    pub cluster: ClusterId,
    /// SCALE of [`crate::inbox::Item`], in order; all items of each block that appears.
    pub items: Vec<Vec<u8>>,
}

/// What stands on chain beside a statement, as `Gatekeepers::Attached` says it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct PlacedAttachment {
    /// The era.
    pub era: u32,
    /// The attempt.
    pub attempt: u32,
    /// Index of the seat that made the statement, from 1; in a ceremony of identities of the dealer or holder.
    pub index: u16,
    /// What stands beside it.
    pub attachment: Attachment,
}

/// What a relayer brings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct Delivery {
    /// SCALE of [`crate::finality::FinalityProof`] from the TEE's head on; empty when there is nothing newer.
    pub finality: Vec<u8>,
    /// Nodes of a storage proof at the newest header of `finality` (or the TEE's head): the wanted keys and the boundaries (or
    /// final results) of every block in `items`. May be empty.
    pub proof: Vec<Vec<u8>>,
    /// Inbox items.
    pub items: Vec<InboxItems>,
    /// Contract code that was wanted.
    pub codes: Vec<Vec<u8>>,
    /// Answers of gatekeepers: the request's hash, and the answer.
    pub answers: Vec<(Hash, KeyAnswer)>,
    /// Requests to this gatekeeper.
    pub inquiries: Vec<KeyInquiry>,
    /// How other gatekeepers introduce themselves to this one.
    pub introductions: Vec<Introduction>,
    /// Sealed messages of the ceremony to this gatekeeper.
    pub parcels: Vec<Parcel>,
    /// What stands on chain beside statements of the attempt that the status names.
    pub attachments: Vec<PlacedAttachment>,
    /// The same of the ceremony of identities.
    pub identity_attachments: Vec<PlacedAttachment>,
    /// Messages that have left their clusters and lack a signature, as their events say them.
    pub messages: Vec<EgressItem>,
    /// Messages of signing sessions to this gatekeeper.
    pub letters: Vec<SigningLetter>,
    /// Parts of the snapshot that the status lacks, in order; at most [`crate::snapshot::MOST_SNAPSHOT_PARTS`].
    pub snapshot: Vec<SnapshotPart>,
}

impl Delivery {
    /// Decodes at most [`MAX_DELIVERY_BYTES`], and nothing after them.
    pub fn decode_bounded(bytes: &[u8]) -> Result<Self, DeliveryDecodeError> {
        if bytes.len() > MAX_DELIVERY_BYTES {
            return Err(DeliveryDecodeError::TooLong(bytes.len()));
        }
        let mut rest = bytes;
        match Self::decode_with_mem_limit(&mut rest, MAX_DELIVERY_MEMORY) {
            Ok(delivery) if rest.is_empty() => Ok(delivery),
            _ => Err(DeliveryDecodeError::Malformed),
        }
    }
}

/// Why bytes are not a delivery; the fault is the relayer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryDecodeError {
    /// More bytes than a delivery may have.
    #[error("delivery of {0} bytes is over the limit; bring fewer items at a time")]
    TooLong(usize),
    /// Not the encoding of a delivery, or bytes after it.
    #[error("delivery is malformed")]
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_decode_whole_or_not_at_all() {
        let delivery = Delivery { finality: alloc::vec![1, 2, 3], ..Default::default() };
        let mut bytes = delivery.encode();
        assert_eq!(Delivery::decode_bounded(&bytes), Ok(delivery));
        bytes.push(0);
        assert_eq!(Delivery::decode_bounded(&bytes), Err(DeliveryDecodeError::Malformed));
        assert_eq!(Delivery::decode_bounded(&bytes[..2]), Err(DeliveryDecodeError::Malformed));
    }
}
