//! The end of one cluster's queue, while items are put to it.
//!
//! What a push needs of state is read once, and written once, however many items it brings; so is what does not depend on an item, such as
//! the exponential of the price. Each item pays the price at the backlog before it, and an event and the node's offchain index tell of each.
//! Guarantees: [`Tail::store`] alone writes the queue, and cannot fail. Where a later item is refused, or the payer lacks the funds, the
//! call's transaction takes back the events and what went to the offchain index. Items are what anyone paid to push; only their public header is looked at.

use crate::{Boundaries, Clusters, Config, Error, Event, Heads, Pallet, Queues};
use alloc::vec::Vec;
use codec::Encode;
use frame_support::{ensure, traits::Get};
use phala_protocol::{
    chain_state::{BoundaryRecord, QueueRecord},
    envelope::{self, EnvelopeKind},
    gas::{GasClass, Multiplier, BACKLOG_LIMIT},
    ids::{Balance, BlockNumber, ClusterId, Epoch},
    inbox::{Head, Item, ItemHeader, ItemKind, ItemOrigin},
    storage::offchain_item_key,
};

/// The end of a queue that takes envelopes.
pub(crate) struct Tail<T> {
    cluster: ClusterId,
    /// The open epoch.
    epoch: Epoch,
    block: BlockNumber,
    time_ms: u64,
    replicas: u32,
    head: Head,
    /// As of this block.
    queue: QueueRecord,
    multiplier: Multiplier,
    /// Public gas of the items that were put here.
    gas: u64,
    chain: core::marker::PhantomData<T>,
}

impl<T: Config> Tail<T> {
    /// The end of the inbox of `cluster` in this block.
    ///
    /// Errors: `Closed` for good, or `NotOpen` (yet).
    pub(crate) fn of(cluster: ClusterId) -> Result<Self, Error<T>> {
        ensure!(!T::Clusters::is_closed(cluster), Error::<T>::Closed);
        let epoch = T::Clusters::open_epoch(cluster).ok_or(Error::<T>::NotOpen)?;
        let queue = Pallet::<T>::queue(cluster);
        Ok(Self {
            cluster,
            epoch,
            block: Pallet::<T>::now(),
            time_ms: pallet_timestamp::Pallet::<T>::get(),
            replicas: T::Clusters::replicas(cluster),
            head: Pallet::<T>::head(cluster),
            multiplier: queue.surge.multiplier(),
            queue,
            gas: 0,
            chain: core::marker::PhantomData,
        })
    }

    /// What kind of envelope it is, by its public header.
    ///
    /// Errors: `Malformed`, or it is for a `WrongCluster` or a `WrongEpoch`.
    pub(crate) fn check(&self, envelope: &[u8]) -> Result<EnvelopeKind, Error<T>> {
        let header = envelope::decode_header(envelope).map_err(|_| Error::<T>::Malformed)?;
        ensure!(header.cluster == self.cluster, Error::<T>::WrongCluster);
        ensure!(header.epoch == self.epoch, Error::<T>::WrongEpoch);
        Ok(header.kind)
    }

    /// What the next item costs, in 10^-12 PHA: its class at the present backlog, and its openings by all replicas.
    pub(crate) fn fee(&self, class: GasClass, kind: EnvelopeKind) -> Balance {
        let opening = match kind {
            EnvelopeKind::Call | EnvelopeKind::SessionOpen => T::OpeningPrice::get(),
            EnvelopeKind::SessionCommand => T::SessionOpeningPrice::get(),
        };
        let openings = opening.saturating_mul(self.replicas.max(1).into());
        self.multiplier.price(class, self.queue.backlog).saturating_add(openings)
    }

    /// Puts an item to the end, which paid `fee`.
    ///
    /// Errors: `Busy` where its gas would exceed what may wait, `Overflow` of the sequence.
    pub(crate) fn append(
        &mut self,
        kind: ItemKind,
        origin: ItemOrigin,
        fee: Balance,
        message: Vec<u8>,
    ) -> Result<Item, Error<T>> {
        let gas = kind.gas_class().gas();
        let backlog = self.queue.backlog.saturating_add(gas);
        ensure!(backlog <= BACKLOG_LIMIT, Error::<T>::Busy);
        let (sequence, previous) = (self.head.count, self.head.link);
        let header = ItemHeader { kind, origin, sequence, block: self.block, time_ms: self.time_ms, fee };
        self.head = self.head.pushed(&header, &message).ok_or(Error::<T>::Overflow)?;
        self.queue.backlog = backlog;
        self.gas = self.gas.saturating_add(gas);
        let (link, item) = (self.head.link, Item { previous, header, message });
        sp_io::offchain_index::set(&offchain_item_key(self.cluster, sequence, &link), &item.encode());
        Pallet::<T>::deposit_event(Event::Pushed { cluster: self.cluster, sequence, link, fee });
        Ok(item)
    }

    /// Writes what has changed, with the block's boundary behind the last item.
    pub(crate) fn store(mut self) {
        let (cluster, block) = (self.cluster, self.block);
        let before = match self.queue.waiting {
            Some((_, newest)) if newest == block => {
                Boundaries::<T>::get((cluster, block)).map_or(0, |record| record.gas)
            }
            Some((oldest, newest)) => {
                Boundaries::<T>::mutate((cluster, newest), |record| {
                    if let Some(record) = record {
                        record.next = Some(block);
                    }
                });
                self.queue.waiting = Some((oldest, block));
                0
            }
            None => {
                self.queue.waiting = Some((block, block));
                0
            }
        };
        let record = BoundaryRecord { head: self.head, gas: before.saturating_add(self.gas), next: None };
        Boundaries::<T>::insert((cluster, block), record);
        Heads::<T>::insert(cluster, self.head);
        Queues::<T>::insert(cluster, self.queue);
    }
}
