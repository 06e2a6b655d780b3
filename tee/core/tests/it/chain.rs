//! The chain: real headers, justifications and proofs over records that follow the pallets' rules, played by hand.
//!
//! One cluster. What the rules leave out, because its own pallets' tests have it: fees beyond a constant, deposits, evidence at
//! registration, weights. What a TEE sends is judged as the pallets judge it.

use super::{machine::START, root::Facts};
use codec::{Decode, Encode};
use phala_attest::Bans;
use phala_crypto::{merkle, signature::ed25519};
use phala_light_client::testing::TestChain;
use phala_protocol::{
    attestation::{Assurance, Listing, Registration, Role, Version},
    chain_state::{
        next_epoch_era, AllowedMeasurement, BoundaryRecord, ClusterRecord, FinalRecord, RootRecord, Standing,
        WorkerRecord,
    },
    egress::{EgressItem, ProvedEgress},
    envelope::announcement_payload,
    finality::GenesisAnchor,
    gas::GasClass,
    heartbeat::{HeartbeatRound, HeartbeatStanding},
    ids::BlockNumber,
    inbox::{ChainMessage, Head, Item, ItemHeader, ItemKind, ItemOrigin},
    result::{Boundary, ClusterResult, SignedRekey, SignedResult},
    storage, AccountId, ClusterId, CodeHash, ContractId, Epoch, Hash, WorkerId,
};
use std::collections::BTreeMap;

pub const CLUSTER: ClusterId = ClusterId(0);
/// What a push is charged unless a test says otherwise.
pub const FEE: u128 = 100_000_000;
/// Gas class of every instantiation.
pub const CONSTRUCTOR_CLASS: GasClass = GasClass::Medium;
/// Blocks of an epoch unless a test says otherwise.
pub const EPOCH_LENGTH: BlockNumber = 60;
const BLOCK_MS: u64 = 6_000;

pub struct MockChain {
    pub blocks: TestChain,
    /// Storage writes of the block under construction.
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    time_ms: u64,
    measurement: Hash,
    workers: BTreeMap<WorkerId, WorkerRecord>,
    pub root: Option<RootRecord>,
    /// The root to which the cluster goes over.
    pub next_root: Option<RootRecord>,
    /// A root whose delay is over with the next block.
    made: Option<RootRecord>,
    pub cluster: Option<ClusterRecord>,
    /// Blocks of an epoch, from the cluster's creation on.
    pub epoch_length: BlockNumber,
    pub head: Head,
    pub items: Vec<Item>,
    boundaries: BTreeMap<BlockNumber, BoundaryRecord>,
    announcements: BTreeMap<WorkerId, (u32, Vec<u8>)>,
    opening: Option<(u32, Epoch, Vec<u8>)>,
    votes: BTreeMap<BlockNumber, Vec<SignedResult>>,
    rekeys: Vec<SignedRekey>,
    commitment: Option<Hash>,
    pub finals: BTreeMap<BlockNumber, FinalRecord>,
    /// Where replicas stand: those that signed final results.
    pub standings: BTreeMap<WorkerId, Standing>,
    pub codes: BTreeMap<CodeHash, Vec<u8>>,
    /// What the next pushes are charged.
    pub fee: u128,
    /// Results and announcements are let in; a test may hold them back.
    pub open_to_results: bool,
    /// Egress items that were taken, in order.
    pub taken: Vec<EgressItem>,
    /// Egress is let in; a test may hold it back.
    pub open_to_egress: bool,
}

impl MockChain {
    pub fn new(seed: u64, measurement: Hash) -> Self {
        let listed = AllowedMeasurement { source: [0; 32], listed_at: 0, not_before: 0, sunset: None };
        let listing = Listing { source: [0; 32], version: Version(0, 1, 0), role: None, not_before: 0, sunset: None };
        let genesis = [
            (storage::DEVELOPMENT.to_vec(), vec![1]),
            (storage::TIMESTAMP_NOW.to_vec(), (START * 1_000).encode()),
            (storage::measurement_key(&measurement), listed.encode()),
            (storage::listing_key(&measurement), listing.encode()),
        ];
        let mut chain = Self {
            blocks: TestChain::new(seed, 3, genesis),
            changes: BTreeMap::new(),
            time_ms: START * 1_000,
            measurement,
            workers: BTreeMap::new(),
            root: None,
            next_root: None,
            made: None,
            cluster: None,
            epoch_length: EPOCH_LENGTH,
            head: Head::empty(CLUSTER),
            items: Vec::new(),
            boundaries: BTreeMap::new(),
            announcements: BTreeMap::new(),
            opening: None,
            votes: BTreeMap::new(),
            rekeys: Vec::new(),
            commitment: None,
            finals: BTreeMap::new(),
            standings: BTreeMap::new(),
            codes: BTreeMap::new(),
            fee: FEE,
            open_to_results: true,
            taken: Vec::new(),
            open_to_egress: true,
        };
        chain.next_block();
        chain
    }

    pub fn genesis(&self) -> Hash {
        self.blocks.genesis_hash()
    }

    pub fn anchor(&self) -> GenesisAnchor {
        let authorities_proof = self.blocks.read_proof(0, &[&storage::GRANDPA_AUTHORITIES, &storage::DEVELOPMENT]);
        GenesisAnchor { header: self.blocks.header(0).encode(), authorities_proof }
    }

    /// The epoch that opens with the next block.
    pub fn opening(&self) -> Option<Epoch> {
        self.opening.as_ref().map(|(_, epoch, _)| *epoch)
    }

    /// The era whose root gives the next epoch's keys.
    fn coming_era(&self) -> u32 {
        next_epoch_era(self.root.as_ref(), self.next_root.as_ref()).unwrap_or(0)
    }

    /// Whether the cluster is between two roots.
    pub fn hands_over(&self) -> bool {
        self.made.is_some() || self.next_root.is_some()
    }

    /// What the newest block's state says of a worker's wish for keys.
    pub fn facts(&self, worker: &WorkerId) -> Facts {
        let number = self.blocks.best();
        Facts {
            genesis: self.genesis(),
            head: (number, self.blocks.header(number).hash().0),
            worker: self.read(&storage::worker_key(worker)),
            cluster: self.read(&storage::cluster_key(CLUSTER)),
            root: self.read(&storage::root_key()),
            next_root: self.read(&storage::next_root_key()),
        }
    }

    fn read<T: Decode>(&self, key: &[u8]) -> Option<T> {
        let bytes = self.blocks.value(self.blocks.best(), key)?;
        Some(T::decode(&mut bytes.as_slice()).unwrap())
    }

    /// Number of the block under construction.
    pub fn number(&self) -> BlockNumber {
        self.blocks.best() + 1
    }

    pub fn epoch(&self) -> Epoch {
        self.cluster.as_ref().map_or(0, |record| record.epoch)
    }

    /// Ends the block under construction, and begins the next as `on_initialize` does.
    pub fn next_block(&mut self) {
        self.blocks.build_block(std::mem::take(&mut self.changes));
        self.time_ms += BLOCK_MS;
        self.put(storage::TIMESTAMP_NOW.to_vec(), &self.time_ms.clone());
        self.begin_to_go_over();
        let coming = self.coming_era();
        // What was decided before the hand-over began opens nothing: it is announced anew.
        if let Some((era, epoch, key)) = self.opening.take().filter(|(era, ..)| *era == coming) {
            let (now, count) = (self.number(), self.head.count);
            self.announcements.clear();
            self.rekeys.clear();
            let length = self.epoch_length;
            self.change_cluster(|record| {
                assert_eq!(record.next_epoch(), epoch);
                record.era_before = if record.epoch == 0 { era } else { record.era };
                record.era = era;
                record.epoch = epoch;
                record.opened_at = now;
                record.opened_count = count;
                record.envelope_key = key;
                // The length comes back when the cluster has gone over.
                record.epoch_length = if record.era_before == era { length } else { 0 };
            });
        }
        self.end_to_go_over();
    }

    /// A root whose delay is over becomes the next one, and epochs are due at once.
    fn begin_to_go_over(&mut self) {
        if let Some(root) = self.made.take() {
            self.put(storage::next_root_key(), &root);
            self.next_root = Some(root);
            if self.cluster.is_some() {
                self.end_epoch();
            }
        }
    }

    /// The next epoch is due at once, however long this one was to be.
    pub fn end_epoch(&mut self) {
        let now = self.number();
        self.change_cluster(|record| record.epoch_length = now.saturating_sub(record.opened_at));
    }

    /// The next root becomes the one that answers when no epoch is of the former any more.
    fn end_to_go_over(&mut self) {
        let Some(next) = self.next_root.as_ref().map(|root| root.era) else { return };
        let over = |record: &ClusterRecord| record.is_closed() || (record.era, record.era_before) == (next, next);
        let done = self.cluster.as_ref().is_none_or(over);
        if done {
            let root = self.next_root.take().unwrap();
            self.put(storage::root_key(), &root);
            self.changes.insert(storage::next_root_key(), None);
            self.root = Some(root);
        }
    }

    /// From the next block on the cluster goes over to this root.
    pub fn hand_over(&mut self, root: RootRecord) {
        assert!(!self.hands_over() && root.era == self.coming_era() + 1);
        self.made = Some(root);
    }

    fn put(&mut self, key: Vec<u8>, value: &impl Encode) {
        self.changes.insert(key, Some(value.encode()));
    }

    fn change_cluster(&mut self, change: impl FnOnce(&mut ClusterRecord)) {
        let mut record = self.cluster.clone().unwrap();
        change(&mut record);
        self.put(storage::cluster_key(CLUSTER), &record);
        self.cluster = Some(record);
    }

    /// A value of the beacon opens this round of heartbeats.
    pub fn ask_heartbeats(&mut self, round: &HeartbeatRound) {
        self.put(storage::heartbeat_round_key(), round);
    }

    /// A worker stands so with its heartbeats.
    pub fn stand_by_heartbeats(&mut self, worker: &WorkerId, standing: &HeartbeatStanding) {
        self.put(storage::heartbeat_standing_key(worker), standing);
    }

    /// Lets `milliseconds` of chain time go by before the next block.
    pub fn pass_time(&mut self, milliseconds: u64) {
        self.time_ms += milliseconds;
    }

    pub fn create_cluster(&mut self, replicas: Vec<WorkerId>) {
        assert!(replicas.iter().all(|worker| self.workers.contains_key(worker)));
        let era = self.coming_era();
        let record = ClusterRecord {
            era,
            era_before: era,
            epoch: 0,
            opened_at: 0,
            opened_count: 0,
            final_count: 0,
            bound_epoch: 0,
            epoch_length: self.epoch_length,
            envelope_key: Vec::new(),
            replicas,
        };
        self.put(storage::cluster_key(CLUSTER), &record);
        self.cluster = Some(record);
    }

    pub fn assign(&mut self, replicas: Vec<WorkerId>) {
        self.announcements.clear();
        self.rekeys.clear();
        self.change_cluster(|record| record.replicas = replicas);
    }

    /// Closes the cluster for good, as governance does.
    pub fn close(&mut self) {
        self.announcements.clear();
        self.rekeys.clear();
        self.opening = None;
        self.change_cluster(|record| {
            record.replicas.clear();
            record.envelope_key.clear();
        });
    }

    /// Whom governance or the brake shuts out from the next block on.
    pub fn bar(&mut self, bans: &Bans) {
        self.put(storage::BANS.to_vec(), bans);
    }

    /// Without the checks of evidence; gatekeepers make those.
    pub fn register(&mut self, registration: &Registration, evidence: &[u8]) {
        assert!(!evidence.is_empty());
        assert_eq!(registration.block_hash, self.blocks.header(registration.block).hash().0);
        let record = WorkerRecord {
            role: registration.role,
            operator: registration.operator,
            encryption_key: registration.encryption_key,
            measurement: self.measurement,
            hardware: [0; 32],
            assurance: Assurance::Simulated,
            registered_at: self.number(),
            valid_until: self.time_ms / 1_000 + 86_400,
        };
        self.put(storage::worker_key(&registration.identity), &record);
        self.workers.insert(registration.identity, record);
    }

    pub fn record_root(&mut self, root: RootRecord, signature: &[u8; 64]) {
        if self.root.is_some() {
            return;
        }
        assert!(root.seats.len() == 1 && root.threshold == 1 && root.era == 0);
        assert_eq!(self.workers[&root.seats[0]].role, Role::Gatekeeper);
        ed25519::verify(&root.seats[0].0, &root.signing_payload(&self.genesis()), signature).unwrap();
        self.put(storage::root_key(), &root);
        self.root = Some(root);
    }

    /// False when the pallet would refuse it.
    pub fn announce(&mut self, worker: WorkerId, era: u32, epoch: Epoch, key: Vec<u8>, signature: &[u8; 64]) -> bool {
        let record = self.cluster.clone().unwrap();
        let due = self.number() >= record.next_epoch_due() && !record.is_closing() && epoch == record.next_epoch();
        // One of a former era counts for nothing, and keeps nobody from announcing again.
        let announced = self.announcements.get(&worker).is_some_and(|(of, _)| *of == era);
        if !due || era != self.coming_era() || !record.replicas.contains(&worker) || announced {
            return false;
        }
        let payload = announcement_payload(&self.genesis(), CLUSTER, era, epoch, &key);
        ed25519::verify(&worker.0, &payload, signature).unwrap();
        let announcement = (era, key);
        self.announcements.insert(worker, announcement.clone());
        if self.announcements.values().filter(|other| **other == announcement).count() >= record.majority() {
            let (era, key) = announcement;
            self.opening = Some((era, epoch, key));
        }
        true
    }

    pub fn push(&mut self, class: GasClass, payer: AccountId, envelope: Vec<u8>) -> u64 {
        self.append(ItemKind::Envelope(class), ItemOrigin::Account(payer), envelope)
    }

    pub fn upload(&mut self, code: &[u8]) -> CodeHash {
        let hash = CodeHash::of(code);
        self.codes.insert(hash, code.to_vec());
        hash
    }

    pub fn instantiate(&mut self, deployer: AccountId, code: CodeHash, contract: ContractId, init: Vec<u8>) -> u64 {
        assert!(self.codes.contains_key(&code));
        let message = ChainMessage::Instantiate { contract, deployer, code, init }.encode();
        self.append(ItemKind::Chain(CONSTRUCTOR_CLASS), ItemOrigin::ContractsPallet, message)
    }

    fn append(&mut self, kind: ItemKind, origin: ItemOrigin, message: Vec<u8>) -> u64 {
        let (block, sequence) = (self.number(), self.head.count);
        let header = ItemHeader { kind, origin, sequence, block, time_ms: self.time_ms, fee: self.fee };
        let next = self.head.pushed(&header, &message).unwrap();
        self.items.push(Item { previous: self.head.link, header, message });
        self.head = next;
        self.put(storage::inbox_head_key(CLUSTER), &next);
        let gas = self.boundaries.get(&block).map_or(0, |record| record.gas) + kind.gas_class().gas();
        let record = BoundaryRecord { head: next, gas, next: None };
        self.put(storage::boundary_key(CLUSTER, block), &record);
        self.boundaries.insert(block, record);
        sequence
    }

    fn boundary(&self, block: BlockNumber) -> Option<Boundary> {
        let head = self.boundaries.get(&block)?.head;
        Some(Boundary { block, count: head.count, link: head.link })
    }

    /// False when the pallet would refuse it.
    pub fn submit_result(&mut self, signed: SignedResult) -> bool {
        let (result, record) = (signed.result, self.cluster.clone().unwrap());
        let block = result.boundary.block;
        if let Some(known) = self.finals.get(&block).filter(|_| self.open_to_results) {
            // Late; of another result, only an event would come.
            let counts = known.result == result && record.replicas.contains(&signed.worker);
            ed25519::verify(&signed.worker.0, &result.signing_payload(&self.genesis()), &signed.signature).unwrap();
            return counts && self.stand(signed.worker, result.boundary.count);
        }
        if !self.open_to_results || self.boundary(block) != Some(result.boundary) || block >= self.number() {
            return false;
        }
        assert_eq!(result.epoch, record.epoch_at(block), "signed for the wrong epoch");
        ed25519::verify(&signed.worker.0, &result.signing_payload(&self.genesis()), &signed.signature).unwrap();
        let votes = self.votes.entry(block).or_default();
        if !record.replicas.contains(&signed.worker) || votes.iter().any(|vote| vote.worker == signed.worker) {
            return false;
        }
        votes.push(signed);
        self.finalise_in_order();
        true
    }

    /// Notes that a replica signed the final result up to `count`; false if that was known.
    fn stand(&mut self, worker: WorkerId, count: u64) -> bool {
        let new = Standing { worker, confirmed: 0, dissent: None, lost: false };
        let standing = self.standings.entry(worker).or_insert(new);
        let further = count > standing.confirmed;
        standing.confirmed = standing.confirmed.max(count);
        let all: Vec<Standing> = self.standings.values().copied().collect();
        self.put(storage::standings_key(CLUSTER), &all);
        further
    }

    fn finalise_in_order(&mut self) {
        while let Some(block) = self.boundaries.keys().next().copied() {
            let record = self.cluster.clone().unwrap();
            let votes = self.votes.get(&block).cloned().unwrap_or_default();
            let agreeing = |result: &ClusterResult| votes.iter().filter(|vote| vote.result == *result).count();
            let decided = votes.iter().map(|vote| vote.result).find(|result| agreeing(result) >= record.majority());
            let Some(result) = decided else { return };
            if self.commitment.is_some_and(|last| last != result.prev || record.bound_epoch != result.epoch) {
                return;
            }
            self.finalise(result, votes);
        }
    }

    /// Makes `result` final, whoever voted for it.
    pub fn finalise(&mut self, result: ClusterResult, votes: Vec<SignedResult>) {
        let block = result.boundary.block;
        self.commitment = Some(result.next);
        let votes = votes.into_iter().filter(|vote| vote.result == result).map(|vote| (vote.worker, vote.signature));
        let replicas = self.cluster.as_ref().unwrap().replicas.len() as u32;
        let record = FinalRecord { result, votes: votes.collect(), replicas, finalised_at: self.number() };
        for (worker, _) in &record.votes {
            self.stand(*worker, result.boundary.count);
        }
        self.put(storage::final_result_key(CLUSTER, block), &record);
        self.finals.insert(block, record);
        self.boundaries.remove(&block);
        self.changes.insert(storage::boundary_key(CLUSTER, block), None);
        self.change_cluster(|record| {
            record.final_count = result.boundary.count;
            record.bound_epoch = result.epoch;
        });
    }

    /// Takes an egress item once, in its turn. False when the pallet would refuse it, or has taken it.
    pub fn take_egress(&mut self, proved: ProvedEgress) -> bool {
        let ProvedEgress { item, block, index, count, path } = proved;
        let result = self.finals.get(&block).expect("offered before its result is final").result;
        let id = item.id(&self.genesis());
        merkle::verify(&result.egress_root, index.into(), count.into(), &id, &path).expect("offered with its proof");
        assert_eq!(item.cluster, CLUSTER);
        if !self.open_to_egress {
            return false;
        }
        let next = self.taken.len() as u64;
        assert!(item.sequence <= next, "offered before its turn: {item:?}");
        if item.sequence < next {
            return false;
        }
        self.taken.push(item);
        let next = next + 1;
        self.put(storage::egress_next_key(CLUSTER), &next);
        true
    }

    /// Keeps a final result no longer.
    pub fn forget(&mut self, block: BlockNumber) {
        self.finals.remove(&block);
        self.changes.insert(storage::final_result_key(CLUSTER, block), None);
    }

    /// False when the pallet would refuse it.
    pub fn submit_rekey(&mut self, signed: SignedRekey) -> bool {
        let (rekey, record) = (signed.rekey, self.cluster.clone().unwrap());
        let due = rekey.epoch == record.epoch
            && record.final_count >= record.opened_count
            && record.bound_epoch < record.epoch
            && record.replicas.contains(&signed.worker)
            && self.rekeys.iter().all(|other| other.worker != signed.worker);
        if !self.open_to_results || !due || self.commitment != Some(rekey.old) {
            return false;
        }
        ed25519::verify(&signed.worker.0, &rekey.signing_payload(&self.genesis()), &signed.signature).unwrap();
        self.rekeys.push(signed);
        if self.rekeys.iter().filter(|other| other.rekey == rekey).count() >= record.majority() {
            self.commitment = Some(rekey.new);
            self.put(storage::binding_key(CLUSTER), &rekey);
            self.rekeys.clear();
            self.change_cluster(|record| record.bound_epoch = rekey.epoch);
            self.finalise_in_order();
        }
        true
    }
}
