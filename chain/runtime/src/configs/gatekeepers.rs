//! How gatekeepers meet staking: who may be elected, when the elected take over, and what a fault costs.
//!
//! Staking asks its election provider for a set at the end of an era. Where gatekeepers are asked for, the answer is an error until
//! the elected set's gatekeepers have made their root, and staking then plans no era: the acting set keeps its seats, its exposure
//! and its bonds. See `docs/adr/0005-the-election-waits-for-the-ceremony.md`. On a development network whose root is none or a lone
//! gatekeeper's, elections are what they are without gatekeepers.
//!
//! Validators and nominators decide who is elected; ceremonies' statements decide who is punished.

use crate::{
    configs::{
        governance::GovernanceOrigin,
        staking::{
            limited, BondingDuration, ElectionLimits, ElectionVoters, MaxBackersPerWinner, MaxValidatorSet,
            PlainElection, SessionsPerEra, SlashDeferDuration,
        },
    },
    AccountId, BlockNumber, Contracts, Gatekeepers, Offences, Runtime, Session, Staking,
};
use alloc::{vec, vec::Vec};
use frame_election_provider_support::{
    data_provider, onchain, BoundedSupportsOf, DataProviderBounds, ElectionDataProvider, ElectionProvider, PageIndex,
    SequentialPhragmen, VoterOf,
};
use frame_support::{
    dispatch::DispatchClass,
    traits::{ConstU32, Get},
    weights::Weight,
};
use pallet_session::historical::IdentificationTuple;
use phala_pallet_gatekeepers::{Clusters, Election, Misdeed, Offence as Fault, Punish, WeightInfo, MOST_FORMER_SETS};
use sp_runtime::Perbill;
use sp_staking::{
    offence::{Kind, Offence, ReportOffence},
    SessionIndex, StakingAccount,
};

// An election is held at the end of a session, and may begin an era again each time: whoever had a seat of it is known for as many sessions as
// a stake stays bonded while eras pass.
const _: () = assert!(BondingDuration::get() * SessionsPerEra::get() <= MOST_FORMER_SETS);

impl phala_pallet_gatekeepers::Config for Runtime {
    type GovernanceOrigin = GovernanceOrigin;
    type Clusters = HandOver;
    type Beacon = crate::Beacon;
    type Punish = Slash;
    type WeightInfo = ();
}

/// Asks the contracts pallet which clusters still need a former root, and has it call them up.
pub struct HandOver;

impl Clusters for HandOver {
    fn of_former_eras(era: u32) -> u32 {
        Contracts::clusters_of_former_eras(era)
    }

    fn hand_over() {
        Contracts::begin_hand_over();
    }
}

/// Staking's voters and candidates, without candidates who may not be elected.
pub struct Electable;

impl ElectionDataProvider for Electable {
    type AccountId = AccountId;
    type BlockNumber = BlockNumber;
    type MaxVotesPerVoter = <Staking as ElectionDataProvider>::MaxVotesPerVoter;

    fn electable_targets(bounds: DataProviderBounds, page: PageIndex) -> data_provider::Result<Vec<AccountId>> {
        let targets = <Staking as ElectionDataProvider>::electable_targets(bounds, page)?;
        let number = targets.len() as u64;
        let weight = <() as WeightInfo>::candidate().saturating_mul(number);
        frame_system::Pallet::<Runtime>::register_extra_weight_unchecked(weight, DispatchClass::Mandatory);
        Ok(Gatekeepers::electable(targets))
    }

    /// All of them: votes for whoever is no candidate count for nobody.
    fn electing_voters(bounds: DataProviderBounds, page: PageIndex) -> data_provider::Result<Vec<VoterOf<Self>>> {
        <Staking as ElectionDataProvider>::electing_voters(bounds, page)
    }

    fn desired_targets() -> data_provider::Result<u32> {
        <Staking as ElectionDataProvider>::desired_targets()
    }

    fn next_election_prediction(now: BlockNumber) -> BlockNumber {
        <Staking as ElectionDataProvider>::next_election_prediction(now)
    }
}

/// The election among [`Electable`] candidates.
pub struct ElectableElection;

impl onchain::Config for ElectableElection {
    type Sort = frame_support::traits::ConstBool<true>;
    type System = Runtime;
    type Solver = SequentialPhragmen<AccountId, Perbill>;
    type MaxBackersPerWinner = ElectionVoters;
    type MaxWinnersPerPage = MaxValidatorSet;
    type DataProvider = Electable;
    type WeightInfo = frame_election_provider_support::weights::SubstrateWeight<Runtime>;
    type Bounds = ElectionLimits;
}

fn elect_electable(page: PageIndex) -> Result<BoundedSupportsOf<ElectionAfterCeremony>, onchain::Error> {
    onchain::OnChainExecution::<ElectableElection>::elect(page).map(limited)
}

/// Why there is no new set.
#[derive(Debug, PartialEq)]
pub enum Withheld {
    /// The election itself failed.
    Failed(onchain::Error),
    /// An elected set waits for its gatekeepers' root, or a root waits for its hand-over.
    Waiting,
    /// The elected set can have no ceremony: too few gatekeepers, or too few that are not of one vendor.
    Refused,
    /// Too few of the set that waited still stand.
    Dissolved,
}

/// The election of an era, which waits for the ceremony.
pub struct ElectionAfterCeremony;

impl ElectionProvider for ElectionAfterCeremony {
    type AccountId = AccountId;
    type BlockNumber = BlockNumber;
    type Error = Withheld;
    type MaxWinnersPerPage = MaxValidatorSet;
    type MaxBackersPerWinner = MaxBackersPerWinner;
    type MaxBackersPerWinnerFinal = MaxBackersPerWinner;
    type Pages = ConstU32<1>;
    type DataProvider = Staking;

    fn elect(page: PageIndex) -> Result<BoundedSupportsOf<Self>, Withheld> {
        let elected = |supports: &BoundedSupportsOf<Self>| -> Vec<AccountId> {
            supports.0.iter().map(|(winner, _)| winner.clone()).collect()
        };
        match Gatekeepers::election() {
            Election::Open => PlainElection::elect(page).map_err(Withheld::Failed),
            Election::Withheld => Err(Withheld::Waiting),
            Election::Candidates => {
                let supports = elect_electable(page).map_err(Withheld::Failed)?;
                let backed: Vec<_> =
                    supports.0.iter().map(|(winner, support)| (winner.clone(), support.total)).collect();
                // Whose machines they run is read as often as whether they may be elected.
                let number = backed.len() as u32;
                let weight = <() as WeightInfo>::start(number)
                    .saturating_add(<() as WeightInfo>::candidate().saturating_mul(number.into()));
                frame_system::Pallet::<Runtime>::register_extra_weight_unchecked(weight, DispatchClass::Mandatory);
                // Of fewer than its minimum staking would refuse the set whose root is made.
                let validators = Gatekeepers::keep_quota(backed, Staking::minimum_validator_count() as usize);
                Gatekeepers::plan(validators).map_err(|_| Withheld::Refused)?;
                Err(Withheld::Waiting)
            }
            Election::Ready(set) => {
                let weight = <() as WeightInfo>::take(set.len() as u32);
                frame_system::Pallet::<Runtime>::register_extra_weight_unchecked(weight, DispatchClass::Mandatory);
                Gatekeepers::fine_withdrawn(|validator| pallet_staking::Validators::<Runtime>::contains_key(validator));
                // Elected again, so that exposures are today's stakes, and only those who still stand take over.
                let supports = match elect_electable(page) {
                    Ok(supports) => supports,
                    Err(error) => {
                        // A set of which nobody can be elected waits no longer.
                        let _given_up = Gatekeepers::take_plan(&[], usize::MAX);
                        return Err(Withheld::Failed(error));
                    }
                };
                // Staking refuses fewer than its minimum, and the set is given up here rather than said to be ready.
                if Gatekeepers::take_plan(&elected(&supports), Staking::minimum_validator_count() as usize) {
                    Ok(supports)
                } else {
                    Err(Withheld::Dissolved)
                }
            }
        }
    }

    fn start() -> Result<(), Withheld> {
        Ok(())
    }

    fn duration() -> BlockNumber {
        0
    }

    fn status() -> Result<Option<Weight>, ()> {
        Ok(Some(Weight::zero()))
    }
}

/// A fault in a ceremony, as an offence of whoever acts as a validator now.
struct CeremonyOffence {
    misdeed: Misdeed<AccountId>,
    session: SessionIndex,
    validators: u32,
}

impl Offence<IdentificationTuple<Runtime>> for CeremonyOffence {
    const ID: Kind = *b"phala:gatekeeper";
    /// Era, attempt, what it was and what it costs: faults of one attempt happened together. Whoever is reported with others is slashed again
    /// together with them, by the newest fraction; one that governance raised in between is for nobody who was convicted before.
    type Slot = (u32, u32, Fault, Perbill);

    fn offenders(&self) -> Vec<IdentificationTuple<Runtime>> {
        vec![(self.misdeed.offender.clone(), ())]
    }

    fn session_index(&self) -> SessionIndex {
        self.session
    }

    fn validator_set_count(&self) -> u32 {
        self.validators
    }

    fn slot(&self) -> Self::Slot {
        (self.misdeed.era, self.misdeed.attempt, self.misdeed.offence, self.misdeed.fraction)
    }

    fn slash_fraction(&self, _: u32) -> Perbill {
        self.misdeed.fraction
    }
}

/// Takes of the stake behind a gatekeeper.
///
/// Whoever acts in this era is reported as an offender: nominators lose with it, and it may author no more. Its own stake alone is
/// slashed, with what it is unbonding, of whoever waits or has left, and so has no exposure that an offence could take from; of whoever
/// did it before the acting set was elected - for an era before, or with a set that began the acting one's era before it - because those
/// who nominate it now did not then; and of whoever was only absent or withdrew, for which nobody is kept from authoring blocks. The acting
/// set is that which took over last, also when its root is cancelled and another set begins its era again. Either way governance has
/// [`SlashDeferDuration`] eras to cancel it; what is taken then is charged where that era begins: see [`super::eras`].
pub struct Slash;

impl Punish<AccountId> for Slash {
    const MOST_BACKERS: u32 = MaxBackersPerWinner::get();

    fn punish(misdeed: Misdeed<AccountId>) {
        let era = pallet_staking::ActiveEra::<Runtime>::get().map_or(0, |active| active.index);
        // Without its nominators: a fine costs them nothing, and is not charged for them.
        let exposed = pallet_staking::ErasStakersOverview::<Runtime>::get(era, &misdeed.offender);
        let acting = exposed.is_some_and(|exposed| exposed.total > 0);
        let now = phala_pallet_gatekeepers::Acting::<Runtime>::get()
            .is_none_or(|acting| (misdeed.era, misdeed.set) >= acting);
        if acting && now && matches!(misdeed.offence, Fault::WrongShare | Fault::Equivocation) {
            let validators = Session::validators().len() as u32;
            let reporters = misdeed.reporters.clone();
            let offence = CeremonyOffence { misdeed, session: Session::current_index(), validators };
            // A duplicate is no error here: the pallet convicts once, and what is reported already is punished already.
            let _known = Offences::report_offence(reporters, offence);
            return;
        }
        // Not the active part alone: whoever waits or has left may have begun to unbond before it did wrong.
        let bonded = Staking::ledger(StakingAccount::Stash(misdeed.offender.clone())).map_or(0, |ledger| ledger.total);
        let own = misdeed.fraction * bonded;
        if own == 0 {
            return;
        }
        let slash = pallet_staking::UnappliedSlash {
            validator: misdeed.offender,
            own,
            others: Vec::new(),
            reporters: misdeed.reporters,
            payout: 0,
        };
        // Where staking itself would put a slash of this era.
        let due = era.saturating_add(<SlashDeferDuration as Get<u32>>::get()).saturating_add(1);
        // To the end, whatever is there: an era's other slashes have all their nominators with them.
        pallet_staking::UnappliedSlashes::<Runtime>::append(due, slash);
    }
}

#[cfg(test)]
mod tests;
