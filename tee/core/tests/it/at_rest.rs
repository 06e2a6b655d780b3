//! What a worker's disk has of the network's keys, byte by byte: nothing, at no time of the worker's life.
//!
//! The worker is the code that ships, on a chain that is played. Looked for are all outputs of the root, of every epoch and for each
//! purpose, and everything that a worker derives of them: each in halves of 16 bytes, so that a whole one is found by either. Looked
//! through are all that its machine keeps, before that is sealed - what an operator's disk has of it is a ciphertext of just this - every
//! file in its folder, the store's as the host can copy it at any time, and what that store holds, opened. Does not: look for keys
//! that are masked, or that an X-Wing seed expands to; or open the ring of storage keys in the store's head, which is sealed under a newer
//! one (`seizure.rs` shows what that gives to whom).
#![allow(clippy::disallowed_methods, reason = "reads a worker's files, as its host can, and plants keys among them")]

use crate::{
    client::Account,
    contract::{code, KEEP},
    machine::MemoryMachine,
    network::{Network, WORKER},
    root::PlayedRoot,
    sealed::{envelope_key, open_store},
};
use phala_core::Machine;
use phala_crypto::{kdf, Secret};
use phala_protocol::{domain, keys::KeyPurpose, ContractId, Epoch};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// Bytes of what is looked for: half a key.
const HALF: usize = 16;
/// Bytes of the pieces in which a file is remembered.
const PIECE: usize = 4_096;

/// Keys, to be found by their halves.
struct Keys {
    halves: BTreeMap<[u8; HALF], String>,
    /// Whether a half begins with these two bytes: what spares almost every look-up.
    begins: Vec<bool>,
}

impl Keys {
    fn none() -> Self {
        Self { halves: BTreeMap::new(), begins: vec![false; 1 << 16] }
    }

    fn beginning(window: &[u8]) -> usize {
        usize::from(u16::from_le_bytes([window[0], window[1]]))
    }

    fn add(&mut self, name: &str, key: &[u8; 32]) {
        for half in key.chunks_exact(HALF) {
            self.begins[Self::beginning(half)] = true;
            let other = self.halves.insert(half.try_into().unwrap(), name.to_owned());
            assert_eq!(other, None, "{name} is not a key of its own");
        }
    }

    /// Of which of them a half is in these bytes.
    fn found<'a>(&self, contents: impl IntoIterator<Item = &'a [u8]>) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        for bytes in contents {
            let windows = bytes.windows(HALF).filter(|window| self.begins[Self::beginning(window)]);
            found.extend(windows.filter_map(|window| self.halves.get(window)).map(String::as_str));
        }
        found
    }
}

/// Everything that lay on a worker's disk at some time, what the machine keeps with its names, and whole files: in pieces, each once, for
/// most of a file stays as it was.
#[derive(Default)]
struct Disk(BTreeSet<Vec<u8>>);

impl Disk {
    fn take(&mut self, bytes: &[u8]) {
        for from in (0..bytes.len()).step_by(PIECE) {
            // What lies across the end of a piece is whole in one of the two.
            let to = bytes.len().min(from + PIECE + HALF - 1);
            self.0.insert(bytes[from..to].to_vec());
        }
    }

    fn note_kept(&mut self, machine: &MemoryMachine) {
        for (name, bytes) in machine.disk() {
            self.take(name.as_bytes());
            self.take(&bytes);
        }
    }

    fn note(&mut self, machine: &MemoryMachine) {
        self.note_kept(machine);
        for file in std::fs::read_dir(machine.folder()).unwrap() {
            self.take(&std::fs::read(file.unwrap().path()).unwrap());
        }
    }

    fn contents(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

/// A cluster with one worker, whose contract keeps something, and draws random bytes, in each epoch.
struct Scene {
    network: Network,
    alice: Account,
    contract: ContractId,
    keys: Keys,
    disk: Disk,
    /// Epochs in which something was written, and their eras.
    written: BTreeMap<Epoch, u32>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut network = Network::ready(seed, 1);
        let mut alice = Account::new(1);
        let contract = network.deploy(&mut alice, &code(), vec![KEEP]);
        let (keys, disk) = (Keys::none(), Disk::default());
        let mut scene = Self { network, alice, contract, keys, disk, written: BTreeMap::new() };
        scene.note();
        scene
    }

    fn note(&mut self) {
        self.disk.note(&self.network.worker().machine);
    }

    /// Looks for what the root of an era gives for an epoch, and for what follows of that.
    fn look_for(&mut self, era: u32, epoch: Epoch) {
        let machine = self.machine_secret();
        for purpose in KeyPurpose::ALL {
            let name = |what: &str| format!("{what} of {purpose:?}, era {era}, epoch {epoch}");
            let output = self.network.insecure_key(era, epoch, purpose);
            let label = match purpose {
                KeyPurpose::Envelope => domain::EPOCH_ENVELOPE,
                KeyPurpose::Storage => domain::EPOCH_STORAGE,
                KeyPurpose::Commit => domain::EPOCH_COMMIT,
                KeyPurpose::Entropy => domain::EPOCH_ENTROPY,
            };
            let derived: Secret<[u8; 32]> = kdf::derive(&output, label, &[]);
            self.keys.add(&name("the root's output"), output.expose());
            self.keys.add(&name("the key"), derived.expose());
            if purpose != KeyPurpose::Storage {
                continue;
            }
            let local: Secret<[u8; 32]> = kdf::derive_for(&derived, domain::STATE_LOCAL, &(epoch, machine.as_slice()));
            self.keys.add(&name("the machine's own key"), local.expose());
            for label in [domain::STATE_ENTRY, domain::STATE_RING, domain::STATE_LOCATOR] {
                let of_rows: Secret<[u8; 32]> = kdf::derive(&local, label, &[]);
                self.keys.add(&name(label.as_str()), of_rows.expose());
            }
        }
    }

    /// What separates this machine's store from every other's.
    fn machine_secret(&self) -> Vec<u8> {
        self.network.worker().machine.sealed("identity-")[64..96].to_vec()
    }

    /// Step by step, noting what is kept after each, and the files at the end of it.
    fn run_until(&mut self, what: &str, done: impl Fn(&Network) -> bool) {
        for _ in 0..200 {
            if done(&self.network) {
                return self.note();
            }
            self.network.step();
            self.disk.note_kept(&self.network.worker().machine);
        }
        panic!("not within 200 steps: {what}; {:?}", self.network.worker().tee().cluster_health());
    }

    /// Until an epoch is open, a command in it, and the few steps in which the worker's store goes over to it.
    fn open_epoch(&mut self, epoch: Epoch) {
        self.run_until("the epoch opens", |network| network.chain.epoch() == epoch);
        self.write();
        for _ in 0..3 {
            self.network.step();
            self.note();
        }
    }

    /// A command in the open epoch, until its result is final.
    fn write(&mut self) {
        let record = self.network.chain.cluster.clone().unwrap();
        let output = self.network.insecure_key(record.era, record.epoch, KeyPurpose::Envelope);
        let public_key = envelope_key(output.expose()).public_key().to_vec();
        assert_eq!(record.envelope_key, public_key, "what is looked for is what the worker has");
        self.written.insert(record.epoch, record.era);
        self.alice.push(&mut self.network, self.contract, vec![KEEP, record.epoch as u8]);
        self.network.settle();
        self.note();
    }

    /// A copy of the store's file.
    fn copy(&self, folder: &tempfile::TempDir) -> PathBuf {
        let copy = folder.path().join("copy");
        std::fs::copy(self.network.worker().machine.folder().join("cluster-0.redb"), &copy).unwrap();
        copy
    }
}

#[test]
fn no_network_key_and_no_half_of_one_lies_on_a_workers_disk() {
    let mut scene = Scene::new(143);
    // Of the first era; the worker may ask for the epoch after the last one too.
    (1..=4).for_each(|epoch| scene.look_for(0, epoch));
    scene.write();
    for epoch in [2, 3] {
        scene.open_epoch(epoch);
    }
    // Of the next, which four gatekeepers have, from the epoch on that opens when the cluster goes over.
    let root = PlayedRoot::deal(143, 1, 3, 4);
    scene.network.chain.hand_over(root.record());
    scene.network.roots.push(root);
    (4..=6).for_each(|epoch| scene.look_for(1, epoch));
    scene.open_epoch(4);
    scene.run_until("the cluster is over", |network| {
        let record = network.chain.cluster.as_ref().unwrap();
        (record.era_before, record.era) == (1, 1) && !network.chain.hands_over() && !record.is_closing()
    });
    scene.open_epoch(5);
    // The process ends, and comes back to its disk.
    scene.network.start(WORKER);
    scene.note();
    scene.run_until("it serves again", |network| network.worker().tee().serving().is_some());
    scene.write();
    assert_eq!(scene.written, BTreeMap::from([(1, 0), (2, 0), (3, 0), (4, 1), (5, 1)]));
    // Seven places of a root, each with eight keys of the four purposes and four of this machine.
    assert_eq!(scene.keys.halves.len(), 7 * (8 + 4) * 2);

    assert_eq!(scene.keys.found(scene.disk.contents()), BTreeSet::new());
    // Nor inside the store, which these very keys open.
    let folder = tempfile::TempDir::new().unwrap();
    let storage = scene.network.insecure_key(1, 5, KeyPurpose::Storage);
    let store = open_store(&scene.copy(&folder), 5, storage.expose(), &scene.machine_secret()).unwrap();
    let view = store.view();
    let entries = view.entries(None, 1_000).unwrap().into_iter().flat_map(|entry| [entry.key, entry.value]);
    let records = view.records().unwrap().into_iter().flat_map(|(key, value)| [key, value]);
    let inside: Vec<Vec<u8>> = entries.chain(records).chain(view.meta().map(<[u8]>::to_vec)).collect();
    assert!(inside.contains(&vec![KEEP, 5]), "it is open");
    assert_eq!(scene.keys.found(inside.iter().map(Vec::as_slice)), BTreeSet::new());

    planted_keys_are_found(&scene);
}

/// Each half by itself; and keys where a worker would write them, through what was looked through above.
fn planted_keys_are_found(scene: &Scene) {
    for (half, name) in &scene.keys.halves {
        let planted = [&[0x5au8; 7][..], half, &[0x5a; 3]].concat();
        assert_eq!(scene.keys.found([planted.as_slice()]), BTreeSet::from([name.as_str()]));
    }
    // What the machine does keep is in what was looked through.
    let machine = &scene.network.worker().machine;
    let mut own = Keys::none();
    for (number, seed) in machine.sealed("identity-").chunks_exact(32).enumerate() {
        own.add(&format!("seed {number} of the identity"), seed.try_into().unwrap());
    }
    assert_eq!(own.found(scene.disk.contents()).len(), 3);

    let key = |epoch, purpose| scene.network.insecure_key(1, epoch, purpose);
    let kept = [&[1u8; 5][..], key(4, KeyPurpose::Entropy).expose()].concat();
    machine.keep("planted", &Secret::new(kept)).unwrap();
    let beside = [&[1u8; 9][..], &key(5, KeyPurpose::Commit).expose()[HALF..]].concat();
    std::fs::write(machine.folder().join("planted"), beside).unwrap();
    // In the store's file, across the end of a piece; a copy of it lies beside it.
    let mut file = std::fs::read(machine.folder().join("cluster-0.redb")).unwrap();
    let from = 2 * PIECE - 1;
    file[from..from + HALF].copy_from_slice(&key(6, KeyPurpose::Storage).expose()[..HALF]);
    std::fs::write(machine.folder().join("cluster-0.old"), file).unwrap();
    let mut disk = Disk::default();
    disk.note(machine);
    let planted = [
        "the root's output of Commit, era 1, epoch 5",
        "the root's output of Entropy, era 1, epoch 4",
        "the root's output of Storage, era 1, epoch 6",
    ];
    assert_eq!(scene.keys.found(disk.contents()), BTreeSet::from(planted));
}
