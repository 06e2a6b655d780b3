//! The pallets and their indices, which are part of every call's and event's encoding: an index is never given out twice.
//!
//! The order is that of genesis and of each block's hooks. Three places rest on it: `Network` first, because consensus
//! reads its constants; `Authorship` before `Session`, so that an author is noted in the session it authored in; `Staking`
//! before `Session`, whose first authorities are the first election's winners.

#![allow(missing_docs, reason = "FRAME generates most items here")]

use crate::{Block, UncheckedExtrinsic};
use alloc::vec::Vec;
use sp_inherents::{CheckInherentsResult, InherentData};

type LazyBlock = <Block as sp_runtime::traits::Block>::LazyBlock;

#[frame_support::runtime]
mod runtime {
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Runtime;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Network = crate::network;
    #[runtime::pallet_index(2)]
    pub type Babe = pallet_babe;
    #[runtime::pallet_index(3)]
    pub type Timestamp = pallet_timestamp;
    #[runtime::pallet_index(4)]
    pub type Authorship = pallet_authorship;

    #[runtime::pallet_index(10)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(11)]
    pub type TransactionPayment = pallet_transaction_payment;
    #[runtime::pallet_index(12)]
    pub type Assets = pallet_assets;

    #[runtime::pallet_index(20)]
    pub type Staking = pallet_staking;
    #[runtime::pallet_index(21)]
    pub type Offences = pallet_offences;
    #[runtime::pallet_index(22)]
    pub type Historical = pallet_session::historical;
    #[runtime::pallet_index(23)]
    pub type Session = pallet_session;
    #[runtime::pallet_index(24)]
    pub type Grandpa = pallet_grandpa;

    #[runtime::pallet_index(30)]
    pub type Utility = pallet_utility;
    #[runtime::pallet_index(31)]
    pub type Proxy = pallet_proxy;
    #[runtime::pallet_index(32)]
    pub type Multisig = pallet_multisig;

    #[runtime::pallet_index(40)]
    pub type Preimage = pallet_preimage;
    #[runtime::pallet_index(41)]
    pub type Scheduler = pallet_scheduler;
    #[runtime::pallet_index(42)]
    pub type Treasury = pallet_treasury;
    #[runtime::pallet_index(43)]
    pub type Sudo = pallet_sudo;

    #[runtime::pallet_index(50)]
    pub type Attestation = phala_pallet_attestation;
    #[runtime::pallet_index(51)]
    pub type Inbox = phala_pallet_inbox;
    #[runtime::pallet_index(52)]
    pub type Contracts = phala_pallet_contracts;
    #[runtime::pallet_index(53)]
    pub type Gatekeepers = phala_pallet_gatekeepers;
    // After the gatekeepers: a period opens in the block in which its root answers.
    #[runtime::pallet_index(54)]
    pub type Beacon = phala_pallet_beacon;
    #[runtime::pallet_index(55)]
    pub type Egress = phala_pallet_egress;
    #[runtime::pallet_index(56)]
    pub type Heartbeats = phala_pallet_heartbeats;
}

/// The extrinsics that the pallets make of a block's inherent data. FRAME keeps the trait behind it private to this module.
pub(crate) fn inherent_extrinsics(data: &InherentData) -> Vec<UncheckedExtrinsic> {
    data.create_extrinsics()
}

/// Whether a block holds the inherents that the pallets expect of this data.
pub(crate) fn check_inherents(block: &LazyBlock, data: &InherentData) -> CheckInherentsResult {
    data.check_extrinsics(block)
}
