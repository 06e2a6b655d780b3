//! INSECURE: the simulated machine of phala-core's tests, with a store on a real disk that says how long the disk took, and that
//! can be filled before its first use.

use crate::{bulk::Fill, measure::DiskWait};
use codec::Encode;
use phala_attest::Evidence;
use phala_core::{Machine, MachineFault};
use phala_crypto::Secret;
use phala_insecure_tee::InsecureMachine;
use phala_light_client::testing::TestRandom;
use phala_protocol::ClusterId;
use phala_state::{ClusterStore, Entropy, EntropyError, OpenError, Options, StorageBackend, StorageKey};
use redb::backends::FileBackend;
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};
use tempfile::TempDir;

/// Chain time at which everything begins, in seconds.
pub const START: u64 = 1_790_000_000;

#[derive(Clone)]
struct Seeded(Arc<Mutex<TestRandom>>);

impl Seeded {
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
    folder: TempDir,
    pub disk: DiskWait,
    /// What its first store begins with.
    pub fill: Mutex<Option<Fill>>,
}

impl MemoryMachine {
    pub fn new(seed: u64) -> Arc<Self> {
        // Where benchmarks may write gigabytes: /tmp, or TMPDIR. It must be a disk for a commit to cost what it costs.
        let folder = TempDir::new().unwrap();
        Arc::new(Self {
            simulated: InsecureMachine::new(&format!("machine {seed}"), b"phala-worker", START).unwrap(),
            random: Seeded(Arc::new(Mutex::new(TestRandom::new(seed)))),
            kept: Mutex::default(),
            folder,
            disk: DiskWait::default(),
            fill: Mutex::default(),
        })
    }

    pub fn measurement(&self) -> [u8; 32] {
        self.simulated.measurement()
    }

    pub fn collateral(&self) -> Vec<u8> {
        self.simulated.collateral().encode()
    }

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
        Ok(())
    }

    fn keep(&self, name: &str, secret: &Secret<Vec<u8>>) -> Result<(), MachineFault> {
        self.kept.lock().unwrap().insert(name.to_owned(), secret.expose().clone());
        Ok(())
    }

    fn kept(&self, name: &str) -> Result<Option<Secret<Vec<u8>>>, MachineFault> {
        Ok(self.kept.lock().unwrap().get(name).cloned().map(Secret::new))
    }

    fn open_store(&self, cluster: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError> {
        let path = self.folder.path().join(format!("cluster-{cluster}.redb"));
        let backend = TimedFile::open(&path, self.disk.clone()).unwrap();
        let store = ClusterStore::open_with_backend(backend, key, Box::new(self.random.clone()), Options::default())?;
        if let Some(fill) = self.fill.lock().unwrap().take() {
            fill.into(&store, cluster);
        }
        Ok(store)
    }
}

/// A file that says how long the disk took to make writes durable.
#[derive(Debug)]
pub struct TimedFile {
    file: FileBackend,
    waited: DiskWait,
}

impl TimedFile {
    pub fn open(path: &Path, waited: DiskWait) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Self { file: FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?, waited })
    }
}

impl StorageBackend for TimedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let start = Instant::now();
        let done = self.file.sync_data();
        self.waited.add(start.elapsed());
        done
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
