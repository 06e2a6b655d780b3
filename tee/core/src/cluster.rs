//! A worker's side of one cluster: keys by epoch, the store, boundaries executed and the results that wait to become final.
//!
//! Guarantees: commands run only under the keys of the epoch that the finalised chain gives their block; a result that the chain made
//! final differently stops the cluster here for good rather than going on from a state nobody else has; queries see only a state
//! whose result is final. A vote that came after the majority is offered until the chain counts it, for the chain keeps old results
//! for a replica that it believes to be behind. The chain's records decide everything; the host decides only when they arrive.
//!
//! Of a cluster that governance closes the store stays open, without anything else, until the chain has taken what final results sent:
//! bytes and paths of those items exist nowhere else. That can take as long as a dispute, and is bounded by what is on disk. A restart
//! after the close, or a disk that fails, loses them: nobody gives the key to the sealed file again.

use crate::{
    boundary::{execute_boundary, verify_items, BoundaryError, Meta},
    chain::{Chain, ChainError, Records, Shown},
    codes::Codes,
    command::{code_needed, Context},
    egress,
    epochs::{EpochKeys, EpochOf, Epochs},
    identity::Identity,
    machine::{Machine, MachineFault},
    roots::Roots,
    serving::Serving,
    snapshot::{SnapshotFault, SnapshotSource},
    tee::Notice,
};
use phala_crypto::xwing::DecapsulationKey;
use phala_protocol::{
    chain_state::{BoundaryRecord, ClusterRecord, FinalRecord, Standing},
    egress::ProvedEgress,
    ids::BlockNumber,
    inbox::{Head, Item},
    keys::KeyPurpose,
    relay::InboxCursor,
    result::{Boundary, ClusterResult, SignedResult},
    storage, ClusterId, CodeHash, Epoch,
};
use phala_state::{ClusterStore, CommitError, OpenError, RekeyError, View};
use std::{collections::VecDeque, sync::Arc};

mod answers;
mod outgoing;
mod store;
mod takeover;

pub use answers::AnswersHealth;
pub use takeover::Lack;
use takeover::{Taking, Unopened};

/// Results that may wait to become final before the worker stops executing.
const MAX_PENDING: usize = 16;

/// Why a cluster cannot go on now.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The chain's side of the delivery was refused.
    #[error("chain records are refused")]
    Chain(#[from] ChainError),
    /// A boundary could not be executed.
    #[error("a boundary was not executed")]
    Boundary(#[from] BoundaryError),
    /// The items' boundary, or the cluster's record beside it, is not proved by the delivery.
    #[error("the delivery does not prove the boundary at block {0} and the cluster's record")]
    BoundaryNotProved(BlockNumber),
    /// The machine failed.
    #[error("the machine failed")]
    Machine(#[from] MachineFault),
    /// The store could not be opened.
    #[error("the cluster's store cannot be opened")]
    Open(#[from] OpenError),
    /// The store could not change its key.
    #[error("the cluster's store cannot change its key")]
    Rekey(#[from] RekeyError),
    /// The store could not be swept.
    #[error("the cluster's store cannot be re-sealed")]
    Sweep(#[from] CommitError),
    /// The store is of another version, or not this cluster's.
    #[error("the cluster's store is of another version than this binary")]
    Meta,
    /// What came of a snapshot was not taken.
    #[error("the cluster's state is not taken over")]
    Snapshot(#[from] SnapshotFault),
    /// The chain made another result final than this worker computed. It stops here.
    #[error("the chain's final result at block {0} is not this worker's; it has stopped for this cluster")]
    Diverged(BlockNumber),
}

impl ClusterError {
    /// Whether the store's driver may be unusable, or the file ahead of what is in memory: it has to be opened again.
    pub(crate) fn leaves_the_store_in_doubt(&self) -> bool {
        match self {
            Self::Boundary(error) => !matches!(error, BoundaryError::NotTheInbox | BoundaryError::Keys),
            Self::Rekey(_) | Self::Sweep(_) => true,
            _ => false,
        }
    }
}

/// What the operator sees of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterHealth {
    /// The cluster.
    pub cluster: ClusterId,
    /// The open epoch, as last seen.
    pub epoch: Epoch,
    /// Items executed.
    pub executed: u64,
    /// Results that wait to become final.
    pub pending: usize,
    /// Whether queries are answered.
    pub serving: bool,
    /// The block at which the chain's final result differed, if it did.
    pub diverged_at: Option<BlockNumber>,
    /// Whether governance has closed the cluster for good: nothing is executed or answered any more, and nothing of it is kept in memory
    /// but its store while the chain has yet to take what final results sent. The sealed file stays on the disk.
    pub closed: bool,
    /// What became of gatekeepers' answers.
    pub answers: AnswersHealth,
}

/// One cluster on this worker.
pub(crate) struct Cluster {
    id: ClusterId,
    record: Option<ClusterRecord>,
    epochs: Epochs,
    answers: AnswersHealth,
    store: Option<ClusterStore>,
    /// The generation of a store that could not be opened with the open epoch's key.
    stored_generation: Option<Epoch>,
    /// Why the store does not open, if no key that is given now would open it.
    unopened: Option<Unopened>,
    /// Items executed when a proof showed that the next one is of an epoch older than those whose keys anybody gives.
    stalled_at: Option<u64>,
    /// Items executed when a proof showed that the chain keeps the next one's final result no longer: nothing confirms what it would come to.
    gone_at: Option<u64>,
    /// Whether it was said that the state is lacked.
    lack_said: bool,
    /// The snapshot on its way in.
    taking: Option<Taking>,
    /// The snapshot that is handed out. It pins a version of the store.
    making: Option<Arc<SnapshotSource>>,
    meta: Meta,
    /// Versions of results that wait to become final, beside `meta.pending`; shorter after a restart.
    views: VecDeque<(ClusterResult, View)>,
    /// The newest of its own votes for a result that became final without it, until the chain has it. It says the same of everything
    /// before it. Not kept on disk: there it waits to become final, as before, until a newer result is committed, which says more.
    late: Option<SignedResult>,
    /// Egress items that the chain has taken: those before this sequence, as last seen; none before it was.
    taken: Option<u64>,
    /// What it takes next.
    leaving: Vec<ProvedEgress>,
    /// The newest state that the chain has made final, which answers queries, with its result; that of a store in which nothing was
    /// executed yet has none. Nothing while no state is known to be final.
    final_state: Option<(Option<ClusterResult>, View)>,
    /// The newest block at which the chain had no final result after `final_state`: how fresh an answer is. The head may be newer,
    /// for a host can show a header without the records below it, or put an older disk back.
    current_at: Option<BlockNumber>,
    /// The head at which the store was last swept; 0 before the first time.
    swept_at: BlockNumber,
    codes: Arc<Codes>,
    wanted_codes: Vec<CodeHash>,
    query_key: Option<(Epoch, Arc<DecapsulationKey>)>,
    diverged_at: Option<BlockNumber>,
    /// Whether governance has closed it for good.
    closed: bool,
}

/// What a cluster needs of the TEE around it.
pub(crate) struct Around<'a> {
    pub chain: &'a Chain,
    pub identity: &'a Arc<Identity>,
    pub machine: &'a dyn Machine,
    pub roots: &'a Roots,
    pub notices: &'a mut Vec<Notice>,
}

impl Cluster {
    pub(crate) fn new(id: ClusterId, codes: Arc<Codes>) -> Self {
        Self {
            id,
            record: None,
            epochs: Epochs::default(),
            answers: AnswersHealth::default(),
            store: None,
            stored_generation: None,
            unopened: None,
            stalled_at: None,
            gone_at: None,
            lack_said: false,
            taking: None,
            making: None,
            meta: Meta {
                head: Head::empty(id),
                last: None,
                epoch: 0,
                closed: None,
                pending: Vec::new(),
                kept: (0, 0),
                egress: (0, 0),
                taken_over: None,
            },
            views: VecDeque::new(),
            late: None,
            taken: None,
            leaving: Vec::new(),
            final_state: None,
            current_at: None,
            swept_at: 0,
            codes,
            wanted_codes: Vec::new(),
            query_key: None,
            diverged_at: None,
            closed: false,
        }
    }

    /// Storage keys the cluster needs proved next.
    pub(crate) fn wanted_keys(&self) -> Vec<Vec<u8>> {
        let results = self.late.iter().chain(&self.meta.pending).map(|signed| signed.result.boundary.block);
        let snapshots = self.meta.taken_over.iter().map(|result| result.boundary.block);
        std::iter::once(storage::cluster_key(self.id))
            .chain(results.chain(snapshots).map(|block| storage::final_result_key(self.id, block)))
            .chain(self.taking.iter().flat_map(Taking::wanted_keys))
            .chain(self.late.iter().map(|_| storage::standings_key(self.id)))
            .chain((self.meta.egress.0 < self.meta.egress.1).then(|| storage::egress_next_key(self.id)))
            .collect()
    }

    pub(crate) fn wanted_codes(&self) -> &[CodeHash] {
        &self.wanted_codes
    }

    /// Takes code that was brought, if it is wanted.
    pub(crate) fn deliver_code(&self, code: Vec<u8>) {
        self.codes.deliver(&self.wanted_codes, code);
    }

    pub(crate) fn cursor(&self) -> InboxCursor {
        let ready = self.store.is_some()
            && self.diverged_at.is_none()
            && self.meta.pending.len() < MAX_PENDING
            && self.record.as_ref().is_some_and(|record| {
                self.epochs.begun(record, self.working_epoch(record)).is_some_and(EpochKeys::is_full)
            });
        InboxCursor { cluster: self.id, head: self.meta.head, ready }
    }

    pub(crate) fn health(&self) -> ClusterHealth {
        ClusterHealth {
            cluster: self.id,
            epoch: self.record.as_ref().map_or(0, |record| record.epoch),
            executed: self.meta.head.count,
            pending: self.meta.pending.len(),
            serving: self.final_state.is_some() && self.current_at.is_some() && self.query_key.is_some(),
            diverged_at: self.diverged_at,
            closed: self.closed,
            answers: self.answers.clone(),
        }
    }

    /// Requests for keys that wait for an answer.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &phala_protocol::keys::SignedKeyRequest> {
        self.epochs.requests()
    }

    /// The epoch of the next item: that of the open one, or the one before while it still has items.
    fn working_epoch(&self, record: &ClusterRecord) -> Epoch {
        if self.meta.head.count < record.opened_count {
            record.epoch.saturating_sub(1)
        } else {
            record.epoch
        }
    }

    /// Takes what the proof shows of the cluster, and what follows from it: finality of results, keys, the store.
    pub(crate) fn observe(&mut self, records: &Records<'_>, around: &mut Around<'_>) -> Result<(), ClusterError> {
        if let Shown::Value(record) = records.get::<ClusterRecord>(&storage::cluster_key(self.id))? {
            if !record.replicas.contains(&around.identity.id()) {
                return self.leave(record.is_closed(), records, around);
            }
            let final_count = record.final_count;
            self.closed = false;
            self.record = Some(record);
            self.observe_finality(records, around)?;
            let ours = self.final_state.as_ref().map(|(result, _)| result.map_or(0, |result| result.boundary.count));
            if ours == Some(final_count) {
                self.current_at = Some(around.chain.head().0);
            }
        } else if self.closed {
            // For good, whatever this proof leaves out.
            return self.leave(true, records, around);
        } else {
            self.observe_finality(records, around)?;
        }
        self.observe_standing(records)?;
        self.observe_egress(records)?;
        self.want_keys(around)
    }

    /// Lets go of a cluster that is not this worker's any more: of a closed one's store once nothing is left in it that the chain may take.
    fn leave(&mut self, closed: bool, records: &Records<'_>, around: &mut Around<'_>) -> Result<(), ClusterError> {
        if closed && !self.closed {
            around.notices.push(Notice::ClusterClosed { cluster: self.id });
        }
        self.closed = closed;
        if closed && self.store.is_some() && self.diverged_at.is_none() && self.drain(records, around)? {
            return Ok(());
        }
        // Its keys and its state are no longer this worker's to hold.
        let answers = std::mem::take(&mut self.answers);
        *self = Self { diverged_at: self.diverged_at, closed, answers, ..Self::new(self.id, self.codes.clone()) };
        Ok(())
    }

    /// Sees what the chain has yet to take of a closed cluster, and lets go of all that this does not need. False when nothing is left: the
    /// chain has it, or it is of results that never became final.
    fn drain(&mut self, records: &Records<'_>, around: &mut Around<'_>) -> Result<bool, ClusterError> {
        self.epochs = Epochs::default();
        (self.record, self.query_key, self.current_at, self.stored_generation) = (None, None, None, None);
        (self.taking, self.making) = (None, None);
        self.wanted_codes.clear();
        let seen = self.observe_finality(records, around);
        (self.late, self.final_state) = (None, None);
        self.views.clear();
        seen?;
        self.observe_egress(records)?;
        let (from, end) = self.meta.egress;
        let Some(taken) = self.taken else { return Ok(from < end) };
        // Nothing becomes final any more: what is not at this head never will be.
        let undecided = match self.meta.pending.first() {
            Some(oldest) => {
                let key = storage::final_result_key(self.id, oldest.result.boundary.block);
                records.get::<FinalRecord>(&key)? == Shown::Nothing
            }
            None => false,
        };
        Ok(!self.leaving.is_empty() || (undecided && taken < end))
    }

    /// Sees what the chain has taken of what the cluster sends, and looks up what it takes next.
    fn observe_egress(&mut self, records: &Records<'_>) -> Result<(), ClusterError> {
        match records.get::<u64>(&storage::egress_next_key(self.id))? {
            Shown::Value(next) => self.taken = Some(next),
            Shown::Absent => self.taken = Some(0),
            Shown::Nothing => {}
        }
        let undecided = self.meta.pending.first().map(|signed| signed.result.boundary.block);
        self.leaving = match (&self.store, self.taken) {
            (Some(store), Some(taken)) => {
                egress::leaving(&store.view(), self.meta.egress, taken, undecided).map_err(BoundaryError::Read)?
            }
            _ => Vec::new(),
        };
        Ok(())
    }

    fn observe_finality(&mut self, records: &Records<'_>, around: &mut Around<'_>) -> Result<(), ClusterError> {
        if let Some(result) = self.meta.taken_over {
            let block = result.boundary.block;
            match records.get::<FinalRecord>(&storage::final_result_key(self.id, block))? {
                Shown::Value(shown) if shown.result == result => self.confirm_taken_over(&result),
                Shown::Value(_) => return Err(self.diverge(block, around)),
                // What is executed after it will say the same.
                Shown::Nothing | Shown::Absent => {}
            }
        }
        while let Some((index, shown)) = self.oldest_kept(records)? {
            // Its own result continues those before it, which are final as well.
            self.meta.pending.drain(..index);
            let own = self.meta.pending.remove(0);
            let (result, block) = (own.result, own.result.boundary.block);
            if shown.result != result {
                self.meta.pending.insert(0, own);
                return Err(self.diverge(block, around));
            }
            let counted = shown.votes.iter().any(|(voter, _)| *voter == own.worker);
            self.late = (!counted).then_some(own);
            around.notices.push(Notice::ResultFinal { cluster: self.id, block, count: result.boundary.count });
            self.views_are_final(&result);
        }
        Ok(())
    }

    /// The first of the results that wait of which the final one is shown, with its place among them. Those before it the chain keeps no more.
    fn oldest_kept(&self, records: &Records<'_>) -> Result<Option<(usize, FinalRecord)>, ChainError> {
        let final_count = self.record.as_ref().map_or(0, |record| record.final_count);
        for (index, own) in self.meta.pending.iter().enumerate() {
            let Boundary { block, count, .. } = own.result.boundary;
            match records.get::<FinalRecord>(&storage::final_result_key(self.id, block))? {
                Shown::Value(shown) => return Ok(Some((index, shown))),
                Shown::Absent if count <= final_count => {}
                Shown::Absent | Shown::Nothing => break,
            }
        }
        Ok(None)
    }

    /// The chain's final result is another one: for good.
    fn diverge(&mut self, block: BlockNumber, around: &mut Around<'_>) -> ClusterError {
        self.diverged_at = Some(block);
        (self.final_state, self.taking, self.making) = (None, None, None);
        self.leaving.clear();
        // It goes on with nothing: keys of later epochs are none of its any more, and it asks nobody.
        self.epochs = Epochs::default();
        around.notices.push(Notice::Diverged { cluster: self.id, block });
        ClusterError::Diverged(block)
    }

    /// The chain has confirmed the state that was taken over.
    fn confirm_taken_over(&mut self, result: &ClusterResult) {
        self.meta.taken_over = None;
        self.views_are_final(result);
    }

    /// The newest version up to this result is the final state from now on.
    fn views_are_final(&mut self, result: &ClusterResult) {
        while self.views.front().is_some_and(|(waiting, _)| waiting.boundary.count <= result.boundary.count) {
            if let Some((waiting, view)) = self.views.pop_front() {
                self.final_state = Some((Some(waiting), view));
            }
        }
    }

    /// Lets go of a late vote that the chain has, or has no place for any more.
    fn observe_standing(&mut self, records: &Records<'_>) -> Result<(), ClusterError> {
        let Some(SignedResult { result, worker, .. }) = self.late.as_ref() else { return Ok(()) };
        let Boundary { block, count, .. } = result.boundary;
        let confirmed = match records.get::<Vec<Standing>>(&storage::standings_key(self.id))? {
            Shown::Value(standings) => {
                standings.iter().any(|standing| standing.worker == *worker && standing.confirmed >= count)
            }
            Shown::Nothing | Shown::Absent => false,
        };
        let forgotten = records.get::<FinalRecord>(&storage::final_result_key(self.id, block))? == Shown::Absent;
        if confirmed || forgotten {
            self.late = None;
        }
        Ok(())
    }

    /// Asks for what is missing of the epochs that matter now, each of the root of the era that the chain gives it to, and forgets the
    /// others. What was fetched or asked for the next epoch is forgotten too when that turns out to be of another era.
    fn want_keys(&mut self, around: &mut Around<'_>) -> Result<(), ClusterError> {
        let Some(record) = self.record.as_ref() else { return Ok(()) };
        let (now, _) = around.chain.head();
        let before = record.epoch.saturating_sub(1);
        // A replica that is behind still needs the keys it has of the epoch before; gatekeepers would not give them again. One whose
        // store is not open does not know of which epoch it is: asking for both at once spares it a turn that may be one too many.
        let behind = self.store.is_none() || self.meta.head.count < record.opened_count;
        let needs_before = record.is_closing() || behind;
        let mut wanted: Vec<_> = EpochOf::begun(record, record.epoch).into_iter().collect();
        wanted.extend(EpochOf::begun(record, before).filter(|_| needs_before));
        let next = record.next_epoch();
        if record.may_have(next, KeyPurpose::Envelope, now) {
            wanted.extend(around.roots.coming_era().map(|era| EpochOf { era, epoch: next }));
        }
        self.epochs.retain(&wanted);
        for of in wanted {
            // Of an epoch that closes all keys are given, if not by every gatekeeper at the same time.
            let enough = |keys: &EpochKeys| keys.is_full() || (of.epoch == before && !record.is_closing());
            if self.epochs.get(of).is_some_and(enough) {
                // Whoever has not answered yet need not.
                self.epochs.settle(of);
                continue;
            }
            // Without the root's record nobody is known to ask: it comes with the next proof.
            if let Some(root) = around.roots.of_era(of.era) {
                self.epochs.ask(of, self.id, root, around.chain, around.identity, around.machine)?;
            }
        }
        Ok(())
    }

    /// The keys of the open epoch or of the one before, if they are here.
    fn begun(&self, epoch: Epoch) -> Option<&EpochKeys> {
        self.epochs.begun(self.record.as_ref()?, epoch)
    }

    /// What of delivered items the worker has not executed yet: relayers repeat themselves, which is no fault.
    pub(crate) fn fresh<'a>(&self, items: &'a [Item]) -> &'a [Item] {
        let old = items.iter().take_while(|item| item.header.sequence < self.meta.head.count).count();
        items.get(old..).unwrap_or_default()
    }

    /// Executes the first boundary of `items`. Returns how many items that were; none if nothing more can be executed now.
    pub(crate) fn execute_next(
        &mut self,
        items: &[Item],
        records: &Records<'_>,
        around: &mut Around<'_>,
    ) -> Result<Option<usize>, ClusterError> {
        let Some(first) = items.first() else { return Ok(None) };
        if !self.cursor().ready {
            return Ok(None);
        }
        let block = first.header.block;
        let length = items.iter().take_while(|item| item.header.block == block).count();
        let boundary = items.get(..length).unwrap_or_default();
        let executed = self.execute_block(block, boundary, records, around)?;
        Ok(executed.then_some(length))
    }

    /// Executes a block's items. False if keys or code are missing, or the chain keeps their final result no longer: nothing was executed,
    /// and what follows cannot be. What is missing is noted.
    fn execute_block(
        &mut self,
        block: BlockNumber,
        items: &[Item],
        records: &Records<'_>,
        around: &mut Around<'_>,
    ) -> Result<bool, ClusterError> {
        let (Some(record), Some(store)) = (self.record.as_ref(), self.store.as_ref()) else { return Ok(false) };
        // The epoch of the items is this head's word, never an earlier one's: a host that withholds the record gets nothing executed.
        if records.get::<ClusterRecord>(&storage::cluster_key(self.id))? == Shown::Nothing {
            return Err(ClusterError::BoundaryNotProved(block));
        }
        let Some((boundary, final_epoch)) = proved_boundary(self.id, block, records)? else {
            if !self.is_gone(record, items, records)? {
                return Err(ClusterError::BoundaryNotProved(block));
            }
            self.gone_at = Some(self.meta.head.count);
            return Ok(false);
        };
        let verified = verify_items(&self.meta.head, &boundary, items)?;
        let view = store.view();
        self.wanted_codes.clear();
        for (_, code) in items.iter().filter_map(code_needed) {
            let missing = self.codes.bytes(&code, &view).map_err(BoundaryError::Read)?.is_none();
            if missing && !self.wanted_codes.contains(&code) {
                self.wanted_codes.push(code);
            }
        }
        if !self.wanted_codes.is_empty() {
            return Ok(false);
        }
        // The record tells apart the last two epochs only; items of older ones have final results, which name theirs.
        let epoch = final_epoch.unwrap_or_else(|| record.epoch_at(block));
        let Some(keys) = self.epochs.begun(record, epoch).filter(|keys| keys.is_full()) else {
            let is_over = epoch < record.epoch.saturating_sub(1);
            self.stalled_at = is_over.then_some(self.meta.head.count).or(self.stalled_at);
            return Ok(false);
        };
        let context = Context { genesis: around.chain.genesis(), cluster: self.id, epoch, keys };
        drop(view);
        let taken = self.taken.unwrap_or_default();
        let (signed, meta) =
            execute_boundary(&context, store, &self.codes, around.identity, &self.meta, taken, boundary, &verified)?;
        self.meta = meta;
        self.views.push_back((signed.result, store.view()));
        for (_, code) in items.iter().filter_map(code_needed) {
            self.codes.stored(&code);
        }
        around.notices.push(Notice::Executed { cluster: self.id, block, items: items.len() });
        Ok(true)
    }

    /// What answers queries now; none until a final state is known.
    pub(crate) fn serving(&self, around: &Around<'_>) -> Option<Serving> {
        let (result, view) = self.final_state.as_ref()?;
        let (epoch, query_key) = self.query_key.as_ref()?;
        let record = self.record.as_ref()?;
        let current_at = self.current_at?;
        let newest = self.views.back().map_or(view, |(_, newest)| newest);
        Some(Serving::new(
            *around.chain.genesis(),
            record,
            self.id,
            *epoch,
            query_key.clone(),
            around.identity.clone(),
            current_at,
            *result,
            (view.clone(), newest.clone()),
            self.codes.clone(),
        ))
    }
}

/// The boundary that the proof shows for `block`: waiting for a result, or covered by a final one, which also names its epoch.
fn proved_boundary(
    cluster: ClusterId,
    block: BlockNumber,
    records: &Records<'_>,
) -> Result<Option<(Boundary, Option<Epoch>)>, ChainError> {
    let key = storage::boundary_key(cluster, block);
    if let Shown::Value(record) = records.get::<BoundaryRecord>(&key)? {
        return Ok(Some((Boundary { block, count: record.head.count, link: record.head.link }, None)));
    }
    let key = storage::final_result_key(cluster, block);
    Ok(records.get::<FinalRecord>(&key)?.value().map(|record| (record.result.boundary, Some(record.result.epoch))))
}
