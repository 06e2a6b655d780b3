//! A worker that serves is taken, with all that its host recorded of its disk, and with it all memory and disk of t-1 gatekeepers of two
//! eras: what of it opens what. Tried, not argued.
//!
//! The worker is the code that ships, on a chain that is played, and was there through a change of eras and changes of epochs; roots are
//! made by gatekeepers that ship, whose sealed disks are searched for shares. What of the epoch before opens by design is shown too. Does not:
//! invert a discrete logarithm (`phala-keys-sim` tries points in the place of shares), or look into a process's memory: what is in there
//! follows from what it was answered, which the test opens by what the machine drew for each request, and is compared with the chain. That
//! what was drawn is gone when the keys are here is tested where it is kept (`epochs.rs`).
#![allow(clippy::disallowed_methods, reason = "reads copies of a worker's file, as its host can")]

use crate::{
    ceremony::play::Play,
    chain::CLUSTER,
    client::Account,
    contract::{code, KEEP},
    network::{Network, WORKER},
    root::PlayedRoot,
    sealed::{envelope_key, open_store, opens_envelope, opens_snapshot, Sealed},
};
use codec::Decode;
use phala_core::{Identity, Machine};
use phala_crypto::{
    hpke,
    prf::{combine, verify_partial, Input, KeyShare, PartialEvaluation, PublicShare, VerifiedPartial},
    xwing::DecapsulationKey,
    Secret,
};
use phala_gatekeeper::{open_grant, Grants};
use phala_protocol::{
    chain_state::RootRecord,
    domain,
    envelope::Envelope,
    inbox::ItemKind,
    keys::{answer_key_hash, share_list_hash, KeyAnswer, KeyGrant, KeyPurpose, KeyRequest, PrfInput, SignedKeyRequest},
    relay::KeyInquiry,
    snapshot::SnapshotPart,
    ClusterId, ContractId, Epoch, Hash,
};
use phala_state::ClusterStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};
use tempfile::TempDir;

const SEATS: u16 = 4;
/// Purposes under whose keys something is sealed.
const SEALING: [KeyPurpose; 3] = [KeyPurpose::Envelope, KeyPurpose::Storage, KeyPurpose::Commit];
/// The epoch in which the worker is taken. The first is of a lone root, those up to the fifth of the first root that was made together.
const TAKEN: Epoch = 4;
const OTHER: ClusterId = ClusterId(1);

/// What the root gave, by purpose.
type Keys = BTreeMap<KeyPurpose, [u8; 32]>;
type Traffic = BTreeMap<Hash, (KeyRequest, Vec<KeyAnswer>)>;
/// What requests' answers are sealed to, by its hash.
type AnswerKeys = BTreeMap<Hash, DecapsulationKey>;
/// Index and scalar.
type Share = (u16, [u8; 32]);

/// A root that four gatekeepers made, as nobody sees it.
struct Era {
    root: RootRecord,
    shares: Vec<[u8; 32]>,
}

impl Era {
    /// Out of everything that all four machines ever kept.
    fn new(root: RootRecord, disks: &[Vec<Vec<u8>>]) -> Self {
        let mut shares = vec![[0; 32]; usize::from(SEATS)];
        for bytes in disks.iter().flatten() {
            let Some(mut rest) = bytes.strip_prefix(b"seat/v2\0") else { continue };
            let (era, threshold, index, share, list) =
                <(u32, u16, u16, [u8; 32], Vec<[u8; 32]>)>::decode(&mut rest).unwrap();
            if share_list_hash(era, threshold, &list) == root.share_list {
                shares[usize::from(index) - 1] = share;
            }
        }
        Self { root, shares }
    }

    fn threshold(&self) -> usize {
        self.root.threshold.into()
    }

    fn of(&self, coalition: &[u16]) -> Vec<Share> {
        coalition.iter().map(|index| (*index, self.shares[usize::from(*index) - 1])).collect()
    }

    fn input(&self, genesis: &Hash, cluster: ClusterId, epoch: Epoch, purpose: KeyPurpose) -> Input {
        let input = PrfInput { genesis: *genesis, era: self.root.era, cluster, epoch, purpose };
        Input::of(domain::PRF_INPUT, &input)
    }

    /// What a threshold of custodies gives.
    fn key(&self, genesis: &Hash, cluster: ClusterId, epoch: Epoch, purpose: KeyPurpose) -> [u8; 32] {
        let input = self.input(genesis, cluster, epoch, purpose);
        let partials: Vec<_> =
            self.of(&[1, 2, 4]).into_iter().map(|share| partial(share, &input).expect("a share")).collect();
        assert_eq!(partials.len(), self.threshold());
        *combine(self.threshold(), &partials).unwrap().expose()
    }
}

/// The evaluation by a share, true or guessed.
fn partial((index, scalar): Share, input: &Input) -> Option<VerifiedPartial> {
    let share = KeyShare::from_bytes(index, &Secret::new(scalar)).ok()?;
    verify_partial(&share.public_share(), input, &share.partial(input, &[0; 32])).ok()
}

/// Two eras' roots, and all that each gatekeeper's machine kept at any time.
fn two_eras(seed: u64) -> ([Era; 2], Vec<Vec<Vec<u8>>>) {
    let mut play = Play::new(seed, false);
    let mut disks = vec![Vec::new(); usize::from(SEATS)];
    let note = |play: &Play, disks: &mut Vec<Vec<Vec<u8>>>| {
        for (disk, node) in disks.iter_mut().zip(&play.nodes) {
            disk.extend(node.machine.disk().into_values());
        }
    };
    play.start(1);
    let first = play.make_root();
    note(&play, &mut disks);
    play.record(Some(first.clone()), None);
    play.run(2);
    play.start(2);
    let second = play.make_root();
    note(&play, &mut disks);
    play.record(Some(first.clone()), Some(second.clone()));
    play.run(2);
    note(&play, &mut disks);
    let eras = [first, second].map(|root| Era::new(root, &disks));
    (eras, disks)
}

fn key_of(seed: [u8; 32]) -> (Hash, DecapsulationKey) {
    let key = DecapsulationKey::from_seed(&Secret::new(seed));
    (answer_key_hash(key.public_key()), key)
}

/// The keys that the worker had while it waited, out of all that its machine drew.
fn waited_with(network: &Network) -> AnswerKeys {
    let asked: BTreeSet<Hash> = network.traffic.values().map(|(request, _)| request.answer_key).collect();
    let drawn = network.worker().machine.insecure_drawn().into_iter().map(key_of);
    let keys: AnswerKeys = drawn.filter(|(hash, _)| asked.contains(hash)).collect();
    assert_eq!(keys.len(), asked.len(), "each request's is there");
    assert_eq!(keys.len(), network.traffic.len(), "and is of no other");
    keys
}

/// What whoever has these keys makes of answers about an epoch, of the root of `root`.
fn granted(traffic: &Traffic, keys: &AnswerKeys, root: &RootRecord, epoch: Epoch) -> Keys {
    let mut grants = Grants::default();
    let of_epoch = |request: &KeyRequest| (request.era, request.epoch) == (root.era, epoch);
    for (request, answers) in traffic.values().filter(|(request, _)| of_epoch(request)) {
        for answer in answers {
            grants.add(open_grant(&keys[&request.answer_key], request, root, answer).unwrap());
        }
    }
    let key = |purpose| Some((purpose, *grants.key(root.threshold, purpose)?.expose()));
    KeyPurpose::ALL.into_iter().filter_map(key).collect()
}

/// What its gatekeepers give the worker's identity now, whoever has that.
fn ask(network: &Network, identity: &Identity, root: &PlayedRoot, epoch: Epoch) -> Keys {
    let (record, genesis) = (root.record(), network.chain.genesis());
    let (answer_key, key) = key_of([0xab; 32]);
    let mut traffic = Traffic::new();
    for gatekeeper in &record.seats {
        let request = KeyRequest {
            genesis,
            worker: identity.id(),
            gatekeeper: *gatekeeper,
            cluster: CLUSTER,
            era: record.era,
            epoch,
            nonce: [0xaa; 32],
            answer_key,
            at: network.chain.blocks.best(),
        };
        let payload = request.signing_payload();
        let request_signed =
            SignedKeyRequest { request, public_key: key.public_key().to_vec(), signature: identity.sign(&payload) };
        let (registration, evidence) = network.worker().tee().attested().cloned().unwrap();
        let inquiry = KeyInquiry { request: request_signed, registration, evidence, collateral: Vec::new() };
        let answer = root.answer(&inquiry, &network.chain.facts(&identity.id()));
        traffic.insert(payload, (request, answer.into_iter().collect()));
    }
    granted(&traffic, &AnswerKeys::from([(answer_key, key)]), &record, epoch)
}

/// A cluster with one worker, whose contract keeps a word in each epoch.
struct Scene {
    network: Network,
    alice: Account,
    contract: ContractId,
    /// The era of each epoch that a word was sent in.
    eras: BTreeMap<Epoch, u32>,
    /// Of states that were final, as relayers keep them.
    snapshots: BTreeMap<Epoch, SnapshotPart>,
    folder: TempDir,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut network = Network::ready(seed, 1);
        let mut alice = Account::new(1);
        let contract = network.deploy(&mut alice, &code(), vec![KEEP]);
        let (eras, snapshots) = (BTreeMap::new(), BTreeMap::new());
        Self { network, alice, contract, eras, snapshots, folder: TempDir::new().unwrap() }
    }

    /// What the contract keeps of an epoch.
    fn word(epoch: Epoch) -> Vec<u8> {
        [&[KEEP][..], format!("said in epoch {epoch}").as_bytes()].concat()
    }

    /// A command in the open epoch, until its result is final, and a snapshot of that.
    fn write(&mut self) {
        let (epoch, era) = (self.network.chain.epoch(), self.network.chain.cluster.as_ref().unwrap().era);
        self.eras.insert(epoch, era);
        self.alice.push(&mut self.network, self.contract, Self::word(epoch));
        self.network.settle();
        let tee = self.network.nodes[WORKER].tee.as_mut().unwrap();
        // None is made until something is final under the open epoch's keys.
        let Ok(header) = tee.begin_snapshot() else { return };
        let part = tee.snapshot_part(&header.id(), 0).unwrap();
        assert!(part.last, "the state is small");
        self.snapshots.insert(header.epoch, part);
    }

    fn open_epoch(&mut self, epoch: Epoch) {
        self.network.run_until(|network| network.chain.epoch() == epoch);
    }

    /// Goes over to a root, with a word in each of the two epochs that it takes.
    fn hand_over(&mut self, era: &Era) {
        let root = PlayedRoot::of(&era.root, &era.shares);
        self.network.chain.hand_over(root.record());
        self.network.roots.push(root);
        let epoch = self.network.chain.epoch();
        self.open_epoch(epoch + 1);
        self.write();
        self.network.run_until(|network| {
            let record = network.chain.cluster.as_ref().unwrap();
            let over = (record.era_before, record.era) == (era.root.era, era.root.era);
            over && !network.chain.hands_over() && !record.is_closing()
        });
        self.network.run(2);
        assert_eq!(self.network.chain.epoch(), epoch + 2);
        self.write();
    }

    /// A copy of the worker's file, as its host can make one at any time.
    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.folder.path().join(name);
        std::fs::copy(self.network.worker().machine.folder().join("cluster-0.redb"), &copy).unwrap();
        copy
    }

    /// Envelopes that stand on chain, by epoch.
    fn envelopes(&self) -> BTreeMap<Epoch, Envelope> {
        let items = self.network.chain.items.iter();
        let items = items.filter(|item| matches!(item.header.kind, ItemKind::Envelope(_)));
        items
            .map(|item| Envelope::decode_exact(&item.message).unwrap())
            .map(|envelope| (envelope.header.epoch, envelope))
            .collect()
    }

    fn identity(&self) -> Identity {
        let machine: &dyn Machine = &*self.network.worker().machine;
        Identity::open(machine, &self.network.chain.genesis()).unwrap()
    }
}

/// The contract's word in a store.
fn kept(store: &ClusterStore) -> Vec<Vec<u8>> {
    store.view().entries(None, 1_000).unwrap().into_iter().map(|entry| entry.value).collect()
}

/// What was taken, and all of it that could stand for a key.
struct Loot<'a> {
    genesis: Hash,
    eras: &'a [Era; 2],
    values: Vec<[u8; 32]>,
}

impl Loot<'_> {
    /// Everything that it comes to at one place of the root of an era: as it is, and by shares of every t-1 seats, of too few, of another
    /// era, and with a guess of the missing one.
    fn attempts(&self, era: usize, cluster: ClusterId, epoch: Epoch, purpose: KeyPurpose) -> Vec<[u8; 32]> {
        let (own, other) = (&self.eras[era], &self.eras[1 - era]);
        let (threshold, input) = (own.threshold(), own.input(&self.genesis, cluster, epoch, purpose));
        let mut found = self.values.clone();
        for coalition in pairs() {
            let partials: Vec<_> =
                own.of(&coalition).into_iter().map(|share| partial(share, &input).expect("a share")).collect();
            assert_eq!(partials.len(), threshold - 1);
            assert!(combine(threshold, &partials).is_err());
            found.push(*combine(threshold - 1, &partials).unwrap().expose());
            let known = own.of(&coalition).into_iter().chain(other.of(&coalition)).map(|(_, share)| share);
            let guesses: BTreeSet<[u8; 32]> = known.chain(self.values.iter().copied()).map(as_scalar).collect();
            for index in (1..=SEATS).filter(|index| !coalition.contains(index)) {
                for guess in &guesses {
                    let Some(guessed) = partial((index, *guess), &input) else { continue };
                    let all = [partials.as_slice(), &[guessed]].concat();
                    found.push(*combine(threshold, &all).unwrap().expose());
                }
            }
        }
        found
    }
}

/// Every t-1 of the four seats.
fn pairs() -> Vec<[u16; 2]> {
    (1..=SEATS).flat_map(|first| (first + 1..=SEATS).map(move |second| [first, second])).collect()
}

/// Any 32 bytes as a canonical scalar.
fn as_scalar(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes[31] &= 0x0f;
    bytes
}

fn holds_any(bytes: &[Vec<u8>], wanted: &BTreeSet<[u8; 32]>) -> bool {
    let mut windows = bytes.iter().flat_map(|bytes| bytes.windows(32));
    windows.any(|window| wanted.contains(window))
}

/// The evaluations that seats made for the worker's epoch are no partials of another place.
fn evaluations_serve_their_own_place_only(loot: &Loot<'_>, traffic: &Traffic, keys: &AnswerKeys) {
    let info = [domain::KEY_ANSWER.as_bytes(), &loot.genesis].concat();
    let era = &loot.eras[0];
    let mut tried = 0;
    for (request, answers) in traffic.values().filter(|(request, _)| request.epoch == TAKEN) {
        for answer in answers {
            let encapsulated = answer.encapsulated.as_slice().try_into().unwrap();
            let context = hpke::setup_receiver(&keys[&request.answer_key], encapsulated, &info);
            let (opened, _) = context.open(&request.signing_payload(), &answer.body).unwrap();
            let grant = KeyGrant::decode(&mut opened.expose().as_slice()).unwrap();
            let public = PublicShare::from_bytes(grant.index, &grant.shares[usize::from(grant.index) - 1]).unwrap();
            for evaluation in &grant.evaluations {
                let partial =
                    PartialEvaluation { index: grant.index, point: evaluation.point, proof: evaluation.proof };
                let holds = |cluster, epoch, purpose| {
                    verify_partial(&public, &era.input(&loot.genesis, cluster, epoch, purpose), &partial).is_ok()
                };
                assert!(holds(CLUSTER, TAKEN, evaluation.purpose));
                assert!(!holds(OTHER, TAKEN, evaluation.purpose));
                assert!(!holds(CLUSTER, TAKEN + 1, evaluation.purpose));
                assert!(!holds(CLUSTER, TAKEN - 1, evaluation.purpose));
                tried += 1;
            }
        }
    }
    assert!(tried >= era.threshold() * KeyPurpose::ALL.len(), "{tried}");
}

#[test]
fn a_seized_worker_and_t_minus_1_custodies_open_its_epoch_and_the_store_of_the_one_before() {
    let (eras, disks) = two_eras(940);
    let mut scene = Scene::new(140);
    let genesis = scene.network.chain.genesis();
    scene.write();
    scene.hand_over(&eras[0]);
    let before = scene.copy("before");

    // The epoch begins. Until the state is bound to it, the one before closes: all its keys are given still.
    scene.open_epoch(TAKEN);
    scene.network.step();
    let identity = scene.identity();
    let closing = ask(&scene.network, &identity, &scene.network.roots[0], TAKEN - 1);
    assert_eq!(closing.len(), KeyPurpose::ALL.len());
    // With the next block the worker's store goes over; its host copies it while its ring has a key of the epoch before.
    scene.network.step();
    let seized = scene.copy("seized");
    // The machine is taken when the epoch before is closed.
    scene.network.run_until(|network| network.chain.cluster.as_ref().unwrap().bound_epoch == TAKEN);
    scene.network.run(2);
    let (traffic, sealed) = (scene.network.traffic.clone(), scene.network.worker().machine.disk());
    let machine = scene.network.worker().machine.sealed("identity-")[64..96].to_vec();
    let waited_with = waited_with(&scene.network);
    let memory = granted(&traffic, &waited_with, &eras[0].root, TAKEN);
    assert_eq!(memory.len(), KeyPurpose::ALL.len());
    let envelope_key_on_chain = scene.network.chain.cluster.as_ref().unwrap().envelope_key.clone();
    assert_eq!(envelope_key(&memory[&KeyPurpose::Envelope]).public_key().as_slice(), envelope_key_on_chain);
    // Who has the worker asks as the worker: of the epoch before there is its storage key, and nothing of any other.
    let asked = |epoch| ask(&scene.network, &identity, &scene.network.roots[0], epoch);
    let of_before = asked(TAKEN - 1);
    assert_eq!(of_before.keys().collect::<Vec<_>>(), [&KeyPurpose::Storage]);
    assert!(asked(TAKEN - 2).is_empty() && asked(TAKEN + 1).is_empty() && asked(1).is_empty());

    // The world goes on: this epoch, the next, and two of the next era.
    scene.write();
    assert_eq!(scene.network.chain.epoch(), TAKEN);
    scene.open_epoch(TAKEN + 1);
    scene.network.run(3);
    scene.write();
    let after = scene.copy("after");
    scene.hand_over(&eras[1]);
    let next_era = scene.copy("next era");
    assert_eq!(scene.eras, BTreeMap::from([(1, 0), (2, 1), (3, 1), (4, 1), (5, 1), (6, 2), (7, 2)]));

    let seeds = scene.network.worker().machine.sealed("identity-");
    let seeds = seeds.chunks_exact(32).map(|seed| <[u8; 32]>::try_from(seed).unwrap());
    let values = memory.values().chain(of_before.values()).copied().chain(seeds).collect();
    let loot = Loot { genesis, eras: &eras, values };

    // Envelopes on chain: those of its epoch, and no others.
    let envelopes = scene.envelopes();
    assert_eq!(envelopes.len(), scene.eras.len());
    for (epoch, envelope) in &envelopes {
        let mine = *epoch == TAKEN;
        assert_eq!(loot.values.iter().any(|value| opens_envelope(&genesis, envelope, value)), mine, "epoch {epoch}");
        let era = usize::from(scene.eras[epoch] == 2);
        if !mine {
            let attempts = loot.attempts(era, CLUSTER, *epoch, KeyPurpose::Envelope);
            assert!(!attempts.iter().any(|tried| opens_envelope(&genesis, envelope, tried)), "epoch {epoch}");
        }
        if scene.eras[epoch] > 0 {
            let right = eras[era].key(&genesis, CLUSTER, *epoch, KeyPurpose::Envelope);
            assert!(opens_envelope(&genesis, envelope, &right), "t custodies open epoch {epoch}");
        }
    }

    // Its files: of its epoch; by design of the epoch before, as it was then; and none of what came after.
    let store = open_store(&seized, TAKEN, &memory[&KeyPurpose::Storage], &machine).unwrap();
    assert_eq!(store.older_keys(), 1, "in its ring");
    assert!(kept(&store).contains(&Scene::word(TAKEN - 1)) && !kept(&store).contains(&Scene::word(TAKEN)));
    drop(store);
    let store = open_store(&before, TAKEN - 1, &of_before[&KeyPurpose::Storage], &machine).unwrap();
    assert!(kept(&store).contains(&Scene::word(TAKEN - 1)));
    drop(store);
    for (path, era, epoch) in [(&after, 0, TAKEN + 1), (&next_era, 1, TAKEN + 3)] {
        let attempts = loot.attempts(era, CLUSTER, epoch, KeyPurpose::Storage);
        let few = attempts.iter().take(loot.values.len()).chain(attempts.iter().step_by(9));
        for tried in few {
            assert!(open_store(path, epoch, tried, &machine).is_none(), "the file of epoch {epoch}");
        }
        let right = eras[era].key(&genesis, CLUSTER, epoch, KeyPurpose::Storage);
        let store = open_store(path, epoch, &right, &machine).expect("t custodies open it");
        assert!(kept(&store).contains(&Scene::word(epoch)));
    }

    // Snapshots, which any host may have: of its epoch, and of the epoch before, by the same keys as the files, and none else.
    let by_design =
        BTreeMap::from([(TAKEN - 1, of_before[&KeyPurpose::Storage]), (TAKEN, memory[&KeyPurpose::Storage])]);
    assert!([1, TAKEN - 1, TAKEN, TAKEN + 1, TAKEN + 3].iter().all(|epoch| scene.snapshots.contains_key(epoch)));
    for (epoch, part) in &scene.snapshots {
        let opened: Vec<_> = loot.values.iter().filter(|value| opens_snapshot(part, value)).collect();
        assert_eq!(opened, by_design.get(epoch).into_iter().collect::<Vec<_>>(), "epoch {epoch}");
        let era = usize::from(scene.eras[epoch] == 2);
        if !by_design.contains_key(epoch) {
            let attempts = loot.attempts(era, CLUSTER, *epoch, KeyPurpose::Storage);
            assert!(!attempts.iter().any(|tried| opens_snapshot(part, tried)), "epoch {epoch}");
        }
        if scene.eras[epoch] > 0 {
            let right = eras[era].key(&genesis, CLUSTER, *epoch, KeyPurpose::Storage);
            assert!(opens_snapshot(part, &right), "t custodies open epoch {epoch}");
        }
    }

    // Another cluster in its epoch and around, and what it would be in the other era.
    let places =
        [(0, OTHER, TAKEN), (0, OTHER, TAKEN - 1), (0, CLUSTER, TAKEN + 1), (1, CLUSTER, TAKEN), (1, OTHER, 5)];
    let mut others = Vec::new();
    for (number, (era, cluster, epoch)) in places.into_iter().enumerate() {
        let key = |purpose| eras[era].key(&genesis, cluster, epoch, purpose);
        let (place, file) = ((eras[era].root.era, cluster, epoch), format!("{number}.redb"));
        let sealed = Sealed::new(&genesis, place, key, scene.folder.path().join(file));
        for purpose in SEALING {
            for (position, tried) in loot.attempts(era, cluster, epoch, purpose).iter().enumerate() {
                let stores = purpose == KeyPurpose::Storage && position % 16 == 0;
                let opened = sealed.opened(tried, stores);
                assert!(opened.is_empty(), "{opened:?} of {:?}, epoch {}", sealed.cluster, sealed.epoch);
            }
        }
        assert!(sealed.opens_by(key), "t custodies open all of it");
        others.extend(SEALING.map(key));
    }

    evaluations_serve_their_own_place_only(&loot, &traffic, &waited_with);

    // What is missing stands nowhere in what was taken, as bytes.
    let mut bytes: Vec<Vec<u8>> = sealed.into_values().chain(loot.values.iter().map(|value| value.to_vec())).collect();
    bytes.extend([&before, &seized].map(|path| std::fs::read(path).unwrap()));
    let store = open_store(&seized, TAKEN, &memory[&KeyPurpose::Storage], &machine).unwrap();
    bytes.extend(kept(&store));
    bytes.extend(store.view().records().unwrap().into_iter().flat_map(|(key, value)| [key, value]));
    let own: BTreeSet<[u8; 32]> = memory.values().copied().collect();
    assert!(holds_any(&bytes, &own), "its own keys are found where they are looked for");
    let missing: BTreeSet<[u8; 32]> =
        others.into_iter().chain(eras.iter().flat_map(|era| era.shares.iter().copied())).collect();
    assert!(!holds_any(&bytes, &missing));
    for coalition in pairs() {
        let taken = |index: &u16| disks[usize::from(*index) - 1].clone();
        let of_gatekeepers: Vec<Vec<u8>> = coalition.iter().flat_map(taken).collect();
        for era in &eras {
            let own = era.of(&coalition).into_iter().map(|(_, share)| share).collect();
            assert!(holds_any(&of_gatekeepers, &own), "their own shares are");
            let rest: Vec<u16> = (1..=SEATS).filter(|index| !coalition.contains(index)).collect();
            let missing = era.of(&rest).into_iter().map(|(_, share)| share).collect();
            assert!(!holds_any(&of_gatekeepers, &missing));
        }
    }
}

/// Its host recorded all letters, and has the machine later, with all that it keeps and every key that lives as long as it.
#[test]
fn recorded_answers_open_to_a_worker_that_waits_and_to_nobody_who_takes_it_later() {
    let mut scene = Scene::new(141);
    let (genesis, root) = (scene.network.chain.genesis(), scene.network.chain.root.clone().unwrap());
    scene.write();
    for epoch in [2, 3] {
        scene.open_epoch(epoch);
        scene.network.run(3);
        scene.write();
    }
    let (identity, traffic, envelopes) = (scene.identity(), scene.network.traffic.clone(), scene.envelopes());
    let waited_with = waited_with(&scene.network);
    let disk: Vec<Vec<u8>> = scene.network.worker().machine.disk().into_values().collect();

    // Whatever 32 bytes of the disk somebody takes for a seed, beside the keys as they are.
    let seeds: BTreeSet<[u8; 32]> =
        disk.iter().flat_map(|bytes| bytes.windows(32)).map(|seed| seed.try_into().unwrap()).collect();
    let taken: Vec<DecapsulationKey> = seeds.iter().map(|seed| key_of(*seed).1).collect();
    let public_keys: Vec<_> = taken.iter().map(DecapsulationKey::public_key).collect();
    assert!(public_keys.contains(&identity.receiving().public_key()), "its long-lived key is among them");

    for epoch in 1..=3 {
        let letters = traffic.values().filter(|(request, _)| request.epoch == epoch);
        let letters: Vec<_> =
            letters.flat_map(|(request, answers)| answers.iter().map(move |answer| (request, answer))).collect();
        assert!(!letters.is_empty(), "answers about epoch {epoch} were recorded");
        for (request, answer) in letters {
            let opens = |key: &DecapsulationKey| open_grant(key, request, &root, answer).is_ok();
            assert!(!taken.iter().any(opens), "epoch {epoch}");
            assert!(opens(&waited_with[&request.answer_key]), "to the worker that waited for it");
            let others = waited_with.iter().filter(|(hash, _)| **hash != request.answer_key);
            assert!(!others.map(|(_, key)| key).any(opens), "and with no other request's key");
        }
        // It is an epoch's key that would be had.
        let keys = granted(&traffic, &waited_with, &root, epoch);
        assert!(opens_envelope(&genesis, &envelopes[&epoch], &keys[&KeyPurpose::Envelope]), "epoch {epoch}");
    }

    // What opens them was never on the disk.
    let drawn = scene.network.worker().machine.insecure_drawn().into_iter();
    let drawn: BTreeSet<[u8; 32]> = drawn.filter(|seed| waited_with.contains_key(&key_of(*seed).0)).collect();
    assert_eq!(drawn.len(), waited_with.len());
    let file = std::fs::read(scene.copy("taken")).unwrap();
    assert!(!holds_any(&disk, &drawn) && !holds_any(&[file], &drawn));
    let own = scene.network.worker().machine.sealed("identity-")[32..64].try_into().unwrap();
    assert!(holds_any(&disk, &BTreeSet::from([own])), "where its long-lived seed is found");
}
