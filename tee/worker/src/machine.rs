//! The machine behind the logic: quotes, entropy, sealed files and stores of this process.
//!
//! Guarantees: a sealed file is replaced whole and durably (written aside, synced, renamed) or not at all; names come from the logic,
//! never from outside. The host controls the disk: it can withhold or rewind a sealed file, not read or make one.

use crate::{args::MachineArguments, failure::StartFailure};
use codec::Encode;
use phala_attest::Evidence;
use phala_core::{Machine, MachineFault};
use phala_crypto::Secret;
use phala_platform::{ConfigfsTsm, Entropy, KernelEntropy, KeyFileSeal, Quote, QuoteError, Seal};
use phala_protocol::{ClusterId, Hash};
use phala_state::{ClusterStore, EntropyError, OpenError, Options, StorageKey};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// Bytes of a sealed file that are read: more than any sealed blob has.
const MAX_SEALED_BYTES: u64 = 2 * 1024 * 1024;

/// A TEE as Linux or Gramine presents it.
pub(crate) struct PlatformMachine {
    tsm: ConfigfsTsm,
    seal: KeyFileSeal<KernelEntropy>,
    data: PathBuf,
}

impl PlatformMachine {
    pub(crate) fn new(arguments: &MachineArguments, data: &Path) -> Result<Self, StartFailure> {
        Ok(Self {
            tsm: ConfigfsTsm::new(&arguments.tsm),
            seal: KeyFileSeal::new(&arguments.sealing_key, KernelEntropy)?,
            data: data.to_owned(),
        })
    }

    pub(crate) fn quote(&self, report_data: &[u8; 64]) -> Result<Evidence, QuoteError> {
        Ok(self.tsm.quote(report_data)?.evidence)
    }

    fn sealed_path(&self, name: &str) -> PathBuf {
        self.data.join(format!("{name}.sealed"))
    }

    fn write_whole(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (path, aside) = (self.sealed_path(name), self.data.join(format!("{name}.sealed.new")));
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, &path)?;
        File::open(&self.data)?.sync_all()
    }
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
        let sealed = self.seal.seal(name, secret.expose()).map_err(|error| MachineFault::Sealing(Box::new(error)))?;
        self.write_whole(name, &sealed).map_err(|error| MachineFault::Sealing(Box::new(error)))
    }

    fn kept(&self, name: &str) -> Result<Option<Secret<Vec<u8>>>, MachineFault> {
        let sealed = match File::open(self.sealed_path(name)).and_then(read_bounded) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(MachineFault::Sealing(Box::new(error))),
        };
        let opened = self.seal.open(name, &sealed).map_err(|error| MachineFault::Sealing(Box::new(error)))?;
        Ok(Some(Secret::new(opened.to_vec())))
    }

    fn open_store(&self, cluster: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError> {
        let path = self.data.join(format!("cluster-{cluster}.store"));
        ClusterStore::open(path, key, Box::new(StoreEntropy), Options::default())
    }
}

/// All bytes of a sealed file, and not many more than one can have: a host that put a huge one there gets an error of unsealing.
fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_SEALED_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The kernel's entropy for a store.
struct StoreEntropy;

impl phala_state::Entropy for StoreEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        KernelEntropy.fill(buffer).map_err(|_| EntropyError)
    }
}

/// The measurement that evidence claims. Nobody has verified it.
pub(crate) fn claimed_measurement(evidence: &Evidence) -> Result<Hash, phala_attest::DecodeError> {
    match evidence {
        Evidence::TdxDcap(quote) => Ok(phala_attest::measurement(&phala_attest::decode_quote(quote)?.report)),
    }
}
