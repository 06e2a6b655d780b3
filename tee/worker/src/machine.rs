//! The machine behind the logic: quotes, entropy, kept secrets and stores of this process.
//!
//! Guarantees: which TEE is used is found out or named at the start, said in the log, and never changed; what is kept goes to the
//! backend that this TEE has. Names come from the logic, never from outside. The host controls the disk: it can withhold or rewind a
//! sealed file, not read or make one.

use crate::{
    args::{MachineArguments, TeeArgument},
    failure::StartFailure,
};
use codec::Encode;
use phala_attest::Evidence;
use phala_core::{Layout, Machine, MachineFault};
use phala_crypto::Secret;
use phala_platform::{
    ConfigfsTsm, Entropy, HostClock, Keep, KernelEntropy, KeyFileSeal, Quote, QuoteError, Quotes, Readmission,
    SealedFiles, Technology,
};
use phala_protocol::{ClusterId, Hash};
use phala_state::{ClusterStore, EntropyError, OpenError, Options, StorageFault, StorageKey};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};
use tracing::{info, warn};

/// What a store's file is called, after its cluster.
const STORE: &str = "store";
/// The same of one that is begun beside, and takes its place when it is whole.
const FRESH_STORE: &str = "store.new";
/// The folder of stores that nobody can open after the process that made them: their key ends with its identity.
const ONE_LIFE: &str = "one-life";
/// Beside it, so that it outlasts it: held by the process whose stores are in that folder.
const ONE_LIFE_LOCK: &str = "one-life.lock";

/// A TEE as Linux or Gramine presents it.
pub(crate) struct PlatformMachine {
    quotes: Quotes,
    keep: Box<dyn Keep>,
    stores: PathBuf,
    /// Where nothing is kept over a restart: while this lives, no other process empties the stores.
    _life: Option<File>,
    has_named_key: bool,
    layout: Layout,
}

impl PlatformMachine {
    /// The machine that is named or found. `compact_engine` asks for an enclave's layout of the engine on any; none is asked for the other.
    pub(crate) fn new(arguments: &MachineArguments, compact_engine: bool, data: &Path) -> Result<Self, StartFailure> {
        let (technology, quotes) = choose(arguments, Path::new("/"))?;
        let layout = layout(technology, compact_engine);
        let key = arguments.sealing_key.clone().or_else(|| technology.sealing_key(Path::new("/")));
        let survives = key.is_some();
        let keep: Box<dyn Keep> = match key {
            Some(key) => Box::new(SealedFiles::new(KeyFileSeal::new(key, KernelEntropy)?, data)),
            None => Box::new(Readmission),
        };
        let (stores, life) = if survives {
            (data.to_owned(), None)
        } else {
            let (stores, lock) = new_life(data)?;
            (stores, Some(lock))
        };
        remove_fresh_stores(&stores).map_err(|source| StartFailure::Data { path: stores.clone(), source })?;
        info!(
            tee = technology.name(),
            found =
                if arguments.tsm.is_some() || arguments.tee != TeeArgument::Auto { "named" } else { "by its files" },
            secrets = if survives { "sealed" } else { "not kept: admitted anew after each start" },
            entropy = KernelEntropy::SOURCE,
            clock = HostClock::SOURCE,
            "machine"
        );
        Ok(Self { quotes, keep, stores, _life: life, has_named_key: arguments.sealing_key.is_some(), layout })
    }

    fn store(&self, cluster: ClusterId, kind: &str) -> PathBuf {
        self.stores.join(format!("cluster-{cluster}.{kind}"))
    }

    pub(crate) fn quote(&self, report_data: &[u8; 64]) -> Result<Evidence, QuoteError> {
        self.quotes.quote(report_data)?.evidence()
    }

    /// Whether it seals with a key that the operator named, and may read.
    pub(crate) fn has_named_key(&self) -> bool {
        self.has_named_key
    }

    /// Whether what it keeps is there again after a restart.
    pub(crate) fn survives_restart(&self) -> bool {
        self.keep.survives_restart()
    }
}

/// How the engine is laid out: where the host has the page tables no fault may decide anything, and no word of an operator changes that.
fn layout(technology: Technology, compact_engine: bool) -> Layout {
    if compact_engine || !technology.has_own_page_tables() {
        Layout::Compact
    } else {
        Layout::Wide
    }
}

/// The technology, and who makes its quotes.
fn choose(arguments: &MachineArguments, root: &Path) -> Result<(Technology, Quotes), StartFailure> {
    if let Some(directory) = &arguments.tsm {
        return Ok((Technology::TdxGuest, Quotes::Tsm(ConfigfsTsm::new(directory))));
    }
    let technology = match arguments.tee {
        TeeArgument::Auto => Technology::detect(root)?,
        TeeArgument::Sgx => Technology::SgxGramine,
        TeeArgument::Tdx => Technology::TdxGuest,
    };
    Ok((technology, technology.quotes(root)?))
}

/// An empty folder for stores, and the lock that keeps it for this process. What an earlier process left in it cannot be opened any more,
/// by anybody; one that still runs keeps what it has. The lock is against an operator's mistake: a host that wants to can empty
/// any folder.
fn new_life(data: &Path) -> Result<(PathBuf, File), StartFailure> {
    let path = data.join(ONE_LIFE);
    let failed = |source| StartFailure::Data { path: path.clone(), source };
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(data.join(ONE_LIFE_LOCK));
    let lock = lock.map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StartFailure::DataInUse(data.to_owned())),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    match std::fs::remove_dir_all(&path) {
        Ok(()) => warn!(path = %path.display(), "removed the state of an earlier start, whose keys are gone"),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    std::fs::create_dir_all(&path).map_err(failed)?;
    Ok((path, lock))
}

/// Removes stores that an earlier process began beside another and did not finish: nobody goes on with them.
fn remove_fresh_stores(stores: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(stores)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("cluster-") && name.ends_with(FRESH_STORE) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn storage_failed(error: io::Error) -> OpenError {
    OpenError::Storage(StorageFault::Io(error))
}

impl Machine for PlatformMachine {
    fn evidence(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, MachineFault> {
        let evidence = self.quote(report_data).map_err(|error| MachineFault::Evidence(Box::new(error)))?;
        Ok(evidence.encode())
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), MachineFault> {
        KernelEntropy.fill(buffer).map_err(|error| MachineFault::Entropy(Box::new(error)))
    }

    fn keep(&self, name: &str, secret: &Secret<Vec<u8>>) -> Result<(), MachineFault> {
        self.keep.keep(name, secret.expose()).map_err(|error| MachineFault::Sealing(Box::new(error)))
    }

    fn kept(&self, name: &str) -> Result<Option<Secret<Vec<u8>>>, MachineFault> {
        let kept = self.keep.kept(name).map_err(|error| MachineFault::Sealing(Box::new(error)))?;
        Ok(kept.map(|bytes| Secret::new(bytes.to_vec())))
    }

    fn forget(&self, name: &str) -> Result<(), MachineFault> {
        self.keep.forget(name).map_err(|error| MachineFault::Sealing(Box::new(error)))
    }

    fn open_store(&self, cluster: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError> {
        ClusterStore::open(self.store(cluster, STORE), key, Box::new(StoreEntropy), Options::default())
    }

    fn fresh_store(&self, cluster: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError> {
        let path = self.store(cluster, FRESH_STORE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(storage_failed(error)),
            _ => {}
        }
        ClusterStore::open(path, key, Box::new(StoreEntropy), Options::default())
    }

    /// Renamed, and the folder synced: the store's own commits have synced the file. What still has the former file open, such as a
    /// query that is being answered, keeps it until it is closed.
    fn adopt_store(&self, cluster: ClusterId) -> Result<(), OpenError> {
        std::fs::rename(self.store(cluster, FRESH_STORE), self.store(cluster, STORE)).map_err(storage_failed)?;
        File::open(&self.stores).and_then(|folder| folder.sync_all()).map_err(storage_failed)
    }

    fn layout(&self) -> Layout {
        self.layout
    }
}

/// The kernel's entropy for a store.
struct StoreEntropy;

impl phala_state::Entropy for StoreEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        KernelEntropy.fill(buffer).map_err(|_| EntropyError)
    }
}

/// Evidence over report data of zeros: about this machine, and about nothing that runs on it.
pub(crate) fn evidence(arguments: &MachineArguments) -> Result<Evidence, StartFailure> {
    let (_, quotes) = choose(arguments, Path::new("/"))?;
    Ok(quotes.quote(&[0; 64])?.evidence()?)
}

/// The measurement that evidence claims. Nobody has verified it.
pub(crate) fn claimed_measurement(evidence: &Evidence) -> Result<Hash, phala_attest::DecodeError> {
    phala_attest::claimed_measurement(evidence)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_enclave_has_the_compact_engine_whatever_its_operator_says() {
        for compact_engine in [false, true] {
            assert_eq!(layout(Technology::SgxGramine, compact_engine), Layout::Compact);
        }
        assert_eq!(layout(Technology::TdxGuest, false), Layout::Wide);
        assert_eq!(layout(Technology::TdxGuest, true), Layout::Compact);
    }

    /// Bytes that a manifest's setting says: a number and a unit.
    fn bytes(manifest: &str, setting: &str) -> u64 {
        let value = manifest.lines().find_map(|line| line.strip_prefix(setting)).unwrap();
        let value = value.trim_start_matches([' ', '=']).trim_matches('"');
        let (number, unit) = value.split_at(value.len() - 1);
        number.parse::<u64>().unwrap()
            << match unit {
                "G" => 30,
                "M" => 20,
                other => panic!("{other}"),
            }
    }

    /// An enclave has room for the engine and for all that the page says the rest of the worker needs.
    #[test]
    fn the_engine_fits_the_enclave_of_the_manifest() {
        let manifest = include_str!("../../../deploy/sgx/phala-worker.manifest.template");
        let page = include_str!("../../../deploy/sgx/README.md");
        let size = bytes(manifest, "sgx.enclave_size");
        let rest = (2u64 << 30) + bytes(manifest, "sys.brk.max_size");
        assert!(page.contains("| everything else | 2 GiB |"));
        assert!(Layout::Compact.reserved_bytes() + rest <= size, "{}", Layout::Compact.reserved_bytes());
        assert!(Layout::Wide.reserved_bytes() > size, "then an enclave needs no layout of its own");
        let stated = format!(
            "| slots of the contract engine | {:.2} GiB |",
            Layout::Compact.reserved_bytes() as f64 / (1u64 << 30) as f64
        );
        assert!(page.contains(&stated), "{stated}");
    }

    /// What lies beside the stores is removed only if it is an unfinished one.
    #[test]
    fn a_store_that_was_begun_and_not_finished_is_removed_at_the_start() {
        let data = tempfile::tempdir().unwrap();
        let path = |name: &str| data.path().join(name);
        for name in ["cluster-0.store", "cluster-0.store.new", "cluster-12.store.new", "identity.sealed.new"] {
            std::fs::write(path(name), b"bytes").unwrap();
        }
        remove_fresh_stores(data.path()).unwrap();
        assert!(path("cluster-0.store").exists() && path("identity.sealed.new").exists());
        assert!(!path("cluster-0.store.new").exists() && !path("cluster-12.store.new").exists());
    }

    #[test]
    fn a_second_start_takes_nothing_from_a_first_that_runs() {
        let data = tempfile::tempdir().unwrap();
        let (stores, lock) = new_life(data.path()).unwrap();
        let store = stores.join("cluster-0.store");
        std::fs::write(&store, b"of the first").unwrap();
        for _ in 0..2 {
            let refused = new_life(data.path()).unwrap_err();
            assert!(matches!(&refused, StartFailure::DataInUse(path) if path == data.path()), "{refused}");
            assert_eq!(std::fs::read(&store).unwrap(), b"of the first");
        }
        drop(lock);
        let (again, _lock) = new_life(data.path()).unwrap();
        assert_eq!(again, stores);
        assert!(!store.exists(), "the first has ended, and nobody can open what it left");
    }
}
