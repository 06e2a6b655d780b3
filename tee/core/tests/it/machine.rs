//! INSECURE: a simulated machine that keeps its "sealed" secrets in a map and its store in a temporary folder.

use codec::Encode;
use phala_attest::Evidence;
use phala_core::{Layout, Machine, MachineFault};
use phala_crypto::Secret;
use phala_insecure_tee::InsecureMachine;
use phala_light_client::testing::TestRandom;
use phala_protocol::ClusterId;
use phala_state::{ClusterStore, Entropy, EntropyError, OpenError, Options, StorageFault, StorageKey};
use std::{
    collections::BTreeMap,
    io::{Error, ErrorKind},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        Arc, Mutex,
    },
};
use tempfile::TempDir;

/// Chain time at which everything begins, in seconds.
pub const START: u64 = 1_790_000_000;

/// INSECURE: entropy that follows from a number.
#[derive(Clone)]
pub struct Seeded(Arc<Mutex<TestRandom>>);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(TestRandom::new(seed))))
    }

    fn fill_all(&self, buffer: &mut [u8]) {
        let mut random = self.0.lock().unwrap();
        for chunk in buffer.chunks_mut(32) {
            chunk.copy_from_slice(&random.bytes()[..chunk.len()]);
        }
    }
}

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        self.fill_all(buffer);
        Ok(())
    }
}

pub struct MemoryMachine {
    simulated: InsecureMachine,
    random: Seeded,
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
    drawn: Mutex<Vec<[u8; 32]>>,
    folder: TempDir,
    layout: Layout,
    /// The file that the host puts in the place of the next store that is adopted.
    pub swapped: Mutex<Option<PathBuf>>,
    /// Nothing can be kept or forgotten.
    pub disk_full: AtomicBool,
    /// How often the file of its store was tried, which reads all of it.
    pub tried: AtomicUsize,
}

impl MemoryMachine {
    /// Every second one is laid out as an enclave, so that replicas of one cluster differ in that.
    pub fn new(seed: u64) -> Arc<Self> {
        Self::of(seed, b"phala-worker")
    }

    /// One that claims to run another program, and so measures something else.
    pub fn of(seed: u64, program: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            simulated: InsecureMachine::new(&format!("machine {seed}"), program, START).unwrap(),
            random: Seeded::new(seed),
            kept: Mutex::default(),
            drawn: Mutex::default(),
            folder: TempDir::new().unwrap(),
            layout: if seed.is_multiple_of(2) { Layout::Compact } else { Layout::Wide },
            swapped: Mutex::default(),
            disk_full: AtomicBool::new(false),
            tried: AtomicUsize::new(0),
        })
    }

    /// Everything that it keeps, for [`Self::rewind`].
    pub fn disk(&self) -> BTreeMap<String, Vec<u8>> {
        self.kept.lock().unwrap().clone()
    }

    /// Its host puts an older disk back.
    pub fn rewind(&self, disk: BTreeMap<String, Vec<u8>>) {
        *self.kept.lock().unwrap() = disk;
    }

    /// INSECURE: what the logic drew of 32 bytes at a time, which no machine keeps.
    pub fn insecure_drawn(&self) -> Vec<[u8; 32]> {
        self.drawn.lock().unwrap().clone()
    }

    fn write(&self) -> Result<(), MachineFault> {
        let full = self.disk_full.load(SeqCst);
        (!full).then_some(()).ok_or_else(|| MachineFault::Sealing(Box::new(Error::from(ErrorKind::StorageFull))))
    }

    pub fn measurement(&self) -> [u8; 32] {
        self.simulated.measurement()
    }

    pub fn collateral(&self) -> Vec<u8> {
        self.simulated.collateral().encode()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it keeps under a name that begins with `prefix`.
    pub fn sealed(&self, prefix: &str) -> Vec<u8> {
        let kept = self.kept.lock().unwrap();
        kept.iter().find(|(name, _)| name.starts_with(prefix)).map(|(_, bytes)| bytes.clone()).unwrap()
    }
}

impl Machine for MemoryMachine {
    fn evidence(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, MachineFault> {
        Ok(Evidence::TdxDcap(self.simulated.quote(*report_data).try_into().unwrap()).encode())
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), MachineFault> {
        self.random.fill_all(buffer);
        self.drawn.lock().unwrap().extend(<[u8; 32]>::try_from(&*buffer));
        Ok(())
    }

    fn keep(&self, name: &str, secret: &Secret<Vec<u8>>) -> Result<(), MachineFault> {
        self.write()?;
        self.kept.lock().unwrap().insert(name.to_owned(), secret.expose().clone());
        Ok(())
    }

    fn forget(&self, name: &str) -> Result<(), MachineFault> {
        self.write()?;
        self.kept.lock().unwrap().remove(name);
        Ok(())
    }

    fn kept(&self, name: &str) -> Result<Option<Secret<Vec<u8>>>, MachineFault> {
        Ok(self.kept.lock().unwrap().get(name).cloned().map(Secret::new))
    }

    fn open_store(&self, cluster: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError> {
        self.tried.fetch_add(1, SeqCst);
        let path = self.folder.path().join(format!("cluster-{cluster}.redb"));
        ClusterStore::open(path, key, Box::new(self.random.clone()), Options::default())
    }

    fn fresh_store(&self, cluster: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError> {
        let path = self.folder.path().join(format!("cluster-{cluster}.fresh"));
        if let Err(error) = std::fs::remove_file(&path) {
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        ClusterStore::open(path, key, Box::new(self.random.clone()), Options::default())
    }

    fn adopt_store(&self, cluster: ClusterId) -> Result<(), OpenError> {
        let path = |kind: &str| self.folder.path().join(format!("cluster-{cluster}.{kind}"));
        if self.disk_full.load(SeqCst) {
            return Err(OpenError::Storage(StorageFault::Full));
        }
        let adopted = std::fs::rename(path("fresh"), path("redb"));
        let adopted = adopted.and_then(|()| match self.swapped.lock().unwrap().take() {
            Some(other) => std::fs::rename(other, path("redb")),
            None => Ok(()),
        });
        adopted.map_err(|error| OpenError::Storage(StorageFault::Io(error)))
    }

    fn layout(&self) -> Layout {
        self.layout
    }
}
