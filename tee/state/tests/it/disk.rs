//! A disk in memory that its host may copy, alter and make fail, and whose power can be cut.

use phala_state::StorageBackend;
use std::{
    io::{Error, ErrorKind},
    sync::{Arc, Mutex},
};

#[derive(Clone, Debug)]
enum Operation {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// What survives a power cut now, and what may or may not.
    synced: Vec<u8>,
    unsynced: Vec<Operation>,
    /// Operations until the disk fails, and how.
    failing: Option<(u64, ErrorKind)>,
    operations: u64,
    bytes_written: u64,
    /// Reads until one shows another byte than is there; as long as it is to come.
    altering: Option<u64>,
    /// Keeps (synced image, operations since) at every sync and every few writes.
    history: Option<Vec<Moment>>,
}

/// What a power cut at some moment leaves to chance.
#[derive(Clone, Debug)]
pub struct Moment {
    synced: Vec<u8>,
    unsynced: Vec<Operation>,
}

#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

impl MemoryDisk {
    pub fn of(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.0.lock().unwrap().synced = bytes.clone();
        disk.0.lock().unwrap().bytes = bytes;
        disk
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    /// Another disk with the same contents.
    pub fn copy(&self) -> Self {
        Self::of(self.bytes())
    }

    pub fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    pub fn bytes_written(&self) -> u64 {
        self.0.lock().unwrap().bytes_written
    }

    pub fn fail_after(&self, operations: u64, kind: ErrorKind) {
        self.0.lock().unwrap().failing = Some((operations, kind));
    }

    /// Of the reads to come, the one after `reads` shows another byte than is there.
    pub fn alter_read_after(&self, reads: u64) {
        self.0.lock().unwrap().altering = Some(reads);
    }

    /// Whether that read has been.
    pub fn has_altered_a_read(&self) -> bool {
        self.0.lock().unwrap().altering.is_none()
    }

    /// What a host does to the bytes, whoever has them open.
    pub fn alter(&self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.0.lock().unwrap().bytes);
    }

    pub fn record_history(&self) {
        self.0.lock().unwrap().history = Some(Vec::new());
    }

    pub fn take_history(&self) -> Vec<Moment> {
        self.0.lock().unwrap().history.replace(Vec::new()).unwrap()
    }
}

impl Moment {
    /// The disk after the cut: what was synced, and those of the later operations that `keep` lets through. A write may also be
    /// torn: only a first part of it arrives.
    pub fn cut(&self, mut keep: impl FnMut() -> u64) -> MemoryDisk {
        let mut bytes = self.synced.clone();
        for operation in &self.unsynced {
            match (keep() % 4, operation) {
                (0, _) => {}
                (1, Operation::Write(offset, data)) => {
                    let length = keep() as usize % (data.len() + 1);
                    apply(&mut bytes, &Operation::Write(*offset, data[..length].to_vec()))
                }
                _ => apply(&mut bytes, operation),
            }
        }
        MemoryDisk::of(bytes)
    }

    /// The disk after each cut in which one of the later writes loses one piece of so many bytes, and everything else arrives.
    pub fn without_a_piece(&self, piece: usize) -> impl Iterator<Item = MemoryDisk> + '_ {
        let pieces = move |operation: &Operation| match operation {
            Operation::Write(_, data) => data.len().div_ceil(piece),
            Operation::Length(_) => 0,
        };
        let lost = (0..self.unsynced.len()).flat_map(move |write| {
            (0..self.unsynced.get(write).map_or(0, pieces)).map(move |lost| (write, lost * piece))
        });
        lost.map(move |(write, from)| {
            let mut bytes = self.synced.clone();
            for (index, operation) in self.unsynced.iter().enumerate() {
                match operation {
                    Operation::Write(offset, data) if index == write => {
                        apply(&mut bytes, &Operation::Write(*offset, data[..from].to_vec()));
                        let rest = (from + piece).min(data.len());
                        apply(&mut bytes, &Operation::Write(*offset + rest as u64, data[rest..].to_vec()));
                    }
                    _ => apply(&mut bytes, operation),
                }
            }
            MemoryDisk::of(bytes)
        })
    }

    pub fn everything(&self) -> MemoryDisk {
        self.cut(|| 3)
    }

    pub fn nothing(&self) -> MemoryDisk {
        self.cut(|| 0)
    }
}

fn apply(bytes: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Length(length) => bytes.resize(*length as usize, 0),
        Operation::Write(offset, data) => {
            let end = *offset as usize + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset as usize..end].copy_from_slice(data);
        }
    }
}

impl State {
    fn operate(&mut self) -> Result<(), Error> {
        self.operations += 1;
        if let Some((left, kind)) = &mut self.failing {
            if *left == 0 {
                return Err(Error::from(*kind));
            }
            *left -= 1;
        }
        Ok(())
    }

    fn remember(&mut self) {
        let moment = Moment { synced: self.synced.clone(), unsynced: self.unsynced.clone() };
        if let Some(history) = &mut self.history {
            history.push(moment);
        }
    }

    fn change(&mut self, operation: Operation) -> Result<(), Error> {
        self.operate()?;
        if let Operation::Write(_, data) = &operation {
            self.bytes_written += data.len() as u64;
        }
        apply(&mut self.bytes, &operation);
        self.unsynced.push(operation);
        if self.unsynced.len().is_multiple_of(8) {
            self.remember();
        }
        Ok(())
    }
}

impl StorageBackend for MemoryDisk {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut state = self.0.lock().unwrap();
        let offset = usize::try_from(offset).map_err(|_| Error::from(ErrorKind::UnexpectedEof))?;
        let found = offset.checked_add(out.len()).and_then(|end| state.bytes.get(offset..end));
        out.copy_from_slice(found.ok_or(Error::from(ErrorKind::UnexpectedEof))?);
        match state.altering {
            Some(0) => {
                let middle = out.len() / 2;
                out[middle] ^= 1;
                state.altering = None;
            }
            Some(reads) => state.altering = Some(reads - 1),
            None => {}
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), Error> {
        self.0.lock().unwrap().change(Operation::Length(length))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.0.lock().unwrap().change(Operation::Write(offset, data.to_vec()))
    }

    fn sync_data(&self) -> Result<(), Error> {
        let mut state = self.0.lock().unwrap();
        state.operate()?;
        state.remember();
        state.synced = state.bytes.clone();
        state.unsynced.clear();
        state.remember();
        Ok(())
    }
}
