//! What is sealed under the keys of one epoch, and whether somebody's 32 bytes open it.
//!
//! Every attempt takes bytes as the output of the root for each purpose: whoever tries may confuse them. Without entropy keys, which seal
//! nothing by themselves.

use crate::machine::Seeded;
use codec::Encode;
use phala_crypto::{
    aead::SivKey,
    envelope::{open_envelope, seal_envelope, Destination},
    kdf,
    xwing::{DecapsulationKey, EncapsulationKey},
    Secret,
};
use phala_protocol::{
    domain,
    envelope::{Envelope, EnvelopeKind, SizeClass},
    hash::blake2_256,
    keys::KeyPurpose,
    result::Boundary,
    snapshot::{SnapshotHeader, SnapshotPart},
    ClusterId, ContractId, Epoch, Hash,
};
use phala_state::{ClusterStore, OpenError, Options, StorageKey};
use std::path::{Path, PathBuf};

/// What whoever tries knows of the machine of [`Sealed`]: only the network's part of its storage key is missing.
const MACHINE: &[u8] = b"a machine";
const CONTRACT: ContractId = ContractId([6; 32]);

/// The pair of an epoch of which the root gives `output` for envelopes.
pub fn envelope_key(output: &[u8; 32]) -> DecapsulationKey {
    DecapsulationKey::from_seed(&kdf::derive(&Secret::new(*output), domain::EPOCH_ENVELOPE, &[]))
}

/// Whether the root's output for envelopes opens this one where its header says that it belongs.
pub fn opens_envelope(genesis: &Hash, envelope: &Envelope, output: &[u8; 32]) -> bool {
    let destination = Destination { genesis: *genesis, cluster: envelope.header.cluster, epoch: envelope.header.epoch };
    open_envelope(&envelope_key(output), &destination, envelope).is_ok()
}

/// Opens a machine's file that is under the keys of `epoch`, by the root's output for storage. None when the keys are wrong.
pub fn open_store(path: &Path, epoch: Epoch, output: &[u8; 32], machine: &[u8]) -> Option<ClusterStore> {
    let storage = kdf::derive(&Secret::new(*output), domain::EPOCH_STORAGE, &[]);
    let options = Options { file_cache_bytes: 1 << 20, tree_cache_bytes: 1 << 20, ..Options::default() };
    let key = StorageKey::derive(epoch, &storage, machine);
    match ClusterStore::open(path, key, Box::new(Seeded::new(1)), options) {
        Ok(store) => Some(store),
        Err(OpenError::Integrity(_)) => None,
        Err(error) => panic!("the store of epoch {epoch} was not tried: {error}"),
    }
}

/// The key of a snapshot's parts, of its epoch's storage key: a second implementation, as all that follows of parts.
fn snapshot_key(header: &SnapshotHeader, storage: &Secret<[u8; 32]>) -> SivKey {
    SivKey::new(&kdf::derive(storage, domain::SNAPSHOT_KEY, &header.encode()))
}

fn snapshot_nonce(index: u32, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&index.to_le_bytes());
    nonce[4] = u8::from(last);
    nonce
}

/// Seals a snapshot of one part, filled up to `bytes`, as whoever has the epoch's storage key can.
pub fn insecure_part(header: SnapshotHeader, storage: &Secret<[u8; 32]>, stream: &[u8], bytes: usize) -> SnapshotPart {
    let mut plaintext = [&(stream.len() as u32).to_le_bytes()[..], stream].concat();
    plaintext.resize(bytes, 0);
    let key = snapshot_key(&header, storage);
    let sealed = key.seal(&snapshot_nonce(0, true), &(header, 0u32, true).encode(), &plaintext).unwrap();
    SnapshotPart { header, index: 0, last: true, sealed }
}

/// Whether a part opens, at its place in its snapshot, under its epoch's storage key.
pub fn part_opens(part: &SnapshotPart, storage: &Secret<[u8; 32]>) -> bool {
    let SnapshotPart { header, index, last, sealed } = part;
    let associated = (header, index, last).encode();
    snapshot_key(header, storage).open(&snapshot_nonce(*index, *last), &associated, sealed).is_ok()
}

/// Whether the root's output for storage opens a part of a snapshot. No machine has a part in that key.
pub fn opens_snapshot(part: &SnapshotPart, output: &[u8; 32]) -> bool {
    part_opens(part, &kdf::derive(&Secret::new(*output), domain::EPOCH_STORAGE, &[]))
}

/// An envelope, a commitment of a state that anybody could guess, a store, and a snapshot. That one is shorter than those of a worker:
/// its key is what is tried, thousands of times.
pub struct Sealed {
    pub cluster: ClusterId,
    pub epoch: Epoch,
    genesis: Hash,
    envelope: Envelope,
    commitment: Hash,
    store: PathBuf,
    snapshot: SnapshotPart,
}

impl Sealed {
    /// Seals under what `key` says that the root gives, with a store in a new file.
    pub fn new(
        genesis: &Hash,
        (era, cluster, epoch): (u32, ClusterId, Epoch),
        key: impl Fn(KeyPurpose) -> [u8; 32],
        store: PathBuf,
    ) -> Self {
        let recipient = EncapsulationKey::from_bytes(envelope_key(&key(KeyPurpose::Envelope)).public_key()).unwrap();
        let destination = Destination { genesis: *genesis, cluster, epoch };
        let (plain, size) = (b"a command", SizeClass::holding(9).unwrap());
        let (envelope, _) =
            seal_envelope(&recipient, &destination, EnvelopeKind::Call, size, plain, &[0x5e; 64]).unwrap();
        let opened = open_store(&store, epoch, &key(KeyPurpose::Storage), MACHINE).unwrap();
        let mut batch = opened.begin();
        batch.set(&CONTRACT, b"balance", b"271828".to_vec()).unwrap();
        opened.commit(batch, Vec::new(), Vec::new()).unwrap();
        let commitment = Self::commit(&key(KeyPurpose::Commit));
        let boundary = Boundary { block: 9, count: 1, link: [9; 32] };
        let header = SnapshotHeader { cluster, era, epoch, boundary, salt: [0x5a; 32] };
        let storage = kdf::derive(&Secret::new(key(KeyPurpose::Storage)), domain::EPOCH_STORAGE, &[]);
        let snapshot = insecure_part(header, &storage, b"balance: 271828", 64);
        Self { cluster, epoch, genesis: *genesis, envelope, commitment, store, snapshot }
    }

    fn commit(output: &[u8; 32]) -> Hash {
        let key: Secret<[u8; 32]> = kdf::derive(&Secret::new(*output), domain::EPOCH_COMMIT, &[]);
        kdf::hmac_commit(&key, domain::COMMITMENT, &blake2_256(b"a vote: yes"))
    }

    /// What of it the root's output opens that is tried for every purpose. Stores only if so: they take milliseconds.
    pub fn opened(&self, tried: &[u8; 32], stores: bool) -> Vec<&'static str> {
        let mut opened = Vec::new();
        if opens_envelope(&self.genesis, &self.envelope, tried) {
            opened.push("envelope");
        }
        if Self::commit(tried) == self.commitment {
            opened.push("commitment");
        }
        if opens_snapshot(&self.snapshot, tried) {
            opened.push("snapshot");
        }
        if stores && open_store(&self.store, self.epoch, tried, MACHINE).is_some() {
            opened.push("store");
        }
        opened
    }

    /// Whether what `key` says that the root gives opens all of it, each by its own purpose's and the snapshot where the store opens: that
    /// it is sealed as it should be.
    pub fn opens_by(&self, key: impl Fn(KeyPurpose) -> [u8; 32]) -> bool {
        let opened = |purpose| self.opened(&key(purpose), true);
        opened(KeyPurpose::Envelope) == ["envelope"]
            && opened(KeyPurpose::Commit) == ["commitment"]
            && opened(KeyPurpose::Storage) == ["snapshot", "store"]
    }
}
