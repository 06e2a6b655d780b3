//! A TEE as its relayer sees it: deliveries in, a status out.
//!
//! Guarantees: a delivery is processed in one order - finality, records, keys, store, code, snapshot, items - and each step uses only what
//! the steps before it verified; an error in one part leaves what the earlier parts achieved. The host controls every delivery.

pub use crate::notice::Notice;
use crate::{
    boundary::BoundaryError,
    chain::{Chain, ChainError, Records, Shown},
    cluster::{Around, Cluster, ClusterError, ClusterHealth},
    codes::Codes,
    gate::{Gate, GateHealth, Sight, SuspensionRefusal},
    heartbeats::Heartbeats,
    identity::Identity,
    machine::{draw, Machine, MachineFault},
    roots::Roots,
    serving::Serving,
    snapshot::{SnapshotRefusal, SnapshotSource},
};
use phala_attest::Subject;
use phala_light_client::{encode_proof, AnchorError, GenesisAnchor};
use phala_protocol::{
    attestation::{Registration, Role},
    brake::{SignedSuspension, SuspensionRequest},
    chain_state::WorkerRecord,
    ids::BlockNumber,
    inbox::{Item, ItemDecodeError},
    keys::KeyAnswer,
    relay::{Delivery, InboxItems, KeyInquiry, Outgoing, TeeStatus},
    snapshot::{SnapshotHeader, SnapshotPart},
    storage, AccountId, ClusterId, Hash, WorkerId,
};
use phala_vm::{EngineError, Layout};
use std::sync::Arc;

/// Blocks after which evidence that still waits to be registered is made anew.
const EVIDENCE_BLOCKS: BlockNumber = 300;
/// Seconds before its attestation lapses in which a TEE attests again.
const RENEW_SECONDS: u64 = 6 * 3_600;

/// What a TEE is started as.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The chain's genesis hash: the root of all that the TEE believes.
    pub genesis: Hash,
    /// In which role.
    pub role: Role,
    /// The operator's account.
    pub operator: AccountId,
    /// The cluster that a worker serves once the chain assigns it.
    pub cluster: ClusterId,
    /// Whether a gatekeeper makes the only seat of the root by itself: on a development network, and while the chain has no root.
    pub lone_root: bool,
}

/// Why a delivery, or a part of it, was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The chain's side was refused: the relayer's fault.
    #[error("delivery is refused")]
    Chain(#[from] ChainError),
    /// Items without a proof of their boundaries: the relayer's fault.
    #[error("delivery has items but no proof")]
    NoProof,
    /// An item is malformed: the relayer's fault.
    #[error("an inbox item is refused")]
    Item(#[from] ItemDecodeError),
    /// A cluster cannot go on.
    #[error("cluster {0} cannot go on")]
    Cluster(ClusterId, #[source] ClusterError),
    /// The machine failed: the operator's to mend.
    #[error("the machine failed")]
    Machine(#[from] MachineFault),
}

impl DeliveryError {
    /// Whether the relayer, rather than this machine or the chain's own word, is at fault.
    pub fn is_the_relayers(&self) -> bool {
        match self {
            Self::Chain(_) | Self::NoProof | Self::Item(_) => true,
            Self::Cluster(_, ClusterError::Snapshot(fault)) => fault.is_the_relayers(),
            Self::Cluster(_, error) => matches!(
                error,
                ClusterError::Chain(_)
                    | ClusterError::BoundaryNotProved(_)
                    | ClusterError::Boundary(BoundaryError::NotTheInbox)
            ),
            Self::Machine(_) => false,
        }
    }
}

/// Why a TEE could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The anchor is not of the pinned genesis.
    #[error("genesis anchor is refused")]
    Anchor(#[from] AnchorError),
    /// The machine failed.
    #[error("the machine failed")]
    Machine(#[from] MachineFault),
    /// The contract engine does not start.
    #[error("the contract engine does not start")]
    Engine(#[from] EngineError),
}

/// What a delivery brings for a worker's cluster, beside items.
struct Brought {
    id: ClusterId,
    answers: Vec<(Hash, KeyAnswer)>,
    codes: Vec<Vec<u8>>,
    snapshot: Vec<SnapshotPart>,
}

impl Brought {
    fn take(self, cluster: &mut Cluster, records: &Records<'_>, around: &mut Around<'_>) -> Result<(), DeliveryError> {
        let failed = |error| DeliveryError::Cluster(self.id, error);
        // Answers first: where the head has gone on by many blocks, what they answer is asked anew when those are observed.
        cluster.answered(&self.answers, around);
        cluster.observe(records, around).map_err(failed)?;
        cluster.tend_store(around).map_err(failed)?;
        for code in self.codes {
            cluster.deliver_code(code);
        }
        cluster.take_over(self.snapshot, records, around).map_err(failed)
    }
}

/// Lets go of a store that `taken` leaves in doubt.
fn close_if_in_doubt<T>(cluster: &mut Cluster, taken: &Result<T, DeliveryError>) {
    if let Err(DeliveryError::Cluster(_, error)) = taken {
        if error.leaves_the_store_in_doubt() {
            cluster.close_in_doubt(error);
        }
    }
}

enum Part {
    Worker(Box<Cluster>),
    Gatekeeper(Box<Gate>),
}

/// A worker or a gatekeeper.
pub struct Tee {
    settings: Settings,
    machine: Arc<dyn Machine>,
    identity: Arc<Identity>,
    chain: Chain,
    part: Part,
    roots: Roots,
    /// What the chain has registered of it, as last seen.
    registered: Shown<WorkerRecord>,
    /// Chain time as last proved, in Unix seconds.
    now: u64,
    /// The evidence that it last made, and what that binds.
    attested: Option<(Registration, Vec<u8>)>,
    heartbeats: Heartbeats,
}

impl Tee {
    /// Starts at genesis; the relayer's first deliveries bring it up to date.
    pub fn start(settings: Settings, anchor: &GenesisAnchor, machine: Arc<dyn Machine>) -> Result<Self, StartError> {
        let chain = Chain::at_genesis(&settings.genesis, anchor)?;
        let identity = Arc::new(Identity::open(&*machine, &settings.genesis)?);
        let part = match settings.role {
            // A gatekeeper executes no contract, and needs none of the address space that the engine reserves.
            Role::Worker => {
                Part::Worker(Box::new(Cluster::new(settings.cluster, Arc::new(Codes::new(machine.layout())?))))
            }
            Role::Gatekeeper => Part::Gatekeeper(Box::new(Gate::open(&chain, &*machine, settings.lone_root)?)),
        };
        let (roots, registered, heartbeats) = (Roots::unknown(), Shown::Nothing, Heartbeats::default());
        Ok(Self { settings, machine, identity, chain, part, roots, registered, now: 0, attested: None, heartbeats })
    }

    /// The TEE's identity.
    pub fn identity(&self) -> WorkerId {
        self.identity.id()
    }

    /// How its engine for contracts is laid out; none for a gatekeeper, which has no engine.
    pub fn layout(&self) -> Option<Layout> {
        match &self.part {
            Part::Worker(_) => Some(self.machine.layout()),
            Part::Gatekeeper(_) => None,
        }
    }

    /// Number and hash of the finalised block it has verified.
    pub fn head(&self) -> (BlockNumber, Hash) {
        self.chain.head()
    }

    /// Whether it runs on a development network, by its genesis.
    pub fn is_development(&self) -> bool {
        self.chain.development().is_some()
    }

    /// What the chain has registered of it, as last seen.
    pub fn registration(&self) -> Option<WorkerRecord> {
        self.registered.clone().value()
    }

    /// The evidence it last made, and what that binds.
    pub fn attested(&self) -> Option<&(Registration, Vec<u8>)> {
        self.attested.as_ref()
    }

    /// The state of a worker's cluster.
    pub fn cluster_health(&self) -> Option<ClusterHealth> {
        match &self.part {
            Part::Worker(cluster) => Some(cluster.health()),
            Part::Gatekeeper(_) => None,
        }
    }

    /// Whether a gatekeeper holds a share.
    pub fn has_seat(&self) -> bool {
        matches!(&self.part, Part::Gatekeeper(gate) if gate.has_seat())
    }

    /// How a gatekeeper stands.
    pub fn gate_health(&self) -> Option<GateHealth> {
        match &self.part {
            Part::Gatekeeper(gate) => Some(gate.health()),
            Part::Worker(_) => None,
        }
    }

    /// What answers queries now.
    pub fn serving(&self) -> Option<Serving> {
        let mut notices = Vec::new();
        match &self.part {
            Part::Worker(cluster) => cluster.serving(&self.around_shared(&mut notices)),
            Part::Gatekeeper(_) => None,
        }
    }

    /// Hash of the genesis block of the chain it follows.
    pub fn genesis(&self) -> Hash {
        self.settings.genesis
    }

    /// Signs a gatekeeper's part of a suspension, as its operator asks, or says why not. A subject that it does not know is wanted in the
    /// next status: ask again when the relayer has been here.
    pub fn sign_suspension(
        &mut self,
        request: &SuspensionRequest<Subject>,
    ) -> Result<SignedSuspension<Subject>, SuspensionRefusal> {
        match &mut self.part {
            Part::Gatekeeper(gate) => gate.sign_suspension(request, &self.chain, &self.identity, &self.roots),
            Part::Worker(_) => Err(SuspensionRefusal::NotAGatekeeper),
        }
    }

    /// Begins a snapshot of the newest final state, for a replica that has not got it: its parts are asked for one after the other.
    pub fn begin_snapshot(&mut self) -> Result<SnapshotHeader, SnapshotRefusal> {
        let notices = &mut Vec::new();
        let Part::Worker(cluster) = &mut self.part else { return Err(SnapshotRefusal::NotAWorker) };
        cluster.begin_snapshot(&Around {
            chain: &self.chain,
            identity: &self.identity,
            machine: &*self.machine,
            roots: &self.roots,
            notices,
        })
    }

    /// The snapshot that is handed out: its parts can be made beside a delivery.
    pub fn snapshot(&self) -> Option<Arc<SnapshotSource>> {
        match &self.part {
            Part::Worker(cluster) => cluster.snapshot(),
            Part::Gatekeeper(_) => None,
        }
    }

    /// Part `index` of the snapshot `id`, from 0: the next, or the one before once more.
    pub fn snapshot_part(&self, id: &Hash, index: u32) -> Result<SnapshotPart, SnapshotRefusal> {
        self.snapshot().ok_or(SnapshotRefusal::Unknown)?.part(id, index)
    }

    /// Takes a delivery. Also returns what happened, whether or not all of it was taken.
    pub fn deliver(&mut self, delivery: Delivery) -> (Vec<Notice>, Result<(), DeliveryError>) {
        self.deliver_watched(delivery, &mut |_| {})
    }

    /// Takes a delivery, and shows itself to `watch` in between: after the chain's records were taken, and after every boundary. A
    /// delivery can take many seconds, in which others want to know how things stand, and to ask the newest final state.
    pub fn deliver_watched(
        &mut self,
        delivery: Delivery,
        watch: &mut dyn FnMut(&Self),
    ) -> (Vec<Notice>, Result<(), DeliveryError>) {
        let mut notices = Vec::new();
        let result = self.take(delivery, &mut notices, watch);
        (notices, result)
    }

    fn take(
        &mut self,
        delivery: Delivery,
        notices: &mut Vec<Notice>,
        watch: &mut dyn FnMut(&Self),
    ) -> Result<(), DeliveryError> {
        let Delivery {
            finality,
            proof,
            items,
            codes,
            answers,
            inquiries,
            introductions,
            parcels,
            attachments,
            identity_attachments,
            messages,
            letters,
            snapshot,
        } = delivery;
        if !finality.is_empty() {
            self.chain.advance(&finality, &draw(&*self.machine)?)?;
        }
        if let Part::Gatekeeper(gate) = &mut self.part {
            gate.inquire(inquiries, &self.chain, &self.identity.id(), notices);
            gate.receive(introductions, parcels, attachments, identity_attachments);
            gate.receive_messages(messages, letters, self.chain.genesis());
        }
        if proof.is_empty() {
            return if items.is_empty() { Ok(()) } else { Err(DeliveryError::NoProof) };
        }
        let proof = encode_proof(&proof);
        let records = self.chain.records(&proof)?;
        if let Some(now) = records.now()? {
            self.now = now;
        }
        self.roots.observe(&records)?;
        match records.get::<WorkerRecord>(&storage::worker_key(&self.identity.id()))? {
            Shown::Nothing => {}
            shown => {
                let first = matches!((&self.registered, &shown), (Shown::Nothing | Shown::Absent, Shown::Value(_)));
                if first {
                    notices.push(Notice::Registered);
                }
                self.registered = shown;
            }
        }
        // Before the work, which may take long, or fail: a sign of life says that the worker follows the chain.
        let answered = match &self.part {
            Part::Worker(_) => self.heartbeats.observe(&records, &self.chain, &self.identity),
            Part::Gatekeeper(_) => Ok(()),
        };
        let brought = Brought { id: self.settings.cluster, answers, codes, snapshot };
        let worked = self.work(&records, items, brought, notices, watch);
        // Whatever became of the work: a machine whose cluster is stuck must not lose its registration as well.
        let attested = self.attest();
        worked.and(attested).and(answered.map_err(DeliveryError::from))
    }

    /// Does what its role is, beside the chain's `records`.
    fn work(
        &mut self,
        records: &Records<'_>,
        items: Vec<InboxItems>,
        brought: Brought,
        notices: &mut Vec<Notice>,
        watch: &mut dyn FnMut(&Self),
    ) -> Result<(), DeliveryError> {
        match &mut self.part {
            Part::Gatekeeper(gate) => {
                let sight =
                    Sight { chain: &self.chain, identity: &self.identity, machine: &*self.machine, roots: &self.roots };
                gate.observe(records, &sight, notices)?;
            }
            Part::Worker(cluster) => {
                let mut around = Around {
                    chain: &self.chain,
                    identity: &self.identity,
                    machine: &*self.machine,
                    roots: &self.roots,
                    notices,
                };
                let taken = brought.take(cluster, records, &mut around);
                close_if_in_doubt(cluster, &taken);
                taken?;
            }
        }
        watch(self);
        if matches!(self.part, Part::Worker(_)) {
            let id = self.settings.cluster;
            for inbox in items.into_iter().filter(|inbox| inbox.cluster == id) {
                let decoded: Result<Vec<_>, _> = inbox.items.into_iter().map(Item::decode_owned).collect();
                self.execute(&decoded?, records, notices, watch)?;
            }
        }
        Ok(())
    }

    /// Executes a worker's items, one boundary after the other.
    fn execute(
        &mut self,
        items: &[Item],
        records: &Records<'_>,
        notices: &mut Vec<Notice>,
        watch: &mut dyn FnMut(&Self),
    ) -> Result<(), DeliveryError> {
        let mut rest = None;
        loop {
            let Part::Worker(cluster) = &mut self.part else { return Ok(()) };
            let mut around = Around {
                chain: &self.chain,
                identity: &self.identity,
                machine: &*self.machine,
                roots: &self.roots,
                notices,
            };
            let now = rest.unwrap_or_else(|| cluster.fresh(items));
            let executed = cluster
                .execute_next(now, records, &mut around)
                .map_err(|error| DeliveryError::Cluster(self.settings.cluster, error));
            close_if_in_doubt(cluster, &executed);
            let Some(executed) = executed? else { return Ok(()) };
            rest = now.get(executed..);
            watch(self);
        }
    }

    /// Makes evidence when the chain does not know the TEE, knows other keys of it, or will forget it soon.
    fn attest(&mut self) -> Result<(), DeliveryError> {
        let (block, block_hash) = self.chain.head();
        if block == 0 || self.registered == Shown::Nothing {
            return Ok(());
        }
        let fresh = self.attested.as_ref().is_some_and(|(made, _)| block.saturating_sub(made.block) < EVIDENCE_BLOCKS);
        // A worker's evidence goes with every request for keys, and a gatekeeper's to the other seats of a ceremony; otherwise one that is
        // registered shows its own to nobody, and the machine can take half a minute to make it. Others judge what it binds, not when it
        // was made: one a process is enough.
        let is_shown = match &self.part {
            Part::Worker(_) => true,
            Part::Gatekeeper(gate) => gate.introduces(),
        };
        let made = self.attested.is_some() || !is_shown;
        if made && (fresh || !self.must_register()) {
            return Ok(());
        }
        let registration = Registration {
            role: self.settings.role,
            identity: self.identity.id(),
            encryption_key: self.identity.receiving_hash(),
            operator: self.settings.operator,
            block,
            block_hash,
        };
        let evidence = self.machine.evidence(&registration.report_data(self.chain.genesis()))?;
        self.attested = Some((registration, evidence));
        Ok(())
    }

    fn must_register(&self) -> bool {
        match &self.registered {
            Shown::Nothing => false,
            Shown::Absent => true,
            Shown::Value(record) => {
                record.role != self.settings.role
                    || record.encryption_key != self.identity.receiving_hash()
                    || record.valid_until < self.now.saturating_add(RENEW_SECONDS)
            }
        }
    }

    /// What the relayer should fetch and carry next.
    pub fn status(&self) -> TeeStatus {
        let (height, head) = self.chain.head();
        let mut wanted_keys = vec![storage::TIMESTAMP_NOW.to_vec(), storage::worker_key(&self.identity.id())];
        wanted_keys.extend(Roots::wanted_keys());
        let mut outgoing = Vec::new();
        if let (true, Some((registration, evidence))) = (self.must_register(), self.attested.as_ref()) {
            outgoing.push(Outgoing::Register { registration: *registration, evidence: evidence.clone() });
        }
        let (mut inboxes, mut wanted_codes) = (Vec::new(), Vec::new());
        let (mut attempt, mut identity_attempt, mut signing, mut snapshot) = (None, None, None, None);
        match &self.part {
            Part::Worker(cluster) => {
                let mut notices = Vec::new();
                let around = self.around_shared(&mut notices);
                wanted_keys.extend(cluster.wanted_keys());
                wanted_keys.extend(Heartbeats::wanted_keys(&self.identity.id()));
                inboxes.push(cluster.cursor());
                wanted_codes.extend_from_slice(cluster.wanted_codes());
                snapshot = cluster.snapshot_stand();
                outgoing.extend(cluster.outgoing(&around));
                outgoing.extend(self.inquiries(cluster));
                if self.registration().is_some_and(|record| record.role == Role::Worker) {
                    outgoing.extend(self.heartbeats.outgoing());
                }
            }
            Part::Gatekeeper(gate) => {
                wanted_keys.extend(gate.wanted_keys());
                (attempt, identity_attempt, signing) = (gate.attempt(), gate.identity_attempt(), gate.signing());
                let registered = matches!(self.registered, Shown::Value(_));
                let attested = self.attested.as_ref();
                outgoing.extend(gate.outgoing(&self.chain, &self.identity, &self.roots, registered, attested));
            }
        }
        wanted_keys.sort_unstable();
        wanted_keys.dedup();
        TeeStatus {
            identity: self.identity.id(),
            role: self.settings.role,
            genesis: self.settings.genesis,
            height,
            head,
            wanted_keys,
            inboxes,
            wanted_codes,
            attempt,
            identity_attempt,
            signing,
            snapshot,
            outgoing,
        }
    }

    fn inquiries(&self, cluster: &Cluster) -> Vec<Outgoing> {
        let Some((registration, evidence)) = self.attested.as_ref() else { return Vec::new() };
        cluster
            .requests()
            .map(|request| {
                Outgoing::AskKeys(KeyInquiry {
                    request: request.clone(),
                    registration: *registration,
                    evidence: evidence.clone(),
                    collateral: Vec::new(),
                })
            })
            .collect()
    }

    fn around_shared<'a>(&'a self, notices: &'a mut Vec<Notice>) -> Around<'a> {
        Around { chain: &self.chain, identity: &self.identity, machine: &*self.machine, roots: &self.roots, notices }
    }
}
