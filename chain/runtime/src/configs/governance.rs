//! Who may change the rules, in one place.
//!
//! Every privileged call of every pallet asks for [`GovernanceOrigin`]. Today that is root, and root is reached only
//! through `Sudo`, whose key exists on development chains only: `Sudo::Key` is `None` on `staging`, so nobody holds root
//! there. A referendum takes its place by changing this alias.

use crate::{
    currency::*, Balances, OriginCaller, Preimage, Runtime, RuntimeCall, RuntimeEvent, RuntimeHoldReason,
    RuntimeOrigin, System,
};
use frame_support::{
    parameter_types,
    traits::{fungible::HoldConsideration, ConstU32, EqualPrivilegeOnly, LinearStoragePrice},
    weights::Weight,
};
use frame_system::EnsureRoot;
use sp_runtime::Perbill;

/// Who may change the rules.
pub type GovernanceOrigin = EnsureRoot<crate::AccountId>;

/// Who may pull the brake - suspend a vendor, a generation of platforms or a measurement at once, for a bounded time - beside the two
/// hands that the attestation pallet knows itself: the committee, which governance or the seats of the recorded root choose, and those seats.
pub type BrakeOrigin = EnsureRoot<crate::AccountId>;

parameter_types! {
    /// For keeping a preimage.
    pub const PreimageBaseDeposit: crate::Balance = deposit(2, 64);
    /// For each byte of it.
    pub const PreimageByteDeposit: crate::Balance = deposit(0, 1);
    /// Why the deposit is held.
    pub const PreimageHoldReason: RuntimeHoldReason = RuntimeHoldReason::Preimage(pallet_preimage::HoldReason::Preimage);
    /// The part of a block that scheduled calls may take.
    pub MaximumSchedulerWeight: Weight =
        Perbill::from_percent(50) * crate::configs::system::RuntimeBlockWeights::get().max_block;
}

impl pallet_preimage::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = crate::configs::filter::ReadPreimages;
    type Currency = Balances;
    type ManagerOrigin = GovernanceOrigin;
    type Consideration = HoldConsideration<
        crate::AccountId,
        Balances,
        PreimageHoldReason,
        LinearStoragePrice<PreimageBaseDeposit, PreimageByteDeposit, crate::Balance>,
    >;
}

impl pallet_scheduler::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeOrigin = RuntimeOrigin;
    type PalletsOrigin = OriginCaller;
    type RuntimeCall = RuntimeCall;
    type MaximumWeight = MaximumSchedulerWeight;
    type ScheduleOrigin = GovernanceOrigin;
    type OriginPrivilegeCmp = EqualPrivilegeOnly;
    type MaxScheduledPerBlock = ConstU32<50>;
    type WeightInfo = pallet_scheduler::weights::SubstrateWeight<Runtime>;
    type Preimages = Preimage;
    type BlockNumberProvider = System;
}

impl pallet_sudo::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type WeightInfo = pallet_sudo::weights::SubstrateWeight<Runtime>;
}
