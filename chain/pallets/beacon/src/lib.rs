//! Beacon: the keys of the beacon, its periods, and the values that holders' partials combine to.
//!
//! The gatekeepers pallet says which key the seats of a root confirmed, by the hash of its record; anyone shows the record. From when that
//! root answers, a period opens every [`Config::PeriodLength`] blocks, and holders have until the next to give a threshold of partials.
//!
//! Guarantees: a key is taken once, and only if it is the one that every seat of its root confirmed and its shares are of one
//! polynomial; of each holder one partial a period is taken, proved against its share; a value is kept only if it verifies, with all that
//! anyone needs to verify it again, and a period has no other; no number of a period is used twice in an era, whether it had a value or
//! not; what is refused changes nothing and costs its sender the fee of what was looked at.
//!
//! Ceremonies decide the keys, holders' TEEs make partials, anyone carries them and pays. A threshold of holders can know a value before
//! its period opens; fewer than t can neither know it then nor give it another. n-t+1 of n together see it before it is made, from what the
//! others gave, and can have it skipped by their silence: whoever was silent in a period that ended so is named to
//! [`Config::OnSilence`], once for each period, which warns and fines.
//! Does not: draw anything, or judge whether it was the network that was silent. A period that another root cuts short names nobody.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod keys;
mod periods;
#[cfg(test)]
mod tests;
mod weights;

pub use pallet::*;
pub use weights::WeightInfo;

#[allow(clippy::expect_used, reason = "FRAME's macros expand to it")]
#[frame_support::pallet]
pub mod pallet {
    use super::WeightInfo;
    use alloc::vec::Vec;
    use frame_support::{pallet_prelude::*, traits::Get};
    use frame_system::pallet_prelude::*;
    use phala_pallet_gatekeepers::OnSilence;
    use phala_protocol::{
        beacon::{AwaitedBeacon, BeaconPartial, BeaconRecord, DueBeacon, MadeBeacon, Period},
        ids::BlockNumber,
        Hash,
    };
    use sp_runtime::SaturatedConversion;

    /// Which key is in use, and when it is asked next.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
    pub struct Timetable {
        /// The era whose root answers.
        pub era: u32,
        /// The period that opens next. One that had no value is not opened again.
        pub next: Period,
        /// The first block in which it may open: what is due then without a value is skipped.
        pub opens: BlockNumber,
    }

    /// What is there of the period that is due.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
    pub struct Gathered {
        /// The block in which it opened.
        pub opened: BlockNumber,
        /// Partials that were verified, ascending by index.
        pub partials: Vec<BeaconPartial>,
    }

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config<Hash: Into<[u8; 32]>, RuntimeEvent: From<Event<Self>>> {
        /// Blocks from the opening of one period to the next.
        #[pallet::constant]
        type PeriodLength: Get<BlockNumber>;
        /// Values that are kept, the newest ones, and the keys that they are verified with.
        #[pallet::constant]
        type ValuesKept: Get<u32>;
        /// Told whose partials a period lacked.
        type OnSilence: OnSilence;
        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// The beacon keys, by era: of the root that answers, of the one that comes, and of those with values that are kept.
    #[pallet::storage]
    pub type Keys<T> = StorageMap<_, Blake2_128Concat, u32, BeaconRecord>;

    /// The key whose record nobody has shown yet.
    #[pallet::storage]
    pub type Awaited<T> = StorageValue<_, AwaitedBeacon>;

    /// Which key is in use; none before the first root of a ceremony answers.
    #[pallet::storage]
    pub type Schedule<T> = StorageValue<_, Timetable>;

    /// The period whose value is due, which TEEs read.
    #[pallet::storage]
    pub type Due<T> = StorageValue<_, DueBeacon>;

    /// The partials of [`Due`].
    #[pallet::storage]
    pub type Gathering<T> = StorageValue<_, Gathered, ValueQuery>;

    /// The newest values, by era and period.
    #[pallet::storage]
    pub type Values<T> = StorageMap<_, Blake2_128Concat, (u32, Period), MadeBeacon>;

    /// Eras and periods of [`Values`], in the order in which they were made.
    #[pallet::storage]
    pub type Kept<T> = StorageValue<_, Vec<(u32, Period)>, ValueQuery>;

    /// Era and period of the newest value.
    #[pallet::storage]
    pub type Latest<T> = StorageValue<_, (u32, Period)>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// The seats of a root confirmed a beacon key: its record is awaited.
        KeyAwaited {
            /// The root's era.
            era: u32,
            /// The record's hash.
            hash: Hash,
        },
        /// A beacon key is dropped with its root, which never answered.
        KeyDropped {
            /// The era.
            era: u32,
        },
        /// A beacon key is there.
        KeyTaken {
            /// The era.
            era: u32,
            /// Partials that make a value.
            threshold: u16,
            /// Who holds a share.
            holders: u32,
        },
        /// A value is due.
        PeriodOpened {
            /// The era.
            era: u32,
            /// The period.
            period: Period,
        },
        /// A holder's partial is there.
        PartialTaken {
            /// The era.
            era: u32,
            /// The period.
            period: Period,
            /// The holder's index.
            holder: u16,
        },
        /// A period has its value.
        ValueMade {
            /// The era.
            era: u32,
            /// The period.
            period: Period,
            /// The value.
            value: Hash,
        },
        /// A period ended without a value, and never gets one: too few holders gave their partial in time, or another root answers.
        PeriodSkipped {
            /// The era.
            era: u32,
            /// The period.
            period: Period,
            /// How many partials were there.
            partials: u32,
        },
    }

    #[pallet::error]
    #[derive(PartialEq)]
    pub enum Error<T> {
        /// No beacon key of this era is awaited: it is there, or its root is gone.
        NotAwaited,
        /// The record is not the one that the seats confirmed.
        WrongRecord,
        /// The seats confirmed a record that is of no key: its shares are not of one polynomial. Only all of them together can.
        BadRecord,
        /// No value of this era and period is due: it is there, or too late.
        NotDue,
        /// The index holds no share of the era's key.
        NoSuchHolder,
        /// The holder's partial is there.
        AlreadyTaken,
        /// The partial is not the holder's for this period: its holder made it wrong, or whoever carried it changed it.
        BadPartial,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_: BlockNumberFor<T>) -> Weight {
            Self::at_block()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Shows the record of the beacon key that is awaited; anyone may. Free when it is taken, which it is once.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::published_at_most(record.holders.len() as u32))]
        pub fn publish_key(origin: OriginFor<T>, record: BeaconRecord) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_publish_key(record)
        }

        /// Carries a holder's partial for the period that is due; anyone may. Free when it is taken, which it is once a holder. Charged
        /// for the value of the era's key that it may complete, and given back what it did not.
        #[pallet::call_index(1)]
        #[pallet::weight(Pallet::<T>::most_of(*era))]
        pub fn submit_partial(
            origin: OriginFor<T>,
            era: u32,
            period: Period,
            partial: BeaconPartial,
        ) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_submit_partial(era, period, &partial)
        }
    }

    impl<T: Config> Pallet<T> {
        /// The chain's genesis hash, which every evaluation is bound to.
        pub(super) fn genesis() -> Hash {
            frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::default()).into()
        }

        pub(super) fn now() -> BlockNumber {
            frame_system::Pallet::<T>::block_number().saturated_into()
        }

        /// What a partial costs at the most: the value that it may complete, of the key that the chain has. Were the largest key that can be
        /// charged before, a block would have room for one partial, and few would come in time. A key that comes later, in a batch with it,
        /// has nothing due before the next block.
        pub(super) fn most_of(era: u32) -> Weight {
            Keys::<T>::get(era).map_or_else(<T as Config>::WeightInfo::look, |record| {
                <T as Config>::WeightInfo::submitted_at_most(record.threshold.into(), record.holders.len() as u32)
            })
        }

        /// The newest value, if there is one.
        pub fn latest() -> Option<MadeBeacon> {
            Values::<T>::get(Latest::<T>::get()?)
        }
    }
}
