//! TEEs, their chain, and the relayer between them.

use super::{
    chain::{MockChain, CLUSTER},
    client,
    machine::MemoryMachine,
    root::{insecure_lone_key, insecure_lone_share, PlayedRoot, Word},
};
use codec::Encode;
use phala_core::{DeliveryError, Notice, Seen, Settings, Tee};
use phala_crypto::{kdf, Secret};
use phala_protocol::{
    attestation::Role,
    domain,
    inbox::Item,
    keys::{KeyAnswer, KeyPurpose, KeyRequest, PrfInput},
    relay::{Delivery, InboxItems, KeyInquiry, Outgoing, TeeStatus},
    result::{reply_leaf, ClusterResult, Reply},
    storage, AccountId, CodeHash, ContractId, Epoch, Hash, WorkerId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A TEE with what is under it and what happened to it.
pub struct Node {
    pub tee: Option<Tee>,
    pub machine: Arc<MemoryMachine>,
    settings: Settings,
    pub seen: Seen,
    pub notices: Vec<Notice>,
    /// Boundaries that one delivery brings at most.
    pub batch: usize,
    /// Its relayer is asleep.
    pub paused: bool,
}

impl Node {
    pub fn tee(&self) -> &Tee {
        self.tee.as_ref().unwrap()
    }

    pub fn id(&self) -> WorkerId {
        self.tee().identity()
    }
}

pub struct Network {
    pub chain: MockChain,
    /// The gatekeeper, then the workers.
    pub nodes: Vec<Node>,
    /// Roots of later eras, with all their gatekeepers.
    pub roots: Vec<PlayedRoot>,
    /// On their way to the gatekeeper.
    pub inquiries: Vec<KeyInquiry>,
    /// On their way to the workers.
    pub answers: BTreeMap<WorkerId, Vec<(Hash, KeyAnswer)>>,
    /// Requests for keys with their answers, each once, as whoever carries them can record.
    pub traffic: BTreeMap<Hash, (KeyRequest, Vec<KeyAnswer>)>,
    /// Lies of played gatekeepers that were carried.
    pub lies: usize,
    /// Codes that the relayer does not bring.
    pub withheld: BTreeSet<CodeHash>,
}

pub const GATEKEEPER: usize = 0;
pub const WORKER: usize = 1;

impl Network {
    /// A network with one gatekeeper and `workers`, up to the point where the first epoch is open and the workers are ready.
    pub fn ready(seed: u64, workers: usize) -> Self {
        let mut network = Self::new(seed, workers);
        let ids = (0..workers).map(|index| network.nodes[WORKER + index].id()).collect::<Vec<_>>();
        network.run_until(|network| network.nodes.iter().all(|node| node.tee().registration().is_some()));
        network.chain.create_cluster(ids);
        network.run_until(|network| {
            let mut statuses = network.nodes[WORKER..].iter().map(|node| node.tee().status());
            statuses.all(|status| status.inboxes[0].ready)
        });
        assert_eq!(network.chain.epoch(), 1);
        network
    }

    pub fn new(seed: u64, workers: usize) -> Self {
        let machines: Vec<_> = (0..=workers).map(|index| MemoryMachine::new(seed * 100 + index as u64)).collect();
        let chain = MockChain::new(seed, machines[0].measurement());
        let mut network = Self {
            chain,
            nodes: Vec::new(),
            roots: Vec::new(),
            inquiries: Vec::new(),
            answers: BTreeMap::new(),
            traffic: BTreeMap::new(),
            lies: 0,
            withheld: BTreeSet::new(),
        };
        for (index, machine) in machines.into_iter().enumerate() {
            let settings = Settings {
                genesis: network.chain.genesis(),
                role: if index == GATEKEEPER { Role::Gatekeeper } else { Role::Worker },
                operator: AccountId([index as u8; 32]),
                cluster: CLUSTER,
                lone_root: true,
            };
            let (seen, notices) = (Seen::default(), Vec::new());
            network.nodes.push(Node { tee: None, machine, settings, seen, notices, batch: usize::MAX, paused: false });
            network.start(index);
        }
        network
    }

    /// Starts, or starts again, a TEE from what its machine keeps.
    pub fn start(&mut self, index: usize) {
        let anchor = self.chain.anchor();
        let node = &mut self.nodes[index];
        node.tee = None;
        node.seen = Seen::default();
        node.tee = Some(Tee::start(node.settings.clone(), &anchor, node.machine.clone()).unwrap());
    }

    pub fn worker(&self) -> &Node {
        &self.nodes[WORKER]
    }

    /// What an honest relayer brings to a TEE now.
    pub fn delivery(&mut self, index: usize) -> Delivery {
        let status = self.nodes[index].tee().status();
        let batch = self.nodes[index].batch;
        let mut delivery = self.delivery_for(&status, batch);
        if index == GATEKEEPER {
            delivery.inquiries = std::mem::take(&mut self.inquiries);
        } else {
            delivery.answers = self.answers.remove(&status.identity).unwrap_or_default();
        }
        delivery
    }

    /// What the chain has for a TEE that says this, in so many boundaries at most.
    pub fn delivery_for(&mut self, status: &TeeStatus, boundaries: usize) -> Delivery {
        let best = self.chain.blocks.best();
        let mut delivery = Delivery::default();
        if best > status.height {
            delivery.finality = self.chain.blocks.proof(status.height, best).encode();
        }
        let mut keys = status.wanted_keys.clone();
        for cursor in status.inboxes.iter().filter(|cursor| cursor.ready) {
            let items = self.items_after(cursor.head.count, boundaries);
            let blocks: BTreeSet<_> = items.iter().map(|item| item.header.block).collect();
            for block in blocks {
                keys.push(storage::boundary_key(CLUSTER, block));
                keys.push(storage::final_result_key(CLUSTER, block));
            }
            if !items.is_empty() {
                let items = items.iter().map(Encode::encode).collect();
                delivery.items.push(InboxItems { cluster: cursor.cluster, items });
            }
        }
        let wanted = status.wanted_codes.iter().filter(|code| !self.withheld.contains(code));
        delivery.codes = wanted.map(|code| self.chain.codes[code].clone()).collect();
        delivery.proof = self.prove(&keys);
        delivery
    }

    fn items_after(&self, count: u64, boundaries: usize) -> Vec<Item> {
        let best = self.chain.blocks.best();
        let fresh = self.chain.items.iter().skip(count as usize).filter(|item| item.header.block <= best);
        let blocks: BTreeSet<_> = fresh.clone().map(|item| item.header.block).collect();
        let blocks: BTreeSet<_> = blocks.into_iter().take(boundaries).collect();
        fresh.filter(|item| blocks.contains(&item.header.block)).cloned().collect()
    }

    /// A proof of these keys at the newest block.
    pub fn prove(&self, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        self.chain.blocks.read_proof(self.chain.blocks.best(), &keys)
    }

    /// Brings this, and carries away what the TEE has then.
    pub fn bring(&mut self, index: usize, delivery: Delivery) -> Result<(), DeliveryError> {
        // As it arrives in the enclave.
        let delivery = Delivery::decode_bounded(&delivery.encode()).unwrap();
        let node = &mut self.nodes[index];
        let (notices, result) = node.tee.as_mut().unwrap().deliver(delivery);
        node.notices.extend(notices);
        let status = node.tee().status();
        for outgoing in status.outgoing {
            self.carry(status.identity, outgoing);
        }
        result
    }

    /// Carries what a TEE has for others.
    pub fn carry(&mut self, from: WorkerId, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Register { registration, evidence } => self.chain.register(&registration, &evidence),
            Outgoing::RecordRoot { root, signature } => self.chain.record_root(root, &signature),
            Outgoing::AnnounceKey { cluster, era, epoch, public_key, signature } => {
                assert_eq!(cluster, CLUSTER);
                self.chain.announce(from, era, epoch, public_key, &signature);
            }
            Outgoing::Result(signed) => {
                self.chain.submit_result(signed);
            }
            Outgoing::Rekey(signed) => {
                self.chain.submit_rekey(signed);
            }
            Outgoing::AskKeys(inquiry) => {
                let request = inquiry.request.request;
                self.traffic.entry(request.signing_payload()).or_insert((request, Vec::new()));
                if self.is_for_a_played_root(&inquiry) {
                    self.ask_played(&inquiry);
                } else {
                    let collateral = self.nodes[GATEKEEPER].machine.collateral();
                    self.inquiries.push(KeyInquiry { collateral, ..inquiry });
                }
            }
            Outgoing::AnswerKeys { worker, request, answer } => {
                self.record(&request, &answer);
                self.answers.entry(worker).or_default().push((request, answer));
            }
            Outgoing::Egress(proved) => {
                self.chain.take_egress(proved);
            }
            // Of key ceremonies, identities and the beacon, which are played elsewhere.
            Outgoing::State(_)
            | Outgoing::StateWith { .. }
            | Outgoing::Introduce { .. }
            | Outgoing::Post { .. }
            | Outgoing::BeaconKey(_)
            | Outgoing::BeaconPartial { .. }
            | Outgoing::StateIdentity { .. }
            | Outgoing::ShowIdentities(_)
            | Outgoing::Sign { .. }
            | Outgoing::AttachSignature { .. }
            | Outgoing::Heartbeat(_) => {}
        }
    }

    fn is_for_a_played_root(&self, inquiry: &KeyInquiry) -> bool {
        self.roots.iter().any(|root| root.has(&inquiry.request.request.gatekeeper))
    }

    fn record(&mut self, request: &Hash, answer: &KeyAnswer) {
        if let Some((_, answers)) = self.traffic.get_mut(request).filter(|(_, answers)| !answers.contains(answer)) {
            answers.push(answer.clone());
        }
    }

    /// Asks a gatekeeper of a played root, by the newest block's state.
    pub fn ask_played(&mut self, inquiry: &KeyInquiry) {
        let request = &inquiry.request.request;
        let (payload, facts) = (request.signing_payload(), self.chain.facts(&request.worker));
        let said: Vec<_> = self.roots.iter_mut().flat_map(|root| root.answers(inquiry, &facts)).collect();
        self.lies += said.iter().filter(|(word, _)| *word == Word::Lie).count();
        said.iter().for_each(|(_, answer)| self.record(&payload, answer));
        let answers = self.answers.entry(request.worker).or_default();
        answers.extend(said.into_iter().map(|(_, answer)| (payload, answer)));
    }

    /// One honest delivery.
    pub fn deliver(&mut self, index: usize) -> Result<(), DeliveryError> {
        let delivery = self.delivery(index);
        self.bring(index, delivery)
    }

    /// A delivery to each TEE that runs, then a block.
    pub fn step(&mut self) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].tee.is_some() && !self.nodes[index].paused {
                self.deliver(index).unwrap();
            }
        }
        self.chain.next_block();
    }

    pub fn run(&mut self, steps: usize) {
        (0..steps).for_each(|_| self.step());
    }

    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..100 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("nothing came of it in 100 steps; worker: {:?}", self.worker().tee().cluster_health());
    }

    /// Whether everything in the inbox is final, and the first worker serves the state after it.
    pub fn is_settled(&self) -> bool {
        let (count, final_count) = (self.chain.head.count, self.chain.cluster.as_ref().unwrap().final_count);
        let health = self.worker().tee().cluster_health().unwrap();
        final_count == count && health.pending == 0 && health.executed == count && health.serving
    }

    /// Until that is so.
    pub fn settle(&mut self) {
        self.run_until(Self::is_settled);
    }

    /// The newest final result.
    pub fn last_final(&self) -> ClusterResult {
        self.chain.finals.values().next_back().unwrap().result
    }

    /// Deploys a contract of `account` with the constructor's input, and waits until that is final.
    pub fn deploy(&mut self, account: &mut client::Account, code: &[u8], input: Vec<u8>) -> ContractId {
        let contract = self.instantiate(account, code, input);
        self.settle();
        contract
    }

    /// Puts the creation of a contract into the inbox.
    pub fn instantiate(&mut self, account: &mut client::Account, code: &[u8], input: Vec<u8>) -> ContractId {
        let code = self.chain.upload(code);
        let salt = [self.chain.items.len() as u8; 32];
        let contract = ContractId::derive(&self.chain.genesis(), CLUSTER, &account.id(), &code, &salt);
        let call = account.constructor(self, contract, input);
        let init = account.seal(self, call);
        self.chain.instantiate(account.id(), code, contract, init);
        contract
    }

    /// INSECURE: what a root gives: the first era's out of the gatekeeper's sealed seat.
    pub fn insecure_key(&self, era: u32, epoch: Epoch, purpose: KeyPurpose) -> Secret<[u8; 32]> {
        let genesis = self.chain.genesis();
        if let Some(root) = self.roots.iter().find(|root| root.era() == era) {
            return root.insecure_key(&genesis, CLUSTER, epoch, purpose);
        }
        let root = self.chain.root.as_ref().filter(|root| root.era == era).unwrap();
        let kept = [self.nodes[GATEKEEPER].machine.sealed("seat")];
        let share = insecure_lone_share(&kept, root).unwrap();
        insecure_lone_key(&share, &PrfInput { genesis, era, cluster: CLUSTER, epoch, purpose })
    }

    /// INSECURE: the commit key of an epoch of the first era.
    pub fn insecure_commit_key(&self, epoch: Epoch) -> Secret<[u8; 32]> {
        kdf::derive(&self.insecure_key(0, epoch, KeyPurpose::Commit), domain::EPOCH_COMMIT, &[])
    }

    /// INSECURE: the root that a result over exactly these replies has.
    pub fn insecure_replies_root(&self, epoch: Epoch, replies: &[Reply]) -> Hash {
        let key = self.insecure_commit_key(epoch);
        let leaves: Vec<Hash> = replies
            .iter()
            .map(|reply| {
                let salt = kdf::derive_for::<32>(&key, domain::REPLY_SALT, &reply.sequence);
                reply_leaf(salt.expose(), reply)
            })
            .collect();
        phala_crypto::merkle::root(&leaves)
    }
}
