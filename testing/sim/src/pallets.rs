//! What the chain's pallets keep and decide, played by hand: one cluster, its inbox, its votes, its epochs.
//!
//! Guarantees: what a TEE or a client sends is judged by the rules of the pallets of the same names (their own tests hold them to
//! those); records are written under the real storage keys. Left out: fees beyond a constant, deposits, weights, evidence at
//! registration (gatekeepers verify that), and that malformed envelopes are refused - here they come in, so that TEEs meet them.

use crate::machine::START;
use codec::{DecodeAll, Encode};
use phala_crypto::signature::ed25519;
use phala_protocol::{
    attestation::{Assurance, Listing, Registration, Role, Version},
    chain_state::{
        next_epoch_era, AllowedMeasurement, BoundaryRecord, ClusterRecord, FinalRecord, RootRecord, Standing,
        WorkerRecord,
    },
    envelope::{announcement_payload, Envelope},
    gas::GasClass,
    ids::BlockNumber,
    inbox::{ChainMessage, Head, Item, ItemHeader, ItemKind, ItemOrigin},
    limits::MAX_REGISTRATION_AGE_BLOCKS,
    result::{Boundary, ClusterResult, SignedRekey, SignedResult},
    storage, AccountId, ClusterId, CodeHash, ContractId, Epoch, Hash, WorkerId,
};
use std::collections::BTreeMap;

/// The cluster.
pub const CLUSTER: ClusterId = ClusterId(0);
/// What every push is charged.
pub const FEE: u128 = 100_000_000;
/// The public gas class of constructors.
pub const CONSTRUCTOR_CLASS: GasClass = GasClass::Medium;
/// Seconds for which a registration counts.
const VALID_SECONDS: u64 = 86_400;

/// Storage writes (`Some`) and removals of one block.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The pallets' state while a block is under construction.
#[derive(Clone)]
pub struct Pallets {
    genesis: Hash,
    /// Number of the block under construction.
    pub number: BlockNumber,
    pub(crate) changes: Changes,
    /// Chain time of the block under construction.
    pub time_ms: u64,
    measurement: Hash,
    epoch_length: BlockNumber,
    /// Every registered TEE.
    pub workers: BTreeMap<WorkerId, WorkerRecord>,
    /// The root that answers.
    pub root: Option<RootRecord>,
    /// The root to which the cluster goes over.
    pub next_root: Option<RootRecord>,
    /// A root whose delay is over with the next block.
    made: Option<RootRecord>,
    /// The cluster, once it is created.
    pub cluster: Option<ClusterRecord>,
    /// End of the inbox.
    pub head: Head,
    /// The whole inbox.
    pub items: Vec<Item>,
    boundaries: BTreeMap<BlockNumber, BoundaryRecord>,
    announcements: BTreeMap<WorkerId, (u32, Vec<u8>)>,
    opening: Option<(u32, Epoch, Vec<u8>)>,
    votes: BTreeMap<BlockNumber, Vec<SignedResult>>,
    rekeys: Vec<SignedRekey>,
    commitment: Option<Hash>,
    /// Final results by their boundary's block.
    pub finals: BTreeMap<BlockNumber, FinalRecord>,
    /// Where replicas stand, by the final results that they signed.
    pub standings: BTreeMap<WorkerId, Standing>,
}

impl Pallets {
    /// The genesis state's entries.
    pub fn genesis_entries(measurement: &Hash) -> Vec<(Vec<u8>, Vec<u8>)> {
        let listed = AllowedMeasurement { source: [0; 32], listed_at: 0, not_before: 0, sunset: None };
        let listing = Listing { source: [0; 32], version: Version(0, 1, 0), role: None, not_before: 0, sunset: None };
        vec![
            (storage::DEVELOPMENT.to_vec(), vec![1]),
            (storage::TIMESTAMP_NOW.to_vec(), (START * 1_000).encode()),
            (storage::measurement_key(measurement), listed.encode()),
            (storage::listing_key(measurement), listing.encode()),
        ]
    }

    /// Before the first block.
    pub fn new(genesis: Hash, measurement: Hash, epoch_length: BlockNumber) -> Self {
        Self {
            genesis,
            number: 1,
            changes: Changes::new(),
            time_ms: START * 1_000,
            measurement,
            epoch_length,
            workers: BTreeMap::new(),
            root: None,
            next_root: None,
            made: None,
            cluster: None,
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
        }
    }

    /// Begins block `number` at chain time `time_ms`, as `on_initialize` does: time, then an epoch that was decided.
    pub fn begin(&mut self, number: BlockNumber, time_ms: u64) {
        self.number = number;
        self.time_ms = time_ms;
        self.put(storage::TIMESTAMP_NOW.to_vec(), &time_ms);
        self.begin_to_go_over();
        let coming = self.coming_era();
        // What was decided before the hand-over began opens nothing: it is announced anew.
        if let Some((era, epoch, key)) = self.opening.take().filter(|(era, ..)| Some(*era) == coming) {
            let (count, length) = (self.head.count, self.epoch_length);
            let due = self.cluster.as_ref().is_some_and(|record| record.next_epoch() == epoch);
            if due {
                self.announcements.clear();
                self.rekeys.clear();
                self.change_cluster(|record| {
                    record.era_before = if record.epoch == 0 { era } else { record.era };
                    record.era = era;
                    record.epoch = epoch;
                    record.opened_at = number;
                    record.opened_count = count;
                    record.envelope_key = key;
                    // The length comes back when the cluster has gone over.
                    record.epoch_length = if record.era_before == era { length } else { 0 };
                });
            }
        }
        self.end_to_go_over();
    }

    /// A root whose delay is over becomes the next one, and epochs are due at once.
    fn begin_to_go_over(&mut self) {
        if let Some(root) = self.made.take() {
            self.put(storage::next_root_key(), &root);
            self.next_root = Some(root);
            let now = self.number;
            self.change_cluster(|record| record.epoch_length = now.saturating_sub(record.opened_at));
        }
    }

    /// The next root becomes the one that answers when no epoch is of the former any more.
    fn end_to_go_over(&mut self) {
        let era = self.next_root.as_ref().map(|root| root.era);
        let gone_over = |era| self.cluster.as_ref().is_none_or(|record| (record.era, record.era_before) == (era, era));
        if !era.is_some_and(gone_over) {
            return;
        }
        if let Some(root) = self.next_root.take() {
            self.put(storage::root_key(), &root);
            self.changes.insert(storage::next_root_key(), None);
            self.root = Some(root);
        }
    }

    /// The era whose root gives the next epoch's keys.
    pub fn coming_era(&self) -> Option<u32> {
        next_epoch_era(self.root.as_ref(), self.next_root.as_ref())
    }

    /// Whether the cluster goes over from one root to another, or will with the next block.
    pub fn hands_over(&self) -> bool {
        self.made.is_some() || self.next_root.is_some()
    }

    /// From the next block on the cluster goes over to this root. False unless it is of the next era, and no other one is on its way.
    pub fn hand_over(&mut self, root: RootRecord) -> bool {
        let good = !self.hands_over() && self.coming_era().and_then(|era| era.checked_add(1)) == Some(root.era);
        if good {
            self.made = Some(root);
        }
        good
    }

    fn put(&mut self, key: Vec<u8>, value: &impl Encode) {
        self.changes.insert(key, Some(value.encode()));
    }

    fn change_cluster(&mut self, change: impl FnOnce(&mut ClusterRecord)) {
        if let Some(mut record) = self.cluster.clone() {
            change(&mut record);
            self.put(storage::cluster_key(CLUSTER), &record);
            self.cluster = Some(record);
        }
    }

    /// The open epoch.
    pub fn epoch(&self) -> Epoch {
        self.cluster.as_ref().map_or(0, |record| record.epoch)
    }

    /// The epoch that was decided to open with the next block.
    pub fn decided_epoch(&self) -> Option<Epoch> {
        let coming = self.coming_era();
        self.opening.as_ref().filter(|(era, ..)| Some(*era) == coming).map(|(_, epoch, _)| *epoch)
    }

    fn is_active(&self, worker: &WorkerId, role: Role) -> bool {
        let now = self.time_ms / 1_000;
        self.workers.get(worker).is_some_and(|record| record.role == role && record.valid_until > now)
    }

    /// Creates the cluster. False if a replica is not registered.
    pub fn create_cluster(&mut self, replicas: Vec<WorkerId>) -> bool {
        if self.cluster.is_some() || !replicas.iter().all(|worker| self.is_active(worker, Role::Worker)) {
            return false;
        }
        let era = self.coming_era().unwrap_or(0);
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
        true
    }

    /// Assigns another set of replicas.
    pub fn assign(&mut self, replicas: Vec<WorkerId>) -> bool {
        if replicas.is_empty() || !replicas.iter().all(|worker| self.is_active(worker, Role::Worker)) {
            return false;
        }
        self.announcements.clear();
        self.rekeys.clear();
        self.change_cluster(|record| record.replicas = replicas);
        true
    }

    /// Registers a TEE whose evidence names a recent block of this chain (`block_hash` is the chain's word).
    pub fn register(&mut self, registration: &Registration, block_hash: Option<Hash>) -> bool {
        let recent = self.number.saturating_sub(registration.block) <= MAX_REGISTRATION_AGE_BLOCKS;
        if !recent || block_hash != Some(registration.block_hash) {
            return false;
        }
        let record = WorkerRecord {
            role: registration.role,
            operator: registration.operator,
            encryption_key: registration.encryption_key,
            measurement: self.measurement,
            hardware: [0; 32],
            assurance: Assurance::Simulated,
            registered_at: self.number,
            valid_until: self.time_ms / 1_000 + VALID_SECONDS,
        };
        self.put(storage::worker_key(&registration.identity), &record);
        self.workers.insert(registration.identity, record);
        true
    }

    /// Records the root of the only seat.
    pub fn record_root(&mut self, root: RootRecord, signature: &[u8; 64]) -> bool {
        let [seat] = root.seats.as_slice() else { return false };
        let good = self.root.is_none()
            && self.is_active(seat, Role::Gatekeeper)
            && ed25519::verify(&seat.0, &root.signing_payload(&self.genesis), signature).is_ok();
        if good {
            self.put(storage::root_key(), &root);
            self.root = Some(root);
        }
        good
    }

    /// Takes one replica's announcement of the next epoch's key.
    pub fn announce(&mut self, worker: WorkerId, era: u32, epoch: Epoch, key: Vec<u8>, signature: &[u8; 64]) -> bool {
        let Some(record) = self.cluster.clone() else { return false };
        let payload = announcement_payload(&self.genesis, CLUSTER, era, epoch, &key);
        // One of a former era counts for nothing, and keeps nobody from announcing again.
        let announced = self.announcements.get(&worker).is_some_and(|(of, _)| *of == era);
        let good = self.number >= record.next_epoch_due()
            && !record.is_closing()
            && self.coming_era() == Some(era)
            && epoch == record.next_epoch()
            && record.replicas.contains(&worker)
            && self.is_active(&worker, Role::Worker)
            && !announced
            && ed25519::verify(&worker.0, &payload, signature).is_ok();
        if !good {
            return false;
        }
        let announcement = (era, key);
        self.announcements.insert(worker, announcement.clone());
        if self.announcements.values().filter(|other| **other == announcement).count() >= record.majority() {
            let (era, key) = announcement;
            self.opening.get_or_insert((era, epoch, key));
        }
        true
    }

    /// Pushes an envelope for the open epoch; returns its sequence number. Bytes that are no envelope come in too.
    pub fn push(&mut self, class: GasClass, payer: AccountId, envelope: Vec<u8>) -> Option<u64> {
        self.check_epoch(&envelope)?;
        self.append(ItemKind::Envelope(class), ItemOrigin::Account(payer), envelope)
    }

    /// Creates a contract from uploaded code.
    pub fn instantiate(
        &mut self,
        deployer: AccountId,
        code: CodeHash,
        contract: ContractId,
        init: Vec<u8>,
    ) -> Option<u64> {
        self.check_epoch(&init)?;
        let message = ChainMessage::Instantiate { contract, deployer, code, init }.encode();
        self.append(ItemKind::Chain(CONSTRUCTOR_CLASS), ItemOrigin::ContractsPallet, message)
    }

    /// Pushes an item of an abandoned block again.
    pub fn push_again(&mut self, item: &Item) -> Option<u64> {
        match (item.header.origin, ChainMessage::decode_all(&mut item.message.as_slice())) {
            (ItemOrigin::ContractsPallet, Ok(ChainMessage::Instantiate { init, .. })) => self.check_epoch(&init)?,
            _ => self.check_epoch(&item.message)?,
        }
        self.append(item.header.kind, item.header.origin, item.message.clone())
    }

    /// Takes the last item of the block under construction out again: its producer had not put it in after all.
    pub(crate) fn take_back(&mut self) {
        let Some(item) = self.items.pop_if(|item| item.header.block == self.number) else { return };
        self.head = Head { count: item.header.sequence, link: item.previous };
        if self.items.last().is_none_or(|last| last.header.block != self.number) {
            self.boundaries.remove(&self.number);
            self.changes.remove(&storage::boundary_key(CLUSTER, self.number));
            self.changes.remove(&storage::inbox_head_key(CLUSTER));
        } else if let Some(record) = self.boundaries.get_mut(&self.number) {
            record.head = self.head;
            record.gas -= item.header.kind.gas_class().gas();
        }
    }

    fn check_epoch(&self, envelope: &[u8]) -> Option<()> {
        let open = self.epoch();
        let named = Envelope::decode_exact(envelope).map_or(open, |envelope| envelope.header.epoch);
        (open > 0 && named == open).then_some(())
    }

    fn append(&mut self, kind: ItemKind, origin: ItemOrigin, message: Vec<u8>) -> Option<u64> {
        let (block, sequence) = (self.number, self.head.count);
        let header = ItemHeader { kind, origin, sequence, block, time_ms: self.time_ms, fee: FEE };
        let next = self.head.pushed(&header, &message)?;
        self.items.push(Item { previous: self.head.link, header, message });
        self.head = next;
        self.put(storage::inbox_head_key(CLUSTER), &next);
        let gas = self.boundaries.get(&block).map_or(0, |record| record.gas) + kind.gas_class().gas();
        let record = BoundaryRecord { head: next, gas, next: None };
        self.put(storage::boundary_key(CLUSTER, block), &record);
        self.boundaries.insert(block, record);
        Some(sequence)
    }

    fn boundary(&self, block: BlockNumber) -> Option<Boundary> {
        let head = self.boundaries.get(&block)?.head;
        Some(Boundary { block, count: head.count, link: head.link })
    }

    /// Takes one replica's vote for a result.
    pub fn submit_result(&mut self, signed: SignedResult) -> bool {
        let Some(record) = self.cluster.clone() else { return false };
        let (result, block) = (signed.result, signed.result.boundary.block);
        let known = self.finals.get(&block).map(|record| record.result);
        let boundary = known.map_or_else(|| self.boundary(block), |known| Some(known.boundary));
        let good = boundary == Some(result.boundary)
            && block < self.number
            && result.epoch == known.map_or_else(|| record.epoch_at(block), |known| known.epoch)
            && record.replicas.contains(&signed.worker)
            && self.is_active(&signed.worker, Role::Worker)
            && ed25519::verify(&signed.worker.0, &result.signing_payload(&self.genesis), &signed.signature).is_ok();
        if let Some(known) = known {
            // It decides nothing any more, and shows where its replica is.
            return good && known == result && self.stand(signed.worker, result.boundary.count);
        }
        let votes = self.votes.entry(block).or_default();
        if !good || votes.iter().any(|vote| vote.worker == signed.worker) {
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
        while let (Some(block), Some(record)) = (self.boundaries.keys().next().copied(), self.cluster.clone()) {
            let votes = self.votes.get(&block).cloned().unwrap_or_default();
            let agreeing = |result: &ClusterResult| {
                votes.iter().filter(|vote| vote.result == *result && record.replicas.contains(&vote.worker)).count()
            };
            let decided = votes.iter().map(|vote| vote.result).find(|result| agreeing(result) >= record.majority());
            let Some(result) = decided else { return };
            if self.commitment.is_some_and(|last| last != result.prev || record.bound_epoch != result.epoch) {
                return;
            }
            self.commitment = Some(result.next);
            let votes = votes.into_iter().filter(|vote| vote.result == result);
            let votes = votes.map(|vote| (vote.worker, vote.signature)).collect();
            let replicas = record.replicas.len() as u32;
            let record = FinalRecord { result, votes, replicas, finalised_at: self.number };
            self.put(storage::final_result_key(CLUSTER, block), &record);
            for (worker, _) in &record.votes {
                self.stand(*worker, result.boundary.count);
            }
            self.finals.insert(block, record);
            self.boundaries.remove(&block);
            self.votes.remove(&block);
            self.changes.insert(storage::boundary_key(CLUSTER, block), None);
            self.change_cluster(|record| {
                record.final_count = result.boundary.count;
                record.bound_epoch = result.epoch;
            });
        }
    }

    /// Takes one replica's binding of two epochs' commitments.
    pub fn submit_rekey(&mut self, signed: SignedRekey) -> bool {
        let Some(record) = self.cluster.clone() else { return false };
        let rekey = signed.rekey;
        let good = rekey.epoch == record.epoch
            && record.final_count >= record.opened_count
            && record.bound_epoch < record.epoch
            && self.commitment == Some(rekey.old)
            && record.replicas.contains(&signed.worker)
            && self.is_active(&signed.worker, Role::Worker)
            && self.rekeys.iter().all(|other| other.worker != signed.worker)
            && ed25519::verify(&signed.worker.0, &rekey.signing_payload(&self.genesis), &signed.signature).is_ok();
        if !good {
            return false;
        }
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
