//! INSECURE: a simulated machine that "seals" into a map, and keeps its store on a disk that can fail.
//!
//! Guarantees: quotes are genuine in format and verify under the development root; entropy follows from the seed. Whoever drives
//! the simulation controls the disk and whether there is entropy.

use crate::{canary::Canaries, disk::Disk, random::Seeded};
use codec::Encode;
use phala_attest::Evidence;
use phala_core::{Machine, MachineFault};
use phala_crypto::Secret;
use phala_insecure_tee::InsecureMachine;
use phala_protocol::{ClusterId, Hash};
use phala_state::{
    testing::{alter_longest_row, FileKey},
    ClusterStore, Entropy, OpenError, Options, StorageKey,
};
use std::{
    collections::BTreeMap,
    io::{Error, ErrorKind},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// Chain time at which everything begins, in Unix seconds.
pub const START: u64 = 1_790_000_000;
/// Machines that a simulation has at most.
pub const MAX_MACHINES: usize = 6;

/// The processors, made once: their certificates cost more than a short simulation.
fn processors() -> &'static [InsecureMachine] {
    static MADE: OnceLock<Vec<InsecureMachine>> = OnceLock::new();
    MADE.get_or_init(|| {
        let machine = |index| InsecureMachine::new(&format!("machine {index}"), b"phala-worker", START);
        (0..MAX_MACHINES).map(|index| machine(index).expect("certificates of the simulation")).collect()
    })
}

/// What the binary on every machine measures to.
pub fn measurement() -> Hash {
    processors()[0].measurement()
}

/// Collateral that is good around `now`, as a relayer fetches it.
pub fn collateral(now: u64) -> Vec<u8> {
    static FIRST: OnceLock<Vec<u8>> = OnceLock::new();
    // It is good for 29 days; within the first few nothing is made anew.
    if now < START + 20 * 86_400 {
        return FIRST.get_or_init(|| processors()[0].collateral().encode()).clone();
    }
    let machine = InsecureMachine::new("machine 0", b"phala-worker", now).expect("certificates of the simulation");
    machine.collateral().encode()
}

/// A machine: what outlives its process.
pub struct SimMachine {
    index: usize,
    /// Its entropy.
    pub entropy: Seeded,
    /// Its disk.
    pub disk: Disk,
    /// The file beside, in which a store is begun that takes the place of the one on the disk.
    fresh: Disk,
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
    /// INSECURE: the key of its files' tags, since a store was opened.
    file_key: Mutex<Option<FileKey>>,
}

impl SimMachine {
    /// Machine `index` of the simulation of `seed`.
    pub fn new(seed: u64, index: usize) -> Arc<Self> {
        let entropy = Seeded::new(seed.wrapping_mul(1_000_003).wrapping_add(index as u64));
        let (disk, fresh) = (Disk::default(), Disk::default());
        Arc::new(Self { index, entropy, disk, fresh, kept: Mutex::default(), file_key: Mutex::default() })
    }

    fn open_on(&self, disk: &Disk, key: StorageKey) -> Result<ClusterStore, OpenError> {
        let options = Options { file_cache_bytes: 4 << 20, tree_cache_bytes: 4 << 20, ..Options::default() };
        *self.file_key.lock().unwrap_or_else(PoisonError::into_inner) = Some(FileKey::of(&key));
        ClusterStore::open_with_backend(disk.open(), key, Box::new(self.entropy.clone()), options)
    }

    /// What all writes to its files are searched for.
    pub fn watch(&self, canaries: &Canaries) {
        self.disk.watch(canaries.clone());
        self.fresh.watch(canaries.clone());
    }

    /// The canary that stood in one write at any time.
    pub fn leaked_in_writes(&self) -> Option<String> {
        self.disk.leaked_in_writes().or_else(|| self.fresh.leaked_in_writes())
    }

    /// Flips a bit of the longest row on its disk and mends tags and checksums, as a host who knows its secret does. Whether there was one:
    /// nothing is altered of a disk that fails, or of a file that is damaged already or was never opened.
    pub fn alter_longest_row(&self) -> bool {
        let key = self.file_key.lock().unwrap_or_else(PoisonError::into_inner);
        key.as_ref().is_some_and(|key| matches!(alter_longest_row(self.disk.open(), key), Ok(Some(_))))
    }

    /// INSECURE: all that it keeps "sealed".
    pub fn insecure_kept(&self) -> Vec<Vec<u8>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Machine for SimMachine {
    fn evidence(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, MachineFault> {
        let quote = processors()[self.index].quote(*report_data);
        let quote = quote.try_into().map_err(|_| MachineFault::Evidence("the quote is too long".into()))?;
        Ok(Evidence::TdxDcap(quote).encode())
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), MachineFault> {
        self.entropy.fill(buffer).map_err(|error| MachineFault::Entropy(Box::new(error)))
    }

    fn keep(&self, name: &str, secret: &Secret<Vec<u8>>) -> Result<(), MachineFault> {
        if self.disk.is_full() {
            return Err(MachineFault::Sealing(Box::new(Error::from(ErrorKind::StorageFull))));
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(name.to_owned(), secret.expose().clone());
        Ok(())
    }

    fn kept(&self, name: &str) -> Result<Option<Secret<Vec<u8>>>, MachineFault> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kept.get(name).cloned().map(Secret::new))
    }

    fn open_store(&self, _: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError> {
        self.open_on(&self.disk, key)
    }

    fn fresh_store(&self, _: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError> {
        // Both files are on one disk.
        self.fresh.fail_like(&self.disk);
        self.fresh.replace(Vec::new());
        self.open_on(&self.fresh, key)
    }

    fn adopt_store(&self, _: ClusterId) -> Result<(), OpenError> {
        self.disk.replace(self.fresh.copy());
        Ok(())
    }
}
