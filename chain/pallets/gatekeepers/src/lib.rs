//! Gatekeepers: which validator runs which gatekeeper, and the ceremonies in which an elected set makes the root of an era.
//!
//! The chain is the broadcast channel and the referee of the key generation in [`phala_protocol::ceremony`], whose rules it applies; it
//! sees hashes, sealed parcels, and shares that are in dispute. Guarantees: a seat of a ceremony is a registered gatekeeper, bound to the validator that its evidence
//! names as operator; only statements signed by a seat, for the present chain, era, attempt and phase, change anything, each once; a
//! root is recorded only when every seat that takes part, a threshold at least, confirmed the same share list and the same beacon key; the
//! threshold counts all elected seats; the root that answers is replaced only by the next era's, and not before governance's delay is over and no
//! cluster needs a former one; once clusters go over to a root nothing takes it away; no set is elected whose gatekeepers have not made
//! their root (where that is asked for: see [`Pallet::election`]); whoever had a seat answers for it also when its era was begun again; the keys that contracts' identities follow from change hands by a record
//! that those who receive them confirmed, and stay the same; who is missing time after time pays a small fine, and not where so many are
//! missing that the network is the likelier cause (see [`absences`]).
//!
//! Validators choose their gatekeeper, and those behind more than half of the seats of the root that answers the committee of the brake;
//! gatekeepers' TEEs sign statements, anyone carries them, governance starts and cancels. Does not: see a secret, know whether an honest
//! seat was unreachable or unwilling, or re-key clusters - workers do, and the clusters pallet calls them up and says which have.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod absences;
mod ceremony;
mod committee;
mod election;
mod events;
mod former;
mod identities;
mod roots;
mod seats;
mod statements;
#[cfg(test)]
mod tests;
mod types;
mod weights;

pub use pallet::*;
pub use types::{
    Beacon, Clusters, Elected, Election, HandOver, Misdeed, Offence, OnSilence, Plan, Policy, Punish, SilenceRecord,
};
pub use weights::WeightInfo;

use frame_support::pallet_macros::import_section;

/// Seats of a ceremony at least: with fewer, the threshold is all of them, and one machine that is down stops the network.
pub const LEAST_SEATS: usize = 4;

/// Times that a ceremony begins again with those that were absent because too few were left, or because an attempt failed and left out nobody.
/// Then it is given up: seats that are silent together, or confirm two lists, could keep it up for ever.
pub const MOST_READMISSIONS: u32 = 5;

/// Eras for which it is remembered who had which seat, and equivocation can be reported: as long as stakes stay bonded.
pub const REMEMBERED_ERAS: u32 = 28;

/// Sets that are remembered beside those, the newest: of eras that were begun again. More than there are sessions in the eras for which stakes
/// stay bonded; elections begin one a session at most.
pub const MOST_FORMER_SETS: u32 = 256;

#[allow(clippy::expect_used, reason = "FRAME's macros expand to it")]
#[import_section(events::events)]
#[frame_support::pallet]
pub mod pallet {
    use super::{Beacon, Clusters, Elected, HandOver, Offence, Plan, Policy, Punish, SilenceRecord, WeightInfo};
    use alloc::vec::Vec;
    use frame_support::{pallet_prelude::*, traits::Get};
    use frame_system::pallet_prelude::*;
    use phala_pallet_attestation::Members;
    use phala_protocol::{
        ceremony::{Attachment, CeremonyRecord, Fault, Phase, SignedStatement, MAX_SEATS},
        chain_state::RootRecord,
        identities::{IdentityCeremonyRecord, IdentityRecord, SignedIdentityStatement},
        ids::{AccountId, BlockNumber, WorkerId},
        Hash,
    };
    use sp_runtime::SaturatedConversion;

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    /// Complaints of a ceremony at most: each seat's of every other, for one that is cut off needs all delivered.
    pub const MOST_COMPLAINTS: u32 = (MAX_SEATS * (MAX_SEATS - 1)) as u32;

    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId: Into<[u8; 32]> + Clone, Hash: Into<[u8; 32]>, RuntimeEvent: From<Event<Self>>>
        + phala_pallet_attestation::Config
    {
        /// Starts and cancels ceremonies, cancels a root that does not answer yet, sets the policy.
        type GovernanceOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Which clusters still get their keys of a former root.
        type Clusters: Clusters;
        /// Told which beacon key is awaited, dropped and in use.
        type Beacon: Beacon;
        /// Takes of a validator's stake.
        type Punish: Punish<Self::AccountId>;
        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// The ceremony under way, which TEEs read.
    #[pallet::storage]
    pub type Ceremony<T> = StorageValue<_, CeremonyRecord>;

    /// The block in which the ceremony's phase ends: the one after its last, or the one after all said what was asked.
    #[pallet::storage]
    pub type Due<T> = StorageValue<_, BlockNumber>;

    /// An era, and its first attempt that no ceremony has used: a seat that signed for an attempt is never asked again for the same.
    #[pallet::storage]
    pub type NextAttempt<T> = StorageValue<_, (u32, u32), ValueQuery>;

    /// Who holds the keys that contracts' identities follow from, which TEEs read. Absent until they are made.
    #[pallet::storage]
    pub type Identity<T> = StorageValue<_, IdentityRecord>;

    /// The ceremony of identities under way, which TEEs read.
    #[pallet::storage]
    pub type IdentityCeremony<T> = StorageValue<_, IdentityCeremonyRecord>;

    /// The block in which the phase of the ceremony of identities ends, as [`Due`].
    #[pallet::storage]
    pub type IdentityDue<T> = StorageValue<_, BlockNumber>;

    /// An era, and its first attempt that no ceremony of identities has used.
    #[pallet::storage]
    pub type NextIdentityAttempt<T> = StorageValue<_, (u32, u32), ValueQuery>;

    /// The era whose seats deal in the ceremonies of identities of an era: whoever contradicts itself in one had a seat of either.
    #[pallet::storage]
    pub type DealtBy<T> = StorageMap<_, Twox64Concat, u32, u32>;

    /// The roots that ceremonies made, by era: the one that answers, and the one that comes.
    #[pallet::storage]
    pub type Roots<T> = StorageMap<_, Twox64Concat, u32, RootRecord>;

    /// Which of [`Roots`] comes, until it answers. While clusters go over to it, it is `Attestation::NextRoot`, too.
    #[pallet::storage]
    pub type Next<T> = StorageValue<_, HandOver>;

    /// The gatekeeper of each validator.
    #[pallet::storage]
    pub type Seats<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, WorkerId>;

    /// The validator of each gatekeeper.
    #[pallet::storage]
    pub type Validators<T: Config> = StorageMap<_, Blake2_128Concat, WorkerId, T::AccountId>;

    /// Who had which seat, by era: those are held to account, whatever they are bound to later. Of an era that was begun again it is the newest
    /// set; those before are in [`FormerElections`].
    #[pallet::storage]
    pub type Elections<T: Config> = StorageMap<_, Twox64Concat, u32, Elected<T::AccountId>>;

    /// Who had which seat of an era that another set began again - there was no root, or it was cancelled - by era and first attempt.
    #[pallet::storage]
    pub type FormerElections<T: Config> = StorageMap<_, Twox64Concat, (u32, u32), Vec<(WorkerId, T::AccountId)>>;

    /// The keys of [`FormerElections`], oldest first: [`MOST_FORMER_SETS`](crate::MOST_FORMER_SETS) at most.
    #[pallet::storage]
    pub type FormerSets<T> = StorageValue<_, Vec<(u32, u32)>, ValueQuery>;

    /// The set that is elected and waits for its gatekeepers' root.
    #[pallet::storage]
    pub type Planned<T: Config> = StorageValue<_, Plan<T::AccountId>>;

    /// The set that took over last: the era of its root, and its first attempt. What sets before it did was done before it was elected. It acts
    /// on when its root is cancelled, and when another set begins the era again.
    #[pallet::storage]
    pub type Acting<T> = StorageValue<_, (u32, u32)>;

    /// How often the ceremony under way took the absent back.
    #[pallet::storage]
    pub type Readmissions<T> = StorageValue<_, u32, ValueQuery>;

    /// Validators for whose gatekeepers a ceremony was given up: no candidates of the next election, unless too few are left without.
    #[pallet::storage]
    pub type KeptOut<T: Config> = StorageValue<_, Vec<T::AccountId>, ValueQuery>;

    /// Gatekeepers that dealt a wrong share or contradicted themselves, with the era. None takes a seat again.
    #[pallet::storage]
    pub type Convictions<T> = StorageMap<_, Blake2_128Concat, WorkerId, u32>;

    /// Roots made or given up in a row without the validator's gatekeeper, which had a seat.
    #[pallet::storage]
    pub type Absences<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, u32, ValueQuery>;

    /// Ceremonies of identities in a row that ended, with a record or without, without the validator's gatekeeper, which was to take part.
    #[pallet::storage]
    pub type IdentityAbsences<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, u32, ValueQuery>;

    /// Validators whose gatekeepers gave no partial for a period of the beacon that had no value for want of it.
    #[pallet::storage]
    pub type Silences<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, SilenceRecord>;

    /// Votes for a committee of the brake, of the validators whose gatekeepers have seats of the root of this era: one each.
    #[pallet::storage]
    pub type CommitteeVotes<T: Config> = StorageValue<_, (u32, Vec<(T::AccountId, Members)>), ValueQuery>;

    /// The governed policy.
    #[pallet::storage]
    pub type CurrentPolicy<T: Config> = StorageValue<_, Policy, ValueQuery, DefaultPolicy<T>>;

    /// Until governance decides otherwise.
    #[pallet::type_value]
    pub fn DefaultPolicy<T: Config>() -> Policy {
        Policy::new(<T as phala_pallet_attestation::Config>::InsecureDevelopment::get())
    }

    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// Whether the vendor quota is off from the start. One vendor may then hold a whole root. The exception is there because
        /// evidence of one vendor only is verified so far: under the quota, a network outside development has no root at all.
        pub without_vendor_quota: bool,
        /// The runtime that it configures.
        #[serde(skip)]
        pub _config: PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            if self.without_vendor_quota {
                CurrentPolicy::<T>::mutate(|policy| policy.vendor_quota = false);
            }
        }
    }

    #[pallet::error]
    #[derive(PartialEq)]
    pub enum Error<T> {
        /// It is not a registered gatekeeper with valid evidence, or is shut out: have it attest.
        NotAGatekeeper,
        /// The gatekeeper's evidence names another operator: register it with this account.
        NotTheOperator,
        /// The gatekeeper is the validator's already: there is nothing to bind.
        AlreadySeated,
        /// The validator, or the gatekeeper, has no seat to take or leave: register it.
        NotSeated,
        /// The gatekeeper is convicted for good: set up another one.
        Convicted,
        /// A ceremony is under way: wait for its end, or cancel it.
        UnderWay,
        /// A root waits to answer: its hand-over has to end first, or governance cancels it.
        HandOverPending,
        /// A ceremony has four seats at least.
        TooFewSeats,
        /// A ceremony has a hundred seats at most.
        TooManySeats,
        /// A seat is named twice.
        RepeatedSeat,
        /// One vendor would hold a threshold of the shares: take fewer of its machines.
        VendorQuota,
        /// No ceremony is under way.
        NoCeremony,
        /// The statement is of another era: its gatekeeper follows another chain, or the past.
        WrongEra,
        /// The statement is of another attempt: it came too late, and nothing of it counts.
        WrongAttempt,
        /// There is no seat of this index, or none is remembered.
        NoSuchSeat,
        /// The seat takes no part in this phase.
        TakesNoPart,
        /// What is said has no place in this phase.
        WrongPhase,
        /// The signature is not the seat's over this statement on this chain.
        BadSignature,
        /// The seat has said this, or the opposite, already. What it said first stands.
        AlreadyStated,
        /// The dealer takes no part, or is the seat itself.
        NoSuchDealer,
        /// There is no such complaint, or it is not disputed: what is not disputed is not answered in public.
        NoSuchComplaint,
        /// The dealer delivered nothing on this complaint, or something else.
        NoSuchDelivery,
        /// What stands beside the statement is missing, not what it says, too long, or not asked for: see `state_with`.
        WrongAttachment,
        /// The phase's last call has begun: it could not be disputed or rejected in time any more.
        TooLate,
        /// The share is not the canonical encoding of a scalar.
        BadShare,
        /// The two statements do not contradict each other.
        NotEquivocation,
        /// There is nothing to cancel.
        NothingToCancel,
        /// A value of the policy is out of its range.
        PolicyOutOfRange,
        /// Clusters go over to the root already, and would lose their keys with it.
        HandOverBegan,
        /// The sender's gatekeeper has no seat of the root that answers: only validators whose gatekeepers have elect a committee.
        NotAnElector,
        /// The dealer answered as many disputes as it may: with more, what it deals would be public.
        TooManyAnswers,
        /// Identities are made or handed over: wait for the end of that, or cancel it.
        IdentitiesUnderWay,
        /// The seats of the root that answers hold the identities already.
        IdentitiesHeld,
        /// There is no root yet whose seats could hold identities: make one.
        NoRoot,
        /// The holders have not agreed on a record of identities yet.
        NotAgreed,
        /// This is not the record that the holders confirmed, or not of the keys that were handed over.
        OtherRecord,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_: BlockNumberFor<T>) -> Weight {
            Self::at_block()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Binds a registered gatekeeper, whose evidence names the sender as operator, to the sender's validator, in the place of the one
        /// that it has, if it has one. A seat of a ceremony or a root stays the former one's.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::bind())]
        pub fn register_seat(origin: OriginFor<T>, gatekeeper: WorkerId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_register_seat(who, gatekeeper)
        }

        /// Unbinds the sender's gatekeeper. The validator is not electable any more; a seat of a ceremony or a root stays its own.
        #[pallet::call_index(1)]
        #[pallet::weight(<T as Config>::WeightInfo::bind())]
        pub fn leave(origin: OriginFor<T>) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_leave(&who)
        }

        /// Starts the ceremony of the next era with these gatekeepers, each bound to a validator.
        #[pallet::call_index(2)]
        #[pallet::weight(<T as Config>::WeightInfo::start(seats.len() as u32))]
        pub fn start(
            origin: OriginFor<T>,
            seats: BoundedVec<WorkerId, ConstU32<{ MAX_SEATS as u32 }>>,
        ) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            Self::begin_ceremony(&seats)?;
            Ok(())
        }

        /// Carries a seat's statement here; anyone may. Free when it is taken: each can be taken once.
        #[pallet::call_index(3)]
        #[pallet::weight(<T as Config>::WeightInfo::state(MAX_SEATS as u32, MOST_COMPLAINTS))]
        pub fn state(origin: OriginFor<T>, statement: SignedStatement) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_state(&statement, None)
        }

        /// Reports a seat that signed two statements of which only one can be true; anyone may. Free when it is.
        #[pallet::call_index(4)]
        #[pallet::weight(<T as Config>::WeightInfo::report(<T::Punish as Punish<T::AccountId>>::MOST_BACKERS))]
        pub fn report_equivocation(
            origin: OriginFor<T>,
            first: SignedStatement,
            second: SignedStatement,
        ) -> DispatchResultWithPostInfo {
            let who = ensure_signed(origin)?;
            Self::do_report(who, &first, &second)
        }

        /// Cancels the ceremony under way. What its seats made is worth nothing.
        #[pallet::call_index(5)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn cancel(origin: OriginFor<T>) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_cancel()
        }

        /// Cancels a root that waits, before clusters go over to it.
        #[pallet::call_index(6)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn cancel_next(origin: OriginFor<T>) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_cancel_next()
        }

        /// Sets the policy, for phases that begin and faults that are found from now on.
        #[pallet::call_index(7)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn set_policy(origin: OriginFor<T>, policy: Policy) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            ensure!(policy.in_range(), Error::<T>::PolicyOutOfRange);
            CurrentPolicy::<T>::put(policy);
            Self::deposit_event(Event::PolicySet { policy });
            Ok(())
        }

        /// Carries a seat's statement here with what stands beside it: the key of a first complaint, a sealed delivery, the package of a
        /// first answer. Anyone may. Free when it is taken: each can be taken once.
        #[pallet::call_index(8)]
        #[pallet::weight(<T as Config>::WeightInfo::state_with(MAX_SEATS as u32, (MAX_SEATS * MAX_SEATS) as u32))]
        pub fn state_with(
            origin: OriginFor<T>,
            statement: SignedStatement,
            attachment: Attachment,
        ) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_state(&statement, Some(attachment))
        }

        /// Votes for a committee of the brake, in whatever order its members are named; with none, for having no committee. It is elected when
        /// more than half of the seats of the root that answers are for the same one. The newest vote of a validator counts.
        #[pallet::call_index(15)]
        #[pallet::weight(<T as Config>::WeightInfo::vote_for_committee())]
        pub fn vote_for_committee(origin: OriginFor<T>, members: Members) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_vote_for_committee(who, members)
        }

        /// Starts the ceremony in which the seats of the root that answers make the keys of identities, or receive those that there are,
        /// which each set begins by itself when its root answers.
        #[pallet::call_index(16)]
        #[pallet::weight(<T as Config>::WeightInfo::start(2 * MAX_SEATS as u32))]
        pub fn start_identities(origin: OriginFor<T>) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_start_identities()
        }

        /// Cancels the ceremony of identities under way. Whoever holds the keys holds them on.
        #[pallet::call_index(17)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn cancel_identities(origin: OriginFor<T>) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_cancel_identities()
        }

        /// Carries what a dealer or holder of identities says here, with what stands beside it; anyone may. Free when it is taken: each can
        /// be taken once.
        #[pallet::call_index(18)]
        #[pallet::weight(<T as Config>::WeightInfo::state_with(2 * MAX_SEATS as u32, (MAX_SEATS * MAX_SEATS) as u32))]
        pub fn state_identities(
            origin: OriginFor<T>,
            statement: SignedIdentityStatement,
            attachment: Option<Attachment>,
        ) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_state_identities(&statement, attachment)
        }

        /// Shows the record of identities that the holders agreed on; anyone may. Free when it is that. From then on they hold the keys, and
        /// nobody else.
        #[pallet::call_index(19)]
        #[pallet::weight(<T as Config>::WeightInfo::show())]
        pub fn show_identities(origin: OriginFor<T>, record: IdentityRecord) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_show_identities(record)
        }

        /// Reports a dealer or holder of identities that signed two statements of which only one can be true; anyone may. Free when it is.
        #[pallet::call_index(20)]
        #[pallet::weight(<T as Config>::WeightInfo::report(<T::Punish as Punish<T::AccountId>>::MOST_BACKERS))]
        pub fn report_identity_equivocation(
            origin: OriginFor<T>,
            first: SignedIdentityStatement,
            second: SignedIdentityStatement,
        ) -> DispatchResultWithPostInfo {
            let who = ensure_signed(origin)?;
            Self::do_report_identities(who, &first, &second)
        }
    }

    impl<T: Config> Pallet<T> {
        /// The chain's genesis hash, which every signature of the network is bound to.
        pub(super) fn genesis() -> Hash {
            frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero()).into()
        }

        pub(super) fn now() -> BlockNumber {
            frame_system::Pallet::<T>::block_number().saturated_into()
        }

        /// An account's bytes.
        pub(super) fn account(who: &T::AccountId) -> AccountId {
            AccountId(who.clone().into())
        }
    }
}
