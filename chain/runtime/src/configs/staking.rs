//! Who may become an authority: validators with a stake, elected on chain at the end of each era.
//!
//! The election runs inside a block (`onchain::OnChainExecution`), so its input is bounded below, and so is who is behind each winner; see
//! `docs/adr/0001-staking.md` for why this pallet and this election. Where gatekeepers are asked for, it waits for them: see
//! [`super::gatekeepers`].

use crate::{
    configs::{funds::ToTreasury, gatekeepers::ElectionAfterCeremony, governance::GovernanceOrigin},
    AccountId, Balance, Balances, BlockNumber, Runtime, RuntimeEvent, RuntimeHoldReason, Session, Staking, Timestamp,
};
use alloc::vec::Vec;
use core::cmp::Reverse;
use frame_election_provider_support::{
    bounds::{ElectionBounds, ElectionBoundsBuilder},
    onchain, BoundedSupport, BoundedSupports, BoundedSupportsOf, BoundedVec, ElectionProvider, ExtendedBalance,
    PageIndex, SequentialPhragmen,
};
use frame_support::{
    parameter_types,
    traits::{ConstU32, Nothing},
    weights::Weight,
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
    /// Who is behind one elected validator at most, itself among them: those who put most stake there. The others are neither paid nor
    /// slashed with it.
    ///
    /// A fault costs all of them, in one call that has to fit a block, as have reports of equivocations in BABE and GRANDPA by their published
    /// weights. In the smallest set, of four, there still is a place for each of the voters whom an election hears.
    pub const MaxBackersPerWinner: u32 = 256;
    /// Nominators that one payout call pays: all of a validator.
    pub const MaxExposurePageSize: u32 = MaxBackersPerWinner::get();
    /// The most authorities there can be; it also bounds GRANDPA's justifications, which light clients verify.
    pub const MaxValidatorSet: u32 = 100;
    /// Voters whom an election hears, validators among them.
    pub const ElectionVoters: u32 = 1_000;
    /// Validators among whom an election chooses. Where one more stands, every election fails: the SDK leaves nobody out. So a genesis bounds
    /// how many may stand.
    pub const ElectionTargets: u32 = 200;
    /// What an election reads: the work of one block has to cover it.
    pub ElectionLimits: ElectionBounds =
        ElectionBoundsBuilder::default()
            .voters_count(ElectionVoters::get().into())
            .targets_count(ElectionTargets::get().into())
            .build();
}

/// The election that runs inside a block. It keeps all backers of a winner, for [`limited`] to choose among.
pub struct OnChainElection;

impl onchain::Config for OnChainElection {
    type Sort = frame_support::traits::ConstBool<true>;
    type System = Runtime;
    type Solver = SequentialPhragmen<AccountId, Perbill>;
    type MaxBackersPerWinner = ElectionVoters;
    type MaxWinnersPerPage = MaxValidatorSet;
    type DataProvider = Staking;
    type WeightInfo = frame_election_provider_support::weights::SubstrateWeight<Runtime>;
    type Bounds = ElectionLimits;
}

/// What an election gives, with all backers of each winner.
pub type Unlimited = BoundedSupports<AccountId, MaxValidatorSet, ElectionVoters>;

/// What staking takes of an election.
pub type Limited = BoundedSupports<AccountId, MaxValidatorSet, MaxBackersPerWinner>;

/// Each winner with itself and those who put most behind it, [`MaxBackersPerWinner`] together.
///
/// The SDK would cut by stake alone. A validator that has less at stake than each of so many nominators would then have nothing of its own in
/// its exposure, and a fault would cost it nothing.
pub fn limited(elected: Unlimited) -> Limited {
    let nearest = |(winner, support): (AccountId, BoundedSupport<AccountId, ElectionVoters>)| {
        let mut voters = support.voters.into_inner();
        voters.sort_by_key(|(voter, stake)| (*voter != winner, Reverse(*stake)));
        let voters = BoundedVec::<_, MaxBackersPerWinner>::truncate_from(voters);
        let total = voters.iter().fold(0, |total: ExtendedBalance, (_, stake)| total.saturating_add(*stake));
        (winner, BoundedSupport { total, voters })
    };
    let supports: Vec<_> = elected.0.into_iter().map(nearest).collect();
    BoundedSupports(BoundedVec::truncate_from(supports))
}

/// The election among all who stand, in which no gatekeeper is asked for.
pub struct PlainElection;

impl ElectionProvider for PlainElection {
    type AccountId = AccountId;
    type BlockNumber = BlockNumber;
    type Error = onchain::Error;
    type MaxWinnersPerPage = MaxValidatorSet;
    type MaxBackersPerWinner = MaxBackersPerWinner;
    type MaxBackersPerWinnerFinal = MaxBackersPerWinner;
    type Pages = ConstU32<1>;
    type DataProvider = Staking;

    fn elect(page: PageIndex) -> Result<BoundedSupportsOf<Self>, onchain::Error> {
        onchain::OnChainExecution::<OnChainElection>::elect(page).map(limited)
    }

    fn start() -> Result<(), onchain::Error> {
        Ok(())
    }

    fn duration() -> BlockNumber {
        0
    }

    fn status() -> Result<Option<Weight>, ()> {
        Ok(Some(Weight::zero()))
    }
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
    type GenesisElectionProvider = PlainElection;
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
