//! The inbox: orders messages to clusters, one queue behind one hash chain for each.
//!
//! State holds a head (count, link) per cluster, one boundary record per block that included items and has no final result yet,
//! and the chain's own messages until a result covers them. Every item also goes to the node's offchain index under
//! (cluster, sequence, link), from where a relayer fetches it.
//!
//! Guarantees: items are never lost, reordered or changed once included; envelopes enter only by a `push` in an extrinsic, for
//! the cluster's open epoch, at a price that rises with the cluster's unacknowledged gas up to a hard limit, and exponentially
//! with the time it stays high ([`phala_protocol::gas`]). No call does work that grows with what others left here: a result
//! forgets at most [`FORGOTTEN_PER_RESULT`] of the chain's messages that it covers and a new message of the chain at most
//! [`FORGOTTEN_PER_MESSAGE`], so that what waits to be forgotten never outgrows what a full inbox holds.
//! What a push reads and writes of state does not depend on how many messages it has (see the module `tail`).
//! Anyone who pays controls the messages; this pallet checks their public header and never opens them. What waits when governance closes a
//! cluster for good stays here without an answer, and shows what was asked of it; its fee is not given back, for it paid the taking.
//! Does not: judge results (the contracts pallet does, and calls [`Pallet::acknowledge`]).
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod tail;
#[cfg(test)]
mod tests;
mod weights;

pub use pallet::*;
pub use weights::WeightInfo;

use phala_protocol::{
    ids::{BlockNumber, ClusterId, Epoch},
    Hash,
};
use tail::Tail;

/// Covered messages of the chain that one final result forgets at most; its weight pays for them.
pub const FORGOTTEN_PER_RESULT: u32 = 2;
/// Covered messages of the chain that the next one forgets at most: more than it adds, so that they cannot pile up.
pub const FORGOTTEN_PER_MESSAGE: u32 = 2;

/// What the inbox must know of clusters.
pub trait Clusters {
    /// The epoch for which envelopes are taken now, or none when the cluster does not exist, has not opened yet or is closed for good.
    fn open_epoch(cluster: ClusterId) -> Option<Epoch>;
    /// Whether governance has closed the cluster for good: it takes nothing any more, and answers nothing.
    fn is_closed(cluster: ClusterId) -> bool;
    /// How many replicas open each envelope, and are paid for it.
    fn replicas(cluster: ClusterId) -> u32;
}

#[allow(clippy::expect_used, reason = "FRAME's macros expand to it")]
#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use alloc::vec::Vec;
    use codec::Encode;
    use frame_support::{
        pallet_prelude::*,
        traits::{
            fungible::Mutate,
            tokens::{fungible::Inspect, Preservation},
            Get,
        },
    };
    use frame_system::pallet_prelude::*;
    use phala_protocol::{
        chain_state::{BoundaryRecord, QueueRecord},
        gas::GasClass,
        ids::{AccountId, Balance},
        inbox::{ChainMessage, Head, ItemKind, ItemOrigin},
        limits::{MAX_ENVELOPES_PER_PUSH, MAX_MESSAGE_BYTES},
        result::Boundary,
    };
    use sp_runtime::SaturatedConversion;

    /// One message of a push.
    pub type Message = BoundedVec<u8, ConstU32<MAX_MESSAGE_BYTES>>;
    /// The messages of a push.
    pub type Messages = BoundedVec<Message, ConstU32<MAX_ENVELOPES_PER_PUSH>>;

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId: Into<[u8; 32]> + Clone, RuntimeEvent: From<Event<Self>>>
        + pallet_timestamp::Config<Moment = u64>
    {
        /// Pays for gas classes and openings.
        type Currency: Mutate<Self::AccountId> + Inspect<Self::AccountId, Balance = Balance>;
        /// Which clusters take messages.
        type Clusters: Clusters;
        /// Where the fees go.
        type FeeReceiver: Get<Self::AccountId>;
        /// Price of one hybrid opening by one replica, in 10^-12 PHA; it is paid whether or not the envelope opens.
        #[pallet::constant]
        type OpeningPrice: Get<Balance>;
        /// Price of one session command's opening by one replica, in 10^-12 PHA.
        #[pallet::constant]
        type SessionOpeningPrice: Get<Balance>;
        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// The head of each cluster's inbox.
    #[pallet::storage]
    pub type Heads<T> = StorageMap<_, Blake2_128Concat, ClusterId, Head>;

    /// Blocks with items that no final result covers yet.
    #[pallet::storage]
    pub type Boundaries<T> = StorageMap<_, Blake2_128Concat, (ClusterId, BlockNumber), BoundaryRecord>;

    /// What waits in each cluster's inbox: its backlog, how dear that has made it, and the oldest and newest block in [`Boundaries`].
    #[pallet::storage]
    pub type Queues<T> = StorageMap<_, Blake2_128Concat, ClusterId, QueueRecord, ValueQuery>;

    /// The chain's own messages, by cluster and sequence: SCALE of an inbox item. All that no final result covers yet are here; of
    /// the ones that are covered, those that nobody has forgotten yet.
    #[pallet::storage]
    pub type ChainItems<T> = StorageDoubleMap<_, Blake2_128Concat, ClusterId, Twox64Concat, u64, Vec<u8>>;

    /// The sequences of [`ChainItems`] in order, by cluster and place.
    #[pallet::storage]
    pub type ChainOrder<T> = StorageDoubleMap<_, Blake2_128Concat, ClusterId, Twox64Concat, u64, u64>;

    /// Which places of [`ChainOrder`] are taken.
    #[pallet::storage]
    pub type ChainQueues<T> = StorageMap<_, Blake2_128Concat, ClusterId, ChainQueue, ValueQuery>;

    /// The chain's own messages to one cluster, as a queue.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
    pub struct ChainQueue {
        /// The place of the oldest one that is still in state.
        pub first: u64,
        /// The place of the next one.
        pub next: u64,
        /// Items of the inbox that final results cover.
        pub covered: u64,
    }

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// An item was put into a cluster's inbox.
        Pushed {
            /// The cluster.
            cluster: ClusterId,
            /// The item's place.
            sequence: u64,
            /// The item's link: with cluster and sequence, its key in the offchain index.
            link: Hash,
            /// What was charged for it.
            fee: Balance,
        },
        /// Final results cover the items of a cluster up to a block.
        Acknowledged {
            /// The cluster.
            cluster: ClusterId,
            /// The boundary's block.
            block: BlockNumber,
            /// Items covered so far.
            count: u64,
        },
    }

    #[pallet::error]
    #[derive(PartialEq)]
    pub enum Error<T> {
        /// The cluster does not exist, or its first epoch has not opened yet: try again when its workers are up.
        NotOpen,
        /// The envelope is for another epoch than the open one: fetch the open epoch's key and seal again.
        WrongEpoch,
        /// The envelope is for another cluster than the push.
        WrongCluster,
        /// The bytes are not an envelope of this network's version.
        Malformed,
        /// The cluster has too much unacknowledged gas: try again later.
        Busy,
        /// Envelopes are taken from extrinsics only, not from scheduled calls.
        NotAnExtrinsic,
        /// The push is empty.
        Empty,
        /// A counter is exhausted.
        Overflow,
        /// The message is longer than an inbox item may be.
        TooLong,
        /// The price has risen above the fee that the payer allows: allow more, or wait until it falls.
        FeeOverMax,
        /// Governance has closed the cluster for good, because what it held is lost: nothing sent to it is answered. Use another cluster.
        Closed,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Puts sealed commands into the inbox of `cluster`, in order, each with the public gas class `gas_class`.
        ///
        /// Charges the class at the present backlog and the openings, per envelope, and at most `max_fee` (in 10^-12 PHA) for all of
        /// them: the price moves until a transaction is included. Fails whole: either all are taken or none.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::push(
            envelopes.len() as u32,
            envelopes.iter().map(|envelope| envelope.len() as u32).sum(),
        ))]
        pub fn push(
            origin: OriginFor<T>,
            cluster: ClusterId,
            gas_class: GasClass,
            envelopes: Messages,
            #[pallet::compact] max_fee: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            // Scheduled and referendum calls run outside extrinsics: their items would stand in no block body.
            ensure!(frame_system::Pallet::<T>::extrinsic_index().is_some(), Error::<T>::NotAnExtrinsic);
            ensure!(!envelopes.is_empty(), Error::<T>::Empty);
            let origin = ItemOrigin::Account(AccountId(who.clone().into()));
            let mut tail = Tail::<T>::of(cluster)?;
            let mut total: Balance = 0;
            for envelope in envelopes {
                let fee = tail.fee(gas_class, tail.check(&envelope)?);
                total = total.saturating_add(fee);
                ensure!(total <= max_fee, Error::<T>::FeeOverMax);
                tail.append(ItemKind::Envelope(gas_class), origin, fee, envelope.into_inner())?;
            }
            Self::charge(&who, total)?;
            tail.store();
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        /// Puts a message of the chain itself into the inbox, paid by `who` with at most `max_fee`; it stays in state until a final
        /// result covers it. `envelope` is the sealed part of the message, for the open epoch like any other.
        pub fn push_chain_message(
            who: &T::AccountId,
            cluster: ClusterId,
            gas_class: GasClass,
            envelope: &[u8],
            message: &ChainMessage,
            max_fee: Balance,
        ) -> Result<u64, DispatchError> {
            let mut tail = Tail::<T>::of(cluster)?;
            let fee = tail.fee(gas_class, tail.check(envelope)?);
            let message = message.encode();
            ensure!(message.len() <= MAX_MESSAGE_BYTES as usize, Error::<T>::TooLong);
            ensure!(fee <= max_fee, Error::<T>::FeeOverMax);
            let item = tail.append(ItemKind::Chain(gas_class), ItemOrigin::ContractsPallet, fee, message)?;
            Self::charge(who, fee)?;
            tail.store();
            let sequence = item.header.sequence;
            let mut queue = ChainQueues::<T>::get(cluster);
            ChainItems::<T>::insert(cluster, sequence, item.encode());
            ChainOrder::<T>::insert(cluster, queue.next, sequence);
            queue.next = queue.next.checked_add(1).ok_or(Error::<T>::Overflow)?;
            Self::forget_covered(cluster, &mut queue, FORGOTTEN_PER_MESSAGE);
            ChainQueues::<T>::insert(cluster, queue);
            Ok(sequence)
        }

        /// What waits in a cluster's inbox, and how dear it is in this block.
        pub fn queue(cluster: ClusterId) -> QueueRecord {
            Queues::<T>::get(cluster).at(Self::now())
        }

        /// The head of a cluster's inbox.
        pub fn head(cluster: ClusterId) -> Head {
            Heads::<T>::get(cluster).unwrap_or_else(|| Head::empty(cluster))
        }

        /// The boundary at `block`, while no final result covers it.
        pub fn boundary(cluster: ClusterId, block: BlockNumber) -> Option<Boundary> {
            Boundaries::<T>::get((cluster, block)).map(|record| Boundary {
                block,
                count: record.head.count,
                link: record.head.link,
            })
        }

        /// The oldest boundary that no final result covers.
        pub fn oldest_boundary(cluster: ClusterId) -> Option<Boundary> {
            Queues::<T>::get(cluster).waiting.and_then(|(oldest, _)| Self::boundary(cluster, oldest))
        }

        /// Forgets the oldest boundary, which a final result now covers, and up to [`FORGOTTEN_PER_RESULT`] of the chain's messages
        /// that results cover. False, and nothing is done, where `block` is not the oldest boundary's.
        pub fn acknowledge(cluster: ClusterId, block: BlockNumber) -> bool {
            let queue = Self::queue(cluster);
            let Some((oldest, newest)) = queue.waiting else { return false };
            if oldest != block {
                return false;
            }
            let Some(record) = Boundaries::<T>::take((cluster, block)) else { return false };
            let waiting = record.next.map(|next| (next, newest));
            Queues::<T>::insert(
                cluster,
                QueueRecord { backlog: queue.backlog.saturating_sub(record.gas), waiting, ..queue },
            );
            let mut messages = ChainQueues::<T>::get(cluster);
            messages.covered = record.head.count;
            Self::forget_covered(cluster, &mut messages, FORGOTTEN_PER_RESULT);
            ChainQueues::<T>::insert(cluster, messages);
            Self::deposit_event(Event::Acknowledged { cluster, block, count: record.head.count });
            true
        }

        /// Removes the oldest of the chain's messages that results cover, at most `limit` of them.
        fn forget_covered(cluster: ClusterId, queue: &mut ChainQueue, limit: u32) {
            for _ in 0..limit {
                let Some(sequence) = ChainOrder::<T>::get(cluster, queue.first).filter(|old| *old < queue.covered)
                else {
                    return;
                };
                ChainItems::<T>::remove(cluster, sequence);
                ChainOrder::<T>::remove(cluster, queue.first);
                queue.first = queue.first.saturating_add(1);
            }
        }

        /// The number of this block.
        pub(crate) fn now() -> BlockNumber {
            frame_system::Pallet::<T>::block_number().saturated_into()
        }

        /// All that a push puts into an inbox is paid in one transfer.
        fn charge(who: &T::AccountId, fee: Balance) -> DispatchResult {
            T::Currency::transfer(who, &T::FeeReceiver::get(), fee, Preservation::Preserve)?;
            Ok(())
        }
    }
}
