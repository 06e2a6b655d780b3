//! What a chain chooses once, in its genesis, and never again.
//!
//! BABE and the timestamp pallet ask for slot and epoch lengths as constants of the runtime; one WASM blob then could not
//! serve a development chain (1 s slots, epochs of a minute) and a public one (slots that survive an ocean crossing). This
//! pallet keeps both in state, written by genesis and by no call: who may write storage by hand (root, which a public
//! chain has by referendum only) could, and BABE would not survive it; outside a development chain no transaction does, by
//! [`crate::configs::filter`].
//!
//! It also keeps whether the chain is a **development chain**. Only such a chain may have well-known keys, a sudo key or
//! simulated evidence, or let one gatekeeper hold the whole root; [`crate::genesis::verify_built`] refuses a genesis that mixes them.

pub use pallet::*;

#[allow(missing_docs, clippy::expect_used, reason = "FRAME's macros expand to undocumented items and to expects")]
#[frame_support::pallet]
mod pallet {
    use frame_support::{pallet_prelude::*, traits::BuildGenesisConfig};

    /// The slot length of a chain whose genesis says nothing, in milliseconds.
    pub const DEFAULT_SLOT_MILLISECONDS: u64 = 1_000;
    /// The epoch length of a chain whose genesis says nothing, in slots.
    pub const DEFAULT_EPOCH_SLOTS: u64 = 60;

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config {}

    #[pallet::type_value]
    pub fn DefaultSlotMilliseconds() -> u64 {
        DEFAULT_SLOT_MILLISECONDS
    }

    #[pallet::type_value]
    pub fn DefaultEpochSlots() -> u64 {
        DEFAULT_EPOCH_SLOTS
    }

    /// The length of a slot in milliseconds; even, because half of it is the least time between two blocks.
    #[pallet::storage]
    pub type SlotMilliseconds<T> = StorageValue<_, u64, ValueQuery, DefaultSlotMilliseconds>;

    /// The length of a BABE epoch, which is a session, in slots.
    #[pallet::storage]
    pub type EpochSlots<T> = StorageValue<_, u64, ValueQuery, DefaultEpochSlots>;

    /// Whether well-known keys, a sudo key and simulated evidence are allowed here.
    #[pallet::storage]
    pub type Development<T> = StorageValue<_, bool, ValueQuery>;

    /// Whether a root may be of one seat, held whole by one gatekeeper.
    #[pallet::storage]
    pub type LoneRoot<T> = StorageValue<_, bool, ValueQuery>;

    #[pallet::genesis_config]
    pub struct GenesisConfig<T: Config> {
        /// See [`SlotMilliseconds`]; 500 at least.
        pub slot_milliseconds: u64,
        /// See [`EpochSlots`]; 10 at least.
        pub epoch_slots: u64,
        /// See [`Development`].
        pub development: bool,
        /// See [`LoneRoot`]; of development chains only.
        pub lone_root: bool,
        #[serde(skip)]
        pub _config: PhantomData<T>,
    }

    impl<T: Config> Default for GenesisConfig<T> {
        fn default() -> Self {
            Self {
                slot_milliseconds: DEFAULT_SLOT_MILLISECONDS,
                epoch_slots: DEFAULT_EPOCH_SLOTS,
                development: false,
                lone_root: false,
                _config: PhantomData,
            }
        }
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            SlotMilliseconds::<T>::put(self.slot_milliseconds);
            EpochSlots::<T>::put(self.epoch_slots);
            Development::<T>::put(self.development);
            LoneRoot::<T>::put(self.lone_root);
        }
    }
}

use crate::Runtime;
use sp_core::Get;

/// The slot length in milliseconds, as a constant of the chain.
pub struct SlotDuration;
impl Get<u64> for SlotDuration {
    fn get() -> u64 {
        SlotMilliseconds::<Runtime>::get()
    }
}

/// The least time between two blocks in milliseconds: half a slot, as BABE expects of the timestamp pallet.
pub struct MinimumPeriod;
impl Get<u64> for MinimumPeriod {
    fn get() -> u64 {
        SlotMilliseconds::<Runtime>::get() / 2
    }
}

/// The epoch length in slots, as a constant of the chain.
pub struct EpochDuration;
impl Get<u64> for EpochDuration {
    fn get() -> u64 {
        EpochSlots::<Runtime>::get()
    }
}

/// Whether this is a development chain; what accepts anything simulated asks here.
pub struct IsDevelopment;
impl Get<bool> for IsDevelopment {
    fn get() -> bool {
        Development::<Runtime>::get()
    }
}

/// Whether a root may be of one seat: on a development chain whose genesis says so, and nowhere else.
pub struct TakesLoneRoot;
impl Get<bool> for TakesLoneRoot {
    fn get() -> bool {
        Development::<Runtime>::get() && LoneRoot::<Runtime>::get()
    }
}
