//! Attestation: collateral, the measurement allow-list and the registry of attested identities.
//!
//! Guarantees: an identity is in the registry only after `phala-attest` accepted its evidence inside this runtime, under the
//! collateral kept here, with a measurement on the allow-list, bound to this chain, role, keys, operator and a recent block; one
//! machine carries one live identity; collateral never goes back in time, and never ahead of governance's cap. Governance lists measurements and sets the policy's
//! terms; it cannot add a root: Intel's is compiled in, and the development root counts only where the genesis block says so.
//!
//! Operators control what they submit. Does not: assign work, or trust itself where secrets are given - gatekeepers verify a
//! worker's evidence again in their own binary.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod registry;
mod roots;
#[cfg(test)]
mod tests;
mod weights;

pub use pallet::*;
pub use registry::signed_by;
pub use weights::WeightInfo;

#[allow(clippy::expect_used, reason = "FRAME's macros expand to it")]
#[frame_support::pallet]
pub mod pallet {
    use super::WeightInfo;
    use alloc::{boxed::Box, vec::Vec};
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;
    use phala_attest::{AcceptedStatuses, Collateral, Evidence, PlatformModel, PolicyTerms, VerifiedCollateral};
    use phala_protocol::{
        attestation::Registration,
        chain_state::{AllowedMeasurement, RootRecord, WorkerRecord},
        ids::{AccountId, BlockNumber, WorkerId},
        Hash,
    };

    /// Platform model: the first six bytes of what a vendor calls FMSPC.
    pub type Fmspc = [u8; 6];

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId: Into<[u8; 32]> + Clone, Hash: Into<[u8; 32]>, RuntimeEvent: From<Event<Self>>>
        + pallet_timestamp::Config<Moment = u64>
    {
        /// Lists measurements, sets policy terms, records roots.
        type GovernanceOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// INSECURE when true: the genesis marks a development network, and the development root counts. Must be a fact of the
        /// genesis block that no call can change; TEEs read it from the genesis state, where no later write reaches it.
        type InsecureDevelopment: Get<bool>;
        /// Seconds after which a registered TEE must attest again.
        #[pallet::constant]
        type AttestationPeriod: Get<u64>;
        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// Collateral by technology, platform model and the authority (SHA-256 of its certificate) that certifies the processors, checked
    /// and parsed. One model has documents for SGX and for TDX, and may have processors of both of Intel's authorities; the collateral
    /// of each says nothing of the others': under the model alone, whoever submits last would shut the others out.
    #[pallet::storage]
    pub type Collaterals<T> = StorageMap<_, Blake2_128Concat, PlatformModel, VerifiedCollateral>;

    /// The highest `tcbEvaluationDataNumber` that collateral may have, or none for any. Intel publishes the documents of a
    /// security release early, for operators who test it; anyone may submit them, and platforms that wait for the release are
    /// out of date under them. Governance raises the cap when a release is due.
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

    /// The measurements that may join.
    #[pallet::storage]
    pub type Measurements<T> = StorageMap<_, Blake2_128Concat, Hash, AllowedMeasurement>;

    /// The registered TEEs.
    #[pallet::storage]
    pub type Workers<T> = StorageMap<_, Blake2_128Concat, WorkerId, WorkerRecord>;

    /// Which identity a machine carries, by the machine's pseudonym.
    #[pallet::storage]
    pub type Hardware<T> = StorageMap<_, Blake2_128Concat, Hash, WorkerId>;

    /// The root that gives epoch keys.
    #[pallet::storage]
    pub type Root<T> = StorageValue<_, RootRecord>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// Collateral for a platform model was renewed.
        CollateralRenewed {
            /// The model.
            fmspc: Fmspc,
            /// First Unix second at which it does not hold any more.
            valid_until: u64,
        },
        /// A measurement may join.
        MeasurementAllowed {
            /// The measurement.
            measurement: Hash,
            /// From which block.
            not_before: BlockNumber,
        },
        /// A measurement may not join any more. Registered TEEs with it are inactive from now on.
        MeasurementRemoved {
            /// The measurement.
            measurement: Hash,
        },
        /// A TEE is registered.
        Registered {
            /// Its identity.
            worker: WorkerId,
            /// Its operator.
            operator: AccountId,
            /// Chain time in Unix seconds after which it must attest again.
            valid_until: u64,
        },
        /// The policy's terms changed.
        TermsSet {
            /// The terms.
            terms: PolicyTerms,
        },
        /// Collateral of a higher evaluation number is refused from now on; none refuses nothing.
        EvaluationCapSet {
            /// The highest number.
            cap: Option<u32>,
        },
        /// A root that gives epoch keys was recorded.
        RootRecorded {
            /// Its era.
            era: u32,
        },
    }

    #[pallet::error]
    #[derive(PartialEq)]
    pub enum Error<T> {
        /// The collateral is refused: its root is not trusted here, or a signature, a date or a revocation in it is not good.
        CollateralRefused,
        /// The kept collateral ends in a root that this chain does not trust.
        UntrustedRoot,
        /// Newer collateral is here already.
        CollateralNotNewer,
        /// The collateral is of an evaluation that governance has not let in yet: submit the present standard one.
        EvaluationTooEarly,
        /// There is no collateral for the platform's model and certifying authority: submit it first.
        NoCollateral,
        /// The evidence is refused: it is not genuine, not current, or of a platform below the policy's terms.
        EvidenceRefused,
        /// The evidence does not bind this registration on this chain.
        WrongReportData,
        /// The registration names a block that is not a recent one of this chain.
        NotRecent,
        /// The measurement is not on the allow-list, not yet, or not any more.
        MeasurementNotAllowed,
        /// The signer is not the operator that the evidence names.
        NotTheOperator,
        /// The machine carries another operator's live identity.
        HardwareInUse,
        /// The identity belongs to another operator.
        IdentityInUse,
        /// The measurement is not listed.
        NotListed,
        /// A root needs at least four seats (one, on a development network), more than two thirds of them as threshold.
        BadRoot,
        /// A seat is not a registered gatekeeper, or did not sign.
        NotAGatekeeper,
        /// The era is not the one after the recorded root's.
        WrongEra,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Renews the collateral of a platform model; anyone may. It must be good now and issued after what is here.
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

        /// Puts a measurement on the allow-list from `not_before` to `sunset`.
        #[pallet::call_index(2)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn allow_measurement(
            origin: OriginFor<T>,
            measurement: Hash,
            source: Hash,
            not_before: BlockNumber,
            sunset: Option<BlockNumber>,
        ) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            let entry = AllowedMeasurement { source, listed_at: Self::now_block(), not_before, sunset };
            Measurements::<T>::insert(measurement, entry);
            Self::deposit_event(Event::MeasurementAllowed { measurement, not_before });
            Ok(())
        }

        /// Takes a measurement off the allow-list. TEEs that run it are inactive at once.
        #[pallet::call_index(3)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn remove_measurement(origin: OriginFor<T>, measurement: Hash) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Measurements::<T>::take(measurement).ok_or(Error::<T>::NotListed)?;
            Self::deposit_event(Event::MeasurementRemoved { measurement });
            Ok(())
        }

        /// Sets the policy's terms. No terms accept a revoked platform, a debuggable machine or another root.
        #[pallet::call_index(4)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn set_terms(origin: OriginFor<T>, terms: PolicyTerms) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Terms::<T>::put(terms);
            Self::deposit_event(Event::TermsSet { terms });
            Ok(())
        }

        /// Records the root of an era, signed by all of its seats over its encoding.
        #[pallet::call_index(5)]
        #[pallet::weight(<T as Config>::WeightInfo::record_root(signatures.len() as u32))]
        pub fn record_root(origin: OriginFor<T>, root: RootRecord, signatures: Vec<[u8; 64]>) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_record_root(root, &signatures)
        }

        /// Sets the highest `tcbEvaluationDataNumber` that collateral may have. What is kept stays until other collateral comes, which
        /// replaces it if it is over the cap, however old it is.
        #[pallet::call_index(6)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn set_evaluation_cap(origin: OriginFor<T>, cap: Option<u32>) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            EvaluationCap::<T>::set(cap);
            Self::deposit_event(Event::EvaluationCapSet { cap });
            Ok(())
        }
    }
}
