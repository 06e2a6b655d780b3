//! Attestation: collateral, the measurement allow-list, the registry of attested identities, and who is shut out of it.
//!
//! Guarantees: an identity is in the registry only after `phala-attest` accepted its evidence inside this runtime, under the
//! collateral kept here, with a measurement on the allow-list for its role, bound to this chain, role, keys, operator and a recent
//! block; one machine carries one live identity; collateral never goes back in time, and never ahead of governance's cap; what is
//! revoked or suspended is inactive in the same block. Governance lists measurements, sets the policy's terms and the windows,
//! revokes and lifts; it cannot add a root: Intel's is compiled in and can only be ended, and the development root counts only where
//! the genesis block says so. The brake - a committee's majority, or gatekeepers of the recorded root - suspends, for a time that ends
//! by itself, and admits nobody.
//!
//! Operators control what they submit. Does not: assign work, or trust itself where secrets are given - gatekeepers verify a
//! worker's evidence again in their own binary.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod bans;
mod brake;
mod collateral;
mod events;
mod listing;
mod registry;
mod roots;
#[cfg(test)]
mod tests;
mod types;
mod weights;

pub use bans::OnBarred;
pub use brake::ELECTED_TERM;
pub use pallet::*;
pub use registry::signed_by;
pub use types::{
    Absence, Applying, Appraisal, Ballot, BrakeCommittee, Expiry, Fmspc, Members, Model, Windows, MOST_MEMBERS,
};
pub use weights::WeightInfo;

use frame_support::pallet_macros::import_section;

#[allow(clippy::expect_used, reason = "FRAME's macros expand to it")]
#[import_section(events::events)]
#[frame_support::pallet]
pub mod pallet {
    use super::{
        Applying, Appraisal, Ballot, BrakeCommittee, Expiry, Fmspc, Members, Model, OnBarred, WeightInfo, Windows,
        MOST_MEMBERS,
    };
    use alloc::{boxed::Box, vec::Vec};
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;
    use phala_attest::{
        AcceptedStatuses, AdvisoryPolicy, Ban, Bans as BanList, Collateral, ConfidenceLevel, Evidence, PolicyTerms,
        Root as VendorRoot, Subject, Vendor, VerifiedCollateral,
    };
    use phala_protocol::{
        attestation::{Listing, Registration},
        chain_state::{AllowedMeasurement, RootRecord, WorkerRecord},
        ids::{AccountId, BlockNumber, WorkerId},
        Hash,
    };

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId: Into<[u8; 32]> + Clone, Hash: Into<[u8; 32]>, RuntimeEvent: From<Event<Self>>>
        + pallet_timestamp::Config<Moment = u64>
    {
        /// Lists measurements, sets policy terms and windows, revokes, lifts, ends vendors' roots, records roots.
        type GovernanceOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Suspends at once and for a bounded time, beside the committee and the gatekeepers. Can never admit.
        type BrakeOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Who takes from TEEs that are shut out what they were given.
        type OnBarred: OnBarred;
        /// INSECURE when true: the genesis marks a development network, and the development root counts. Must be a fact of the
        /// genesis block that no call changes: the runtime has to keep root from writing storage by hand where it is false. An upgrade of
        /// the runtime is past any of this; TEEs and receipts do not follow it, for they read the mark in the genesis state.
        type InsecureDevelopment: Get<bool>;
        /// INSECURE when true: a root may be of one seat, held whole by one machine. Of development networks only; a fact of the genesis
        /// as well.
        type LoneRoot: Get<bool>;
        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// Collateral by technology, platform model and the authority (SHA-256 of its certificate) that certifies the processors, checked
    /// and parsed. One model has documents for SGX and for TDX, and may have processors of both of Intel's authorities; the collateral
    /// of each says nothing of the others': under the model alone, whoever submits last would shut the others out.
    #[pallet::storage]
    pub type Collaterals<T> = StorageMap<_, Blake2_128Concat, Model, VerifiedCollateral>;

    /// When the newest revocation list of each root was issued, Unix seconds.
    #[pallet::storage]
    pub type NewestRootLists<T> = StorageMap<_, Twox64Concat, VendorRoot, u64, ValueQuery>;

    /// When each collateral ends, and whether that is soon: the alarm.
    #[pallet::storage]
    pub type Expiries<T> = StorageMap<_, Blake2_128Concat, Model, Expiry>;

    /// The model whose collateral was looked at last; each block looks at the next.
    #[pallet::storage]
    pub type WatchedModel<T> = StorageValue<_, Model>;

    /// The highest `tcbEvaluationDataNumber` that collateral may have. Intel publishes the documents of a security release early,
    /// for operators who test it; anyone may submit them, and platforms that wait for the release are out of date under them.
    /// Governance raises the cap when a release is due. Until it has set one, a development network takes any and others none.
    #[pallet::storage]
    pub type EvaluationCap<T> = StorageValue<_, u32>;

    /// The governed part of the verification policy.
    #[pallet::storage]
    pub type Terms<T> = StorageValue<_, PolicyTerms, ValueQuery, DefaultTerms>;

    /// Until governance decides otherwise: up-to-date platforms only.
    #[pallet::type_value]
    pub fn DefaultTerms() -> PolicyTerms {
        PolicyTerms { accepted: AcceptedStatuses::UP_TO_DATE, minimum_tcb_evaluation_number: 0 }
    }

    /// The governed policy on security advisories.
    #[pallet::storage]
    pub type Advisories<T> = StorageValue<_, AdvisoryPolicy, ValueQuery>;

    /// The governed times.
    #[pallet::storage]
    pub type CurrentWindows<T> = StorageValue<_, Windows, ValueQuery, DefaultWindows>;

    /// Until governance decides otherwise.
    #[pallet::type_value]
    pub fn DefaultWindows() -> Windows {
        Windows::DEFAULT
    }

    /// The measurements that may join.
    #[pallet::storage]
    pub type Measurements<T> = StorageMap<_, Blake2_128Concat, Hash, AllowedMeasurement>;

    /// What governance said of each measurement in [`Measurements`].
    #[pallet::storage]
    pub type Listings<T> = StorageMap<_, Blake2_128Concat, Hash, Listing>;

    /// How many measurements have their last block right before this one.
    #[pallet::storage]
    pub type Sunsets<T> = StorageMap<_, Twox64Concat, BlockNumber, u32, ValueQuery>;

    /// The registered TEEs.
    #[pallet::storage]
    pub type Workers<T> = StorageMap<_, Blake2_128Concat, WorkerId, WorkerRecord>;

    /// What the evidence of each registered TEE said.
    #[pallet::storage]
    pub type Appraisals<T> = StorageMap<_, Blake2_128Concat, WorkerId, Appraisal>;

    /// The advisories that applied to the platform of each registered TEE when it attested; none where there were none.
    #[pallet::storage]
    pub type AdvisoriesOf<T> = StorageMap<_, Blake2_128Concat, WorkerId, Applying, ValueQuery>;

    /// Which identity a machine carries, by the machine's pseudonym.
    #[pallet::storage]
    pub type Hardware<T> = StorageMap<_, Blake2_128Concat, Hash, WorkerId>;

    /// The machines that are revoked, by pseudonym, with the block that did it.
    #[pallet::storage]
    pub type RevokedHardware<T> = StorageMap<_, Blake2_128Concat, Hash, BlockNumber>;

    /// Roots, vendors, models, generations and measurements that are revoked or suspended.
    #[pallet::storage]
    pub type Bans<T> = StorageValue<_, BanList, ValueQuery>;

    /// The last block that the brake holds, and the last in which it rests after that.
    #[pallet::storage]
    pub type Brake<T> = StorageValue<_, (BlockNumber, BlockNumber)>;

    /// Whether governance lifted what the brake suspended while it held: then the brake suspends nothing before it has rested.
    #[pallet::storage]
    pub type Overruled<T> = StorageValue<_, bool, ValueQuery>;

    /// How often the brake has suspended each subject. Gatekeepers sign for the next time only.
    #[pallet::storage]
    pub type Suspensions<T> = StorageMap<_, Blake2_128Concat, Subject, u32, ValueQuery>;

    /// The accounts whose majority pulls the brake, and until when.
    #[pallet::storage]
    pub type Committee<T> = StorageValue<_, BrakeCommittee>;

    /// The present vote of each member of the committee, while it counts.
    #[pallet::storage]
    pub type Ballots<T> = StorageValue<_, BoundedVec<Ballot, ConstU32<MOST_MEMBERS>>, ValueQuery>;

    /// The root that gives epoch keys.
    #[pallet::storage]
    pub type Root<T> = StorageValue<_, RootRecord>;

    /// The root of the era after, while clusters go over to it: the keys of every next epoch are its.
    #[pallet::storage]
    pub type NextRoot<T> = StorageValue<_, RootRecord>;

    #[pallet::error]
    #[derive(PartialEq)]
    pub enum Error<T> {
        /// The collateral is refused: its root is not trusted here, or a signature, a date or a revocation in it is not good.
        CollateralRefused,
        /// The collateral has expired: fetch and submit newer. The platform is not at fault.
        CollateralExpired,
        /// The collateral's root is not trusted on this chain, or not any more.
        UntrustedRoot,
        /// Newer collateral is here already, or this has an older part than what is here.
        CollateralNotNewer,
        /// The collateral is of an evaluation that governance has not let in yet: submit the present standard one.
        EvaluationTooEarly,
        /// Governance has set no highest evaluation, without which this chain takes no collateral.
        NoEvaluationCap,
        /// The floor of evaluations would be over their cap, so that nobody could attest.
        FloorOverCap,
        /// There is no collateral for the platform's model and certifying authority: submit it first.
        NoCollateral,
        /// The collateral here is of an evaluation below governance's floor: submit newer.
        CollateralBelowFloor,
        /// The evidence is not decodable: whoever made it is at fault.
        EvidenceMalformed,
        /// The evidence is refused: it is not genuine, or of a machine that nobody may trust.
        EvidenceRefused,
        /// The vendor has revoked the platform: its owner cannot use it any more.
        PlatformRevoked,
        /// The platform's status is below the policy's terms: its owner has to update or configure it.
        PlatformOutdated,
        /// An advisory that governance forbids applies to the platform: its owner has to update it.
        AdvisoryForbidden,
        /// The root, vendor, model, generation or measurement is revoked or suspended: governance's decision, or the brake's.
        Barred,
        /// The machine is revoked by governance.
        HardwareRevoked,
        /// The processor's certificate has expired: its owner has to fetch a newer one from the vendor.
        CertificateExpired,
        /// The evidence does not bind this registration on this chain.
        WrongReportData,
        /// The registration names a block that is not a recent one of this chain.
        NotRecent,
        /// The measurement is not on the allow-list, not yet, or not any more.
        MeasurementNotAllowed,
        /// The measurement is listed for another role.
        RoleNotAllowed,
        /// The signer is not the operator that the evidence names.
        NotTheOperator,
        /// The machine carries another operator's live identity.
        HardwareInUse,
        /// The machine's identity of another operator lapsed, and its cool-down is not over: try again later.
        HardwareCoolingDown,
        /// The identity belongs to another operator.
        IdentityInUse,
        /// There is no such entry.
        NotListed,
        /// The listing names no source, without which nobody can reproduce the measurement.
        SourceMissing,
        /// The listing begins before its delay is over: name a later first block.
        MeasurementTooSoon,
        /// The sunset has passed, or comes before the first block: list the measurement again.
        SunsetPassed,
        /// The policy on advisories contradicts itself, or names what is no advisory.
        BadAdvisories,
        /// A window is out of its range.
        WindowOutOfRange,
        /// The list of what is shut out is full: lift something.
        TooManyBans,
        /// The subject is shut out already.
        AlreadyBarred,
        /// The brake was used, and cannot be again before it has rested: governance can act.
        BrakeRests,
        /// Governance lifted a suspension: the brake takes up nothing before it has rested, and governance can act.
        Overruled,
        /// The signer is not on the committee, or its term is over.
        NotOnTheCommittee,
        /// A committee has three to seven members (one at least, on a development network), none of them twice.
        BadCommittee,
        /// Fewer gatekeepers signed than are needed: n-t+1 of the recorded root's seats.
        TooFewGatekeepers,
        /// The seats are not in ascending order, each once.
        SeatsOutOfOrder,
        /// The last block for which the gatekeepers signed has passed: they have to sign again.
        SignaturesExpired,
        /// The gatekeepers signed for a block that is too far away: they have to sign for an earlier one.
        SignedTooFarAhead,
        /// A vendor's root can be ended, by its fingerprint and never later than decided before; nothing brings it back.
        RootsOnlyEnd,
        /// The development root is nobody's to name: the genesis alone decides about it.
        DevelopmentRoot,
        /// No vendor's root has this fingerprint. Roots are compiled in; none can be added.
        UnknownRoot,
        /// A root needs at least four seats (one, on a development network), more than two thirds of them as threshold.
        BadRoot,
        /// A seat is not a registered gatekeeper, or did not sign.
        NotAGatekeeper,
        /// The era is not the one after the recorded root's.
        WrongEra,
        /// A root answers already: the next one comes out of a ceremony, and clusters go over to it.
        RootAnswers,
        /// Clusters go over to a root already, and no other one comes before they have.
        HandOverUnderWay,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_: BlockNumberFor<T>) -> Weight {
            Self::watch_collateral().saturating_add(Self::begin_bans())
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Renews collateral; anyone may. It must be good now, issued after what is here, and end no earlier.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::submit_collateral())]
        pub fn submit_collateral(origin: OriginFor<T>, collateral: Box<Collateral>) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_submit_collateral(&collateral)
        }

        /// Registers a TEE by its evidence, or renews its registration; sent by the operator that the evidence names.
        #[pallet::call_index(1)]
        #[pallet::weight(<T as Config>::WeightInfo::register())]
        pub fn register(origin: OriginFor<T>, registration: Registration, evidence: Box<Evidence>) -> DispatchResult {
            let who = ensure_signed(origin)?;
            ensure!(registration.operator == AccountId(who.into()), Error::<T>::NotTheOperator);
            Self::do_register(registration, &evidence)
        }

        /// Puts a measurement on the allow-list. Outside a development network it names its source, and begins after the delay.
        #[pallet::call_index(2)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn allow_measurement(origin: OriginFor<T>, measurement: Hash, listing: Listing) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_allow_measurement(measurement, listing)
        }

        /// Takes a measurement off the allow-list. TEEs that run it are inactive at once.
        #[pallet::call_index(3)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn remove_measurement(origin: OriginFor<T>, measurement: Hash) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_remove_measurement(measurement)
        }

        /// Sets the policy's terms, whose floor of evaluations is under the cap at most. No terms accept a revoked platform, a
        /// debuggable machine or another root.
        #[pallet::call_index(4)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn set_terms(origin: OriginFor<T>, terms: PolicyTerms) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            let cap = EvaluationCap::<T>::get().unwrap_or(u32::MAX);
            ensure!(terms.minimum_tcb_evaluation_number <= cap, Error::<T>::FloorOverCap);
            Terms::<T>::put(terms);
            Self::deposit_event(Event::TermsSet { terms });
            Ok(())
        }

        /// Records the first root of a network, signed by all of its seats over its encoding. The roots after it come out of
        /// ceremonies: clusters would lose their keys with a root that is replaced by hand.
        #[pallet::call_index(5)]
        #[pallet::weight(<T as Config>::WeightInfo::record_root(signatures.len() as u32))]
        pub fn record_root(origin: OriginFor<T>, root: RootRecord, signatures: Vec<[u8; 64]>) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_record_root(root, &signatures)
        }

        /// Sets the highest `tcbEvaluationDataNumber` that collateral may have, no lower than the terms' floor. What is kept stays until
        /// other collateral comes, which replaces it if it is over the cap, however old it is.
        #[pallet::call_index(6)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn set_evaluation_cap(origin: OriginFor<T>, cap: Option<u32>) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            ensure!(cap.is_some() || T::InsecureDevelopment::get(), Error::<T>::NoEvaluationCap);
            let floor = Terms::<T>::get().minimum_tcb_evaluation_number;
            ensure!(cap.is_none_or(|cap| floor <= cap), Error::<T>::FloorOverCap);
            EvaluationCap::<T>::set(cap);
            Self::deposit_event(Event::EvaluationCapSet { cap });
            Ok(())
        }

        /// Sets the last block of a listed measurement, or none. One that has passed stays.
        #[pallet::call_index(7)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn set_sunset(origin: OriginFor<T>, measurement: Hash, sunset: Option<BlockNumber>) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_set_sunset(measurement, sunset)
        }

        /// Sets the policy on advisories. What it forbids ends the standing of whoever it applied to when it attested.
        #[pallet::call_index(8)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn set_advisories(origin: OriginFor<T>, policy: AdvisoryPolicy) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            ensure!(policy.is_consistent(), Error::<T>::BadAdvisories);
            Advisories::<T>::put(policy);
            Self::deposit_event(Event::AdvisoriesSet);
            Ok(())
        }

        /// Sets the governed times.
        #[pallet::call_index(9)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn set_windows(origin: OriginFor<T>, windows: Windows) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            ensure!(windows.in_range(), Error::<T>::WindowOutOfRange);
            CurrentWindows::<T>::put(windows);
            Self::deposit_event(Event::WindowsSet { windows });
            Ok(())
        }

        /// Shuts out a vendor, a model or generation of platforms, or a measurement: from now on, or from a later block, which is a deadline.
        #[pallet::call_index(10)]
        #[pallet::weight(<T as Config>::WeightInfo::bar())]
        pub fn revoke(origin: OriginFor<T>, subject: Subject, from: Option<BlockNumber>) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_revoke(subject, from)
        }

        /// Suspends a vendor, a model or generation of platforms, or a measurement at once, until the brake's end. Whoever governs may; the
        /// committee and the gatekeepers have calls of their own.
        #[pallet::call_index(11)]
        #[pallet::weight(<T as Config>::WeightInfo::bar())]
        pub fn suspend(origin: OriginFor<T>, subject: Subject) -> DispatchResult {
            T::BrakeOrigin::ensure_origin(origin)?;
            Self::do_suspend(subject)
        }

        /// Ends what shuts out a vendor, a model or generation of platforms, or a measurement. Lists, delays and floors still stand.
        #[pallet::call_index(12)]
        #[pallet::weight(<T as Config>::WeightInfo::bar())]
        pub fn lift(origin: OriginFor<T>, subject: Subject) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_lift(subject)
        }

        /// Shuts out one machine by its pseudonym, and removes its registration.
        #[pallet::call_index(13)]
        #[pallet::weight(<T as Config>::WeightInfo::bar())]
        pub fn revoke_hardware(origin: OriginFor<T>, hardware: Hash) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_revoke_hardware(hardware)
        }

        /// Lets a machine register again.
        #[pallet::call_index(14)]
        #[pallet::weight(<T as Config>::WeightInfo::bar())]
        pub fn lift_hardware(origin: OriginFor<T>, hardware: Hash) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_lift_hardware(hardware)
        }

        /// Ends the trust in a vendor's root, named by SHA-256 of its certificate: from now on, or from a later block. It can be
        /// brought forward, and never put off or taken back; no call adds a root.
        #[pallet::call_index(15)]
        #[pallet::weight(<T as Config>::WeightInfo::bar())]
        pub fn end_root(origin: OriginFor<T>, fingerprint: Hash, from: Option<BlockNumber>) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_end_root(&fingerprint, from)
        }

        /// Suspends as [`Self::suspend`] does, by the signatures of n-t+1 seats of the recorded root: seats counted from 1, ascending,
        /// each over [`phala_protocol::attestation::suspension_payload`] for the next suspension of this subject, taken until block
        /// `expires`, which is at most a day of 6 s blocks ahead. Anyone may carry them.
        #[pallet::call_index(16)]
        #[pallet::weight(<T as Config>::WeightInfo::suspend_by_gatekeepers(signatures.len() as u32))]
        pub fn suspend_by_gatekeepers(
            origin: OriginFor<T>,
            subject: Subject,
            expires: BlockNumber,
            signatures: Vec<(u16, [u8; 64])>,
        ) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_suspend_by_gatekeepers(subject, expires, &signatures)
        }

        /// Chooses the committee for `term` blocks from now on, a year of 6 s blocks at most; without members, there is none. Votes of
        /// the former one are void.
        #[pallet::call_index(17)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn set_committee(origin: OriginFor<T>, members: Members, term: BlockNumber) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_set_committee(members, term)
        }

        /// Votes, as a member of the committee, to suspend a subject; it is suspended when more than half of the members vote for it
        /// within an hour of 6 s blocks. A member has one vote at a time: the newest.
        #[pallet::call_index(18)]
        #[pallet::weight(<T as Config>::WeightInfo::bar())]
        pub fn vote_to_suspend(origin: OriginFor<T>, subject: Subject) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_vote_to_suspend(AccountId(who.into()), subject)
        }
    }
}
