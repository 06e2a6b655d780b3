//! The cluster's state by snapshot: handed out where it is final, and taken over by a replica that has not got it.
//!
//! Guarantees: what is handed out is a final state of the open epoch, or the last one before it once that is bound to the epoch, with its
//! records and nothing of what waits. A state is taken over only where the own one cannot go on - its commands are of epochs whose keys
//! nobody gives any more, the chain keeps their results no longer, or its file does not open - and only when its root is the one that the
//! chain commits, in the final result of the open epoch or in the epoch's binding, and results since are kept to go on from it; it is
//! written beside the own file, which it replaces as a whole at the very end: where that opens, only by a later state. A crash before leaves
//! the own file, and the taking begins anew. Relayers control which parts come, and when.

use super::{Around, Cluster, ClusterError};
use crate::{
    boundary::{commitment, Meta},
    chain::{ChainError, Records, Shown},
    epochs::{EpochKeys, EpochOf},
    machine::draw,
    snapshot::{open_part, part_key, Inflow, Outflow, SnapshotFault, SnapshotRefusal, SnapshotSource},
    tee::Notice,
};
use codec::{DecodeAll, Encode};
use phala_crypto::aead::SivKey;
use phala_protocol::{
    chain_state::{BoundaryRecord, ClusterRecord, FinalRecord},
    inbox::{Head, Item},
    result::{Boundary, ClusterResult, Rekey},
    snapshot::{SnapshotHeader, SnapshotPart, SnapshotStand, MOST_SNAPSHOT_PARTS},
    storage, Epoch, Hash,
};
use phala_state::{ClusterStore, OpenError, StorageFault, StorageKey, View};
use std::sync::Arc;

/// Why a replica cannot go on from the state that it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// The next command is of an epoch whose keys nobody gives any more, as are all of a replica that is new, or the chain does not keep the
    /// final result of it any more.
    #[error("of commands that it has not executed nobody gives the keys, or the chain keeps the results, any more")]
    Behind,
    /// The store is under a key that nobody gives any more.
    #[error("its store is under the storage key of epoch {stored}, which nobody gives any more")]
    Outdated {
        /// The epoch, by the host's word.
        stored: Epoch,
    },
    /// The store's file is for good not what this machine wrote, as opening it or reading it showed, or not in this program's format.
    #[error("its store cannot be read: {0}")]
    Unreadable(String),
}

impl Lack {
    /// What it says of a store that did not open, if that is for good: not of a disk that failed, nor of a file under a later epoch than the
    /// open one as far as is known here, of which a later head may bring the key.
    pub(super) fn of(error: &OpenError, open_epoch: Epoch) -> Option<Self> {
        match error {
            OpenError::Generation { stored, .. } if *stored > 0 && stored.saturating_add(1) < open_epoch => {
                Some(Self::Outdated { stored: *stored })
            }
            // There is no such epoch.
            OpenError::Generation { stored: 0, .. }
            | OpenError::Integrity(_)
            | OpenError::Format(_)
            | OpenError::Storage(StorageFault::Damaged(_) | StorageFault::DriverPanicked) => {
                Some(Self::Unreadable(error.to_string()))
            }
            _ => None,
        }
    }
}

/// A store that is not opened for now.
pub(super) struct Unopened {
    why: Why,
    /// The epoch that was open when its file was tried, for another try reads all of it: it has one when the next epoch is open, for its key,
    /// or for a host that has put the right file back meanwhile. None where it did open, and what was read of it then was damaged.
    tried_in: Option<Epoch>,
}

/// Why it is not.
enum Why {
    /// No key that is given now opens it: only a snapshot helps.
    Lost(Lack),
    /// It says that it is of a later epoch than the open one, whose key may come; with the epochs that its error names.
    Early { stored: Epoch, given: Epoch },
}

impl Unopened {
    /// What follows from `error`, which its file gave while the epoch `open` was open: nothing of an error that may be another the next time,
    /// as that of a disk that failed.
    pub(super) fn by(error: &OpenError, open: Epoch) -> Option<Self> {
        let why = match error {
            OpenError::Generation { stored, given } if *stored > open => Why::Early { stored: *stored, given: *given },
            _ => Why::Lost(Lack::of(error, open)?),
        };
        Some(Self { why, tried_in: Some(open) })
    }

    /// Its file was tried in this epoch.
    pub(super) fn in_epoch(open: Epoch, why: Lack) -> Self {
        Self { why: Why::Lost(why), tried_in: Some(open) }
    }

    /// Its file opens, and that helps nobody.
    pub(super) fn for_good(why: Lack) -> Self {
        Self { why: Why::Lost(why), tried_in: None }
    }

    /// Whether its file need not be tried while this epoch is open: no key that is given in it opens what was found.
    pub(super) fn stands_in(&self, open: Epoch) -> bool {
        self.tried_in.is_none_or(|tried| tried == open)
    }

    /// What is lacked, if the state is.
    pub(super) fn lack(&self) -> Option<&Lack> {
        match &self.why {
            Why::Lost(lack) => Some(lack),
            Why::Early { .. } => None,
        }
    }

    /// What a delivery comes to that finds it so.
    ///
    /// # Errors
    /// What its file gave when it was tried, where a later head is waited for; where the state is lacked there is none, for a snapshot comes in
    /// deliveries.
    pub(super) fn verdict(&self) -> Result<(), OpenError> {
        match self.why {
            Why::Lost(_) => Ok(()),
            Why::Early { stored, given } => Err(OpenError::Generation { stored, given }),
        }
    }
}

/// A snapshot on its way in.
pub(super) struct Taking {
    header: SnapshotHeader,
    id: Hash,
    key: SivKey,
    flow: Inflow,
    /// The index of the part that is due.
    next: u32,
    /// Whether the last part is here.
    ended: bool,
}

/// What the chain's records say of a snapshot's boundary.
enum Word {
    /// Nothing yet: they are not shown, or of a head that is older than the snapshot.
    ToCome,
    /// It is not final, or not of the open epoch, or so old that what came after it is not kept.
    Refused,
    /// Its result is final, and this is its state's commitment under the open epoch's commit key.
    Final(Box<ClusterResult>, Hash),
}

impl Taking {
    /// Storage keys by which the chain judges it.
    pub(super) fn wanted_keys(&self) -> [Vec<u8>; 2] {
        let SnapshotHeader { cluster, boundary, .. } = self.header;
        [storage::final_result_key(cluster, boundary.block), storage::binding_key(cluster)]
    }

    fn of(&self) -> EpochOf {
        EpochOf { era: self.header.era, epoch: self.header.epoch }
    }
}

impl Cluster {
    /// How this worker stands to snapshots.
    pub(crate) fn snapshot_stand(&self) -> Option<SnapshotStand> {
        let cluster = self.id;
        if let Some((of, _)) = self.lacks() {
            let taking = self.taking.as_ref().map(|taking| (taking.id, taking.next));
            return Some(SnapshotStand::Lacks { cluster, epoch: of.epoch, taking });
        }
        let (of, result, _) = self.final_under_epoch()?;
        Some(SnapshotStand::Has { cluster, epoch: of.epoch, boundary: result.boundary })
    }

    /// The snapshot that is being handed out.
    pub(crate) fn snapshot(&self) -> Option<Arc<SnapshotSource>> {
        self.making.clone()
    }

    /// Pins the newest final state, to be handed out.
    pub(crate) fn begin_snapshot(&mut self, around: &Around<'_>) -> Result<SnapshotHeader, SnapshotRefusal> {
        let (now, _) = around.chain.head();
        if let Some(until) = self.making.as_ref().and_then(|making| making.rationed(now)) {
            return Err(SnapshotRefusal::Rationed { until });
        }
        let (of, result, view) = self.final_under_epoch().ok_or(SnapshotRefusal::NoState)?;
        let keys = self.epochs.get(of).ok_or(SnapshotRefusal::NoState)?;
        // The cursor of the boundary itself: what waits to become final came after it.
        let meta = view.meta().and_then(|bytes| Meta::decode_all(&mut &bytes[..]).ok());
        let meta = meta.filter(|meta| meta.last == Some(result.boundary)).ok_or(SnapshotRefusal::NoState)?;
        let header = SnapshotHeader {
            cluster: self.id,
            era: of.era,
            epoch: of.epoch,
            boundary: result.boundary,
            salt: draw(around.machine)?,
        };
        let flow = Outflow::new(view.clone(), meta.kept, meta.egress);
        self.making = Some(Arc::new(SnapshotSource::new(header, &keys.storage, flow, now)));
        Ok(header)
    }

    /// Takes what came of a snapshot, if the state is lacked, and takes the state over when all of it is here and the chain says that it
    /// is the cluster's. Lets go of what is over.
    pub(crate) fn take_over(
        &mut self,
        parts: Vec<SnapshotPart>,
        records: &Records<'_>,
        around: &mut Around<'_>,
    ) -> Result<(), ClusterError> {
        let open = self.record.as_ref().and_then(|record| EpochOf::begun(record, record.epoch));
        let (now, _) = around.chain.head();
        self.making = self.making.take().filter(|making| making.holds(open, now));
        let Some((of, why)) = self.lacks() else {
            // Whatever came late: relayers repeat themselves.
            (self.taking, self.lack_said) = (None, false);
            return Ok(());
        };
        if !self.lack_said {
            self.lack_said = true;
            around.notices.push(Notice::StateLacked { cluster: self.id, epoch: of.epoch, why });
        }
        self.taking = self.taking.take().filter(|taking| taking.of() == of);
        if parts.len() > MOST_SNAPSHOT_PARTS {
            return Err(SnapshotFault::TooMany(parts.len()).into());
        }
        // A state that is no later than the own one helps nobody. Whoever has it, and is brought an earlier one, was told by a relayer that the
        // chain keeps the next result no longer, and goes on when he is brought the right items.
        let own = self.store.is_some().then_some(self.meta.head.count);
        for part in parts.iter().filter(|part| own.is_none_or(|own| part.header.boundary.count > own)) {
            self.take_part(of, part, around)?;
        }
        self.finish_taking(of, records, around)
    }

    /// The open epoch, if its keys are here and the state is not.
    pub(super) fn lacks(&self) -> Option<(EpochOf, Lack)> {
        let record = self.record.as_ref().filter(|record| !self.closed && !record.is_closed())?;
        let of = EpochOf::begun(record, record.epoch)?;
        if self.diverged_at.is_some() || !self.epochs.get(of).is_some_and(EpochKeys::is_full) {
            return None;
        }
        let why = match self.store.as_ref() {
            None => self.unopened.as_ref().and_then(Unopened::lack).cloned()?,
            // While the epoch before closes gatekeepers may still give its keys, and nothing is final in the open one.
            Some(store) if !record.is_closing() && !self.goes_on(record, store) => Lack::Behind,
            Some(_) => return None,
        };
        Some((of, why))
    }

    /// Whether the next command can be executed: its keys are here, or come, as it is of the open epoch or of the one before; and no proof
    /// has shown that its result is final and not kept any more, without which nothing says what it led to.
    fn goes_on(&self, record: &ClusterRecord, store: &ClusterStore) -> bool {
        if self.gone_at == Some(self.meta.head.count) {
            return false;
        }
        if self.meta.head.count >= record.opened_count {
            return true;
        }
        // A store moves to an epoch's key when everything before that epoch is executed: what is under the key of the one before goes
        // on in it, unless a proof has shown that its next command is older.
        let before = record.epoch.saturating_sub(1);
        let executed = self.meta.last.is_some() && self.stalled_at != Some(self.meta.head.count);
        let full = self.epochs.begun(record, before).is_some_and(EpochKeys::is_full);
        executed && full && store.view().generation() == before
    }

    /// Whether the chain keeps nothing of the block of `items` any more, though they come next and are covered by a final result. Only the
    /// relayer says which block that is: by a wrong one its replica waits for a later snapshot as if it lacked its state, or for the right one.
    pub(super) fn is_gone(
        &self,
        record: &ClusterRecord,
        items: &[Item],
        records: &Records<'_>,
    ) -> Result<bool, ChainError> {
        let Some(first) = items.first() else { return Ok(false) };
        let Head { count, link } = self.meta.head;
        if record.final_count <= count || (first.header.sequence, first.previous) != (count, link) {
            return Ok(false);
        }
        let block = first.header.block;
        let waits = records.get::<BoundaryRecord>(&storage::boundary_key(self.id, block))?;
        let decided = records.get::<FinalRecord>(&storage::final_result_key(self.id, block))?;
        Ok(waits == Shown::Absent && decided == Shown::Absent)
    }

    /// The newest final state, if the chain commits it under the open epoch's commit key: in its result, which is of the epoch, or in the
    /// epoch's binding, which is of the last result before.
    fn final_under_epoch(&self) -> Option<(EpochOf, &ClusterResult, &View)> {
        let record = self.record.as_ref()?;
        let of = EpochOf::begun(record, record.epoch)?;
        self.store.as_ref()?;
        let (result, view) = self.final_state.as_ref()?;
        let is_bound =
            |result: &ClusterResult| record.bound_epoch == of.epoch && result.boundary.count == record.opened_count;
        let result = result.as_ref().filter(|result| result.epoch == of.epoch || is_bound(result))?;
        Some((of, result, view))
    }

    fn take_part(&mut self, of: EpochOf, part: &SnapshotPart, around: &Around<'_>) -> Result<(), ClusterError> {
        let SnapshotPart { header, index, last, .. } = part;
        if (header.cluster, header.era, header.epoch) != (self.id, of.era, of.epoch) {
            return Err(SnapshotFault::NotOfTheEpoch.into());
        }
        let Some(keys) = self.epochs.get(of) else { return Ok(()) };
        let data = match self.taking.as_ref().filter(|taking| taking.header == *header) {
            Some(taking) if *index < taking.next || taking.ended => return Ok(()),
            Some(taking) if *index == taking.next => open_part(&taking.key, part)?,
            Some(taking) => return Err(SnapshotFault::OutOfOrder { given: *index, due: taking.next }.into()),
            None if *index == 0 => {
                let key = part_key(&keys.storage, header);
                let data = open_part(&key, part)?;
                // Its store is the one that the next one takes the place of.
                self.taking = None;
                let stored = StorageKey::derive(of.epoch, &keys.storage, around.identity.machine_secret().expose());
                let flow = Inflow::new(around.machine.fresh_store(self.id, stored)?);
                self.taking = Some(Taking { header: *header, id: header.id(), key, flow, next: 0, ended: false });
                data
            }
            None => {
                let due = self.taking.as_ref().map_or(0, |taking| taking.next);
                return Err(SnapshotFault::OutOfOrder { given: *index, due }.into());
            }
        };
        let Some(taking) = self.taking.as_mut() else { return Ok(()) };
        let mut taken = taking.flow.decode_next(&data);
        (taking.next, taking.ended) = (taking.next.saturating_add(1), *last);
        if taken.is_ok() && *last && taking.flow.whole().is_none() {
            taken = Err(SnapshotFault::Malformed);
        }
        if taken.is_err() {
            self.taking = None;
        }
        taken.map_err(ClusterError::from)
    }

    /// What the chain says of a snapshot's boundary in the open epoch.
    fn word(&self, epoch: Epoch, boundary: &Boundary, records: &Records<'_>) -> Result<Word, ClusterError> {
        let is_closing = self.record.as_ref().is_none_or(ClusterRecord::is_closing);
        // At a head that is older than the snapshot it is not there yet.
        let to_come = is_closing || self.record.as_ref().is_none_or(|record| record.final_count < boundary.count);
        let missing = if to_come { Word::ToCome } else { Word::Refused };
        let result = match records.get::<FinalRecord>(&storage::final_result_key(self.id, boundary.block))? {
            Shown::Value(FinalRecord { result, .. }) => result,
            Shown::Nothing => return Ok(Word::ToCome),
            Shown::Absent => return Ok(missing),
        };
        if (result.cluster, result.boundary) != (self.id, *boundary) || result.epoch > epoch {
            return Ok(Word::Refused);
        }
        if result.epoch == epoch {
            return Ok(Word::Final(Box::new(result), result.next));
        }
        // That is under a key which is gone: the epoch's binding says it again under its own.
        Ok(match records.get::<Rekey>(&storage::binding_key(self.id))? {
            Shown::Value(rekey) if rekey.epoch == epoch && rekey.boundary == Some(*boundary) => {
                Word::Final(Box::new(result), rekey.new)
            }
            Shown::Value(rekey) if rekey.epoch == epoch => Word::Refused,
            Shown::Nothing => Word::ToCome,
            Shown::Value(_) | Shown::Absent => missing,
        })
    }

    /// Looks for the chain's word on the snapshot, and takes the state over once all of it is here. The word has to be in the same delivery:
    /// the chain forgets its oldest results first, so that as long as it keeps this one it keeps those that lead on from it.
    fn finish_taking(
        &mut self,
        of: EpochOf,
        records: &Records<'_>,
        around: &mut Around<'_>,
    ) -> Result<(), ClusterError> {
        let Some(Taking { header, ended, .. }) = self.taking.as_ref() else { return Ok(()) };
        let (boundary, ended) = (header.boundary, *ended);
        let (result, committed) = match self.word(of.epoch, &boundary, records)? {
            Word::ToCome => return Ok(()),
            Word::Refused => {
                self.taking = None;
                return Err(SnapshotFault::NotFinal(boundary.block).into());
            }
            Word::Final(result, committed) => (*result, committed),
        };
        if !ended {
            return Ok(());
        }
        let Some(Taking { flow, .. }) = self.taking.take() else { return Ok(()) };
        let Some(keys) = self.epochs.get(of) else { return Ok(()) };
        let (Some(commit_key), Some(preamble)) = (keys.commit.as_ref(), flow.whole()) else { return Ok(()) };
        let root = flow.root();
        if commitment(commit_key, &Some(boundary), &root) != committed {
            return Err(SnapshotFault::OtherState(boundary.block).into());
        }
        let meta = Meta {
            head: Head { count: boundary.count, link: boundary.link },
            last: Some(boundary),
            epoch: result.epoch,
            // The epoch is bound, by others.
            closed: None,
            pending: Vec::new(),
            kept: preamble.kept,
            egress: preamble.egress,
            taken_over: Some(result),
        };
        let stored = StorageKey::derive(of.epoch, &keys.storage, around.identity.machine_secret().expose());
        flow.finish(meta.encode())?;
        self.close_store();
        around.machine.adopt_store(self.id)?;
        (self.unopened, self.stored_generation, self.stalled_at, self.late) = (None, None, None, None);
        (self.gone_at, self.lack_said, self.swept_at) = (None, false, 0);
        let store = around.machine.open_store(self.id, stored)?;
        // The host has the file in between.
        let is_the_same = store.view().root() == root && self.opened(store).is_ok() && self.meta == meta;
        if !is_the_same {
            self.close_store();
            let why = Lack::Unreadable("another file is in its place than was put there".into());
            self.unopened = Some(Unopened::in_epoch(of.epoch, why));
            return Ok(());
        }
        self.confirm_taken_over(&result);
        self.renew_query_key(of.epoch, around)?;
        let (block, count) = (boundary.block, boundary.count);
        around.notices.push(Notice::StateTakenOver { cluster: self.id, block, count });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Lack, OpenError, StorageFault, Unopened};
    use phala_state::{EntropyError, IntegrityError, Row};
    use std::io::{Error, ErrorKind};

    #[test]
    fn what_a_key_to_come_or_a_better_disk_would_open_is_no_lack() {
        let generation = |stored| OpenError::Generation { stored, given: 5 };
        let lack = |error: OpenError| Lack::of(&error, 5);
        assert_eq!(lack(generation(3)), Some(Lack::Outdated { stored: 3 }));
        for stored in [4, 6, 7, u32::MAX] {
            assert_eq!(lack(generation(stored)), None, "of epoch {stored}");
        }
        let failed = StorageFault::Io(Error::from(ErrorKind::TimedOut));
        for fault in [StorageFault::Full, failed, StorageFault::InUse, StorageFault::Reopen] {
            assert_eq!(lack(fault.into()), None);
        }
        assert_eq!(lack(EntropyError.into()), None);
        let damaged: [OpenError; 4] = [
            IntegrityError::Unauthentic(Row::Head).into(),
            StorageFault::DriverPanicked.into(),
            OpenError::Format(0),
            OpenError::Format(u8::MAX),
        ];
        for error in damaged {
            assert!(matches!(lack(error), Some(Lack::Unreadable(_))));
        }
    }

    #[test]
    fn a_file_of_a_later_epoch_is_an_error_without_another_try_and_no_lack_until_another_epoch_is_open() {
        for stored in [6, 9, u32::MAX] {
            let early = Unopened::by(&OpenError::Generation { stored, given: 4 }, 5).unwrap();
            assert!(early.stands_in(5) && !early.stands_in(6));
            assert_eq!(early.lack(), None);
            let said = early.verdict().unwrap_err();
            assert!(matches!(said, OpenError::Generation { stored: again, given: 4 } if again == stored), "{said:?}");
        }
        let lost = Unopened::by(&OpenError::Generation { stored: 3, given: 5 }, 5).unwrap();
        assert_eq!((lost.lack(), lost.verdict().is_ok()), (Some(&Lack::Outdated { stored: 3 }), true));
        // The key of the open epoch, or of the one before, may open it now; and a disk may work again.
        for now in [4, 5] {
            assert!(Unopened::by(&OpenError::Generation { stored: now, given: 9 - now }, 5).is_none());
        }
        assert!(Unopened::by(&StorageFault::Full.into(), 5).is_none());
    }

    #[test]
    fn a_file_that_does_not_open_has_one_try_in_each_epoch_and_one_damaged_inside_has_none() {
        let tried = Unopened::in_epoch(5, Lack::Outdated { stored: 3 });
        assert!(tried.stands_in(5) && !tried.stands_in(6));
        let damaged = Unopened::for_good(Lack::Unreadable("a page".into()));
        assert!(damaged.stands_in(5) && damaged.stands_in(6));
    }
}
