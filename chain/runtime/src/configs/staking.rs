//! Who may become an authority: validators with a stake, elected on chain at the end of each era.
//!
//! The election runs inside a block (`onchain::OnChainExecution`), so its input is bounded below; see
//! `docs/adr/0001-staking.md` for why this pallet and this election. Where gatekeepers are asked for, it waits for them: see
//! [`super::gatekeepers`].

use crate::{
    configs::{funds::ToTreasury, gatekeepers::ElectionAfterCeremony, governance::GovernanceOrigin},
    Balance, Balances, Runtime, RuntimeEvent, RuntimeHoldReason, Session, Staking, Timestamp,
};
use frame_election_provider_support::{
    bounds::{ElectionBounds, ElectionBoundsBuilder},
    onchain, SequentialPhragmen,
};
use frame_support::{
    parameter_types,
    traits::{ConstU32, Nothing},
};
use sp_runtime::{curve::PiecewiseLinear, Perbill};
use sp_staking::{EraIndex, SessionIndex};

pallet_staking_reward_curve::build! {
    // Inflation of the stake's reward by the part of all tokens that is staked: highest at one half.
    const REWARD_CURVE: PiecewiseLinear<'static> = curve!(
        min_inflation: 0_025_000,
        max_inflation: 0_100_000,
        ideal_stake: 0_500_000,
        falloff: 0_050_000,
        max_piece_count: 40,
        test_precision: 0_005_000,
    );
}

parameter_types! {
    /// An election and a payout every six sessions.
    pub const SessionsPerEra: SessionIndex = 6;
    /// A stake stays slashable for this many eras after it is unbonded.
    pub const BondingDuration: EraIndex = 28;
    /// Governance has this many eras to cancel a wrong slash.
    pub const SlashDeferDuration: EraIndex = 14;
    /// How the reward depends on the part that is staked.
    pub const RewardCurve: &'static PiecewiseLinear<'static> = &REWARD_CURVE;
    /// Rewards can be claimed for this many eras.
    pub const HistoryDepth: u32 = 84;
    /// Nominators that one payout call pays.
    pub const MaxExposurePageSize: u32 = 64;
    /// The most authorities there can be; it also bounds GRANDPA's justifications, which light clients verify.
    pub const MaxValidatorSet: u32 = 100;
    /// Nominators that one elected validator has at most.
    pub const MaxBackersPerWinner: u32 = 1_000;
    /// What an election reads: the work of one block has to cover it.
    pub ElectionLimits: ElectionBounds =
        ElectionBoundsBuilder::default().voters_count(1_000.into()).targets_count(200.into()).build();
}

/// The election that runs inside a block.
pub struct OnChainElection;

impl onchain::Config for OnChainElection {
    type Sort = frame_support::traits::ConstBool<true>;
    type System = Runtime;
    type Solver = SequentialPhragmen<crate::AccountId, Perbill>;
    type MaxBackersPerWinner = MaxBackersPerWinner;
    type MaxWinnersPerPage = MaxValidatorSet;
    type DataProvider = Staking;
    type WeightInfo = frame_election_provider_support::weights::SubstrateWeight<Runtime>;
    type Bounds = ElectionLimits;
}

/// Sizes for staking's benchmarks, which this runtime does not run: it uses the pallet's published weights.
pub struct BenchmarkSizes;

impl pallet_staking::BenchmarkingConfig for BenchmarkSizes {
    type MaxNominators = ConstU32<1_000>;
    type MaxValidators = ConstU32<100>;
}

impl pallet_staking::Config for Runtime {
    type OldCurrency = Balances;
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type CurrencyBalance = Balance;
    type UnixTime = Timestamp;
    type CurrencyToVote = sp_staking::currency_to_vote::U128CurrencyToVote;
    type ElectionProvider = ElectionAfterCeremony;
    type GenesisElectionProvider = onchain::OnChainExecution<OnChainElection>;
    type NominationsQuota = pallet_staking::FixedNominationsQuota<16>;
    type HistoryDepth = HistoryDepth;
    type RewardRemainder = ToTreasury;
    type RuntimeEvent = RuntimeEvent;
    type Slash = ToTreasury;
    type Reward = ();
    type SessionsPerEra = SessionsPerEra;
    type BondingDuration = BondingDuration;
    type SlashDeferDuration = SlashDeferDuration;
    type AdminOrigin = GovernanceOrigin;
    type SessionInterface = Self;
    type EraPayout = pallet_staking::ConvertCurve<RewardCurve>;
    type NextNewSession = Session;
    type MaxExposurePageSize = MaxExposurePageSize;
    type MaxValidatorSet = MaxValidatorSet;
    type VoterList = pallet_staking::UseNominatorsAndValidatorsMap<Self>;
    type TargetList = pallet_staking::UseValidatorsMap<Self>;
    type MaxUnlockingChunks = ConstU32<32>;
    type MaxControllersInDeprecationBatch = ConstU32<100>;
    type EventListeners = ();
    type Filter = Nothing;
    type BenchmarkingConfig = BenchmarkSizes;
    type WeightInfo = pallet_staking::weights::SubstrateWeight<Runtime>;
}
