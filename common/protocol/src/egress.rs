//! Egress: what a contract sends out of its cluster, and what the chain did with it.
//!
//! A contract hands an [`EgressAction`] to its worker. Executing a boundary gives each action of it a sequence that its cluster never
//! gives again; the [`EgressItem`]s of the boundary, as their [`EgressItem::id`]s in order, are the entries of the `egress_root` that
//! replicas sign. The chain takes an item once, in sequence, with a proof against a final result ([`ProvedEgress`]), attempts it once,
//! and keeps what came of it ([`EgressFate`]).
//!
//! Guarantees: an item's id binds the chain, the cluster, the sequence, the contract and the action, so that it is the item's
//! de-duplication id wherever it is carried beyond our chain. Contracts control actions; relayers control which proofs arrive.
//! Does not: verify proofs, or hide anything: what leaves a cluster is public once the chain has it.

use crate::{
    domain, hash_value,
    ids::{AccountId, Balance, BlockNumber, ClusterId, ContractId},
    limits::MAX_EGRESS_BYTES,
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeAll, DecodeWithMemTracking, Encode, MaxEncodedLen};

/// What a contract wants done outside of its cluster. The encoding is part of the contract ABI (`docs/contract-abi.md`).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum EgressAction {
    /// Pay out of the contract's account on our chain ([`ContractId::account`]).
    #[codec(index = 0)]
    Transfer {
        /// To whom.
        to: AccountId,
        /// How much, in 10^-12 PHA.
        amount: Balance,
    },
    /// Leave a message on our chain for whoever carries it on. Carriers may carry it more than once: its recipient tells copies by the
    /// item's id.
    #[codec(index = 1)]
    Message {
        /// Where to, as carriers read it.
        destination: Vec<u8>,
        /// What.
        payload: Vec<u8>,
    },
}

/// Bytes are no action; the contract's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes are no egress action, or longer than one may be")]
pub struct BadEgressAction;

impl EgressAction {
    /// Decodes an action of at most [`MAX_EGRESS_BYTES`], and nothing after it.
    pub fn decode_bounded(bytes: &[u8]) -> Result<Self, BadEgressAction> {
        if bytes.len() > MAX_EGRESS_BYTES {
            return Err(BadEgressAction);
        }
        Self::decode_all(&mut &bytes[..]).map_err(|_| BadEgressAction)
    }
}

/// One action of one contract, as a cluster numbers it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct EgressItem {
    /// Whose sequence it is in.
    pub cluster: ClusterId,
    /// Its place among all items of the cluster, from 0.
    pub sequence: u64,
    /// The contract that sends it.
    pub contract: ContractId,
    /// What is to be done.
    pub action: EgressAction,
}

impl EgressItem {
    /// The item's id on the chain with this genesis: its entry under `egress_root`, and what copies of it are told by.
    pub fn id(&self, genesis: &Hash) -> Hash {
        hash_value(domain::EGRESS, &(genesis, self))
    }
}

/// An item with what proves it against the final result of its boundary.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct ProvedEgress {
    /// The item.
    pub item: EgressItem,
    /// The block of the boundary that it is of.
    pub block: BlockNumber,
    /// Its place among that boundary's items.
    pub index: u32,
    /// How many items that boundary has.
    pub count: u32,
    /// Its Merkle path, lowest sibling first.
    pub path: Vec<Hash>,
}

/// The root over the items of a final result, while some of them are not taken: `Contracts::EgressRoots[(cluster, boundary block)]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct EgressRoot {
    /// The result's `egress_root`.
    pub root: Hash,
    /// The block in which the result became final.
    pub finalised_at: BlockNumber,
}

/// What became of an item at our chain's edge: `Egress::Fates[(cluster, sequence)]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct EgressFate {
    /// The item's id.
    pub id: Hash,
    /// The block that took it.
    pub block: BlockNumber,
    /// What came of it.
    pub outcome: EgressOutcome,
}

/// What came of the one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum EgressOutcome {
    /// The amount was paid.
    #[codec(index = 0)]
    Paid,
    /// The message stands in an event of that block.
    #[codec(index = 1)]
    Left,
    /// Nothing was done, and nothing will be.
    #[codec(index = 2)]
    Failed(EgressFailure),
}

/// Why an item failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, thiserror::Error)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum EgressFailure {
    /// The chain has no such contract in the cluster that sent it.
    #[codec(index = 0)]
    #[error("the cluster that sent it has no such contract")]
    NotOfCluster,
    /// The contract's account has less.
    #[codec(index = 1)]
    #[error("the contract's account has less")]
    InsufficientFunds,
    /// Whom it is for cannot receive it: it would have less than an account must have, or its balance would overflow.
    #[codec(index = 2)]
    #[error("whom it is for cannot receive the amount")]
    CannotReceive,
    /// More than the cluster may pay out in a whole period.
    #[codec(index = 3)]
    #[error("the amount is over what the cluster may pay out in a period")]
    OverLimit,
    /// The chain refused the payment for another reason.
    #[codec(index = 4)]
    #[error("the chain refused the payment")]
    Refused,
    /// Governance settled a dispute against what was final then.
    #[codec(index = 5)]
    #[error("governance found against the results that were final then")]
    Voided,
}

/// The `egress_root` of a boundary that sends nothing: the root of an empty Merkle list, as `phala_crypto::merkle` defines it.
pub fn empty_root() -> Hash {
    hash_value(domain::MERKLE_ROOT, &(0u64, [0u8; 32]))
}

impl ContractId {
    /// The contract's account on our chain: out of which its transfers are paid. No key signs for it.
    pub fn account(&self) -> AccountId {
        AccountId(hash_value(domain::CONTRACT_ACCOUNT, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: AccountId = AccountId([2; 32]);

    fn item() -> EgressItem {
        let action = EgressAction::Transfer { to: BOB, amount: 5 };
        EgressItem { cluster: ClusterId(1), sequence: 7, contract: ContractId([3; 32]), action }
    }

    #[test]
    fn an_id_binds_the_chain_and_every_field() {
        let id = item().id(&[0; 32]);
        let message = EgressAction::Message { destination: alloc::vec![1], payload: alloc::vec![2] };
        let others = [
            item().id(&[1; 32]),
            EgressItem { cluster: ClusterId(2), ..item() }.id(&[0; 32]),
            EgressItem { sequence: 8, ..item() }.id(&[0; 32]),
            EgressItem { contract: ContractId([4; 32]), ..item() }.id(&[0; 32]),
            EgressItem { action: EgressAction::Transfer { to: AccountId([3; 32]), amount: 5 }, ..item() }.id(&[0; 32]),
            EgressItem { action: EgressAction::Transfer { to: BOB, amount: 6 }, ..item() }.id(&[0; 32]),
            EgressItem { action: message, ..item() }.id(&[0; 32]),
        ];
        assert!(others.iter().all(|other| *other != id));
    }

    #[test]
    fn actions_decode_whole_within_their_bound_or_not_at_all() {
        let transfer = EgressAction::Transfer { to: BOB, amount: 1 << 100 };
        let bytes = transfer.encode();
        assert_eq!((bytes[0], bytes.len()), (0, 49));
        assert_eq!(EgressAction::decode_bounded(&bytes), Ok(transfer));
        assert_eq!(EgressAction::decode_bounded(&bytes[..48]), Err(BadEgressAction));
        assert_eq!(EgressAction::decode_bounded(&[&bytes[..], &[0]].concat()), Err(BadEgressAction));
        assert_eq!(EgressAction::decode_bounded(&[2]), Err(BadEgressAction));
        assert_eq!(EgressAction::decode_bounded(&[]), Err(BadEgressAction));
        // Index, empty destination, and a length of two bytes.
        let longest = EgressAction::Message { destination: Vec::new(), payload: alloc::vec![9; MAX_EGRESS_BYTES - 4] };
        assert_eq!(longest.encode().len(), MAX_EGRESS_BYTES);
        assert_eq!(EgressAction::decode_bounded(&longest.encode()), Ok(longest));
        let longer = EgressAction::Message { destination: Vec::new(), payload: alloc::vec![9; MAX_EGRESS_BYTES - 3] };
        assert_eq!(EgressAction::decode_bounded(&longer.encode()), Err(BadEgressAction));
    }

    #[test]
    fn failures_have_the_numbers_that_fates_were_kept_under() {
        let failures = [
            EgressFailure::NotOfCluster,
            EgressFailure::InsufficientFunds,
            EgressFailure::CannotReceive,
            EgressFailure::OverLimit,
            EgressFailure::Refused,
            EgressFailure::Voided,
        ];
        for (number, failure) in (0u8..).zip(failures) {
            assert_eq!(EgressOutcome::Failed(failure).encode(), [2, number]);
        }
    }

    #[test]
    fn a_contracts_account_is_its_own_and_no_contracts_id() {
        let (one, other) = (ContractId([3; 32]), ContractId([4; 32]));
        assert_ne!(one.account(), other.account());
        assert_ne!(one.account().0, one.0);
    }
}
