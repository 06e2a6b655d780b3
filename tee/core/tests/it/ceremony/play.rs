//! Four gatekeepers, their chain, and the relayer between them.
//!
//! What the chain leaves out, because its own pallets' tests have it: elections, deposits, faults' punishment, the delay of a root. A test
//! records roots itself. What the chain does about identities is in `play/identities.rs`.

mod identities;

pub use self::identities::{message, CONTRACT};

use self::identities::Ledger;
use crate::{
    chain::CLUSTER,
    machine::{MemoryMachine, START},
};
use codec::Encode;
use phala_attest::Subject;
use phala_core::{DeliveryError, Machine, Notice, Settings, SuspensionRefusal, Tee};
use phala_crypto::{
    signature::ed25519::{self, IdentityKey},
    xwing::DecapsulationKey,
    Secret,
};
use phala_gatekeeper::{open_grant, Grants, Refusal};
use phala_light_client::testing::TestChain;
use phala_protocol::{
    attestation::{encryption_key_hash, Assurance, Listing, Registration, Role, Version},
    beacon::{AwaitedBeacon, BeaconPartial, BeaconRecord, DueBeacon, Period},
    brake::{SignedSuspension, SuspensionRequest},
    ceremony::{
        end_phase, is_complete, take, Attachment, CeremonyRecord, Circumstances, Introduction, Next, Parcel, Phase,
        SignedStatement,
    },
    chain_state::{AllowedMeasurement, ClusterRecord, RootRecord, WorkerRecord},
    finality::GenesisAnchor,
    ids::BlockNumber,
    keys::{answer_key_hash, KeyAnswer, KeyPurpose, KeyRequest, SignedKeyRequest},
    relay::{Delivery, KeyInquiry, Outgoing, PlacedAttachment},
    storage, AccountId, Epoch, Hash, WorkerId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{atomic::Ordering::SeqCst, Arc},
};

/// Blocks of each phase.
const PHASE_BLOCKS: BlockNumber = 24;
const GATEKEEPERS: usize = 4;

/// A gatekeeper with what is under it and what happened to it.
pub struct Node {
    tee: Option<Tee>,
    pub machine: Arc<MemoryMachine>,
    pub notices: Vec<Notice>,
    settings: Settings,
}

impl Node {
    pub fn tee(&self) -> &Tee {
        self.tee.as_ref().unwrap()
    }

    pub fn id(&self) -> WorkerId {
        self.tee().identity()
    }
}

/// A worker that asks for keys.
pub struct Asker {
    identity: IdentityKey,
    /// What answers are sealed to.
    answers: DecapsulationKey,
    registration: Registration,
    evidence: Vec<u8>,
}

pub struct Play {
    pub nodes: Vec<Node>,
    blocks: TestChain,
    /// Storage writes of the block under construction.
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    time_ms: u64,
    measurement: Hash,
    pub ceremony: Option<CeremonyRecord>,
    /// The newest attempt of the last ceremony.
    attempt: u32,
    /// What the last ceremony made.
    pub made: Option<RootRecord>,
    /// The beacon key that it made beside the root.
    pub made_beacon: Option<AwaitedBeacon>,
    /// Records of beacon keys that gatekeepers had for the chain, oldest first.
    pub beacon_keys: Vec<BeaconRecord>,
    /// Evaluations of the beacon that gatekeepers had for the chain, with era and period, oldest first.
    pub partials: Vec<(u32, Period, BeaconPartial)>,
    /// What stands on chain beside statements.
    pub attached: Vec<PlacedAttachment>,
    /// The root that answers, and the one to which clusters go over.
    pub roots: (Option<RootRecord>, Option<RootRecord>),
    /// The network loses every parcel.
    pub drop_parcels: bool,
    /// Gatekeepers whose relayers are asleep.
    pub asleep: BTreeSet<usize>,
    /// What the chain has of identities, and what is signed with them.
    pub ledger: Ledger,
    introductions: BTreeMap<WorkerId, Vec<Introduction>>,
    parcels: BTreeMap<WorkerId, Vec<Parcel>>,
    inquiries: BTreeMap<WorkerId, Vec<KeyInquiry>>,
    answers: BTreeMap<Hash, KeyAnswer>,
    nonce: u8,
}

impl Play {
    /// Four registered gatekeepers, the first of which makes a lone root if so.
    pub fn new(seed: u64, lone_root: bool) -> Self {
        Self::of(seed, GATEKEEPERS, lone_root)
    }

    /// So many registered gatekeepers, the first of which makes a lone root if so.
    pub fn of(seed: u64, gatekeepers: usize, lone_root: bool) -> Self {
        let machines: Vec<_> = (0..gatekeepers).map(|index| MemoryMachine::new(seed * 100 + index as u64)).collect();
        let measurement = machines[0].measurement();
        let listing = Listing { source: [0; 32], version: Version(0, 1, 0), role: None, not_before: 0, sunset: None };
        let listed = AllowedMeasurement { source: [0; 32], listed_at: 0, not_before: 0, sunset: None };
        let genesis = [
            (storage::DEVELOPMENT.to_vec(), vec![1]),
            (storage::TIMESTAMP_NOW.to_vec(), (START * 1_000).encode()),
            (storage::measurement_key(&measurement), listed.encode()),
            (storage::listing_key(&measurement), listing.encode()),
        ];
        let mut play = Self {
            nodes: Vec::new(),
            blocks: TestChain::new(seed, 3, genesis),
            changes: BTreeMap::new(),
            time_ms: START * 1_000,
            measurement,
            ceremony: None,
            attempt: 0,
            made: None,
            made_beacon: None,
            beacon_keys: Vec::new(),
            partials: Vec::new(),
            attached: Vec::new(),
            roots: (None, None),
            drop_parcels: false,
            asleep: BTreeSet::new(),
            ledger: Ledger::default(),
            introductions: BTreeMap::new(),
            parcels: BTreeMap::new(),
            inquiries: BTreeMap::new(),
            answers: BTreeMap::new(),
            nonce: 0,
        };
        for (index, machine) in machines.into_iter().enumerate() {
            let settings = Settings {
                genesis: play.blocks.genesis_hash(),
                role: Role::Gatekeeper,
                operator: AccountId([index as u8; 32]),
                cluster: CLUSTER,
                lone_root: lone_root && index == 0,
            };
            play.nodes.push(Node { tee: None, machine, notices: Vec::new(), settings });
            play.restart(index);
        }
        play.next_block();
        play.run_until(|play| play.nodes.iter().all(|node| node.tee().registration().is_some()));
        play
    }

    /// Starts a gatekeeper, or starts it again from what its machine keeps.
    pub fn restart(&mut self, index: usize) {
        let anchor = GenesisAnchor {
            header: self.blocks.header(0).encode(),
            authorities_proof: self.blocks.read_proof(0, &[&storage::GRANDPA_AUTHORITIES, &storage::DEVELOPMENT]),
        };
        let node = &mut self.nodes[index];
        node.tee = None;
        node.tee = Some(Tee::start(node.settings.clone(), &anchor, node.machine.clone()).unwrap());
    }

    /// Another machine takes the place of a gatekeeper's, under the same operator, and has nothing of what that one kept.
    pub fn replace(&mut self, index: usize, machine: Arc<MemoryMachine>) {
        let settings = self.nodes[index].settings.clone();
        self.nodes[index] = Node { tee: None, machine, notices: Vec::new(), settings };
        self.restart(index);
    }

    /// Lists a measurement for gatekeepers from the next block on. It counts from block `not_before` on.
    pub fn list(&mut self, measurement: &Hash, not_before: BlockNumber) {
        let (source, role, version) = ([1; 32], Some(Role::Gatekeeper), Version(0, 2, 0));
        let listing = Listing { source, version, role, not_before, sunset: None };
        let listed = AllowedMeasurement { source, listed_at: self.number(), not_before, sunset: None };
        self.changes.insert(storage::measurement_key(measurement), Some(listed.encode()));
        self.changes.insert(storage::listing_key(measurement), Some(listing.encode()));
    }

    /// Number of the block under construction.
    pub fn number(&self) -> BlockNumber {
        self.blocks.best() + 1
    }

    pub fn genesis(&self) -> Hash {
        self.blocks.genesis_hash()
    }

    pub fn phase(&self) -> Option<Phase> {
        self.ceremony.as_ref().map(|record| record.phase)
    }

    /// How many attempts the last ceremony took.
    pub fn attempts(&self) -> u32 {
        self.attempt + 1
    }

    /// Begins the ceremony of an era among all gatekeepers.
    pub fn start(&mut self, era: u32) {
        let ids: Vec<_> = self.nodes.iter().map(Node::id).collect();
        let mut record = CeremonyRecord::new(era, 0, &ids);
        record.begin(Phase::Commit, self.number(), PHASE_BLOCKS);
        (self.ceremony, self.attempt, self.made, self.made_beacon) = (Some(record), 0, None, None);
        self.attached.clear();
    }

    /// Goes on until the ceremony has made its root.
    pub fn make_root(&mut self) -> RootRecord {
        for _ in 0..300 {
            if let Some(root) = self.made.clone() {
                return root;
            }
            self.step();
        }
        panic!("no root: {:?}", self.ceremony);
    }

    /// Records roots from the next block on.
    pub fn record(&mut self, root: Option<RootRecord>, next: Option<RootRecord>) {
        self.changes.insert(storage::root_key(), root.as_ref().map(Encode::encode));
        self.changes.insert(storage::next_root_key(), next.as_ref().map(Encode::encode));
        self.roots = (root, next);
    }

    /// The chain awaits this beacon key from the next block on, or none.
    pub fn await_beacon(&mut self, awaited: Option<AwaitedBeacon>) {
        self.changes.insert(storage::beacon_awaited_key(), awaited.as_ref().map(Encode::encode));
    }

    /// This period is due from the next block on, or none.
    pub fn due(&mut self, due: Option<DueBeacon>) {
        self.changes.insert(storage::beacon_due_key(), due.as_ref().map(Encode::encode));
    }

    /// Asks a gatekeeper, as its operator does, for its part of a suspension.
    pub fn sign(
        &mut self,
        index: usize,
        subject: Subject,
        expires: BlockNumber,
    ) -> Result<SignedSuspension<Subject>, SuspensionRefusal> {
        let request = SuspensionRequest { subject, expires };
        self.nodes[index].tee.as_mut().unwrap().sign_suspension(&request)
    }

    /// From the next block on the brake has suspended a subject so often.
    pub fn suspended(&mut self, subject: &Subject, times: u32) {
        self.changes.insert(storage::suspensions_key(subject), Some(times.encode()));
    }

    /// Ends the block under construction, and begins the next as the pallet does.
    pub fn next_block(&mut self) {
        self.time_ms += 6_000;
        self.changes.insert(storage::TIMESTAMP_NOW.to_vec(), Some(self.time_ms.encode()));
        self.changes.insert(storage::ceremony_key(), self.ceremony.as_ref().map(Encode::encode));
        self.changes.extend(self.ledger.written());
        self.blocks.build_block(std::mem::take(&mut self.changes));
        let now = self.number();
        self.ledger.advance(now);
        let Some(mut record) = self.ceremony.take() else { return };
        if now <= record.until && !is_complete(&record) {
            self.ceremony = Some(record);
            return;
        }
        match end_phase(&mut record).next {
            Next::Begin(phase) => {
                record.begin(phase, now, PHASE_BLOCKS);
                self.attempt = record.attempt;
                self.ceremony = Some(record);
            }
            Next::Root(keys) => {
                let seats = record.seats.iter().map(|seat| seat.gatekeeper).collect();
                let CeremonyRecord { era, threshold, .. } = record;
                self.made = Some(RootRecord { era, threshold, seats, share_list: keys.share_list });
                self.made_beacon = Some(AwaitedBeacon { era, hash: keys.beacon });
            }
            Next::Abandoned => panic!("the ceremony is abandoned"),
        }
    }

    /// A delivery to each gatekeeper, then a block.
    pub fn step(&mut self) {
        for index in (0..self.nodes.len()).filter(|index| !self.asleep.contains(index)).collect::<Vec<_>>() {
            let taken = self.deliver(index);
            if !self.nodes[index].machine.disk_full.load(SeqCst) {
                taken.unwrap();
            }
        }
        self.next_block();
    }

    pub fn run(&mut self, steps: usize) {
        (0..steps).for_each(|_| self.step());
    }

    pub fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..100 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("nothing came of it in 100 steps; ceremonies: {:?} {:?}", self.ceremony, self.ledger.ceremony);
    }

    /// What an honest relayer brings to a gatekeeper now.
    pub fn delivery(&mut self, index: usize) -> Delivery {
        let status = self.nodes[index].tee().status();
        let best = self.blocks.best();
        let mut delivery = self.proved(index, best);
        delivery.introductions = self.introductions.remove(&status.identity).unwrap_or_default();
        delivery.parcels = self.parcels.remove(&status.identity).unwrap_or_default();
        delivery.inquiries = self.inquiries.remove(&status.identity).unwrap_or_default();
        let of_attempt = self.attached.iter().filter(|placed| status.attempt == Some((placed.era, placed.attempt)));
        delivery.attachments = of_attempt.cloned().collect();
        self.ledger.deliver(&status, &self.blocks.genesis_hash(), &mut delivery);
        delivery
    }

    /// The head `block`, with what the gatekeeper wants of it.
    pub fn proved(&mut self, index: usize, block: BlockNumber) -> Delivery {
        let status = self.nodes[index].tee().status();
        let mut delivery = Delivery::default();
        if block > status.height {
            delivery.finality = self.blocks.proof(status.height, block).encode();
        }
        let wanted: Vec<&[u8]> = status.wanted_keys.iter().map(Vec::as_slice).collect();
        delivery.proof = self.blocks.read_proof(block, &wanted);
        delivery
    }

    /// From here on the chain is one that goes on otherwise after `block`, and whose authorities are those of that time.
    pub fn fork(&mut self, block: BlockNumber) {
        self.blocks = self.blocks.branch(block);
        self.changes.clear();
    }

    /// The chain's authorities hand over to others.
    pub fn replace_authorities(&mut self) {
        self.blocks.build_set_change(3);
    }

    /// Shows a gatekeeper the chain as it was at `block`.
    pub fn show(&mut self, index: usize, block: BlockNumber) {
        let delivery = self.proved(index, block);
        self.bring(index, delivery).unwrap();
    }

    /// One honest delivery.
    pub fn deliver(&mut self, index: usize) -> Result<(), DeliveryError> {
        let delivery = self.delivery(index);
        self.bring(index, delivery)
    }

    /// Brings this, and carries away what the gatekeeper has then.
    pub fn bring(&mut self, index: usize, delivery: Delivery) -> Result<(), DeliveryError> {
        // As it arrives in the enclave.
        let delivery = Delivery::decode_bounded(&delivery.encode()).unwrap();
        let node = &mut self.nodes[index];
        let (notices, result) = node.tee.as_mut().unwrap().deliver(delivery);
        node.notices.extend(notices);
        let status = self.nodes[index].tee().status();
        status.outgoing.into_iter().for_each(|outgoing| self.carry(outgoing));
        result
    }

    fn carry(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Register { registration, .. } => self.register(&registration),
            Outgoing::RecordRoot { root, signature } => {
                ed25519::verify(&root.seats[0].0, &root.signing_payload(&self.blocks.genesis_hash()), &signature)
                    .unwrap();
                if self.roots.0.is_none() {
                    self.record(Some(root), None);
                }
            }
            Outgoing::State(signed) => self.submit(&signed, None),
            Outgoing::StateWith { statement, attachment } => self.submit(&statement, Some(attachment)),
            Outgoing::Introduce { to, introduction } => {
                assert!(introduction.collateral.is_empty());
                let collateral = self.nodes[0].machine.collateral();
                self.introductions.entry(to).or_default().push(Introduction { collateral, ..introduction });
            }
            Outgoing::Post { to, parcel } => {
                if !self.drop_parcels {
                    self.parcels.entry(to).or_default().push(parcel);
                }
            }
            Outgoing::AnswerKeys { request, answer, .. } => {
                self.answers.insert(request, answer);
            }
            Outgoing::BeaconKey(record) => self.beacon_keys.push(record),
            Outgoing::BeaconPartial { era, period, partial } => self.partials.push((era, period, partial)),
            other => self.carry_of_identities(other),
        }
    }

    /// Without the checks of evidence; gatekeepers make those.
    fn register(&mut self, registration: &Registration) {
        let is_its = |node: &&Node| node.tee.as_ref().is_some_and(|tee| tee.identity() == registration.identity);
        let machine = self.nodes.iter().find(is_its).map(|node| node.machine.measurement());
        let record = WorkerRecord {
            role: registration.role,
            operator: registration.operator,
            encryption_key: registration.encryption_key,
            measurement: machine.unwrap_or(self.measurement),
            hardware: [0; 32],
            assurance: Assurance::Simulated,
            registered_at: self.number(),
            valid_until: self.time_ms / 1_000 + 864_000,
        };
        self.changes.insert(storage::worker_key(&registration.identity), Some(record.encode()));
    }

    /// What the rules do not take changes nothing.
    fn submit(&mut self, signed: &SignedStatement, beside: Option<Attachment>) {
        let (genesis, now) = (self.blocks.genesis_hash(), self.number());
        let Some(record) = self.ceremony.as_mut() else { return };
        if (signed.era, signed.attempt) != (record.era, record.attempt) {
            return;
        }
        let gatekeeper = record.seat(signed.index).unwrap().gatekeeper;
        ed25519::verify(&gatekeeper.0, &signed.signing_payload(&genesis), &signed.signature).unwrap();
        let circumstances = Circumstances { genesis, now, announced: is_announced(&genesis, &gatekeeper, &beside) };
        if take(record, signed.index, &signed.statement, beside.as_ref(), &circumstances).is_ok() {
            let (era, attempt, index) = (signed.era, signed.attempt, signed.index);
            self.attached.extend(beside.map(|attachment| PlacedAttachment { era, attempt, index, attachment }));
        }
    }

    /// Writes the record of the worker's cluster, whose open epoch and the one before are of these eras.
    pub fn cluster(&mut self, asker: &Asker, epoch: Epoch, (era, era_before): (u32, u32)) {
        let record = ClusterRecord {
            era,
            era_before,
            epoch,
            opened_at: 1,
            opened_count: 0,
            final_count: 0,
            bound_epoch: epoch,
            epoch_length: 1,
            envelope_key: Vec::new(),
            replicas: vec![asker.registration.identity],
        };
        self.changes.insert(storage::cluster_key(CLUSTER), Some(record.encode()));
    }

    /// Asks a gatekeeper for an epoch's keys, of the root of an era.
    pub fn ask(&mut self, asker: &Asker, index: usize, era: u32, epoch: Epoch) -> Result<(), Refusal> {
        self.answered(asker, index, era, epoch).map(|_| ())
    }

    fn answered(
        &mut self,
        asker: &Asker,
        index: usize,
        era: u32,
        epoch: Epoch,
    ) -> Result<(KeyRequest, KeyAnswer), Refusal> {
        self.nonce += 1;
        let gatekeeper = self.nodes[index].id();
        let request = KeyRequest {
            genesis: self.blocks.genesis_hash(),
            worker: asker.registration.identity,
            gatekeeper,
            cluster: CLUSTER,
            era,
            epoch,
            nonce: [self.nonce; 32],
            answer_key: answer_key_hash(asker.answers.public_key()),
            at: self.blocks.best(),
        };
        let payload = request.signing_payload();
        let signature = asker.identity.sign(&payload);
        let public_key = asker.answers.public_key().to_vec();
        let inquiry = KeyInquiry {
            request: SignedKeyRequest { request, public_key, signature },
            registration: asker.registration,
            evidence: asker.evidence.clone(),
            collateral: self.nodes[0].machine.collateral(),
        };
        self.inquiries.entry(gatekeeper).or_default().push(inquiry);
        for _ in 0..5 {
            self.nodes[index].notices.retain(|notice| !matches!(notice, Notice::KeysRefused { .. }));
            self.deliver(index).unwrap();
            if let Some(answer) = self.answers.get(&payload) {
                return Ok((request, answer.clone()));
            }
            for notice in &self.nodes[index].notices {
                if let Notice::KeysRefused { refusal, .. } = notice {
                    return Err(*refusal);
                }
            }
            self.next_block();
        }
        panic!("the gatekeeper says nothing");
    }

    /// What three of the gatekeepers give a worker of an epoch, of the root of an era.
    pub fn keys(&mut self, asker: &Asker, era: u32, epoch: Epoch) -> Result<BTreeMap<KeyPurpose, [u8; 32]>, Refusal> {
        self.keys_by(asker, era, epoch, &[1, 2, 3])
    }

    /// The same, of these gatekeepers: before the last of them has answered there are no keys.
    pub fn keys_by(
        &mut self,
        asker: &Asker,
        era: u32,
        epoch: Epoch,
        by: &[usize],
    ) -> Result<BTreeMap<KeyPurpose, [u8; 32]>, Refusal> {
        let recorded = [&self.roots.0, &self.roots.1].into_iter().flatten().find(|root| root.era == era).cloned();
        let (root, mut grants) = (recorded.unwrap(), Grants::default());
        for index in by.iter().copied() {
            assert!(KeyPurpose::ALL.into_iter().all(|purpose| grants.key(root.threshold, purpose).is_none()));
            let (request, answer) = self.answered(asker, index, era, epoch)?;
            grants.add(open_grant(&asker.answers, &request, &root, &answer).unwrap());
        }
        let key = |purpose| Some((purpose, *grants.key(root.threshold, purpose)?.expose()));
        Ok(KeyPurpose::ALL.into_iter().filter_map(key).collect())
    }

    /// Whether three of the gatekeepers give the keys of an epoch, and two do not.
    pub fn opens(&mut self, asker: &Asker, era: u32, epoch: Epoch) -> bool {
        self.opened_by(asker, era, epoch, [1, 2, 3]).is_some()
    }

    /// The storage key of an epoch, of which each of these gatekeepers gives a part, and of which fewer give nothing.
    pub fn opened_by(&mut self, asker: &Asker, era: u32, epoch: Epoch, by: [usize; 3]) -> Option<[u8; 32]> {
        self.keys_by(asker, era, epoch, &by).unwrap().get(&KeyPurpose::Storage).copied()
    }
}

/// Whether a gatekeeper signed the announcement of the key beside its statement.
pub fn is_announced(genesis: &Hash, gatekeeper: &WorkerId, beside: &Option<Attachment>) -> bool {
    let Some(Attachment::Key(key)) = beside else { return false };
    ed25519::verify(&gatekeeper.0, &key.signing_payload(genesis), &key.signature).is_ok()
}

impl Asker {
    /// A registered worker.
    pub fn new(play: &mut Play) -> Self {
        Self::of(play, 0x77)
    }

    /// The registered worker of this seed.
    pub fn of(play: &mut Play, seed: u8) -> Self {
        let machine = MemoryMachine::new(seed.into());
        let identity = IdentityKey::from_seed(&Secret::new([seed; 32]));
        let [receiving, answers] =
            [seed + 1, seed + 2].map(|seed| DecapsulationKey::from_seed(&Secret::new([seed; 32])));
        let registration = Registration {
            role: Role::Worker,
            identity: WorkerId(identity.public()),
            encryption_key: encryption_key_hash(receiving.public_key()),
            operator: AccountId([seed; 32]),
            block: 0,
            block_hash: play.blocks.genesis_hash(),
        };
        let evidence = machine.evidence(&registration.report_data(&play.blocks.genesis_hash())).unwrap();
        play.register(&registration);
        Self { identity, answers, registration, evidence }
    }
}
