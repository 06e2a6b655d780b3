//! What a replica says it did: results, the replies they commit, and the binding of two epochs' commitments.
//!
//! Boundaries are chain facts - each block that included an item of the cluster is one - never a relayer's batching. `prev` and
//! `next` are `HMAC(commit key of (cluster, epoch), boundary, internal root)`, the internal root being over plaintext entries:
//! equal on every replica whatever its encryption, and meaningless to everyone else.
//!
//! Inputs: a result that arrives is a replica's allegation until it is final by vote; signatures are checked elsewhere.

use crate::{
    domain,
    egress::EgressItem,
    hash_value, hash_values,
    ids::{AccountId, Balance, BlockNumber, ClusterId, ContractId, Epoch, WorkerId},
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

/// A point in a cluster's inbox at which state is committed: the end of a block that included items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Boundary {
    /// The block.
    pub block: BlockNumber,
    /// Items up to and including that block.
    pub count: u64,
    /// The link of the last of them.
    pub link: Hash,
}

/// What a replica signs after a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct ClusterResult {
    /// Whose state.
    pub cluster: ClusterId,
    /// Under which epoch's commit key.
    pub epoch: Epoch,
    /// After which items.
    pub boundary: Boundary,
    /// Commitment of the state before.
    pub prev: Hash,
    /// Commitment of the state after.
    pub next: Hash,
    /// Merkle root over the salted replies of this boundary's items, in order.
    pub replies_root: Hash,
    /// Merkle root over the ids of this boundary's egress items, in order ([`crate::egress`]).
    pub egress_root: Hash,
}

/// A result under one replica's signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct SignedResult {
    /// What is signed.
    pub result: ClusterResult,
    /// By whom.
    pub worker: WorkerId,
    /// Ed25519 over [`ClusterResult::signing_payload`].
    pub signature: [u8; 64],
}

/// The same internal root under the commit keys of two epochs: what a new set signs before its first result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Rekey {
    /// Whose state.
    pub cluster: ClusterId,
    /// The epoch that begins.
    pub epoch: Epoch,
    /// The last boundary of the epoch that ended, or none when there was no item yet.
    pub boundary: Option<Boundary>,
    /// Commitment under the old epoch's key: the `next` of the last final result.
    pub old: Hash,
    /// Commitment under the new epoch's key.
    pub new: Hash,
}

/// A re-key under one replica's signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct SignedRekey {
    /// What is signed.
    pub rekey: Rekey,
    /// By whom.
    pub worker: WorkerId,
    /// Ed25519 over [`Rekey::signing_payload`].
    pub signature: [u8; 64],
}

impl ClusterResult {
    /// The 32 bytes that a replica signs, bound to the chain.
    pub fn signing_payload(&self, genesis: &Hash) -> Hash {
        hash_value(domain::RESULT, &(genesis, self))
    }
}

impl Rekey {
    /// The 32 bytes that a replica signs, bound to the chain.
    pub fn signing_payload(&self, genesis: &Hash) -> Hash {
        hash_value(domain::REKEY, &(genesis, self))
    }
}

/// What became of one inbox item. Every item gets a reply, a poisoned one too.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reply {
    /// The item.
    pub sequence: u64,
    /// Who called, and the call's nonce; none when the item could not be opened.
    pub caller: Option<(AccountId, u64)>,
    /// The contract that was called or created; none when the item could not be opened.
    pub contract: Option<ContractId>,
    /// What happened.
    pub outcome: Outcome,
    /// Gas used.
    pub gas_used: u64,
    /// What was charged for the item, in 10^-12 PHA.
    pub fee: Balance,
    /// What contracts emitted, in order; none unless the outcome is [`Outcome::Returned`].
    pub events: Vec<ContractEvent>,
    /// What contracts sent out of the cluster, in order; none unless the outcome is [`Outcome::Returned`].
    pub egress: Vec<EgressItem>,
}

/// Bytes that a contract emitted for whoever may read its reply.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ContractEvent {
    /// The contract that emitted it.
    pub contract: ContractId,
    /// Name and fields, as the contract ABI encodes them.
    pub data: Vec<u8>,
}

/// What happened to a command.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// The contract returned this. Its writes hold.
    #[codec(index = 0)]
    Returned(Vec<u8>),
    /// The contract refused with this error. Nothing was written.
    #[codec(index = 1)]
    Reverted(Vec<u8>),
    /// The command failed before or outside the contract's will. Nothing was written.
    #[codec(index = 2)]
    Failed(Failure),
}

/// Why a command failed: whose fault, as the caller reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Failure {
    /// The sender's envelope does not open under its epoch's key.
    #[codec(index = 0)]
    #[error("the envelope does not open under its epoch's key")]
    Undecryptable,
    /// What was inside is not a signed call.
    #[codec(index = 1)]
    #[error("the envelope holds no well-formed signed call")]
    Malformed,
    /// The signature is not the account's over this chain, cluster, key and call.
    #[codec(index = 2)]
    #[error("the signature is not the account's over this call")]
    BadSignature,
    /// The nonce was used, or lies before the window.
    #[codec(index = 3)]
    #[error("the nonce was already used or is older than the window")]
    NonceUsed,
    /// Included after `valid_until`.
    #[codec(index = 4)]
    #[error("the command was included after its valid_until block")]
    Expired,
    /// The gas limit is over the item's public class.
    #[codec(index = 5)]
    #[error("the gas limit is over the public gas class")]
    GasOverClass,
    /// The class costs more than `max_fee`.
    #[codec(index = 6)]
    #[error("the class costs more than max_fee")]
    FeeOverMax,
    /// No such contract in this cluster.
    #[codec(index = 7)]
    #[error("there is no such contract in this cluster")]
    NoSuchContract,
    /// A contract with that id exists.
    #[codec(index = 8)]
    #[error("a contract with that id exists")]
    ContractExists,
    /// The code is not acceptable to the engine.
    #[codec(index = 9)]
    #[error("the contract's code is refused by the engine")]
    BadCode,
    /// The contract trapped.
    #[codec(index = 10)]
    #[error("the contract trapped")]
    Trapped,
    /// The gas limit was reached.
    #[codec(index = 11)]
    #[error("the command ran out of gas")]
    OutOfGas,
    /// A kind of envelope that an item of this kind does not carry.
    #[codec(index = 12)]
    #[error("this kind of envelope is not executed here")]
    UnsupportedKind,
    /// The constructor's envelope is not the deployer's for this contract.
    #[codec(index = 13)]
    #[error("the constructor's call is not the deployer's for this contract")]
    WrongConstructor,
    /// Output, events and what is sent out are together longer than a reply may be.
    #[codec(index = 14)]
    #[error("output, events and what is sent out are together longer than a reply may be")]
    ReplyTooLong,
    /// The call was signed for an item of another kind: somebody else wrapped a copy of it.
    #[codec(index = 15)]
    #[error("the call was signed for another kind of item; this copy used up nothing")]
    WrongPurpose,
    /// The call was signed for another public gas class: somebody else wrapped a copy of it.
    #[codec(index = 16)]
    #[error("the call was signed for another gas class; this copy used up nothing")]
    WrongClass,
}

impl Failure {
    /// Whether the item was refused for what its public wrapper says. Such an item used up nothing, not even the call's nonce:
    /// until `valid_until` has passed, another item may still carry the same call and execute it.
    pub const fn leaves_nonce(&self) -> bool {
        matches!(
            self,
            Self::Expired
                | Self::GasOverClass
                | Self::FeeOverMax
                | Self::WrongConstructor
                | Self::WrongPurpose
                | Self::WrongClass
        )
    }
}

/// The leaf that a boundary's `replies_root` commits for one reply.
pub fn reply_leaf(salt: &[u8; 32], reply: &Reply) -> Hash {
    hash_value(domain::REPLY, &(salt, reply))
}

/// [`reply_leaf`] of each salt and reply, in their order.
pub fn reply_leaves<'a>(replies: impl IntoIterator<Item = (&'a [u8; 32], &'a Reply)>) -> Vec<Hash> {
    hash_values(domain::REPLY, replies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_bind_the_chain_and_every_field() {
        let boundary = Boundary { block: 1, count: 2, link: [3; 32] };
        let base = ClusterResult {
            cluster: ClusterId(0),
            epoch: 1,
            boundary,
            prev: [4; 32],
            next: [5; 32],
            replies_root: [6; 32],
            egress_root: [7; 32],
        };
        let payload = base.signing_payload(&[0; 32]);
        let others = [
            base.signing_payload(&[1; 32]),
            ClusterResult { cluster: ClusterId(1), ..base }.signing_payload(&[0; 32]),
            ClusterResult { epoch: 2, ..base }.signing_payload(&[0; 32]),
            ClusterResult { boundary: Boundary { block: 2, ..boundary }, ..base }.signing_payload(&[0; 32]),
            ClusterResult { boundary: Boundary { count: 3, ..boundary }, ..base }.signing_payload(&[0; 32]),
            ClusterResult { boundary: Boundary { link: [4; 32], ..boundary }, ..base }.signing_payload(&[0; 32]),
            ClusterResult { prev: [0; 32], ..base }.signing_payload(&[0; 32]),
            ClusterResult { next: [0; 32], ..base }.signing_payload(&[0; 32]),
            ClusterResult { replies_root: [0; 32], ..base }.signing_payload(&[0; 32]),
            ClusterResult { egress_root: [0; 32], ..base }.signing_payload(&[0; 32]),
        ];
        assert!(others.iter().all(|other| *other != payload));
    }

    #[test]
    fn a_reply_is_hidden_by_its_salt() {
        let reply = Reply {
            sequence: 0,
            caller: None,
            contract: None,
            outcome: Outcome::Failed(Failure::Undecryptable),
            gas_used: 0,
            fee: 0,
            events: Vec::new(),
            egress: Vec::new(),
        };
        assert_ne!(reply_leaf(&[0; 32], &reply), reply_leaf(&[1; 32], &reply));
    }

    #[test]
    fn leaves_of_many_replies_are_those_of_each() {
        let reply = |number: u8| Reply {
            sequence: number.into(),
            caller: Some((AccountId([number; 32]), 7)),
            contract: Some(ContractId([1; 32])),
            outcome: Outcome::Returned(alloc::vec![number; usize::from(number) * 90]),
            gas_used: 3,
            fee: 4,
            events: Vec::new(),
            egress: Vec::new(),
        };
        let replies: Vec<Reply> = (0..150).map(reply).collect();
        let salts: Vec<[u8; 32]> = (0..150).map(|number| [number; 32]).collect();
        let each: Vec<Hash> = salts.iter().zip(&replies).map(|(salt, reply)| reply_leaf(salt, reply)).collect();
        assert_eq!(reply_leaves(salts.iter().zip(&replies)), each);
    }
}
