//! The product's own pallets: attestation, inbox, contracts. What meets staking is in [`super::gatekeepers`].
//!
//! The constants are consensus rules and prices; who may change the registry and the clusters is `governance::GovernanceOrigin`.

use crate::{
    configs::{
        funds::TreasuryAccount,
        governance::{BrakeOrigin, GovernanceOrigin},
    },
    currency::*,
    network, Balance, Balances, Contracts, Runtime, RuntimeHoldReason,
};
use frame_support::parameter_types;
use phala_protocol::ids::BlockNumber;

parameter_types! {
    /// One hybrid opening by one replica: about 80 microseconds of a core.
    pub const OpeningPrice: Balance = CENT / 10;
    /// One session command by one replica: a symmetric opening and a batched signature.
    pub const SessionOpeningPrice: Balance = CENT / 100;
    /// About an hour of boundaries at one a second: what a replica may be behind and still catch up by itself. At most 7 MB of state
    /// for a cluster of 15 replicas, 2 MB for one of three, and only while a replica is behind.
    pub const MaxReplicaLag: u32 = 4_096;
    /// For each byte of contract code, which the chain keeps and serves.
    pub const CodeDepositPerByte: Balance = deposit(0, 1);
}

/// Blocks that an epoch stays open at least, and so the granularity of forward secrecy: an hour of 1 s blocks on a development
/// network, an hour of 6 s blocks elsewhere.
pub struct EpochLength;
impl frame_support::traits::Get<BlockNumber> for EpochLength {
    fn get() -> BlockNumber {
        let slot = network::SlotDuration::get().max(1);
        BlockNumber::try_from(3_600_000 / slot).unwrap_or(BlockNumber::MAX)
    }
}

impl phala_pallet_attestation::Config for Runtime {
    type InsecureDevelopment = network::IsDevelopment;
    type GovernanceOrigin = GovernanceOrigin;
    type BrakeOrigin = BrakeOrigin;
    type OnBarred = Contracts;
    type WeightInfo = ();
}

impl phala_pallet_inbox::Config for Runtime {
    type Currency = Balances;
    type Clusters = Contracts;
    type FeeReceiver = TreasuryAccount;
    type OpeningPrice = OpeningPrice;
    type SessionOpeningPrice = SessionOpeningPrice;
    type WeightInfo = ();
}

impl phala_pallet_contracts::Config for Runtime {
    type GovernanceOrigin = GovernanceOrigin;
    type HoldCurrency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type DepositPerByte = CodeDepositPerByte;
    type EpochLength = EpochLength;
    type MaxReplicaLag = MaxReplicaLag;
    type WeightInfo = ();
}
