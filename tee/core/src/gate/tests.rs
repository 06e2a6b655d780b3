//! Since when a gatekeeper has seen a measurement listed, as the facts say by which it judges requests: on a network where that counts.
//!
//! Simulated evidence is refused there before the allow-list is looked at, so that a request is judged here by that list alone, with the
//! very call by which a machine's judgement ends.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::{inquiries::facts, *};
use codec::Encode;
use phala_crypto::Secret;
use phala_gatekeeper::{Refusal, MEASUREMENT_DELAY_BLOCKS, MOST_GAP_BLOCKS};
use phala_light_client::{encode_proof, testing::TestChain};
use phala_protocol::{
    attestation::{Assurance, Listing, Role, Version},
    chain_state::AllowedMeasurement,
    keys::KeyRequest,
    AccountId, ClusterId,
};
use phala_state::{ClusterStore, OpenError, StorageKey};
use std::{collections::BTreeMap, sync::Mutex};

const CLUSTER: ClusterId = ClusterId(0);
const WORKER: WorkerId = WorkerId([3; 32]);
const MEASUREMENT: Hash = [0x4c; 32];

/// INSECURE: a machine that keeps what it is to keep as it is.
#[derive(Default)]
struct Keeping(Mutex<BTreeMap<String, Vec<u8>>>);

impl Machine for Keeping {
    fn evidence(&self, _: &[u8; 64]) -> Result<Vec<u8>, MachineFault> {
        Err(MachineFault::Evidence("it has none".into()))
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), MachineFault> {
        buffer.fill(5);
        Ok(())
    }

    fn keep(&self, name: &str, secret: &Secret<Vec<u8>>) -> Result<(), MachineFault> {
        self.0.lock().unwrap().insert(name.to_owned(), secret.expose().clone());
        Ok(())
    }

    fn kept(&self, name: &str) -> Result<Option<Secret<Vec<u8>>>, MachineFault> {
        Ok(self.0.lock().unwrap().get(name).cloned().map(Secret::new))
    }

    fn open_store(&self, _: ClusterId, _: StorageKey) -> Result<ClusterStore, OpenError> {
        Err(OpenError::Format(0))
    }

    fn fresh_store(&self, _: ClusterId, _: StorageKey) -> Result<ClusterStore, OpenError> {
        Err(OpenError::Format(0))
    }

    fn adopt_store(&self, _: ClusterId) -> Result<(), OpenError> {
        Err(OpenError::Format(0))
    }
}

/// A gatekeeper, and a network that is no development one, on which a worker's measurement is listed from the genesis on.
struct Scene {
    blocks: TestChain,
    chain: Chain,
    machine: Keeping,
    identity: Identity,
    roots: Roots,
    gate: Gate,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let worker = WorkerRecord {
            role: Role::Worker,
            operator: AccountId([0; 32]),
            encryption_key: [0; 32],
            measurement: MEASUREMENT,
            hardware: [0; 32],
            assurance: Assurance::Simulated,
            registered_at: 0,
            valid_until: u64::MAX,
        };
        let entry = AllowedMeasurement { source: [1; 32], listed_at: 0, not_before: 0, sunset: None };
        let role = Some(Role::Worker);
        let listing = Listing { source: [1; 32], version: Version(1, 0, 0), role, not_before: 0, sunset: None };
        let genesis = [
            (storage::TIMESTAMP_NOW.to_vec(), 1_790_000_000_000u64.encode()),
            (storage::worker_key(&WORKER), worker.encode()),
            (storage::measurement_key(&MEASUREMENT), entry.encode()),
            (storage::listing_key(&MEASUREMENT), listing.encode()),
        ];
        let blocks = TestChain::new(seed, 3, genesis);
        let chain = Chain::at_genesis(&blocks.genesis_hash(), &blocks.anchor()).unwrap();
        assert!(chain.development().is_none());
        let machine = Keeping::default();
        let identity = Identity::open(&machine, chain.genesis()).unwrap();
        let gate = Gate::open(&chain, &machine, false).unwrap();
        Self { blocks, chain, machine, identity, roots: Roots::unknown(), gate }
    }

    /// Shows the gatekeeper the head of so many blocks more, with what the allow-list says there if `listed`: the facts about a request
    /// of the worker, or the measurement that has to be shown for them.
    fn show(&mut self, blocks: BlockNumber, listed: bool) -> Result<Facts, Option<Hash>> {
        let (from, _) = self.chain.head();
        let head = self.blocks.build_blocks(blocks as usize);
        self.chain.advance(&self.blocks.proof(from, head).encode(), &[1; 32]).unwrap();
        let mut keys = self.gate.wanted_keys();
        keys.extend(Roots::wanted_keys());
        keys.extend([storage::TIMESTAMP_NOW.to_vec(), storage::worker_key(&WORKER), storage::cluster_key(CLUSTER)]);
        if listed {
            keys.extend(Allowance::wanted_keys(&MEASUREMENT));
        }
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let proof = encode_proof(&self.blocks.read_proof(head, &keys));
        let records = self.chain.records(&proof).unwrap();
        self.roots.observe(&records).unwrap();
        let sight = Sight { chain: &self.chain, identity: &self.identity, machine: &self.machine, roots: &self.roots };
        self.gate.observe(&records, &sight, &mut Vec::new()).unwrap();
        let rules = Rules::of(&records).unwrap().unwrap();
        let request = KeyRequest {
            genesis: *self.chain.genesis(),
            worker: WORKER,
            gatekeeper: self.identity.id(),
            cluster: CLUSTER,
            era: 0,
            epoch: 1,
            nonce: [0; 32],
            answer_key: [0; 32],
            at: head,
        };
        facts(&request, &records, &sight, &rules, &self.gate.listed).unwrap()
    }

    /// Another machine's gatekeeper, which has seen nothing, at the same head.
    fn replace(&mut self) {
        self.machine = Keeping::default();
        self.identity = Identity::open(&self.machine, self.chain.genesis()).unwrap();
        self.gate = Gate::open(&self.chain, &self.machine, false).unwrap();
    }
}

#[test]
fn a_requests_measurement_counts_from_the_first_head_that_showed_it_to_this_gatekeeper() {
    let mut scene = Scene::new(90);
    let judged = |facts: &Facts| facts.check_listed(Role::Worker);
    // The chain says that it is listed since the genesis; the gatekeeper's relayer shows that later.
    assert_eq!(scene.show(100, false).err(), Some(Some(MEASUREMENT)));
    let facts = scene.show(1, true).unwrap();
    assert_eq!((facts.seen_since, facts.head.0), (Some(101), 101));
    assert_eq!(facts.measurement.map(|entry| entry.listed_at), Some(0));
    assert_eq!(judged(&facts), Err(Refusal::MeasurementNotAllowed));

    // Up to the last block of the delay, by heads that are as far apart as one sight lets them be. By the chain's word it would have been
    // over a hundred blocks before.
    let mut left = MEASUREMENT_DELAY_BLOCKS - 1;
    while left > 0 {
        let blocks = left.min(MOST_GAP_BLOCKS);
        left -= blocks;
        let facts = scene.show(blocks, true).unwrap();
        assert_eq!(facts.seen_since, Some(101));
        assert_eq!(judged(&facts), Err(Refusal::MeasurementNotAllowed), "at block {}", facts.head.0);
    }
    let facts = scene.show(1, true).unwrap();
    assert_eq!((facts.seen_since, facts.head.0), (Some(101), 101 + MEASUREMENT_DELAY_BLOCKS));
    assert_eq!(judged(&facts), Ok(()));
    assert_eq!(facts.check_listed(Role::Gatekeeper), Err(Refusal::RoleNotAllowed));

    // What one has seen is nothing to another, on the same chain at the same time.
    scene.replace();
    let facts = scene.show(1, true).unwrap();
    assert_eq!(facts.seen_since, Some(102 + MEASUREMENT_DELAY_BLOCKS));
    assert_eq!(judged(&facts), Err(Refusal::MeasurementNotAllowed));
}
