//! Heartbeats: each value of the beacon samples workers, which have a window of blocks to answer with a sign of life.
//!
//! A round begins in the block after a value was made ([`HeartbeatRound`]): who is sampled follows from the value and the worker alone, so
//! that a worker finds out by itself, and nobody knew before. An answer is signed by the worker's identity, and names a block of the round
//! that it has verified as final. When the window is over, each block looks at a few registrations until all were looked at: an active worker
//! that was asked and did not answer has missed the round. One that misses as many in a row as governance says is unresponsive: no cluster
//! draws it ([`Pallet::is_responsive`]), and every round asks it, until it answers one.
//!
//! Guarantees: an answer counts once a round, within its window, of a registered worker that is asked, and only under its signature; what is
//! taken is free, and what is refused changes nothing and costs its sender the fee of what was looked at; the work of a block and the state
//! do not grow with what anybody sends; whoever registered or attested anew within the window has missed nothing, for its evidence is a sign
//! of life, though a weaker one than an answer: it names a block that may be some hundred older than the round. Whoever did behind the window
//! is excused once, if it was never asked before: it may be new. Workers' TEEs make answers, anyone carries them. One round is under way at a time: a value that is made while registrations are
//! looked at samples nobody, unless it still is the newest when that is done.
//!
//! Does not: slash or fine, or take a worker off the cluster that it serves; tell a worker's own silence from a chain on which nothing came
//! through; show that a worker ran between two answers.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod answers;
mod rounds;
#[cfg(test)]
mod tests;
mod weights;

pub use pallet::*;
pub use weights::WeightInfo;

use phala_protocol::{beacon::Period, Hash};

/// Shows the values of the beacon.
pub trait BeaconValues {
    /// Era and period of the newest value.
    fn newest() -> Option<(u32, Period)>;
    /// A value that the chain has.
    fn value(era: u32, period: Period) -> Option<Hash>;
}

/// A chain without a beacon.
impl BeaconValues for () {
    fn newest() -> Option<(u32, Period)> {
        None
    }

    fn value(_: u32, _: Period) -> Option<Hash> {
        None
    }
}

#[allow(clippy::expect_used, reason = "FRAME's macros expand to it")]
#[frame_support::pallet]
pub mod pallet {
    use super::{BeaconValues, WeightInfo};
    use frame_support::{pallet_prelude::*, traits::Get};
    use frame_system::pallet_prelude::*;
    use phala_protocol::{
        beacon::Period,
        heartbeat::{HeartbeatPolicy, HeartbeatRound, HeartbeatStanding, SignedHeartbeat},
        ids::{BlockNumber, WorkerId},
        Hash,
    };
    use sp_runtime::SaturatedConversion;

    /// Where the search goes on that follows a round's window. An identity is the last one that was looked at.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
    pub enum SearchPlace {
        /// Among registrations: for workers that did not answer.
        Workers(Option<WorkerId>),
        /// Among standings: for those of workers that are registered no longer.
        Standings(Option<WorkerId>),
    }

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId: Into<[u8; 32]> + Clone, Hash: Into<[u8; 32]>, RuntimeEvent: From<Event<Self>>>
        + phala_pallet_attestation::Config
    {
        /// Sets the policy.
        type GovernanceOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// What samples.
        type Beacon: BeaconValues;
        /// The policy until governance sets one.
        type DefaultPolicy: Get<HeartbeatPolicy>;
        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// What governance decided; the default where it decided nothing.
    #[pallet::storage]
    pub type Policy<T> = StorageValue<_, HeartbeatPolicy>;

    /// The newest round, which TEEs read.
    #[pallet::storage]
    pub type Round<T> = StorageValue<_, HeartbeatRound>;

    /// Where the search of [`Round`] goes on once its window is over; none when it is done.
    #[pallet::storage]
    pub type Search<T> = StorageValue<_, SearchPlace>;

    /// How workers stand that were asked before, which TEEs read.
    #[pallet::storage]
    pub type Standings<T> = StorageMap<_, Blake2_128Concat, WorkerId, HeartbeatStanding, ValueQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A value of the beacon samples workers.
        RoundOpened {
            /// The era of the beacon's key.
            era: u32,
            /// The period.
            period: Period,
            /// The last block in which an answer is taken.
            until: BlockNumber,
        },
        /// A worker answered.
        Answered {
            /// Who.
            worker: WorkerId,
            /// The round's era.
            era: u32,
            /// The round's period.
            period: Period,
            /// Whether it was unresponsive before, and can be drawn again.
            returned: bool,
        },
        /// A worker that was asked gave no answer in time.
        Missed {
            /// Who.
            worker: WorkerId,
            /// The round's era.
            era: u32,
            /// The round's period.
            period: Period,
            /// Rounds that it missed in a row.
            misses: u32,
        },
        /// A worker has missed too many rounds in a row: no cluster draws it until it answers.
        Unresponsive {
            /// Who.
            worker: WorkerId,
            /// The era of the last one.
            era: u32,
            /// Its period.
            period: Period,
            /// Rounds that it missed in a row.
            misses: u32,
        },
        /// Governance decided about heartbeats; it counts from the next round on.
        PolicySet {
            /// What it decided.
            policy: HeartbeatPolicy,
        },
    }

    #[pallet::error]
    #[derive(PartialEq)]
    pub enum Error<T> {
        /// No value of the beacon has sampled anybody yet.
        NoRound,
        /// The heartbeat is of another chain.
        OtherChain,
        /// The heartbeat is of another round than the newest.
        OtherRound,
        /// The round's window is over.
        TooLate,
        /// No worker of this identity is registered.
        NotAWorker,
        /// The worker has answered the round.
        AlreadyAnswered,
        /// The round does not ask this worker.
        NotSampled,
        /// The heartbeat names no block of this chain from the round's opening on.
        UnknownBlock,
        /// The heartbeat is not signed by the worker.
        BadSignature,
        /// A value of the policy is out of its range.
        PolicyOutOfRange,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_: BlockNumberFor<T>) -> Weight {
            Self::at_block()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Carries a worker's answer to the round under way; anyone may. Free when it is taken, which it is once a worker and round.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::submitted_at_most())]
        pub fn submit_heartbeat(origin: OriginFor<T>, heartbeat: SignedHeartbeat) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_submit_heartbeat(&heartbeat)
        }

        /// Sets how many are sampled, for how long they can answer and how often they may not; governance only. It counts from the next
        /// round on. At a rate of 0 nobody is sampled, and whoever is unresponsive can still come back.
        #[pallet::call_index(1)]
        #[pallet::weight(<T as Config>::WeightInfo::set_policy())]
        pub fn set_policy(origin: OriginFor<T>, policy: HeartbeatPolicy) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            ensure!(policy.in_range(), Error::<T>::PolicyOutOfRange);
            Policy::<T>::put(policy);
            Self::deposit_event(Event::PolicySet { policy });
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        /// The chain's genesis hash, which every answer is bound to.
        pub(super) fn genesis() -> Hash {
            frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::default()).into()
        }

        pub(super) fn now() -> BlockNumber {
            frame_system::Pallet::<T>::block_number().saturated_into()
        }

        /// What governance decided, or the default.
        pub fn policy() -> HeartbeatPolicy {
            Policy::<T>::get().unwrap_or_else(T::DefaultPolicy::get)
        }

        /// Whether a worker may be given work: unless it missed too many rounds in a row and has answered none since.
        pub fn is_responsive(worker: &WorkerId) -> bool {
            !Standings::<T>::get(worker).unresponsive
        }
    }
}
