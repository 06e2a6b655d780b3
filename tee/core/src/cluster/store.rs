//! The cluster's sealed file: opened when its key is here, moved to the open epoch's key, and re-sealed a little with each delivery.
//!
//! Guarantees: a store is opened only with a key of the open epoch or the one before, and none is replaced here; one that does not open for
//! good, or says that it is of a later epoch, is tried once an epoch, for to try it is to read the whole file, and one whose rows are found
//! damaged later is not opened again by this process, unless a snapshot has taken its place; what it holds is served only once the chain has
//! confirmed it since it was opened; as long as deliveries come, no entry is left under an old key when the next epoch is due. The host
//! controls the file, and when deliveries come. Does not: execute anything.

use super::{Around, Cluster, ClusterError, Lack, Unopened};
use crate::{boundary::Meta, machine::draw_secret};
use codec::DecodeAll;
use phala_crypto::xwing::DecapsulationKey;
use phala_protocol::{ids::BlockNumber, Epoch};
use phala_state::{ClusterStore, CommitError, OpenError, ReadError, RekeyError, StorageKey, SweepProgress};
use std::{error::Error, iter::successors, sync::Arc};

/// Entries that one delivery looks at, at least, while some are still under the keys of an epoch before.
const SWEEP_AT_ONCE: usize = 1_024;

impl ClusterError {
    /// What it says of the open store, if that is that the host damaged it: that some row is not what was committed.
    fn damage(&self) -> Option<String> {
        let error: &(dyn Error + 'static) = self;
        let found = successors(Some(error), |&error| error.source()).find_map(read_error)?;
        found.is_damage().then(|| found.to_string())
    }
}

/// The store's own word in an error. Some are transparent, and so no source of what holds them.
fn read_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ReadError> {
    let rekey = error.downcast_ref::<RekeyError>();
    let commit = match rekey {
        Some(RekeyError::Commit(commit)) => Some(commit),
        _ => error.downcast_ref::<CommitError>(),
    };
    match commit {
        Some(CommitError::Read(read)) => Some(read),
        _ => error.downcast_ref::<ReadError>(),
    }
}

impl Cluster {
    /// Opens the store when its key is here, moves it to the open epoch's key, and re-seals a little.
    pub(crate) fn tend_store(&mut self, around: &mut Around<'_>) -> Result<(), ClusterError> {
        let Some(record) = self.record.as_ref().filter(|record| record.epoch > 0) else { return Ok(()) };
        let (open_epoch, opened_count, next_due) = (record.epoch, record.opened_count, record.next_epoch_due());
        if self.store.is_none() {
            if let Some(known) = self.unopened.as_ref().filter(|unopened| unopened.stands_in(open_epoch)) {
                return known.verdict().map_err(ClusterError::from);
            }
            // Of an epoch that is not the one before any more: the open one's key gives the error that says so.
            let before = self.stored_generation.filter(|stored| stored.checked_add(1) == Some(open_epoch));
            let epoch = before.unwrap_or(open_epoch);
            let Some(keys) = self.begun(epoch) else { return Ok(()) };
            let key = StorageKey::derive(epoch, &keys.storage, around.identity.machine_secret().expose());
            match around.machine.open_store(self.id, key) {
                Ok(store) => {
                    if let Err(error) = self.opened(store) {
                        // It has no cursor of this program: it was never whole, or another program's.
                        self.close_store();
                        self.unopened = Some(Unopened::in_epoch(open_epoch, Lack::Unreadable(error.to_string())));
                        return Ok(());
                    }
                    self.unopened = None;
                }
                Err(error) => {
                    // The generation is the host's word: one that is no more than that is not asked for again.
                    self.stored_generation = key_before(&error, open_epoch);
                    if self.stored_generation.is_some() {
                        return Ok(());
                    }
                    // Anything older is gone for good, as is what the host has damaged: only a snapshot helps, which replaces it. What is
                    // of a later epoch waits for another head.
                    self.unopened = Unopened::by(&error, open_epoch);
                    return match &self.unopened {
                        Some(known) => known.verdict().map_err(ClusterError::from),
                        None => Err(error.into()),
                    };
                }
            }
        }
        let Some(store) = self.store.as_ref() else { return Ok(()) };
        store.sweep(sweep_share(store.unswept(), self.swept_at, around.chain.head().0, next_due))?;
        self.swept_at = around.chain.head().0;
        if store.view().generation() < open_epoch && self.meta.head.count >= opened_count {
            let Some(keys) = self.begun(open_epoch) else { return Ok(()) };
            // A host that brought too little in the epoch now closed does not pile up its keys: what is left is done here.
            while store.sweep(SWEEP_AT_ONCE.saturating_mul(16))? != SweepProgress::Done {}
            let key = StorageKey::derive(open_epoch, &keys.storage, around.identity.machine_secret().expose());
            match store.rekey(key) {
                Ok(()) => self.stored_generation = None,
                // The store stays under its present key until sweeping has made room.
                Err(RekeyError::RingFull) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.renew_query_key(open_epoch, around)
    }

    /// Lets go of a store that `error` leaves in doubt: for good where its rows are damaged, for they will not be others when it is opened
    /// again. Only a snapshot helps then, or a restart on a file that is whole.
    pub(crate) fn close_in_doubt(&mut self, error: &ClusterError) {
        self.close_store();
        if let Some(damage) = error.damage() {
            self.unopened = Some(Unopened::for_good(Lack::Unreadable(damage)));
        }
    }

    /// Lets go of a store after a failure: the next delivery opens the file as it is then, and what it holds is served again once the
    /// chain has confirmed it. A full disk stops a cluster as long as it is full, and no longer.
    pub(crate) fn close_store(&mut self) {
        (self.store, self.final_state, self.current_at, self.making) = (None, None, None, None);
        self.views.clear();
        self.wanted_codes.clear();
        self.leaving.clear();
        self.meta = Self::new(self.id, self.codes.clone()).meta;
    }

    pub(super) fn opened(&mut self, store: ClusterStore) -> Result<(), ClusterError> {
        let view = store.view();
        if let Some(bytes) = view.meta() {
            self.meta = Meta::decode_all(&mut &bytes[..]).map_err(|_| ClusterError::Meta)?;
        }
        match self.meta.pending.last().map(|last| last.result).or(self.meta.taken_over) {
            // Whether the last state is final will be seen on the chain.
            Some(last) => self.views.push_back((last, view)),
            None if self.meta.last.is_none() => self.final_state = Some((None, view)),
            // Not of this program: on the disk the last result waits until a later one takes its place, for the host may put an older disk
            // back, and the chain has to confirm it again.
            None => return Err(ClusterError::Meta),
        }
        self.store = Some(store);
        Ok(())
    }

    pub(super) fn renew_query_key(&mut self, epoch: Epoch, around: &Around<'_>) -> Result<(), ClusterError> {
        if self.query_key.as_ref().is_none_or(|(of, _)| *of != epoch) {
            let key = DecapsulationKey::from_seed(&draw_secret::<32>(around.machine)?);
            self.query_key = Some((epoch, Arc::new(key)));
        }
        Ok(())
    }
}

/// The epoch before the open one, if a store says that it was last written under its key. There is none before the first.
fn key_before(error: &OpenError, open_epoch: Epoch) -> Option<Epoch> {
    match error {
        OpenError::Generation { stored, .. } if *stored > 0 && stored.checked_add(1) == Some(open_epoch) => {
            Some(*stored)
        }
        _ => None,
    }
}

/// How many of `unswept` entries to look at now, so that none is left when the next epoch is due: their share of the blocks that are
/// left, for each block since the last time. Evenly rather than at once: what boundaries write in the meantime needs no sweep any more.
fn sweep_share(unswept: u64, swept_at: BlockNumber, now: BlockNumber, next_due: BlockNumber) -> usize {
    let left = u64::from(next_due.saturating_sub(now)).max(1);
    let passed = if swept_at == 0 { 1 } else { u64::from(now.saturating_sub(swept_at)).max(1) };
    let share = unswept.div_ceil(left).saturating_mul(passed).min(unswept);
    usize::try_from(share).unwrap_or(usize::MAX).max(SWEEP_AT_ONCE)
}

#[cfg(test)]
mod tests {
    use super::{
        key_before, sweep_share, ClusterError, CommitError, Lack, OpenError, ReadError, RekeyError, SWEEP_AT_ONCE,
    };
    use crate::{boundary::BoundaryError, command::ExecutionFault, world::StateFault};
    use phala_state::{IntegrityError, Row, StorageFault};
    use phala_vm::Fault;
    use std::io::{Error, ErrorKind};

    #[test]
    fn damage_is_found_however_deep_an_error_holds_it_and_a_failed_disk_is_none() {
        fn altered() -> ReadError {
            IntegrityError::Unauthentic(Row::Page).into()
        }
        fn failed() -> ReadError {
            StorageFault::Io(Error::from(ErrorKind::TimedOut)).into()
        }
        fn all(read: fn() -> ReadError) -> [ClusterError; 6] {
            let state = || StateFault::Read(read());
            [
                CommitError::Read(read()).into(),
                RekeyError::Commit(CommitError::Read(read())).into(),
                BoundaryError::Read(read()).into(),
                BoundaryError::Commit(CommitError::Read(read())).into(),
                BoundaryError::Execution(ExecutionFault::State(state())).into(),
                BoundaryError::Execution(ExecutionFault::Engine(Fault::World(Box::new(state())))).into(),
            ]
        }
        for (altered, failed) in all(altered).into_iter().zip(all(failed)) {
            assert_eq!(altered.damage(), Some(IntegrityError::Unauthentic(Row::Page).to_string()), "{altered:?}");
            assert_eq!(failed.damage(), None, "{failed:?}");
            assert!(altered.leaves_the_store_in_doubt() && failed.leaves_the_store_in_doubt());
        }
        for fault in [StorageFault::Full, StorageFault::Reopen, StorageFault::DriverPanicked] {
            assert_eq!(
                ClusterError::from(CommitError::Storage(fault)).damage(),
                None,
                "what was not written is not there"
            );
        }
        assert_eq!(ClusterError::Meta.damage(), None);
    }

    #[test]
    fn a_file_that_says_it_is_of_the_epoch_before_the_first_is_damaged_and_its_key_is_not_waited_for() {
        let generation = |stored, given| OpenError::Generation { stored, given };
        assert_eq!(key_before(&generation(4, 5), 5), Some(4));
        for stored in [0, 3, 6, u32::MAX] {
            assert_eq!(key_before(&generation(stored, 5), 5), None, "of epoch {stored}");
        }
        for open in [1, 5] {
            let error = generation(0, open);
            assert_eq!(key_before(&error, open), None, "nobody ever gives it");
            assert_eq!(Lack::of(&error, open), Some(Lack::Unreadable(error.to_string())));
        }
        assert_eq!(key_before(&OpenError::Format(0), 5), None);
    }

    #[test]
    fn a_sweep_ends_before_the_next_epoch_is_due_whatever_the_size_and_however_often_the_relayer_comes() {
        for (entries, length, step) in [
            (0u64, 60u32, 1u32),
            (500, 60, 1),
            (2_000_000, 60, 1),
            (2_000_000, 60, 7),
            (50_000_000, 600, 11),
            (9_999, 10, 3),
        ] {
            let (mut unswept, mut swept_at, mut now) = (entries, 100, 100);
            while now + step < 100 + length {
                now += step;
                let share = sweep_share(unswept, swept_at, now, 100 + length);
                assert!(share >= SWEEP_AT_ONCE);
                unswept = unswept.saturating_sub(share as u64);
                swept_at = now;
            }
            // What rounding leaves is less than what one more delivery does anyway.
            assert!(
                unswept <= entries * u64::from(step) / u64::from(length) + SWEEP_AT_ONCE as u64,
                "{unswept} of {entries}"
            );
        }
        assert_eq!(sweep_share(1_000_000, 0, 100, 100), 1_000_000, "all of it when the epoch is due");
        assert!(sweep_share(1_000_000, 0, 100, 160) < 20_000, "not all at once after a start");
    }
}
