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
    model::Op,
    node::Node,
    pallets::CLUSTER,
    random::Random,
    root::{insecure_lone_key, insecure_lone_share, PlayedRoot},
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
    storage, AccountId, Epoch, Hash, WorkerId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
};

/// The gatekeeper's index.
pub const GATEKEEPER: usize = 0;
/// Seats of the roots that are made on the way, and how many of them give keys.
const SEATS: u16 = 4;
const THRESHOLD: u16 = 3;
/// Rounds after the last fault within which everything must be answered.
pub const LIVENESS_ROUNDS: u32 = 60;
/// Rounds in a row in which a process may fail before its operator starts it again.
const PATIENCE: u32 = 2;

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
    answers: BTreeMap<WorkerId, BTreeMap<Hash, KeyAnswer>>,
    /// Roots of later eras than the first, with all their gatekeepers.
    pub(crate) roots: Vec<PlayedRoot>,
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
        let hosts = (0..=scenario.workers).map(|index| {
            let settings = Settings {
                genesis: node.genesis(),
                role: if index == GATEKEEPER { Role::Gatekeeper } else { Role::Worker },
                operator: AccountId([index as u8; 32]),
                cluster: CLUSTER,
                lone_root: true,
            };
            let machine = SimMachine::new(scenario.seed, index);
            machine.disk.watch(canaries.clone());
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
            roots: Vec::new(),
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
        world.boot()?;
        Ok(world)
    }

    fn boot(&mut self) -> Check {
        self.rounds_until("the TEEs are registered", |world| {
            world.hosts.iter().all(|host| host.tee.as_ref().is_some_and(|tee| tee.registration().is_some()))
        })?;
        let replicas: Vec<_> = self.hosts[1..].iter().filter_map(|host| host.tee.as_ref()).collect();
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

    fn perform(&mut self, action: &Action) -> Check {
        // A scenario that was made for more TEEs stays a scenario.
        let count = self.hosts.len() as u32;
        let tee = |index: u32| (index % count) as usize;
        let worker = |index: u32| if count > 1 { 1 + ((index.max(1) - 1) % (count - 1)) as usize } else { 0 };
        let account = |index: u32| index as usize % ACCOUNTS;
        match *action {
            Action::Block {} => {
                self.node.build(None);
                self.node.finalise();
            }
            Action::Build {} => self.node.build(None),
            Action::Finalise {} => self.node.finalise(),
            Action::Reorganise {} => {
                let lost = self.node.reorganise();
                self.lost.extend(lost);
            }
            Action::Handover { authorities } => {
                self.node.build(Some(4 + authorities as usize % 4));
                self.node.finalise();
            }
            Action::ClockForward { seconds } => self.node.clock_ms += u64::from(seconds) * 1_000,
            Action::ClockBack { seconds } => {
                self.node.clock_ms = self.node.clock_ms.saturating_sub(u64::from(seconds) * 1_000);
            }
            Action::Deliver { tee: index, boundaries } => self.deliver(tee(index), boundaries as usize)?,
            Action::Hold { tee: index } => {
                if let Some(delivery) = self.compose(tee(index), self.node.finalised(), usize::MAX) {
                    self.hosts[tee(index)].held.push(delivery.encode());
                }
            }
            Action::Bring { tee: index, index: number } => {
                let held = &self.hosts[tee(index)].held;
                if let Some(bytes) = held.get(number as usize % held.len().max(1)).cloned() {
                    self.bring(tee(index), &bytes)?;
                }
            }
            Action::Repeat { tee: index } => {
                let bytes = self.hosts[tee(index)].last.clone();
                self.bring(tee(index), &bytes)?;
            }
            Action::Cross { tee: index, other } => {
                if let Some(delivery) = self.compose(tee(other), self.node.finalised(), usize::MAX) {
                    self.bring(tee(index), &delivery.encode())?;
                }
            }
            Action::Tamper { tee: index, kind, salt } => {
                if let Some(delivery) = self.compose(tee(index), self.node.finalised(), usize::MAX) {
                    let bytes = forger::tamper(&delivery, kind, &mut Random::new(u64::from(salt)));
                    self.bring(tee(index), &bytes)?;
                }
            }
            Action::Stale { tee: index, blocks } => {
                let height = self.node.finalised().saturating_sub(blocks);
                if let Some(delivery) = self.compose(tee(index), height, usize::MAX) {
                    self.bring(tee(index), &delivery.encode())?;
                }
            }
            Action::Early { tee: index } => self.early(tee(index))?,
            Action::Fork { tee: index, salt } => self.fork(tee(index), salt)?,
            Action::Forge { tee: index, salt } => {
                if let Some(delivery) = self.compose(tee(index), self.node.finalised(), usize::MAX) {
                    let finality = self.node.forged(salt as u8);
                    self.bring(tee(index), &Delivery { finality, ..delivery }.encode())?;
                }
            }
            Action::Lose { tee: index } => self.lose(tee(index)),
            Action::Carry { tee: index, mode } => self.hosts[tee(index)].carry = mode % 4,
            Action::Partition { tee: index } => self.hosts[tee(index)].partitioned = true,
            Action::Heal { tee: index } => self.hosts[tee(index)].partitioned = false,
            Action::Crash { tee: index } => self.hosts[tee(index)].kill(),
            Action::PowerCut { tee: index, salt } => self.cut_power(tee(index), salt),
            Action::Tear { tee: index, changes, salt } => {
                let disk = self.hosts[tee(index)].machine.disk.clone();
                if !disk.is_failing() && self.hosts[tee(index)].tee.is_some() {
                    disk.fail_after(changes, ErrorKind::Other);
                    self.deliver(tee(index), usize::MAX)?;
                    disk.mend();
                    self.cut_power(tee(index), salt);
                }
            }
            Action::Start { tee: index } => self.start(tee(index)),
            Action::Snapshot { tee: index } => {
                let host = &mut self.hosts[tee(index)];
                host.copies.push((host.machine.disk.copy(), host.executed));
            }
            Action::Rewind { tee: index, index: number } => {
                let host = &mut self.hosts[tee(index)];
                let copy = host.copies.get(number as usize % host.copies.len().max(1)).cloned();
                if let Some((copy, executed)) = copy {
                    host.kill();
                    host.machine.disk.replace(copy);
                    (host.attacked, host.executed, host.stored) = (true, executed, None);
                }
            }
            Action::Wipe { tee: index } => {
                let host = &mut self.hosts[tee(index)];
                host.kill();
                host.machine.disk.replace(Vec::new());
                (host.attacked, host.damaged, host.executed, host.stored) = (true, false, 0, None);
            }
            Action::Damage { tee: index, salt } => {
                let host = &mut self.hosts[tee(index)];
                host.kill();
                let (mut bytes, mut chance) = (host.machine.disk.copy(), Random::new(u64::from(salt)));
                let from = chance.below(bytes.len() as u32) as usize;
                let length = (1 + chance.below(64) as usize).min(bytes.len() - from);
                chance.fill(&mut bytes[from..from + length]);
                host.machine.disk.replace(bytes);
                (host.attacked, host.damaged, host.stored) = (true, true, None);
            }
            Action::Full { tee: index, changes } => {
                self.hosts[tee(index)].machine.disk.fail_after(changes, ErrorKind::StorageFull);
            }
            Action::Room { tee: index } => self.hosts[tee(index)].machine.disk.mend(),
            Action::Dry { tee: index } => self.hosts[tee(index)].machine.entropy.set_dry(true),
            Action::Wet { tee: index } => self.hosts[tee(index)].machine.entropy.set_dry(false),
            Action::Transfer { from, to, amount } => {
                let op = Op::Transfer { to: account(to), amount: u128::from(amount) };
                self.clients.command(&mut self.node, account(from), op);
            }
            Action::Keep { account: index, salt } => {
                let words = Clients::words(account(index), salt);
                self.clients.command(&mut self.node, account(index), Op::Keep(words));
            }
            Action::Poison { account: index, kind } => {
                self.clients.poison(&mut self.node, account(index), kind);
            }
            Action::Copy { index } => {
                let items = &self.node.pallets.items;
                if let Some(item) = items.get(index as usize % items.len().max(1)).cloned() {
                    self.node.pallets.push_again(&item);
                }
            }
            Action::PushAgain {} => {
                for item in std::mem::take(&mut self.lost) {
                    self.node.pallets.push_again(&item);
                }
            }
            Action::Query { tee: index, account: who } => invariants::query(self, worker(index), account(who))?,
            Action::Requery { tee: index } => invariants::invariant_a_query_is_answered_once(self, worker(index))?,
            Action::NextRoot { seats } => {
                let era = self.node.pallets.coming_era().map_or(0, |era| era.saturating_add(1));
                if self.roots.iter().all(|root| root.era() != era) {
                    self.roots.push(PlayedRoot::deal(self.seed, era, THRESHOLD, SEATS));
                }
                let root = self.roots.iter().find(|root| root.era() == era);
                let record = root.map(|root| root.record());
                if record.is_some_and(|record| self.node.pallets.hand_over(record)) {
                    self.count("= roots handed over to");
                }
                self.mute(seats);
            }
            Action::Mute { seats } => self.mute(seats),
            Action::Leave { tee: index } => self.assign(worker(index), false),
            Action::Join { tee: index } => self.assign(worker(index), true),
            Action::Round { times } => {
                for _ in 0..times {
                    self.round()?;
                }
            }
            Action::Settle {} => self.settle()?,
            Action::ExpectRefused { tee: index } => {
                self.expect(index, |host| matches!(host.outcome, Outcome::Refused(_)))?;
            }
            Action::ExpectFault { tee: index } => {
                self.expect(index, |host| matches!(host.outcome, Outcome::Fault(_)))?;
            }
            Action::ExpectTaken { tee: index } => self.expect(index, |host| host.outcome == Outcome::Taken)?,
            Action::ExpectServing { tee: index } => self.expect(index, is_serving)?,
            Action::ExpectSilent { tee: index } => self.expect(index, |host| !is_serving(host))?,
            Action::ExpectBehind { tee: index, items } => {
                let total = self.node.items_to(self.node.finalised()).len() as u64;
                let executed = total.saturating_sub(u64::from(items));
                self.expect(index, |host| invariants::executed(host) == Some(executed))?;
            }
            Action::ExpectEpoch { epoch } => {
                let open = self.node.pallets.epoch();
                if open < epoch {
                    return Err(Violation::new("expectation", format!("epoch {open} is open, not {epoch}")));
                }
            }
            Action::ExpectEra { era } => {
                let pallets = &self.node.pallets;
                let eras = pallets.cluster.as_ref().map(|record| (record.era_before, record.era));
                let root = pallets.root.as_ref().map(|root| root.era);
                if pallets.hands_over() || root != Some(era) || eras != Some((era, era)) {
                    return Err(Violation::new("expectation", format!("root of era {root:?}, epochs of {eras:?}")));
                }
            }
        }
        Ok(())
    }

    fn mute(&mut self, seats: u32) {
        for root in &mut self.roots {
            root.silent = (1..=SEATS).filter(|index| (seats >> (index - 1)) & 1 == 1).collect();
        }
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

    fn expect(&self, index: u32, holds: impl Fn(&Host) -> bool) -> Check {
        let host = &self.hosts[index as usize % self.hosts.len()];
        if holds(host) {
            return Ok(());
        }
        let health = host.tee.as_ref().and_then(|tee| tee.cluster_health());
        Err(Violation::new("expectation", format!("TEE {index}: {:?}, {health:?}", host.outcome)))
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
        delivery.proof = self.node.prove(height, &keys);
        if index == GATEKEEPER {
            delivery.inquiries = std::mem::take(&mut self.inquiries).into_values().collect();
        } else {
            delivery.answers = self.answers.remove(&status.identity).unwrap_or_default().into_iter().collect();
        }
        Some(delivery)
    }

    /// One honest delivery, which no TEE may hold against the relayer.
    fn deliver(&mut self, index: usize, boundaries: usize) -> Check {
        let Some(delivery) = self.compose(index, self.node.finalised(), boundaries.max(1)) else { return Ok(()) };
        self.bring(index, &delivery.encode())?;
        invariants::invariant_honest_deliveries_are_not_blamed(self, index)
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
            invariants::invariant_keys_only_for_replicas(self, index, notice)?;
            invariants::invariant_old_era_opens_nothing_newer(self, index, notice)?;
        }
        let mut outgoing = status.outgoing;
        for message in &outgoing {
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
                    let facts = self.node.facts(&request.worker);
                    if let Some(answer) = self.roots.iter().find_map(|root| root.answer(&inquiry, &facts)) {
                        self.answers.entry(request.worker).or_default().insert(payload, answer);
                    }
                } else {
                    self.inquiries.insert(payload, KeyInquiry { collateral, ..inquiry });
                }
            }
            Outgoing::AnswerKeys { worker, request, answer } => {
                self.answers.entry(worker).or_default().insert(request, answer);
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
            | Outgoing::AttachSignature { .. } => {}
        }
    }

    fn early(&mut self, index: usize) -> Check {
        if self.node.best() == self.node.finalised() {
            self.clients.command(&mut self.node, 0, Op::Transfer { to: 1, amount: 1 });
            self.node.build(None);
        }
        let (best, finality) = self.node.unfinished();
        let Some(delivery) = self.compose(index, best, usize::MAX) else { return Ok(()) };
        self.bring(index, &Delivery { finality, ..delivery }.encode())
    }

    fn fork(&mut self, index: usize, salt: u32) -> Check {
        let op = Op::Transfer { to: 1 + salt as usize % (ACCOUNTS - 1), amount: u128::from(salt) + 1 };
        self.clients.command(&mut self.node, 0, op);
        self.node.build(None);
        // Lost for good: whoever executes it has executed what never was.
        let forked = self.node.pallets.items.len();
        let lost = self.node.reorganise();
        self.lost.extend(lost.into_iter().filter(|item| item.header.sequence + 1 < forked as u64));
        let Some(delivery) = self.compose(index, self.node.finalised(), usize::MAX) else { return Ok(()) };
        let Some((_, finality)) = self.node.unfinished_fork() else { return Ok(()) };
        let status = self.hosts[index].tee.as_ref().map(|tee| tee.status());
        let Some(status) = status else { return Ok(()) };
        let items = self.node.abandoned.as_ref().map(|fork| fork.items.clone()).unwrap_or_default();
        let mut keys = status.wanted_keys.clone();
        let mut brought = Vec::new();
        for cursor in &status.inboxes {
            let items = take(&items, cursor.head.count, usize::MAX);
            keys.extend(boundary_keys(&items));
            brought.push(InboxItems { cluster: cursor.cluster, items: items.iter().map(Encode::encode).collect() });
        }
        let proof = self.node.prove_fork(&keys);
        self.bring(index, &Delivery { finality, proof, items: brought, ..delivery }.encode())
    }

    fn lose(&mut self, index: usize) {
        if index == GATEKEEPER {
            self.inquiries.clear();
        } else if let Some(tee) = self.hosts[index].tee.as_ref() {
            self.answers.remove(&tee.identity());
        }
    }

    fn cut_power(&mut self, index: usize, salt: u32) {
        let host = &mut self.hosts[index];
        host.kill();
        host.machine.disk.cut_power(&mut Random::new(u64::from(salt)));
    }

    fn start(&mut self, index: usize) {
        let anchor = self.node.anchor();
        self.hosts[index].start(&anchor);
        let said = format!("{:?}", self.hosts[index].outcome);
        self.record(said.as_bytes());
    }

    fn assign(&mut self, index: usize, member: bool) {
        let Some(id) = self.hosts[index].tee.as_ref().map(|tee| tee.identity()) else { return };
        let Some(record) = self.node.pallets.cluster.clone() else { return };
        let mut replicas = record.replicas.clone();
        if replicas.contains(&id) == member {
            return;
        }
        replicas.retain(|replica| *replica != id);
        if member {
            replicas.push(id);
        }
        if self.node.pallets.assign(replicas.clone()) {
            self.hosts[index].attacked = true;
            // An epoch that opens closes the one before first.
            let (epoch, closing) = match self.node.pallets.decided_epoch() {
                Some(decided) if decided > record.epoch => (decided, true),
                _ => (record.epoch, record.is_closing()),
            };
            if !member {
                self.departed.push(Departed { before: record.replicas, after: replicas, epoch, closing });
            }
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

    /// All faults stop, and operators do what error messages ask of them.
    fn settle(&mut self) -> Check {
        self.node.finalise();
        self.mute(0);
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            (host.partitioned, host.carry) = (false, 0);
            host.machine.disk.mend();
            host.machine.entropy.set_dry(false);
            if host.tee.is_none() {
                self.start(index);
            }
        }
        let mut rounds = 0;
        while rounds < LIVENESS_ROUNDS && !invariants::is_settled(self) {
            self.round()?;
            rounds += 1;
            for index in 0..self.hosts.len() {
                // Not again and again: what a start does not mend, another does not either.
                if self.hosts[index].faults == PATIENCE {
                    self.count("= operators' restarts");
                    self.start(index);
                    self.hosts[index].faults = PATIENCE + 1;
                }
            }
        }
        *self.counts.entry("= newest epoch, most").or_default() = u64::from(self.node.pallets.epoch());
        let slowest = self.counts.entry("= rounds to settle, most").or_default();
        *slowest = (*slowest).max(u64::from(rounds));
        invariants::at_rest(self)
    }
}

fn is_serving(host: &Host) -> bool {
    host.tee.as_ref().is_some_and(|tee| tee.serving().is_some())
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
