//! Snapshots on their way from one TEE to another, through relayers that keep them, alter them, or hand none on.
//!
//! Guarantees: an honest relayer brings only what is of the epoch that is open where it brings it. Hostile ones control the rest, and
//! need no key for it. Does not: decide when; that is the scenario's, and of every final state.

use super::World;
use crate::{
    invariants::{self, Check},
    model::Op,
    random::Random,
    shelf::{Kept, OLDEST, SPOIL_KINDS},
};
use codec::Encode;
use phala_protocol::{
    ids::BlockNumber,
    relay::Delivery,
    snapshot::{SnapshotPart, SnapshotStand},
    Epoch, Hash,
};

impl World {
    /// The epoch and what was taken of a snapshot, if a TEE lacks the state.
    pub(crate) fn lacking(&self, index: usize) -> Option<(Epoch, Option<(Hash, u32)>)> {
        match self.hosts[index].tee.as_ref()?.status().snapshot {
            Some(SnapshotStand::Lacks { epoch, taking, .. }) => Some((epoch, taking)),
            Some(SnapshotStand::Has { .. }) | None => None,
        }
    }

    /// Parts that an honest relayer brings with a delivery at this height.
    pub(super) fn handed_on(&self, stand: Option<SnapshotStand>, height: BlockNumber) -> Vec<SnapshotPart> {
        let Some(SnapshotStand::Lacks { epoch, taking, .. }) = stand.filter(|_| !self.withheld) else {
            return Vec::new();
        };
        // In another epoch they would be refused, and this relayer blamed.
        let open = self.node.cluster_at(height).is_some_and(|record| record.epoch == epoch);
        if open {
            self.shelf.due(epoch, taking)
        } else {
            Vec::new()
        }
    }

    /// A TEE has a state that became final: relayers ask for a snapshot of it, once, and keep it if there is none of its epoch, or as
    /// chance has it.
    pub(super) fn hand_out(&mut self, index: usize, epoch: Epoch, count: u64) -> Check {
        let kept = self.shelf.whole(epoch) > 0;
        if !self.folders || (kept && self.hosts[index].handed_out == Some(count)) {
            return Ok(());
        }
        let times = 1 + (self.seed % 3) as u32;
        let keep = !kept || self.shelf.has_begun(index) || self.chance.one_in(times);
        let Some(made) = self.make(index, u32::MAX) else { return Ok(()) };
        if made.is_whole() {
            self.hosts[index].handed_out = Some(count);
        }
        if keep {
            self.keep(made)?;
        }
        Ok(())
    }

    /// A relayer asks a TEE for so many parts of its snapshot, and keeps them.
    pub(super) fn hand_out_parts(&mut self, index: usize, parts: u32) -> Check {
        match self.make(index, parts).filter(|_| self.folders) {
            Some(made) => self.keep(made),
            None => Ok(()),
        }
    }

    fn keep(&mut self, made: Kept) -> Check {
        let said: Vec<&[u8]> = made.parts.iter().map(|part| part.sealed.as_slice()).collect();
        invariants::invariant_no_plaintext_leaves(&self.canaries, &said, "a snapshot")?;
        let what = if made.is_whole() { "= snapshots kept" } else { "= snapshots begun" };
        self.count(what);
        self.shelf.keep(made);
        Ok(())
    }

    /// Goes on with the snapshot that a TEE was asked for and has not made all of, or begins one.
    fn make(&mut self, index: usize, parts: u32) -> Option<Kept> {
        let tee = self.hosts[index].tee.as_mut()?;
        let begun = self.shelf.take_begun(index);
        // A part is the same as often as it is asked for.
        let goes_on = |kept: &Kept| tee.snapshot_part(&kept.header.id(), kept.parts.len() as u32).is_ok();
        let going_on = begun.as_ref().is_some_and(goes_on);
        let mut kept = match begun {
            Some(kept) if going_on => kept,
            other => {
                // Its maker died, or let it go: there will be no more of it.
                other.into_iter().for_each(|kept| self.shelf.keep(kept));
                // There may be no entropy, or a disk that fails.
                Kept { header: tee.begin_snapshot().ok()?, maker: index, parts: Vec::new() }
            }
        };
        let id = kept.header.id();
        let mut made = 0;
        while made < parts && !kept.is_whole() {
            let Ok(part) = tee.snapshot_part(&id, kept.parts.len() as u32) else { break };
            kept.parts.push(part);
            made += 1;
        }
        *self.counts.entry("= parts of snapshots").or_default() += u64::from(made);
        Some(kept)
    }

    /// A part that a relayer altered arrives. Where it is lacked it is refused, and costs nothing of what was taken.
    pub(super) fn spoil(&mut self, index: usize, kind: u32, salt: u32) -> Check {
        let Some(before) = self.lacking(index) else { return Ok(()) };
        let height = self.node.finalised();
        let Some(honest) = self.compose(index, height, usize::MAX) else { return Ok(()) };
        let mut chance = Random::new(u64::from(salt));
        let snapshot = self.shelf.spoiled(before.0, before.1, kind, &mut chance);
        if snapshot.is_empty() {
            return Ok(());
        }
        self.count("= snapshots altered on their way");
        self.bring(index, &Delivery { snapshot, ..honest }.encode())?;
        let altered = kind % SPOIL_KINDS != OLDEST;
        match self.lacking(index).filter(|(epoch, _)| altered && *epoch == before.0) {
            Some(after) => invariants::invariant_altered_snapshots_are_refused(self, index, before.1, after.1),
            None => Ok(()),
        }
    }

    /// Where replicas lack the state of an epoch in which nobody has said anything, somebody does: without a final result there is no
    /// snapshot of it.
    pub(super) fn say_something_to_be_handed_on(&mut self) {
        let count = self.node.pallets.head.count;
        let cluster = self.node.pallets.cluster.as_ref();
        let silent = cluster.is_some_and(|record| record.epoch > 0 && record.opened_count == count);
        if silent && invariants::somebody_waits_for_a_state(self) {
            self.clients.command(&mut self.node, 0, Op::Transfer { to: 1, amount: 1 });
        }
    }
}
