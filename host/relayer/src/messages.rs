//! Messages that have left their clusters and lack a signature of their contract, for the gatekeepers that sign.
//!
//! The chain keeps what became of each cluster's newest 1,024 items. All TEEs share what was found in that state: each sequence is looked
//! at once, and of the messages that left it is asked at each new head which are signed by now, whether their cluster is disputed, and
//! whether governance found against them. What a message says stands in an event of the block in which it left (`Egress::MessageLeft`), and
//! where the node has that block's state no more - one that prunes keeps 256 - in the extrinsic that brought it: it is taken from either
//! when it has the id that the chain keeps. So nothing that the chain still keeps is missed by a relayer that was started late, or again,
//! nor by a gatekeeper that comes later. Each TEE is brought what its status does not name, once it knows a head at or after the message's
//! block, and again after [`AGAIN_BLOCKS`] if it still does not name it: it may have no room.
//!
//! Guarantees: bounded memory, and bounded work and bytes at a time, whatever node and TEEs say. A head and clusters that never were, and
//! what a block did not show, are not believed for ever; that an item is no message, or is signed, is, until the relayer starts again.
//! Messages are the node's word, as far as an id is: a gatekeeper signs none but by a proof at its own head. Contracts control what
//! messages say. Does not find: what was brought by a call that does not stand in the block itself, once the block's state is pruned.

use crate::registrations::Registry;
use codec::{Decode, DecodeAll, Encode};
use phala_client::{
    chain::{map_key, ChainEvent},
    egress::SCHEMES,
    Chain, ClientError, ErrorCode,
};
use phala_protocol::{
    egress::{EgressAction, EgressFate, EgressItem, EgressOutcome},
    identities::signing::{MOST_SIGNED_AT_ONCE, SIGNING_ATTEMPT_BLOCKS},
    ids::BlockNumber,
    limits::{EGRESS_FATES_KEPT, MAX_EGRESS_BYTES},
    relay::MAX_DELIVERY_BYTES,
    storage, ClusterId, ContractId, Hash,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tokio::sync::Mutex;

/// Sequences whose fates are read at one look; the rest is read at the next.
const MOST_SEQUENCES: u64 = 1_024;
/// Messages of which it is asked at one look whether they are signed.
const MOST_CHECKED: usize = 512;
/// Blocks whose events are read at one look.
const MOST_BLOCKS: usize = 16;
/// Messages that are looked for in them: for each, all that stands in its block may have to be gone through.
const MOST_SOUGHT: usize = 64;
/// Messages that are remembered, but for those of one look more: what sixteen clusters have that are never signed.
const MOST_MESSAGES: usize = 16_384;
/// Bytes of messages that are remembered, but for those of one look more.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of the longest item: those of its action, and what names it.
const MAX_ITEM_BYTES: usize = MAX_EGRESS_BYTES + 64;
/// Places in a block's extrinsics that are tried for one message.
const MOST_TRIED: usize = 4_096;
/// Blocks after which a TEE is brought a message again that it does not name: an attempt to sign.
const AGAIN_BLOCKS: BlockNumber = SIGNING_ATTEMPT_BLOCKS;
/// Blocks after which a message is looked for again that the node did not show: an hour. By then another one may be asked.
const LOST_BLOCKS: BlockNumber = 600;
/// Blocks that the state that is looked at may be ahead of. Where it is more, there never was such a block.
const MOST_AHEAD: BlockNumber = 256;
/// Messages in one delivery: twice as many as a gatekeeper signs at once.
const MOST_IN_ONE: usize = 2 * MOST_SIGNED_AT_ONCE;
/// Bytes of messages in one delivery.
const MAX_BYTES_IN_ONE: usize = MAX_DELIVERY_BYTES / 32;

/// Where it is looked. [`Chain`] is one; tests have another.
pub(crate) trait Edge {
    /// The hash of a block; nothing when the node does not have it.
    async fn hash(&self, number: BlockNumber) -> Result<Option<Hash>, ClientError>;
    /// The clusters of which anything was taken, each with the sequence that is taken next, in the state of `at`.
    async fn next(&self, at: &Hash) -> Result<Vec<(ClusterId, u64)>, ClientError>;
    /// The values under `keys` in the state of `at`, in the order of the keys.
    async fn values(&self, keys: &[Vec<u8>], at: &Hash) -> Result<Vec<Option<Vec<u8>>>, ClientError>;
    /// What the egress pallet said in a block, in order; nothing when the node cannot tell any more.
    async fn said(&self, number: BlockNumber) -> Result<Option<Vec<ChainEvent>>, ClientError>;
    /// A block's extrinsics; nothing when the node does not have them.
    async fn body(&self, number: BlockNumber) -> Result<Option<Vec<Vec<u8>>>, ClientError>;
}

impl Edge for Chain {
    async fn hash(&self, number: BlockNumber) -> Result<Option<Hash>, ClientError> {
        match self.block_hash(Some(number)).await {
            Ok(hash) => Ok(Some(hash)),
            Err(error) if error.code == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn next(&self, at: &Hash) -> Result<Vec<(ClusterId, u64)>, ClientError> {
        self.entries(&storage::EGRESS_NEXT, Some(at)).await
    }

    async fn values(&self, keys: &[Vec<u8>], at: &Hash) -> Result<Vec<Option<Vec<u8>>>, ClientError> {
        Chain::values(self, keys, at).await
    }

    async fn said(&self, number: BlockNumber) -> Result<Option<Vec<ChainEvent>>, ClientError> {
        self.events_of("Egress", number).await
    }

    async fn body(&self, number: BlockNumber) -> Result<Option<Vec<Vec<u8>>>, ClientError> {
        Registry::extrinsics(self, number).await
    }
}

/// What one TEE was brought, and at which head.
#[derive(Debug, Default)]
pub(crate) struct Shown(BTreeMap<Hash, BlockNumber>);

impl Shown {
    /// Whether it was brought just now. A head that went back is another process's.
    fn is_recent(&self, id: &Hash, height: BlockNumber) -> bool {
        self.0.get(id).is_some_and(|shown| (*shown..shown.saturating_add(AGAIN_BLOCKS)).contains(&height))
    }

    /// Notes that a delivery was taken that leads to `height`.
    pub(crate) fn took(&mut self, ids: Vec<Hash>, height: BlockNumber) {
        self.0.retain(|_, shown| (*shown..shown.saturating_add(AGAIN_BLOCKS)).contains(&height));
        self.0.extend(ids.into_iter().map(|id| (id, height)));
    }
}

/// What a TEE is to be brought next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub messages: Vec<EgressItem>,
    pub ids: Vec<Hash>,
    /// Whether there is more than fits.
    pub more: bool,
}

/// What was found.
#[derive(Default)]
pub(crate) struct Messages(Mutex<Found>);

impl Messages {
    /// What a TEE that knows block `height` of the chain with this genesis, and names these messages, lacks and was not brought just now.
    pub(crate) async fn due(
        &self,
        node: &impl Edge,
        genesis: &Hash,
        height: BlockNumber,
        named: &[Hash],
        shown: &Shown,
    ) -> Result<Due, ClientError> {
        let mut found = self.0.lock().await;
        found.look(node, genesis, height).await?;
        Ok(found.due(height, named, shown))
    }
}

#[derive(Default)]
struct Found {
    genesis: Hash,
    /// The newest block whose state was looked at.
    head: Option<(BlockNumber, Hash)>,
    clusters: BTreeMap<ClusterId, Cluster>,
    /// Messages of which it is to be asked whether they are signed.
    unchecked: VecDeque<(ClusterId, u64)>,
    /// How many messages there are in all clusters, and their bytes as far as they are known.
    number: usize,
    bytes: usize,
}

#[derive(Default)]
struct Cluster {
    /// Sequences before it were looked at.
    seen: u64,
    /// The sequence that is taken next.
    next: u64,
    /// Nothing of it is signed now.
    is_disputed: bool,
    /// Nothing of it is ever signed that had left by then.
    voided: Option<BlockNumber>,
    /// By sequence.
    messages: BTreeMap<u64, Message>,
}

/// A message that has left, and is not known to have all its signatures.
struct Message {
    sender: ContractId,
    id: Hash,
    left: BlockNumber,
    /// Whether it lacked a signature when the state was asked last; none before that.
    is_checked: bool,
    content: Content,
}

#[derive(Debug, PartialEq, Eq)]
enum Content {
    /// Nobody was asked yet.
    Sought,
    Known(EgressItem),
    /// The node did not show it at this head.
    Lost(BlockNumber),
}

/// A message that is looked for in its block.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    cluster: ClusterId,
    sequence: u64,
    sender: ContractId,
    id: Hash,
}

/// Where the contract stands that sent a message.
fn sender_key(cluster: ClusterId, sequence: u64) -> Vec<u8> {
    map_key("Egress", "Senders", &(cluster, sequence).encode())
}

fn decoded<T: Decode>(value: &Option<Vec<u8>>) -> Option<T> {
    value.as_ref().and_then(|value| T::decode_all(&mut value.as_slice()).ok())
}

impl Message {
    /// By what the chain keeps of an item; none if it is no message that has left.
    fn read(fate: &Option<Vec<u8>>, sender: &Option<Vec<u8>>) -> Option<Self> {
        let EgressFate { id, block, outcome } = decoded(fate)?;
        let sender = decoded(sender)?;
        let message = Self { sender, id, left: block, is_checked: false, content: Content::Sought };
        (outcome == EgressOutcome::Left).then_some(message)
    }

    fn bytes(&self) -> usize {
        match &self.content {
            Content::Known(item) => item.encoded_size(),
            Content::Sought | Content::Lost(_) => 0,
        }
    }
}

impl Found {
    /// Looks at what is new up to `height`, and at some of what was not looked at yet.
    async fn look(&mut self, node: &impl Edge, genesis: &Hash, height: BlockNumber) -> Result<(), ClientError> {
        if self.genesis != *genesis {
            *self = Self { genesis: *genesis, ..Self::default() };
        }
        let is_new = |known: BlockNumber| height > known || known.saturating_sub(height) > MOST_AHEAD;
        if self.head.is_none_or(|(known, _)| is_new(known)) {
            // A node that is behind tells what is new when it has it.
            if let Some(hash) = node.hash(height).await? {
                let next = node.next(&hash).await?;
                self.head = Some((height, hash));
                self.advance(next);
            }
        }
        let Some((_, at)) = self.head else { return Ok(()) };
        self.read_fates(node, &at).await?;
        self.check(node, &at).await?;
        self.fetch(node).await
    }

    /// Notes how far each cluster is, and forgets what the chain has forgotten, and clusters that it does not have.
    fn advance(&mut self, next: Vec<(ClusterId, u64)>) {
        let next: BTreeMap<ClusterId, u64> = next.into_iter().collect();
        self.clusters.retain(|cluster, _| next.contains_key(cluster));
        for (cluster, next) in next {
            let known = self.clusters.entry(cluster).or_default();
            let oldest = next.saturating_sub(EGRESS_FATES_KEPT);
            // Finalised state never goes back: what this or another node said before was wrong, and all of it is looked at anew.
            let is_wrong = next < known.next;
            known.messages = if is_wrong { BTreeMap::new() } else { known.messages.split_off(&oldest) };
            (known.next, known.seen) = (next, if is_wrong { oldest } else { known.seen.max(oldest) });
        }
        let kept = || self.clusters.values().flat_map(|known| known.messages.values());
        (self.number, self.bytes) = (kept().count(), kept().map(Message::bytes).sum());
        // What is still to be asked of an earlier head is asked of this one: nobody waits longer because heads come fast.
        if self.unchecked.is_empty() {
            let all = self.clusters.iter();
            self.unchecked = all
                .flat_map(|(cluster, known)| known.messages.keys().map(move |sequence| (*cluster, *sequence)))
                .collect();
        }
    }

    /// Reads what became of items that were taken since.
    async fn read_fates(&mut self, node: &impl Edge, at: &Hash) -> Result<(), ClientError> {
        let mut left = MOST_SEQUENCES;
        for (cluster, known) in &mut self.clusters {
            let until = known.next.min(known.seen.saturating_add(left));
            if known.seen >= until || self.number >= MOST_MESSAGES {
                continue;
            }
            let sequences: Vec<u64> = (known.seen..until).collect();
            let keys = sequences
                .iter()
                .flat_map(|sequence| [storage::egress_fate_key(*cluster, *sequence), sender_key(*cluster, *sequence)]);
            let values = node.values(&keys.collect::<Vec<_>>(), at).await?;
            for (sequence, pair) in sequences.iter().zip(values.chunks(2)) {
                let [fate, sender] = pair else { continue };
                if let Some(message) = Message::read(fate, sender) {
                    known.messages.insert(*sequence, message);
                    self.unchecked.push_back((*cluster, *sequence));
                    self.number = self.number.saturating_add(1);
                }
            }
            left = left.saturating_sub(until.saturating_sub(known.seen));
            known.seen = until;
        }
        Ok(())
    }

    /// Asks which messages are signed by now, and forgets those, and those that never will be.
    async fn check(&mut self, node: &impl Edge, at: &Hash) -> Result<(), ClientError> {
        let batch: Vec<(ClusterId, u64)> = self.unchecked.iter().take(MOST_CHECKED).copied().collect();
        if batch.is_empty() {
            return Ok(());
        }
        let clusters: BTreeSet<ClusterId> = batch.iter().map(|(cluster, _)| *cluster).collect();
        let of_messages = batch.iter().flat_map(|(cluster, sequence)| {
            SCHEMES.map(|scheme| storage::egress_signature_key(*cluster, *sequence, scheme))
        });
        let of_clusters =
            clusters.iter().flat_map(|cluster| [storage::disputed_key(*cluster), storage::egress_voided_key(*cluster)]);
        let keys: Vec<Vec<u8>> = of_clusters.chain(of_messages).collect();
        let values = node.values(&keys, at).await?;
        let mut pairs = values.chunks(2);
        for (cluster, pair) in clusters.iter().zip(&mut pairs) {
            let ([disputed, voided], Some(known)) = (pair, self.clusters.get_mut(cluster)) else { continue };
            known.is_disputed = disputed.is_some();
            known.voided = decoded(voided);
        }
        for ((cluster, sequence), pair) in batch.iter().zip(pairs) {
            let Some(known) = self.clusters.get_mut(cluster) else { continue };
            // It may be forgotten since it was to be asked for.
            let Some(message) = known.messages.get_mut(sequence) else { continue };
            let is_void = known.voided.is_some_and(|until| message.left <= until);
            if pair.iter().all(Option::is_some) || is_void {
                self.number = self.number.saturating_sub(1);
                self.bytes = self.bytes.saturating_sub(message.bytes());
                known.messages.remove(sequence);
            } else {
                message.is_checked = true;
            }
        }
        self.unchecked.drain(..batch.len().min(self.unchecked.len()));
        Ok(())
    }

    /// The messages that have content of this kind, by the block in which they left.
    fn with(&self, is_meant: impl Fn(&Content) -> bool) -> BTreeMap<BlockNumber, Vec<Wanted>> {
        let mut blocks: BTreeMap<BlockNumber, Vec<Wanted>> = BTreeMap::new();
        for (cluster, known) in &self.clusters {
            for (sequence, message) in &known.messages {
                if message.is_checked && is_meant(&message.content) {
                    let Message { sender, id, left, .. } = *message;
                    let wanted = Wanted { cluster: *cluster, sequence: *sequence, sender, id };
                    blocks.entry(left).or_default().push(wanted);
                }
            }
        }
        blocks
    }

    /// Reads what messages say, of the oldest first; and where each was looked for, of those again that were lost long ago.
    async fn fetch(&mut self, node: &impl Edge) -> Result<(), ClientError> {
        let head = self.head.map_or(0, |(head, _)| head);
        let mut blocks = self.with(|content| *content == Content::Sought);
        if blocks.is_empty() {
            let is_long_ago = |since: BlockNumber| head >= since.saturating_add(LOST_BLOCKS);
            blocks = self.with(|content| matches!(content, Content::Lost(since) if is_long_ago(*since)));
        }
        let mut room = MOST_SOUGHT;
        for (block, mut wanted) in blocks.into_iter().take(MOST_BLOCKS) {
            wanted.truncate(room);
            if wanted.is_empty() || self.bytes >= MAX_BYTES {
                break;
            }
            room = room.saturating_sub(wanted.len());
            let items = read(node, &self.genesis, block, &wanted).await?;
            for (Wanted { cluster, sequence, id, .. }, item) in wanted.iter().zip(items) {
                let known = self.clusters.get_mut(cluster);
                let Some(message) = known.and_then(|known| known.messages.get_mut(sequence)) else { continue };
                message.content = match item {
                    Some(item) => Content::Known(item),
                    None => {
                        let id = phala_protocol::ids::to_hex(id);
                        tracing::warn!(
                            block,
                            id,
                            "the node does not show a message that has left: nobody signs it by our word"
                        );
                        Content::Lost(head)
                    }
                };
                self.bytes = self.bytes.saturating_add(message.bytes());
            }
        }
        Ok(())
    }

    fn due(&self, height: BlockNumber, named: &[Hash], shown: &Shown) -> Due {
        let named: BTreeSet<&Hash> = named.iter().collect();
        let signed_now = self.clusters.values().filter(|known| !known.is_disputed);
        let mut ready: Vec<(&Message, &EgressItem)> = signed_now
            .flat_map(|known| known.messages.values())
            .filter(|message| message.is_checked && message.left <= height)
            .filter(|message| !named.contains(&message.id) && !shown.is_recent(&message.id, height))
            .filter_map(|message| match &message.content {
                Content::Known(item) => Some((message, item)),
                Content::Sought | Content::Lost(_) => None,
            })
            .collect();
        ready.sort_by_key(|(message, item)| (message.left, item.cluster, item.sequence));
        let (mut due, mut bytes) = (Due::default(), 0usize);
        for (message, item) in ready {
            bytes = bytes.saturating_add(item.encoded_size());
            if !due.ids.is_empty() && (bytes > MAX_BYTES_IN_ONE || due.ids.len() >= MOST_IN_ONE) {
                due.more = true;
                break;
            }
            due.ids.push(message.id);
            due.messages.push(item.clone());
        }
        due
    }
}

/// What a node answers that does not tell; a block that it cannot show holds up no other. One that is gone is asked again.
fn or_nothing<T>(answer: Result<Option<T>, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Err(error) if error.code != ErrorCode::Unreachable => {
            tracing::debug!(%error, "the node does not tell what a block holds");
            Ok(None)
        }
        answer => answer,
    }
}

/// What the messages say that left in a block, in their order; none of those that the node does not show.
async fn read(
    node: &impl Edge,
    genesis: &Hash,
    block: BlockNumber,
    wanted: &[Wanted],
) -> Result<Vec<Option<EgressItem>>, ClientError> {
    let said = or_nothing(node.said(block).await)?.unwrap_or_default();
    let mut items: Vec<_> = wanted.iter().map(|wanted| wanted.among(genesis, &said)).collect();
    if items.iter().any(Option::is_none) {
        let extrinsics = or_nothing(node.body(block).await)?.unwrap_or_default();
        for (item, wanted) in items.iter_mut().zip(wanted).filter(|(item, _)| item.is_none()) {
            *item = wanted.within(genesis, &extrinsics);
        }
    }
    Ok(items)
}

impl Wanted {
    /// The message among what the pallet said.
    fn among(&self, genesis: &Hash, said: &[ChainEvent]) -> Option<EgressItem> {
        said.iter().filter(|event| event.name == "MessageLeft").find_map(|event| {
            let fields = <(Hash, ContractId, Vec<u8>, Vec<u8>)>::decode_all(&mut event.fields.as_slice());
            let (id, contract, destination, payload) = fields.ok().filter(|(id, ..)| *id == self.id)?;
            let action = EgressAction::Message { destination, payload };
            let item = EgressItem { cluster: self.cluster, sequence: self.sequence, contract, action };
            (item.id(genesis) == id).then_some(item)
        })
    }

    /// The message in one of these extrinsics, wherever it stands.
    fn within(&self, genesis: &Hash, extrinsics: &[Vec<u8>]) -> Option<EgressItem> {
        let mark = (self.cluster, self.sequence, self.sender).encode();
        let mut tried = 0;
        for extrinsic in extrinsics {
            let marked = extrinsic.windows(mark.len()).enumerate().filter(|(_, bytes)| *bytes == mark.as_slice());
            for (position, _) in marked {
                tried += 1;
                if tried > MOST_TRIED {
                    return None;
                }
                let rest = extrinsic.get(position..).unwrap_or_default();
                let mut bytes = rest.get(..MAX_ITEM_BYTES).unwrap_or(rest);
                let item = EgressItem::decode(&mut bytes).ok().filter(|item| item.id(genesis) == self.id);
                if item.is_some() {
                    return item;
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
