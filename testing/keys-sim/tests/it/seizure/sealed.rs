//! What is sealed under the keys of one place, and what of it somebody's outputs open.

use super::{outputs, Era, Outputs, Place};
use codec::Encode;
use phala_crypto::{
    aead::SivKey,
    envelope::{open_envelope, seal_envelope},
    hpke, kdf,
    prf::KeyShare,
    xwing::{DecapsulationKey, EncapsulationKey},
    Secret,
};
use phala_keys_sim::{invariants::Holder, members::GENESIS, random::Random};
use phala_protocol::{
    call::{Call, CallPurpose, SignedCall},
    chain_state::RootRecord,
    domain,
    envelope::{Envelope, EnvelopeKind, SizeClass},
    gas::GasClass,
    hash::blake2_256,
    keys::{answer_key_hash, Evaluation, KeyAnswer, KeyGrant, KeyPurpose, KeyRequest},
    result::Boundary,
    snapshot::SnapshotHeader,
    AccountId, ContractId, Hash, WorkerId,
};
use phala_state::{ClusterStore, Entropy, EntropyError, OpenError, Options, StorageKey};
use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

pub(super) fn envelope_key(output: [u8; 32]) -> DecapsulationKey {
    DecapsulationKey::from_seed(&kdf::derive(&Secret::new(output), domain::EPOCH_ENVELOPE, &[]))
}

fn commit_key(output: [u8; 32]) -> Secret<[u8; 32]> {
    kdf::derive(&Secret::new(output), domain::EPOCH_COMMIT, &[])
}

struct Seeded(Mutex<Random>);

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let mut random = self.0.lock().unwrap();
        for chunk in buffer.chunks_mut(32) {
            let bytes = random.bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

fn entropy(random: &mut Random) -> [u8; 64] {
    [random.bytes(), random.bytes()].concat().try_into().unwrap()
}

/// A machine's own part of its storage key. Whoever tries has it, too: only the network's part is missing.
const MACHINE: &[u8] = b"the worker's machine";
const CONTRACT: ContractId = ContractId([6; 32]);

fn open_store(path: &Path, place: Place, storage: [u8; 32]) -> Result<ClusterStore, OpenError> {
    let storage = kdf::derive(&Secret::new(storage), domain::EPOCH_STORAGE, &[]);
    let key = StorageKey::derive(place.epoch, &storage, MACHINE);
    let options = Options { file_cache_bytes: 1 << 20, tree_cache_bytes: 1 << 20, ..Options::default() };
    ClusterStore::open(path, key, Box::new(Seeded(Mutex::new(Random::new(place.epoch.into())))), options)
}

/// The key of a snapshot's parts, by the output for storage alone: no machine has a part in it. Written anew, not as `phala-core` does.
fn snapshot_key(header: &SnapshotHeader, storage: [u8; 32]) -> SivKey {
    let storage: Secret<[u8; 32]> = kdf::derive(&Secret::new(storage), domain::EPOCH_STORAGE, &[]);
    SivKey::new(&kdf::derive(&storage, domain::SNAPSHOT_KEY, &header.encode()))
}

/// Nonce and associated data of a snapshot's only part: index 0, and the last.
fn only_part(header: &SnapshotHeader) -> ([u8; 12], Vec<u8>) {
    ([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], (header, 0u32, true).encode())
}

/// What is sealed under the keys of one place.
pub(super) struct Sealed {
    pub(super) place: Place,
    pub(super) envelope: Envelope,
    /// Of a state that anybody could guess.
    commitment: Hash,
    guess: Hash,
    store: PathBuf,
    /// A part of a snapshot, which is shorter than true ones: its key is what is tried.
    snapshot: (SnapshotHeader, Vec<u8>),
    pub(super) answers: Vec<(KeyRequest, KeyAnswer)>,
    /// Of the worker's requests: what it waits with.
    pub(super) receiving: DecapsulationKey,
}

impl Sealed {
    pub(super) fn new(era: &Era, place: Place, number: u8, folder: &Path) -> Self {
        let mut random = Random::new(number.into());
        let [envelope, commit, storage] = outputs(&era.enough(), place).unwrap();
        let payload = format!("the command of {place:?}").into_bytes();
        let call = Call {
            purpose: CallPurpose::Command,
            contract: CONTRACT,
            nonce: 1,
            valid_until: 100,
            gas_class: GasClass::Small,
            gas_limit: 1,
            max_fee: 1,
            payload,
        };
        let plain = SignedCall { account: AccountId([4; 32]), call, signature: [0; 64] }.encode();
        let size = SizeClass::holding(plain.len()).unwrap();
        let recipient = EncapsulationKey::from_bytes(envelope_key(envelope).public_key()).unwrap();
        let destination = place.destination();
        let (envelope, _) =
            seal_envelope(&recipient, &destination, EnvelopeKind::Call, size, &plain, &entropy(&mut random)).unwrap();

        let guess = blake2_256(b"a vote: yes");
        let commitment = kdf::hmac_commit(&commit_key(commit), domain::COMMITMENT, &guess);
        let path = folder.join(format!("{number}.store"));
        let store = open_store(&path, place, storage).unwrap();
        let mut batch = store.begin();
        batch.set(&CONTRACT, b"balance", b"271828".to_vec()).unwrap();
        store.commit(batch, Vec::new(), Vec::new()).unwrap();

        let Place { era: number, cluster, epoch } = place;
        let boundary = Boundary { block: 100, count: 1, link: random.bytes() };
        let header = SnapshotHeader { cluster, era: number, epoch, boundary, salt: random.bytes() };
        let (nonce, associated) = only_part(&header);
        let part = snapshot_key(&header, storage).seal(&nonce, &associated, b"balance: 271828").unwrap();

        let receiving = DecapsulationKey::from_seed(&Secret::new(random.bytes()));
        let answers = era.ran.holders.iter();
        let answers = answers.map(|holder| answer(holder, &era.root, place, &receiving, &mut random)).collect();
        Self { place, envelope, commitment, guess, store: path, snapshot: (header, part), answers, receiving }
    }

    /// What of it these outputs open. Stores are asked only where it is worth their time.
    pub(super) fn opened(&self, tried: &Outputs, stores: bool) -> Vec<&'static str> {
        let [envelope, commit, storage] = *tried;
        let mut opened = Vec::new();
        if open_envelope(&envelope_key(envelope), &self.place.destination(), &self.envelope).is_ok() {
            opened.push("envelope");
        }
        if kdf::verify_hmac(&commit_key(commit), domain::COMMITMENT, &self.guess, &self.commitment) {
            opened.push("commitment");
        }
        let (header, part) = &self.snapshot;
        let (nonce, associated) = only_part(header);
        if snapshot_key(header, storage).open(&nonce, &associated, part).is_ok() {
            opened.push("snapshot");
        }
        if stores {
            match open_store(&self.store, self.place, storage) {
                Ok(store) => {
                    assert_eq!(store.view().get(&CONTRACT, b"balance").unwrap(), Some(b"271828".to_vec()));
                    opened.push("store");
                }
                Err(OpenError::Integrity(_)) => {}
                Err(error) => panic!("the store was not tried: {error}"),
            }
        }
        opened
    }
}

/// The answer of a gatekeeper to the worker that serves at `place`.
fn answer(
    holder: &Holder,
    root: &RootRecord,
    place: Place,
    receiving: &DecapsulationKey,
    random: &mut Random,
) -> (KeyRequest, KeyAnswer) {
    let Place { era, cluster, epoch } = place;
    let gatekeeper = root.seats[usize::from(holder.index) - 1];
    let worker = WorkerId([9; 32]);
    let answer_key = answer_key_hash(receiving.public_key());
    let nonce = random.bytes();
    let at = 100;
    let request = KeyRequest { genesis: GENESIS, worker, gatekeeper, cluster, era, epoch, nonce, answer_key, at };
    let share = KeyShare::from_bytes(holder.index, &Secret::new(holder.share)).unwrap();
    let evaluation = |purpose| {
        let made = share.partial(&place.input(purpose), &[2; 32]);
        Evaluation { purpose, point: made.point, proof: made.proof }
    };
    let grant = KeyGrant {
        request: request.signing_payload(),
        era,
        index: holder.index,
        shares: holder.shares.clone(),
        evaluations: KeyPurpose::ALL.into_iter().map(evaluation).collect(),
        head: (at, [0x64; 32]),
    };
    let recipient = EncapsulationKey::from_bytes(receiving.public_key()).unwrap();
    let info = [domain::KEY_ANSWER.as_bytes(), &GENESIS].concat();
    let (encapsulated, context) = hpke::setup_sender(&recipient, &info, &entropy(random));
    let (body, _) = context.seal(&request.signing_payload(), &grant.encode()).unwrap();
    (request, KeyAnswer { encapsulated: encapsulated.to_vec(), body })
}
