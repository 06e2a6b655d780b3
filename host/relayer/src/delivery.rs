//! Puts a delivery together: what a TEE's status asks for, as of the newest header that it will know.
//!
//! Items are cut at whole blocks, because a block's end is where a TEE commits: a block is in a delivery with all of its items or not at
//! all, whatever the node's answers are cut at. Items of blocks after the delivery's head wait for the next delivery. So do those of an inbox
//! that the node is busy with: it is asked a few times more, and then the delivery goes without them ([`Turns`]); and those of one that the
//! node gives an error for, which may lack its items for good.

use crate::inboxes::Turns;
use codec::{Compact, Decode};
use phala_client::{Chain, ClientError, ErrorCode};
use phala_protocol::{
    attestation::Role,
    chain_state::AllowedMeasurement,
    finality::FinalityProof,
    hash::blake2_256,
    ids::BlockNumber,
    inbox::Item,
    limits::{MAX_INBOX_BYTES_PER_ANSWER, MAX_INBOX_ITEMS_PER_ANSWER},
    relay::{Delivery, InboxCursor, InboxItems, TeeStatus},
    storage, ClusterId, CodeHash, Hash,
};
use std::{
    cmp::Reverse,
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Blocks with items in one delivery: each costs two keys of the storage proof.
const MAX_BLOCKS: usize = 128;
/// Entries of the measurement allow-list that a gatekeeper is shown at once.
const MAX_LISTED: usize = 64;
/// Bytes of code in one delivery.
const MAX_CODE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of items up to which further blocks are added.
const MAX_ITEM_BYTES: usize = MAX_INBOX_BYTES_PER_ANSWER;
/// Bytes of one block's items at which we give up: a block cannot hold as much.
const MAX_BLOCK_BYTES: usize = 8 * 1024 * 1024;
/// How often, in one delivery, a node is asked again that looks for old items step by step: every inbox is the first to need it in its turn.
const MOST_STEPS: u32 = 8;
/// Pause before it is.
const STEP_PAUSE: Duration = Duration::from_millis(10);

/// What a delivery is made of. [`Chain`] is one; tests have another.
pub(crate) trait Node {
    async fn finality_proof(&self, from: BlockNumber) -> Result<Vec<u8>, ClientError>;
    /// How many items there are as of the node's finalised head, and those from `from` on; [`ErrorCode::Busy`] while it looks for those.
    async fn items(&self, cluster: ClusterId, from: u64, limit: u32) -> Result<(u64, Vec<Vec<u8>>), ClientError>;
    async fn proof(&self, keys: &[Vec<u8>], at: &Hash) -> Result<Vec<Vec<u8>>, ClientError>;
    async fn code(&self, code: &CodeHash) -> Result<Option<Vec<u8>>, ClientError>;
    /// The measurement allow-list at `at`.
    async fn listed(&self, at: &Hash) -> Result<Vec<(Hash, AllowedMeasurement)>, ClientError>;
}

impl Node for Chain {
    async fn finality_proof(&self, from: BlockNumber) -> Result<Vec<u8>, ClientError> {
        Chain::finality_proof(self, from).await
    }

    async fn items(&self, cluster: ClusterId, from: u64, limit: u32) -> Result<(u64, Vec<Vec<u8>>), ClientError> {
        match self.inbox_items_at_once(cluster, from, limit).await {
            Ok(answer) => Ok((answer.count, answer.items)),
            // A cluster without an item has no inbox yet. A node that does not keep the items of one that has gives an error of the same code.
            Err(error) if error.code == ErrorCode::NotFound && from == 0 => {
                match self.storage_raw(&storage::inbox_head_key(cluster), None).await? {
                    None => Ok((0, Vec::new())),
                    Some(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn proof(&self, keys: &[Vec<u8>], at: &Hash) -> Result<Vec<Vec<u8>>, ClientError> {
        self.read_proof(keys, at).await
    }

    async fn code(&self, code: &CodeHash) -> Result<Option<Vec<u8>>, ClientError> {
        self.storage(&storage::code_key(code), None).await
    }

    async fn listed(&self, at: &Hash) -> Result<Vec<(Hash, AllowedMeasurement)>, ClientError> {
        self.entries(&storage::MEASUREMENTS, Some(at)).await
    }
}

/// A delivery without mail, and whether another should follow at once because the node has more.
pub(crate) struct Assembled {
    pub delivery: Delivery,
    pub more: bool,
    /// The height of the head at which its records are proved; none on the way to a head far away.
    pub proved_at: Option<BlockNumber>,
}

impl Assembled {
    /// Whether it moves the TEE's head or brings items, code, attachments, messages or parts of a snapshot; otherwise it can at most answer
    /// keys at a head that is known.
    pub(crate) fn has_news(&self) -> bool {
        let Delivery { finality, items, codes, attachments, identity_attachments, messages, snapshot, .. } =
            &self.delivery;
        let of_ceremonies = !attachments.is_empty() || !identity_attachments.is_empty();
        let for_gatekeepers = of_ceremonies || !messages.is_empty();
        !finality.is_empty() || !items.is_empty() || !codes.is_empty() || for_gatekeepers || !snapshot.is_empty()
    }
}

/// Collects from `node` what `status` asks for, of inboxes as their `turns` are.
pub(crate) async fn assemble(
    node: &impl Node,
    status: &TeeStatus,
    turns: &mut Turns,
) -> Result<Assembled, ClientError> {
    let finality = node.finality_proof(status.height).await?;
    let proof = FinalityProof::decode_bounded(&finality).map_err(malformed)?;
    let (height, head) = match proof.fragments.last() {
        Some(newest) => (header_number(&newest.header)?, blake2_256(&newest.header)),
        None => (status.height, status.head),
    };
    let mut delivery =
        Delivery { finality: if proof.fragments.is_empty() { Vec::new() } else { finality }, ..Delivery::default() };
    if !proof.complete && !proof.fragments.is_empty() {
        // On the way to a head far away: the states there may be pruned, and nothing is to be done in them anyway.
        return Ok(Assembled { delivery, more: true, proved_at: None });
    }

    let mut keys: BTreeSet<Vec<u8>> = status.wanted_keys.iter().cloned().collect();
    if status.role == Role::Gatekeeper {
        // It counts how long it has itself seen an entry, and cannot ask for one that it does not know of. The newest come first.
        let mut listed = node.listed(&head).await?;
        listed.sort_by_key(|(_, entry)| Reverse(entry.listed_at));
        let shown = |(measurement, _): &(Hash, AllowedMeasurement)| {
            [storage::measurement_key(measurement), storage::listing_key(measurement)]
        };
        keys.extend(listed.iter().take(MAX_LISTED).flat_map(shown));
    }
    let mut more = false;
    let mut bytes = 0;
    let mut steps = MOST_STEPS;
    for InboxCursor { cluster, head, .. } in turns.begin(&status.inboxes, Instant::now()) {
        if bytes >= MAX_ITEM_BYTES {
            more = true;
            break;
        }
        let blocks = match whole_blocks(node, cluster, head.count, height, &mut steps).await {
            Err(error) if is_of_one_inbox(error.code) => {
                // Nothing of it goes along, not even what was given: that was less than a block.
                turns.withheld(cluster, Instant::now(), &error);
                continue;
            }
            blocks => blocks?,
        };
        turns.given(cluster);
        more |= blocks.more;
        bytes += blocks.items.iter().map(Vec::len).sum::<usize>();
        for block in blocks.numbers {
            keys.insert(storage::boundary_key(cluster, block));
            keys.insert(storage::final_result_key(cluster, block));
        }
        if !blocks.items.is_empty() {
            delivery.items.push(InboxItems { cluster, items: blocks.items });
        }
    }
    if !keys.is_empty() {
        let keys: Vec<_> = keys.into_iter().collect();
        delivery.proof = node.proof(&keys, &head).await?;
    }
    let mut code_bytes = 0;
    for wanted in &status.wanted_codes {
        let Some(code) = node.code(wanted).await? else { continue };
        code_bytes += code.len();
        if code_bytes > MAX_CODE_BYTES && !delivery.codes.is_empty() {
            more = true;
            break;
        }
        delivery.codes.push(code);
    }
    Ok(Assembled { delivery, more, proved_at: Some(height) })
}

/// Whether an error says of one inbox that the node does not give its items: it still looks for them, does not keep them, or finds them
/// damaged. What else it is asked for it may give. A node that is not reached, or whose answer is malformed, is none to go on with.
const fn is_of_one_inbox(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Busy | ErrorCode::NotFound | ErrorCode::Refused)
}

/// Whole blocks of one inbox.
#[derive(Debug, Default, PartialEq, Eq)]
struct Blocks {
    numbers: Vec<BlockNumber>,
    items: Vec<Vec<u8>>,
    more: bool,
}

/// The blocks with items from sequence `from` on, none after `height`, each with all of its items. A node that is busy is asked again as
/// often as `steps` are left.
///
/// # Errors
/// [`ErrorCode::Busy`] if it is busy then.
async fn whole_blocks(
    node: &impl Node,
    cluster: ClusterId,
    from: u64,
    height: BlockNumber,
    steps: &mut u32,
) -> Result<Blocks, ClientError> {
    let mut fetched: Vec<(BlockNumber, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    loop {
        let next = from.saturating_add(fetched.len() as u64);
        let (count, items) = stepwise(node, cluster, next, steps).await?;
        let received = items.len();
        for item in items {
            bytes += item.len();
            fetched.push((block_of(&item)?, item));
        }
        let complete = received == 0 || from.saturating_add(fetched.len() as u64) >= count;
        let blocks = cut(&fetched, complete, height);
        // Only when the first block is larger than one answer do we ask for more of it.
        let first_is_cut = blocks.items.is_empty() && !complete && fetched.iter().all(|(block, _)| *block <= height);
        if !first_is_cut {
            return Ok(blocks);
        }
        if bytes > MAX_BLOCK_BYTES {
            return Err(ClientError::new(ErrorCode::OverLimit, "a block's items are more than a block can hold"));
        }
    }
}

/// One answer with items from sequence `from` on, for which the node may have to be asked again.
async fn stepwise(
    node: &impl Node,
    cluster: ClusterId,
    from: u64,
    steps: &mut u32,
) -> Result<(u64, Vec<Vec<u8>>), ClientError> {
    loop {
        match node.items(cluster, from, MAX_INBOX_ITEMS_PER_ANSWER).await {
            Err(error) if error.code == ErrorCode::Busy && *steps > 0 => {
                *steps -= 1;
                tokio::time::sleep(STEP_PAUSE).await;
            }
            answered => return answered,
        }
    }
}

/// Leaves off items of blocks after `height`, of a last block that may not be all there, and what is over the limits. The first
/// block is never left off for its size.
fn cut(fetched: &[(BlockNumber, Vec<u8>)], complete: bool, height: BlockNumber) -> Blocks {
    let mut blocks = Blocks::default();
    let mut bytes = 0;
    let chunks: Vec<_> = fetched.chunk_by(|left, right| left.0 == right.0).collect();
    for (index, chunk) in chunks.iter().enumerate() {
        let Some((number, _)) = chunk.first() else { continue };
        let may_be_cut = !complete && index + 1 == chunks.len();
        if *number > height {
            break;
        }
        let size: usize = chunk.iter().map(|(_, item)| item.len()).sum();
        let over = !blocks.numbers.is_empty()
            && (bytes + size > MAX_ITEM_BYTES
                || blocks.items.len() + chunk.len() > MAX_INBOX_ITEMS_PER_ANSWER as usize
                || blocks.numbers.len() >= MAX_BLOCKS);
        if may_be_cut || over {
            blocks.more = true;
            break;
        }
        bytes += size;
        blocks.numbers.push(*number);
        blocks.items.extend(chunk.iter().map(|(_, item)| item.clone()));
    }
    blocks
}

fn block_of(item: &[u8]) -> Result<BlockNumber, ClientError> {
    Item::decode_bounded(item).map(|item| item.header.block).map_err(malformed)
}

/// A header begins with its parent's hash and its number.
fn header_number(header: &[u8]) -> Result<BlockNumber, ClientError> {
    let (_, Compact(number)) = <(Hash, Compact<BlockNumber>)>::decode(&mut &header[..]).map_err(malformed)?;
    Ok(number)
}

fn malformed(error: impl std::fmt::Display) -> ClientError {
    ClientError::new(ErrorCode::Unverified, format!("the node's answer is malformed: {error}"))
}

#[cfg(test)]
mod tests;
