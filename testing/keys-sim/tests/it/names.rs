//! What is sealed says which key opens it: of each kind with a header one is made under each of several keys, decoded from its bytes, and
//! tried with all of them. What opens it is what its header names, and nothing else. The kinds without a header are in the
//! specification's table, with what names their key.

use codec::{DecodeAll, Encode};
use phala_crypto::{
    envelope::{open_envelope, pad, seal_envelope, Destination},
    hpke,
    session::SessionSecret,
    signature::ed25519::IdentityKey,
    xwing::{DecapsulationKey, EncapsulationKey},
    Secret,
};
use phala_gatekeeper::{
    dkg::{open_parcel, seal_parcel},
    ReceivingKey,
};
use phala_keys_sim::{members::GENESIS, random::Random};
use phala_protocol::{
    ceremony::{CeremonyAttempt, Parcel, ParcelHeader, ParcelKind},
    domain,
    envelope::{Envelope, EnvelopeKind, SizeClass, ENCAPSULATED_BYTES},
    query::{QueryHeader, SealedQuery, VERSION},
    ClusterId, ContractId, Epoch,
};
use phala_state::{ClusterStore, Entropy, EntropyError, OpenError, Options, StorageKey};
use std::{collections::BTreeMap, path::Path, sync::Mutex};

const PLACES: [(ClusterId, Epoch); 3] = [(ClusterId(1), 5), (ClusterId(1), 6), (ClusterId(2), 5)];

fn entropy(random: &mut Random) -> [u8; 64] {
    [random.bytes(), random.bytes()].concat().try_into().unwrap()
}

fn destination((cluster, epoch): (ClusterId, Epoch)) -> Destination {
    Destination { genesis: GENESIS, cluster, epoch }
}

/// A key pair for each of `names`.
fn pairs<N: Ord + Copy>(names: &[N], random: &mut Random) -> BTreeMap<N, DecapsulationKey> {
    names.iter().map(|name| (*name, DecapsulationKey::from_seed(&Secret::new(random.bytes())))).collect()
}

fn public(key: &DecapsulationKey) -> EncapsulationKey {
    EncapsulationKey::from_bytes(key.public_key()).unwrap()
}

/// The names of the keys that open.
fn opening<N: Copy, K>(keys: &BTreeMap<N, K>, opens: impl Fn(&K) -> bool) -> Vec<N> {
    keys.iter().filter(|(_, key)| opens(key)).map(|(name, _)| *name).collect()
}

#[test]
fn an_envelope_names_cluster_and_epoch_of_its_key() {
    let mut random = Random::new(1);
    let keys = pairs(&PLACES, &mut random);
    for kind in [EnvelopeKind::Call, EnvelopeKind::SessionOpen] {
        for (place, key) in &keys {
            let (to, drawn) = (public(key), entropy(&mut random));
            let sealed = seal_envelope(&to, &destination(*place), kind, SizeClass::B256, b"call", &drawn).unwrap();
            let envelope = Envelope::decode_exact(&sealed.0.to_bytes()).unwrap();
            let named = (envelope.header.cluster, envelope.header.epoch);
            assert_eq!((envelope.header.kind, named), (kind, *place));
            let opened = opening(&keys, |key| open_envelope(key, &destination(named), &envelope).is_ok());
            assert_eq!(opened, [named]);
        }
    }
}

#[test]
fn a_sessions_command_names_its_key_by_its_tag_and_cluster_and_epoch_beside_it() {
    let mut random = Random::new(2);
    let sessions: [SessionSecret; 3] = std::array::from_fn(|_| SessionSecret::from_bytes(&random.bytes()));
    let here = destination(PLACES[0]);
    let mut tags = BTreeMap::new();
    for (session, secret) in sessions.iter().enumerate() {
        for counter in 1..4 {
            assert_eq!(tags.insert(secret.tag(counter).to_vec(), (session, counter)), None, "tags differ");
        }
    }
    for (session, secret) in sessions.iter().enumerate() {
        for counter in 1..4 {
            let sealed = secret.seal_command(&here, counter, SizeClass::B256, b"call").unwrap();
            let envelope = Envelope::decode_exact(&sealed.to_bytes()).unwrap();
            let header = envelope.header;
            assert_eq!(
                (header.kind, header.cluster, header.epoch),
                (EnvelopeKind::SessionCommand, here.cluster, here.epoch)
            );
            assert_eq!(tags.get(&envelope.opening), Some(&(session, counter)));
            let opens =
                |(session, counter): &(usize, u64)| sessions[*session].open_command(&here, *counter, &envelope).is_ok();
            let opened: Vec<_> = tags.values().copied().filter(opens).collect();
            assert_eq!(opened, [(session, counter)]);
        }
    }
}

#[test]
fn a_query_names_cluster_and_epoch_of_its_workers_key() {
    let mut random = Random::new(3);
    let keys = pairs(&PLACES, &mut random);
    let info = [domain::QUERY_INFO.as_bytes(), &GENESIS].concat();
    for ((cluster, epoch), key) in &keys {
        let header = QueryHeader { version: VERSION, cluster: *cluster, epoch: *epoch, size: SizeClass::B256 };
        let padded = pad(b"query", header.size).unwrap();
        let (encapsulated, context) = hpke::setup_sender(&public(key), &info, &entropy(&mut random));
        let (body, _) = context.seal(&header.encode(), padded.expose()).unwrap();
        let sealed = SealedQuery { header, encapsulated: encapsulated.to_vec(), body }.to_bytes();
        let query = SealedQuery::decode_exact(&sealed).unwrap();
        let named = (query.header.cluster, query.header.epoch);
        let encapsulated: &[u8; ENCAPSULATED_BYTES] = query.encapsulated.as_slice().try_into().unwrap();
        let opened = opening(&keys, |key| {
            hpke::setup_receiver(key, encapsulated, &info).open(&query.header.encode(), &query.body).is_ok()
        });
        assert_eq!(opened, [named]);
        // Whose header was altered names a key that does not open it.
        let other = QueryHeader { epoch: epoch + 1, ..header };
        let context = hpke::setup_receiver(key, encapsulated, &info);
        assert!(context.open(&other.encode(), &query.body).is_err());
    }
}

#[test]
fn a_parcel_names_ceremony_era_attempt_and_recipient_of_its_key() {
    let mut random = Random::new(4);
    let attempts = [
        CeremonyAttempt::root(1, 0),
        CeremonyAttempt::root(1, 1),
        CeremonyAttempt::root(2, 0),
        CeremonyAttempt::identities(1, 0),
    ];
    let seeds: [Secret<[u8; 32]>; 2] = std::array::from_fn(|_| Secret::new(random.bytes()));
    let keys: BTreeMap<(CeremonyAttempt, u16), ReceivingKey> = attempts
        .iter()
        .flat_map(|of| {
            (1u16..).zip(&seeds).map(move |(seat, seed)| ((*of, seat), ReceivingKey::derive(seed, &GENESIS, *of)))
        })
        .collect();
    let sender = IdentityKey::from_seed(&Secret::new(random.bytes()));
    for ((of, seat), key) in &keys {
        let of_root = *of == CeremonyAttempt::root(of.era, of.attempt);
        let kind = if of_root { ParcelKind::Share } else { ParcelKind::Identities };
        let header = ParcelHeader { era: of.era, attempt: of.attempt, from: 3, to: *seat, kind };
        let (to, drawn) = (public(key.secret()), Secret::new(random.bytes()));
        let sealed = seal_parcel(&GENESIS, &sender, &to, header, b"a share", &drawn).unwrap().encode();
        let parcel = Parcel::decode_all(&mut sealed.as_slice()).unwrap();
        let ParcelHeader { era, attempt, to, kind, .. } = parcel.header;
        let named = match kind {
            ParcelKind::Identities => (CeremonyAttempt::identities(era, attempt), to),
            ParcelKind::Package | ParcelKind::Share | ParcelKind::Delivery => (CeremonyAttempt::root(era, attempt), to),
        };
        assert_eq!(opening(&keys, |key| open_parcel(&GENESIS, key.secret(), &parcel).is_ok()), [named]);
    }
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

#[test]
fn a_store_names_the_epoch_of_the_key_that_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path, epoch: Epoch| -> Result<ClusterStore, OpenError> {
        let storage = Secret::new([epoch as u8; 32]);
        let entropy = Seeded(Mutex::new(Random::new(epoch.into())));
        let options = Options { file_cache_bytes: 1 << 20, tree_cache_bytes: 1 << 20, ..Options::default() };
        ClusterStore::open(path, StorageKey::derive(epoch, &storage, b"machine"), Box::new(entropy), options)
    };
    for epoch in [5, 6] {
        let path = folder.path().join(format!("{epoch}.store"));
        let store = open(&path, epoch).unwrap();
        let mut batch = store.begin();
        batch.set(&ContractId([6; 32]), b"balance", b"1".to_vec()).unwrap();
        store.commit(batch, Vec::new(), Vec::new()).unwrap();
        drop(store);
        for other in [4, 5, 6, 7] {
            match open(&path, other) {
                Ok(_) => assert_eq!(other, epoch),
                Err(OpenError::Generation { stored, given }) => {
                    assert_eq!((stored, given), (epoch, other));
                    assert_ne!(other, epoch);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
