//! The network: node, relayers, TEEs and clients, and what happens to them, one action after the other.
//!
//! Guarantees: everything follows from the scenario - one logical clock (the chain's), one stream of chance, no threads, no time
//! of the machine this runs on. After every action the invariants of `invariants.rs` are checked, and what happened goes into one
//! running hash: equal scenarios give equal hashes.

use crate::{
    action::{Action, Scenario},
    canary::{Canaries, SUPPLY, WORDS},
    client::{Clients, ACCOUNTS},
    forger,
    host::{Host, Outcome},
    invariants::{self, Check, Violation},
    machine::{collateral, SimMachine},
    node::Node,
    pallets::CLUSTER,
    random::Random,
    root::{insecure_lone_key, insecure_lone_share, Lie, PlayedRoot, Word},
    shelf::Shelf,
};
use codec::Encode;
use phala_core::{Notice, Settings};
use phala_crypto::{prf::KeyShare, Secret};
use phala_protocol::{
    attestation::Role,
    hash::blake2_256,
    ids::BlockNumber,
    inbox::Item,
    keys::{KeyAnswer, KeyPurpose, PrfInput},
    relay::{Delivery, InboxItems, KeyInquiry, Outgoing},
    result::{ClusterResult, Rekey},
    snapshot::SnapshotStand,
    storage, AccountId, Epoch, Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

mod perform;
mod snapshots;

/// The gatekeeper's index.
pub const GATEKEEPER: usize = 0;
/// Rounds after the last fault within which everything must be answered.
pub const LIVENESS_ROUNDS: u32 = 60;

/// What happened how often.
pub type Counts = BTreeMap<&'static str, u64>;

/// What a replica left.
pub(crate) struct Departed {
    /// The replicas with it.
    pub before: Vec<WorkerId>,
    /// And without.
    pub after: Vec<WorkerId>,
    /// The epoch that was open, or was decided to open with the next block.
    pub epoch: Epoch,
    /// Whether the epoch before still waited for results, so that its keys were given.
    pub closing: bool,
}

/// The network.
pub struct World {
    seed: u64,
    /// The chain.
    pub node: Node,
    /// The gatekeeper, then the workers.
    pub hosts: Vec<Host>,
    /// The accounts.
    pub clients: Clients,
    /// What must not leave a TEE.
    pub canaries: Canaries,
    inquiries: BTreeMap<Hash, KeyInquiry>,
    /// All that is on its way as the answer to a request, in order.
    answers: BTreeMap<WorkerId, BTreeMap<Hash, Vec<KeyAnswer>>>,
    /// Answers with all keys, of played seats that do not lie: the request's hash, and the answer's.
    pub(crate) honest: BTreeSet<(Hash, Hash)>,
    /// Roots of later eras than the first, with all their gatekeepers.
    pub(crate) roots: Vec<PlayedRoot>,
    /// Which of their seats lie, by index from 1, and how.
    liars: BTreeMap<u16, Lie>,
    /// Snapshots that relayers keep.
    pub(crate) shelf: Shelf,
    /// Whether relayers have a folder for them.
    pub(crate) folders: bool,
    /// Whether they hand none on.
    pub(crate) withheld: bool,
    /// What relayers do by chance.
    chance: Random,
    /// INSECURE: the first era's root, out of the gatekeeper's seat before it is retired.
    insecure_first: Option<KeyShare>,
    /// What replicas announced, by era and epoch.
    pub announced: BTreeMap<(u32, Epoch), Vec<u8>>,
    /// Every departure of a replica, of abandoned blocks too.
    pub(crate) departed: Vec<Departed>,
    /// Items of abandoned blocks.
    lost: Vec<Item>,
    /// Every result that any TEE signed, by boundary and signer.
    pub results: BTreeMap<BlockNumber, BTreeMap<WorkerId, ClusterResult>>,
    /// Every binding that any TEE signed, by epoch.
    pub rekeys: BTreeMap<Epoch, Rekey>,
    /// Boundaries whose replies were audited.
    pub audited: BTreeSet<BlockNumber>,
    /// What happened.
    pub counts: Counts,
    /// What happened, in words, for one who looks for a defect.
    pub story: Vec<String>,
    trace: Hash,
}

impl World {
    /// The network of a scenario, before its first action: registered, an epoch open, both contracts there.
    pub fn new(scenario: &Scenario) -> Result<Self, Violation> {
        let mut node = Node::new(scenario.seed, scenario.epoch_length);
        let clients = Clients::new(scenario.seed, &mut node);
        let mut canaries = Canaries::default();
        canaries.add("words of an account", WORDS);
        canaries.add("the token's supply", &SUPPLY.to_le_bytes());
        (0..ACCOUNTS).for_each(|account| canaries.add(format!("account {account}"), &clients.id(account).0));
        let anchor = node.anchor();
        let hosts = (0..=scenario.workers + scenario.spares).map(|index| {
            let settings = Settings {
                genesis: node.genesis(),
                role: if index == GATEKEEPER { Role::Gatekeeper } else { Role::Worker },
                operator: AccountId([index as u8; 32]),
                cluster: CLUSTER,
                lone_root: true,
            };
            let machine = SimMachine::new(scenario.seed, index);
            machine.watch(&canaries);
            let mut host = Host::new(machine, settings);
            host.start(&anchor);
            host
        });
        let mut world = Self {
            seed: scenario.seed,
            hosts: hosts.collect(),
            node,
            clients,
            canaries,
            inquiries: BTreeMap::new(),
            answers: BTreeMap::new(),
            honest: BTreeSet::new(),
            roots: Vec::new(),
            liars: BTreeMap::new(),
            shelf: Shelf::default(),
            folders: true,
            withheld: false,
            chance: Random::new(scenario.seed ^ 0x5e1f),
            insecure_first: None,
            announced: BTreeMap::new(),
            departed: Vec::new(),
            lost: Vec::new(),
            results: BTreeMap::new(),
            rekeys: BTreeMap::new(),
            audited: BTreeSet::new(),
            counts: Counts::new(),
            story: Vec::new(),
            trace: [0; 32],
        };
        world.boot(scenario.workers)?;
        Ok(world)
    }

    fn boot(&mut self, replicas: usize) -> Check {
        self.rounds_until("the TEEs are registered", |world| {
            world.hosts.iter().all(|host| host.tee.as_ref().is_some_and(|tee| tee.registration().is_some()))
        })?;
        let replicas: Vec<_> = self.hosts[1..=replicas].iter().filter_map(|host| host.tee.as_ref()).collect();
        let replicas = replicas.into_iter().map(|tee| tee.identity()).collect();
        self.node.pallets.create_cluster(replicas);
        self.rounds_until("the first epoch opens", |world| world.node.pallets.epoch() == 1)?;
        self.clients.deploy(&mut self.node);
        self.rounds_until("the contracts are there", invariants::is_settled)
    }

    fn rounds_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Check {
        for _ in 0..LIVENESS_ROUNDS {
            if done(self) {
                return Ok(());
            }
            self.round()?;
        }
        Err(Violation::new("invariant_liveness", format!("not within {LIVENESS_ROUNDS} rounds: {what}")))
    }

    /// The hash over everything that happened.
    pub fn trace(&self) -> Hash {
        self.trace
    }

    fn record(&mut self, event: &[u8]) {
        self.trace = blake2_256(&(self.trace, event).encode());
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Does one thing, and checks what has to hold after it.
    pub fn act(&mut self, action: &Action) -> Check {
        self.story.push(action.to_string());
        self.record(action.to_string().as_bytes());
        self.count(action.word());
        self.perform(action)?;
        for index in 0..self.hosts.len() {
            invariants::after_action(self, index)?;
        }
        Ok(())
    }

    /// INSECURE: finds the first root once it is recorded, before the gatekeeper that holds it is retired.
    fn find_first_root(&mut self) {
        let root = self.node.pallets.root.as_ref().filter(|root| root.era == 0 && self.insecure_first.is_none());
        let kept = || self.hosts[GATEKEEPER].machine.insecure_kept();
        if let Some(share) = root.and_then(|root| insecure_lone_share(&kept(), root)) {
            self.insecure_first = Some(share);
        }
    }

    /// INSECURE: what the root of an era gives.
    pub(crate) fn insecure_key(&self, era: u32, epoch: Epoch, purpose: KeyPurpose) -> Option<Secret<[u8; 32]>> {
        let genesis = self.node.genesis();
        if let Some(root) = self.roots.iter().find(|root| root.era() == era) {
            return Some(root.insecure_key(&genesis, CLUSTER, epoch, purpose));
        }
        let share = self.insecure_first.as_ref().filter(|_| era == 0)?;
        Some(insecure_lone_key(share, &PrfInput { genesis, era, cluster: CLUSTER, epoch, purpose }))
    }

    /// What an honest relayer brings a TEE that runs, of the chain as it was when `height` was its newest final block.
    fn compose(&mut self, index: usize, height: BlockNumber, boundaries: usize) -> Option<Delivery> {
        let host = &self.hosts[index];
        let tee = host.tee.as_ref().filter(|_| !host.partitioned)?;
        let status = tee.status();
        let mut delivery = Delivery { finality: self.node.finality(status.height, height), ..Delivery::default() };
        let mut keys = status.wanted_keys.clone();
        for cursor in status.inboxes.iter().filter(|cursor| cursor.ready) {
            let items = take(self.node.items_to(height), cursor.head.count, boundaries);
            keys.extend(boundary_keys(&items));
            if !items.is_empty() {
                let items = items.iter().map(Encode::encode).collect();
                delivery.items.push(InboxItems { cluster: cursor.cluster, items });
            }
        }
        delivery.codes = status.wanted_codes.iter().filter_map(|code| self.node.codes.get(code).cloned()).collect();
        if index == GATEKEEPER {
            delivery.inquiries = std::mem::take(&mut self.inquiries).into_values().collect();
        } else {
            let answers = self.answers.remove(&status.identity).unwrap_or_default().into_iter();
            delivery.answers =
                answers.flat_map(|(request, all)| all.into_iter().map(move |answer| (request, answer))).collect();
        }
        delivery.snapshot = self.handed_on(status.snapshot, height);
        // The chain's word on it, which the TEE wants as soon as it has begun to take it.
        let block = delivery.snapshot.first().map(|part| part.header.boundary.block);
        keys.extend(block.map(|block| storage::final_result_key(CLUSTER, block)));
        delivery.proof = self.node.prove(height, &keys);
        Some(delivery)
    }

    /// One honest delivery, which no TEE may hold against the relayer.
    fn deliver(&mut self, index: usize, boundaries: usize) -> Check {
        let Some(delivery) = self.compose(index, self.node.finalised(), boundaries.max(1)) else { return Ok(()) };
        *self.counts.entry("= parts handed on").or_default() += delivery.snapshot.len() as u64;
        let brought = invariants::keys_brought(self, index, &delivery);
        self.bring(index, &delivery.encode())?;
        invariants::invariant_honest_deliveries_are_not_blamed(self, index)?;
        invariants::invariant_keys_arrive_while_t_seats_are_honest(self, index, &brought)
    }

    /// These bytes arrive at a TEE; what it has for others is carried away.
    fn bring(&mut self, index: usize, bytes: &[u8]) -> Check {
        self.find_first_root();
        let host = &mut self.hosts[index];
        if host.partitioned {
            return Ok(());
        }
        let Some(tee) = host.tee.as_mut() else { return Ok(()) };
        host.last = bytes.to_vec();
        let (notices, result) = match Delivery::decode_bounded(bytes) {
            Ok(delivery) => tee.deliver(delivery),
            Err(error) => {
                host.outcome = Outcome::Refused(error.to_string());
                return Ok(());
            }
        };
        let status = tee.status();
        host.note(&result);
        let said = format!("{:?} {notices:?}", host.outcome);
        let outcome = match &host.outcome {
            Outcome::Taken => "= deliveries taken",
            Outcome::Refused(_) => "= deliveries refused",
            Outcome::Fault(_) => "= deliveries failed",
        };
        self.count(outcome);
        let encoded = status.encode();
        self.story.push(format!("    TEE {index} at block {}: {said}", status.height));
        self.record(said.as_bytes());
        self.record(&encoded);
        invariants::invariant_no_plaintext_leaves(&self.canaries, &[said.as_bytes(), &encoded], "a message")?;
        for notice in &notices {
            if let Notice::Executed { items, .. } = notice {
                *self.counts.entry("= items executed").or_default() += *items as u64;
            }
            if let Notice::StateLacked { why, .. } = notice {
                self.hosts[index].note_lack(why);
                self.count("= states lacked");
            }
            if let Notice::StateTakenOver { .. } = notice {
                self.hosts[index].note_taken_over();
                self.count("= states taken over");
            }
            invariants::invariant_keys_only_for_replicas(self, index, notice)?;
            invariants::invariant_old_era_opens_nothing_newer(self, index, notice)?;
        }
        if let Some(SnapshotStand::Has { epoch, boundary, .. }) = status.snapshot {
            self.hand_out(index, epoch, boundary.count)?;
        }
        let mut outgoing = status.outgoing;
        for message in &outgoing {
            if let Some(SnapshotStand::Lacks { epoch, .. }) = status.snapshot {
                invariants::invariant_whoever_lacks_the_state_signs_nothing(self, epoch, message)?;
            }
            invariants::invariant_no_divergence(self, message)?;
            invariants::invariant_one_key_per_epoch(self, index, message)?;
        }
        match self.hosts[index].carry {
            1 => outgoing.clear(),
            2 => outgoing.reverse(),
            3 => outgoing.iter_mut().for_each(forger::alter),
            _ => {}
        }
        outgoing.into_iter().for_each(|message| self.carry(status.identity, message));
        invariants::after_delivery(self, index)
    }

    fn carry(&mut self, from: WorkerId, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Register { registration, .. } => {
                let hash = self.node.hash(registration.block);
                self.node.pallets.register(&registration, hash);
            }
            Outgoing::RecordRoot { root, signature } => {
                self.node.pallets.record_root(root, &signature);
            }
            Outgoing::AnnounceKey { era, epoch, public_key, signature, .. } => {
                self.node.pallets.announce(from, era, epoch, public_key, &signature);
            }
            Outgoing::Result(signed) => {
                self.node.pallets.submit_result(signed);
            }
            Outgoing::Rekey(signed) => {
                self.node.pallets.submit_rekey(signed);
            }
            Outgoing::AskKeys(inquiry) => {
                let collateral = collateral(self.node.pallets.time_ms / 1_000);
                let request = inquiry.request.request;
                let payload = request.signing_payload();
                if self.roots.iter().any(|root| root.has(&request.gatekeeper)) {
                    self.ask_played(&inquiry);
                } else {
                    self.inquiries.insert(payload, KeyInquiry { collateral, ..inquiry });
                }
            }
            Outgoing::AnswerKeys { worker, request, answer } => {
                self.answers.entry(worker).or_default().insert(request, vec![answer]);
            }
            // The token of these runs sends nothing out of its cluster.
            Outgoing::Egress(_) => {}
            // Of key ceremonies, identities and the beacon, in which no TEE takes part here.
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

    /// Asks a gatekeeper of a root that is played: what it says, and what liars say in its name, goes to the worker.
    fn ask_played(&mut self, inquiry: &KeyInquiry) {
        let request = &inquiry.request.request;
        let (payload, facts) = (request.signing_payload(), self.node.facts(&request.worker));
        let said: Vec<_> = self.roots.iter_mut().flat_map(|root| root.answers(inquiry, &facts)).collect();
        for (word, answer) in &said {
            match word {
                Word::Lie => self.count("= lies of gatekeepers"),
                Word::Honest { whole: true } => {
                    self.honest.insert((payload, blake2_256(&answer.encode())));
                }
                Word::Honest { whole: false } => {}
            }
        }
        if !said.is_empty() {
            let answers = said.into_iter().map(|(_, answer)| answer).collect();
            self.answers.entry(request.worker).or_default().insert(payload, answers);
        }
    }

    /// An honest delivery to every TEE, then a block.
    pub(crate) fn round(&mut self) -> Check {
        for index in 0..self.hosts.len() {
            self.deliver(index, usize::MAX)?;
        }
        self.node.build(None);
        self.node.finalise();
        Ok(())
    }
}

/// The items after the first `count`, of so many boundaries at most.
fn take(items: &[Item], count: u64, boundaries: usize) -> Vec<Item> {
    let fresh = items.get(count as usize..).unwrap_or_default();
    let blocks: BTreeSet<_> = fresh.iter().map(|item| item.header.block).collect();
    let blocks: BTreeSet<_> = blocks.into_iter().take(boundaries).collect();
    fresh.iter().filter(|item| blocks.contains(&item.header.block)).cloned().collect()
}

fn boundary_keys(items: &[Item]) -> Vec<Vec<u8>> {
    let blocks: BTreeSet<_> = items.iter().map(|item| item.header.block).collect();
    let keys = blocks
        .into_iter()
        .flat_map(|block| [storage::boundary_key(CLUSTER, block), storage::final_result_key(CLUSTER, block)]);
    keys.collect()
}
