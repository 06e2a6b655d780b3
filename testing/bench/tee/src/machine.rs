//! INSECURE: the simulated machine of phala-core's tests, with a store on a real disk that says how long the disk took, and that
//! can be filled before its first use.

use crate::{bulk::Fill, measure::DiskWait, memory};
use phala_core::{Machine, MachineFault};
use phala_crypto::Secret;
use phala_protocol::ClusterId;
use phala_state::{ClusterStore, Entropy, EntropyError, OpenError, Options, StorageBackend, StorageKey};
use redb::backends::FileBackend;
use std::{
    fs::OpenOptions,
    io,
    ops::Deref,
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

pub use memory::START;

pub struct MemoryMachine {
    simulated: Simulated,
    pub disk: DiskWait,
    /// What its first store begins with.
    pub fill: Mutex<Option<Fill>>,
}

/// The machine of the tests, of whose entropy the store draws too.
#[derive(Clone)]
struct Simulated(Arc<memory::MemoryMachine>);

impl Entropy for Simulated {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        self.0.entropy(buffer).map_err(|_| EntropyError)
    }
}

impl MemoryMachine {
    pub fn new(seed: u64) -> Arc<Self> {
        // Its folder is where benchmarks may write gigabytes: /tmp, or TMPDIR. It must be a disk for a commit to cost what it costs.
        let simulated = Simulated(memory::MemoryMachine::new(seed));
        Arc::new(Self { simulated, disk: DiskWait::default(), fill: Mutex::default() })
    }
}

impl Deref for MemoryMachine {
    type Target = memory::MemoryMachine;

    fn deref(&self) -> &Self::Target {
        &self.simulated.0
    }
}

/// Of one layout, whatever its seed: figures are compared.
impl Machine for MemoryMachine {
    fn evidence(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, MachineFault> {
        self.simulated.0.evidence(report_data)
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), MachineFault> {
        self.simulated.0.entropy(buffer)
    }

    fn keep(&self, name: &str, secret: &Secret<Vec<u8>>) -> Result<(), MachineFault> {
        self.simulated.0.keep(name, secret)
    }

    fn kept(&self, name: &str) -> Result<Option<Secret<Vec<u8>>>, MachineFault> {
        self.simulated.0.kept(name)
    }

    fn open_store(&self, cluster: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError> {
        let path = self.folder().join(format!("cluster-{cluster}.redb"));
        let backend = TimedFile::open(&path, self.disk.clone()).unwrap();
        let entropy = Box::new(self.simulated.clone());
        let store = ClusterStore::open_with_backend(backend, key, entropy, Options::default())?;
        if let Some(fill) = self.fill.lock().unwrap().take() {
            fill.into(&store, cluster);
        }
        Ok(store)
    }

    fn fresh_store(&self, cluster: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError> {
        self.simulated.0.fresh_store(cluster, key)
    }

    fn adopt_store(&self, cluster: ClusterId) -> Result<(), OpenError> {
        self.simulated.0.adopt_store(cluster)
    }
}

/// A file that says how long the disk took to make writes durable, and how much was written.
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
        self.waited.wrote(data.len());
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
