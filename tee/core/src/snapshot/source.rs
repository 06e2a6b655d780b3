//! A snapshot while it is handed out: a pinned version, and the key that its parts are sealed under.
//!
//! Guarantees: each part is made once, in order; the one made last is given again as it was, for whoever did not get it. The version is let
//! go with the last part. Whoever asks controls when, and which; he waits for nobody but others who ask for parts.

use super::{part_key, seal_part, Outflow, PART_DATA_BYTES};
use crate::{epochs::EpochOf, machine::MachineFault};
use phala_crypto::{aead::SivKey, Secret};
use phala_protocol::{
    ids::BlockNumber,
    snapshot::{SnapshotHeader, SnapshotPart, MAX_SNAPSHOT_PARTS},
    Hash,
};
use phala_state::ReadError;
use std::sync::{Mutex, PoisonError};

/// Blocks of the head after which a pinned version is let go, whether or not all of it was asked for: as long as it is pinned the file
/// does not use its rows' room again.
pub(crate) const PIN_BLOCKS: BlockNumber = 256;
/// Blocks for which a snapshot that is being handed out is not given up for another one.
const RATION_BLOCKS: BlockNumber = 20;

/// Why no snapshot was begun, or a part of one not made.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotRefusal {
    /// A gatekeeper has no state.
    #[error("a gatekeeper has no cluster's state")]
    NotAWorker,
    /// No state is here that the chain has under the open epoch's key: nothing is final, the epoch is not bound yet, or the worker has
    /// not got its keys.
    #[error("no state is here that is final and bound to the cluster's open epoch")]
    NoState,
    /// One is being handed out.
    #[error("a snapshot is being handed out; another one is begun from block {until} on")]
    Rationed {
        /// From this block on.
        until: BlockNumber,
    },
    /// No such snapshot is being handed out: it was let go, or never was.
    #[error("no such snapshot is being handed out; begin one")]
    Unknown,
    /// The part was made, and another one since.
    #[error("part {index} was made and is gone; part {next} is made next, or begin anew")]
    Passed {
        /// What was asked for.
        index: u32,
        /// What is made next.
        next: u32,
    },
    /// Parts before it were not made.
    #[error("part {index} is not made before part {next}; ask in order")]
    NotYet {
        /// What was asked for.
        index: u32,
        /// What is made next.
        next: u32,
    },
    /// The last part was made.
    #[error("the snapshot has {parts} parts, and no more")]
    Ended {
        /// How many it has.
        parts: u32,
    },
    /// The state is larger than a snapshot may be.
    #[error("the state is larger than a snapshot may be")]
    TooLarge,
    /// The store could not be read.
    #[error("the cluster's store cannot be read")]
    Read(#[from] ReadError),
    /// The machine failed.
    #[error("the machine failed")]
    Machine(#[from] MachineFault),
}

/// A snapshot that is being handed out.
pub struct SnapshotSource {
    header: SnapshotHeader,
    id: Hash,
    begun: BlockNumber,
    turn: Mutex<Turn>,
}

struct Turn {
    key: SivKey,
    /// None once the last part was made.
    flow: Option<Outflow>,
    next: u32,
    made: Option<SnapshotPart>,
}

impl SnapshotSource {
    pub(crate) fn new(header: SnapshotHeader, storage: &Secret<[u8; 32]>, flow: Outflow, begun: BlockNumber) -> Self {
        let turn = Turn { key: part_key(storage, &header), flow: Some(flow), next: 0, made: None };
        Self { header, id: header.id(), begun, turn: Mutex::new(turn) }
    }

    /// Whether it is of this epoch, and began less than [`PIN_BLOCKS`] ago.
    pub(crate) fn holds(&self, of: Option<EpochOf>, now: BlockNumber) -> bool {
        let own = EpochOf { era: self.header.era, epoch: self.header.epoch };
        of == Some(own) && now.saturating_sub(self.begun) < PIN_BLOCKS
    }

    /// The block until which no other one takes its place, if it is still handed out.
    pub(crate) fn rationed(&self, now: BlockNumber) -> Option<BlockNumber> {
        let until = self.begun.saturating_add(RATION_BLOCKS);
        (now < until && self.turn().flow.is_some()).then_some(until)
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Part `index` of the snapshot `id`: the one that is due, or the one before once more.
    pub fn part(&self, id: &Hash, index: u32) -> Result<SnapshotPart, SnapshotRefusal> {
        if *id != self.id {
            return Err(SnapshotRefusal::Unknown);
        }
        let mut turn = self.turn();
        let Turn { key, flow, next, made } = &mut *turn;
        if let Some(again) = made.as_ref().filter(|made| made.index == index) {
            return Ok(again.clone());
        }
        if index < *next {
            return Err(SnapshotRefusal::Passed { index, next: *next });
        }
        let Some(outflow) = flow.as_mut() else { return Err(SnapshotRefusal::Ended { parts: *next }) };
        if index > *next {
            return Err(SnapshotRefusal::NotYet { index, next: *next });
        }
        if index >= MAX_SNAPSHOT_PARTS {
            return Err(SnapshotRefusal::TooLarge);
        }
        let (data, last) = outflow.take(PART_DATA_BYTES)?;
        // Nothing is longer than the cipher takes.
        let part = seal_part(key, &self.header, index, last, &data).map_err(|_| SnapshotRefusal::TooLarge)?;
        if last {
            *flow = None;
        }
        *next = next.saturating_add(1);
        *made = Some(part.clone());
        Ok(part)
    }
}
