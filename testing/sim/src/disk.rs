//! A disk in memory that its host may copy, rewind, wipe, fill up and cut off from power in the middle of a transaction.
//!
//! Guarantees: after a power cut the disk holds everything synced, and of what came after any subset of the writes in their
//! order, each whole or torn - what a real disk promises and no more. A process that has died writes nothing any more. All that
//! was ever written is searched for canaries.

use crate::{canary::Canaries, random::Random};
use phala_state::StorageBackend;
use std::{
    io::{Error, ErrorKind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Clone, Debug)]
enum Operation {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// What survives a power cut for certain.
    synced: Vec<u8>,
    unsynced: Vec<Operation>,
    /// Changes until every further one fails, and how.
    failing: Option<(u32, ErrorKind)>,
    /// Counts processes: the handle of an earlier one is dead.
    process: u64,
    canaries: Canaries,
    leaked: Option<String>,
}

/// The disk of one machine.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

/// What one process holds of a disk.
#[derive(Debug)]
pub struct Handle {
    disk: Disk,
    process: u64,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all writes are searched for.
    pub fn watch(&self, canaries: Canaries) {
        self.state().canaries = canaries;
    }

    /// The canary that stood in one write at any time.
    pub fn leaked_in_writes(&self) -> Option<String> {
        self.state().leaked.clone()
    }

    /// The canary that was written at any time, or stands on the disk now.
    pub fn leaked(&self) -> Option<String> {
        let state = self.state();
        state.leaked.clone().or_else(|| state.canaries.found_in(&state.bytes).map(str::to_owned))
    }

    /// Opens it as the present process.
    pub fn open(&self) -> Handle {
        Handle { disk: self.clone(), process: self.state().process }
    }

    /// The process that has it open is dead from now on: its clean-up does not reach the disk.
    pub fn kill(&self) {
        self.state().process += 1;
    }

    /// What stands on it now.
    pub fn copy(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    /// The host puts these bytes on it.
    pub fn replace(&self, bytes: Vec<u8>) {
        let mut state = self.state();
        state.synced = bytes.clone();
        state.bytes = bytes;
        state.unsynced.clear();
    }

    /// The power goes: of what was not synced, chance keeps some, drops some and tears some.
    pub fn cut_power(&self, chance: &mut Random) {
        let mut state = self.state();
        let unsynced = std::mem::take(&mut state.unsynced);
        let mut bytes = std::mem::take(&mut state.synced);
        for operation in &unsynced {
            match (chance.below(4), operation) {
                (0, _) => {}
                (1, Operation::Write(offset, data)) => {
                    let torn = chance.below(data.len() as u32) as usize;
                    apply(&mut bytes, &Operation::Write(*offset, data[..torn].to_vec()));
                }
                _ => apply(&mut bytes, operation),
            }
        }
        state.bytes = bytes.clone();
        state.synced = bytes;
    }

    /// Lets `changes` more changes pass, and fails all after them.
    pub fn fail_after(&self, changes: u32, kind: ErrorKind) {
        self.state().failing = Some((changes, kind));
    }

    /// From now on it fails when the other one would.
    pub fn fail_like(&self, other: &Self) {
        let failing = other.state().failing;
        self.state().failing = failing;
    }

    /// Nothing fails any more.
    pub fn mend(&self) {
        self.state().failing = None;
    }

    /// Whether it fails now or soon.
    pub fn is_failing(&self) -> bool {
        self.state().failing.is_some()
    }

    /// Whether it is full now.
    pub fn is_full(&self) -> bool {
        matches!(self.state().failing, Some((0, ErrorKind::StorageFull)))
    }
}

fn apply(bytes: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Length(length) => bytes.resize(*length as usize, 0),
        Operation::Write(offset, data) => {
            let (start, end) = (*offset as usize, *offset as usize + data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(data);
        }
    }
}

impl State {
    fn may_change(&mut self) -> Result<(), Error> {
        match &mut self.failing {
            Some((0, kind)) => Err(Error::from(*kind)),
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn change(&mut self, operation: Operation) -> Result<(), Error> {
        self.may_change()?;
        if let Operation::Write(_, data) = &operation {
            if let (None, Some(name)) = (&self.leaked, self.canaries.found_in(data)) {
                self.leaked = Some(name.to_owned());
            }
        }
        apply(&mut self.bytes, &operation);
        self.unsynced.push(operation);
        Ok(())
    }
}

impl Handle {
    fn state(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.disk.state();
        if state.process == self.process {
            Ok(state)
        } else {
            Err(Error::from(ErrorKind::BrokenPipe))
        }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.state()?.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let state = self.state()?;
        let offset = usize::try_from(offset).map_err(|_| Error::from(ErrorKind::UnexpectedEof))?;
        let found = offset.checked_add(out.len()).and_then(|end| state.bytes.get(offset..end));
        out.copy_from_slice(found.ok_or(Error::from(ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), Error> {
        self.state()?.change(Operation::Length(length))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.state()?.change(Operation::Write(offset, data.to_vec()))
    }

    fn sync_data(&self) -> Result<(), Error> {
        let mut state = self.state()?;
        state.may_change()?;
        let unsynced = std::mem::take(&mut state.unsynced);
        for operation in &unsynced {
            apply(&mut state.synced, operation);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_keeps_what_was_synced_and_a_dead_process_writes_nothing() {
        let disk = Disk::default();
        let handle = disk.open();
        handle.write(0, &[1; 100]).unwrap();
        handle.sync_data().unwrap();
        handle.write(50, &[2; 100]).unwrap();
        disk.kill();
        assert!(handle.write(0, &[3; 100]).is_err() && handle.sync_data().is_err());
        disk.cut_power(&mut Random::new(1));
        let bytes = disk.copy();
        assert_eq!(bytes[..50], [1; 50]);
        assert!(bytes[50..].iter().all(|byte| [1, 2].contains(byte)));
    }

    #[test]
    fn a_full_disk_is_read_and_not_written() {
        let disk = Disk::default();
        let handle = disk.open();
        handle.write(0, &[1; 10]).unwrap();
        disk.fail_after(1, ErrorKind::StorageFull);
        handle.write(0, &[2; 10]).unwrap();
        assert_eq!(handle.write(0, &[3; 10]).unwrap_err().kind(), ErrorKind::StorageFull);
        let mut read = [0; 10];
        handle.read(0, &mut read).unwrap();
        assert_eq!(read, [2; 10]);
        disk.mend();
        handle.write(0, &[3; 10]).unwrap();
    }

    #[test]
    fn a_canary_is_remembered_after_it_was_overwritten() {
        let mut canaries = Canaries::default();
        canaries.add("words", crate::canary::WORDS);
        let disk = Disk::default();
        disk.watch(canaries);
        let handle = disk.open();
        handle.write(0, &[7; 64]).unwrap();
        assert_eq!(disk.leaked(), None);
        handle.write(5, crate::canary::WORDS).unwrap();
        handle.write(0, &[0; 64]).unwrap();
        assert_eq!(disk.leaked().as_deref(), Some("words"));
    }
}
