//! One boundary: all items of one block, executed and committed in one storage transaction with cursor and signed result.
//!
//! Guarantees: items are executed only when they continue the cursor's hash chain and end exactly at the head that finalised chain
//! state records for that block; state, cursor, replies and result become durable together or not at all, so a crash at any point
//! leaves the boundary either done or not begun. The host controls which items arrive.

use crate::{
    ahead::Ahead,
    codes::{record_key, Codes},
    command::{execute_item, Context, Executed, ExecutionFault},
    egress,
    identity::Identity,
    replies::{self, Records},
    world::{ClusterWorld, Underway},
};
use codec::{Decode, Encode};
use phala_crypto::{kdf, merkle, Secret};
use phala_protocol::{
    domain,
    egress::EgressItem,
    inbox::{links, Head, Item},
    result::{reply_leaves, Boundary, ClusterResult, SignedResult},
    Epoch, Hash,
};
use phala_state::{ClusterStore, CommitError, ReadError};
use phala_vm::on_contract_stack;
use std::sync::Arc;

/// Sessions of epochs that are over which one boundary removes at most, beside two for each of its items.
const ENDED_SESSIONS: usize = 4;

/// What the store keeps beside the state, in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Meta {
    /// Executed up to here.
    pub head: Head,
    /// The last boundary.
    pub last: Option<Boundary>,
    /// The epoch whose commit key `last` was committed under.
    pub epoch: Epoch,
    /// The last boundary before the first of `epoch`, and the internal root there: what binds the commitments of the two epochs,
    /// and cannot be read from the state any more.
    pub closed: Option<(Boundary, Hash)>,
    /// Results that the worker has not yet seen final, oldest first.
    pub pending: Vec<SignedResult>,
    /// Numbers of the boundaries whose replies are kept ([`replies`]): from, up to but not including.
    pub kept: (u64, u64),
    /// Sequences of the egress items that are held ([`egress`]): from, up to but not including.
    pub egress: (u64, u64),
    /// The final result whose state was taken over by snapshot, until a boundary was executed after it.
    pub taken_over: Option<ClusterResult>,
}

/// Why a boundary was not executed.
#[derive(Debug, thiserror::Error)]
pub enum BoundaryError {
    /// The relayer's items do not continue the inbox where the worker is, or do not end at the block's recorded head.
    #[error("items do not continue the inbox; the relayer left out, changed or reordered some")]
    NotTheInbox,
    /// This machine failed; the boundary is tried again.
    #[error("boundary cannot be executed on this machine now")]
    Execution(#[from] ExecutionFault),
    /// The store could not be read.
    #[error("the cluster's store cannot be read")]
    Read(#[from] ReadError),
    /// The store could not be written; nothing was.
    #[error("boundary cannot be committed")]
    Commit(#[from] CommitError),
    /// Commit key missing.
    #[error("the commit key of the boundary's epoch is missing")]
    Keys,
}

/// Items of one boundary that continue the inbox, and the own link of each: made by [`verify_items`] alone.
pub(crate) struct Verified<'a> {
    items: &'a [Item],
    links: Vec<Hash>,
}

/// Checks that `items` lead from `from` to `to`, all in `to.block`.
pub(crate) fn verify_items<'a>(from: &Head, to: &Boundary, items: &'a [Item]) -> Result<Verified<'a>, BoundaryError> {
    let links = links(items);
    let mut head = *from;
    for (item, link) in items.iter().zip(&links) {
        // The link is of what the item says is before it, and so the next one only if that is so.
        if item.header.block != to.block || item.previous != head.link || item.header.sequence != head.count {
            return Err(BoundaryError::NotTheInbox);
        }
        head = Head { count: head.count.checked_add(1).ok_or(BoundaryError::NotTheInbox)?, link: *link };
    }
    if items.is_empty() || head.count != to.count || head.link != to.link {
        return Err(BoundaryError::NotTheInbox);
    }
    Ok(Verified { items, links })
}

/// Executes verified items as the boundary `to` and commits it. Returns the signed result. Of its egress the chain has taken what comes
/// before `taken`.
#[expect(clippy::too_many_arguments, reason = "one call site; what is executed, with what, and from where")]
pub(crate) fn execute_boundary(
    context: &Context<'_>,
    store: &ClusterStore,
    codes: &Arc<Codes>,
    identity: &Identity,
    meta: &Meta,
    taken: u64,
    to: Boundary,
    verified: &Verified<'_>,
) -> Result<(SignedResult, Meta), BoundaryError> {
    let items = verified.items;
    let commit_key = context.keys.commit.as_ref().ok_or(BoundaryError::Keys)?;
    let batch = store.begin();
    let view = batch.base().clone();
    let prev = commitment(commit_key, &meta.last, &view.root());

    let world = Arc::new(ClusterWorld { source: Underway::new(batch), codes: codes.clone() });
    // More at once than one item can open, so that what is left of an epoch's sessions goes away.
    let ending = ENDED_SESSIONS.saturating_add(items.len().saturating_mul(2));
    world.source.end_sessions(context.epoch, ending).map_err(ExecutionFault::State)?;
    let mut ahead = Ahead::of(context, items).ok_or(ExecutionFault::Keys)?;
    let (from, upto) = meta.kept;
    let (mut replies, mut records) = (Vec::with_capacity(items.len()), Records::new());
    let oldest = replies::forget(&view, (from, upto), to.block, &mut records)?;
    // One thread for all of them: to start one costs as much as a transfer's execution.
    on_contract_stack(|| {
        for (item, link) in items.iter().zip(&verified.links) {
            let Executed { reply, new_code } = execute_item(context, &mut ahead, &world, item, link)?;
            if let Some(code) = new_code {
                if let Some(bytes) = codes.bytes(&code, &view)? {
                    records.push((record_key(&code), Some(bytes.to_vec())));
                }
            }
            replies.push(reply);
        }
        Ok::<_, BoundaryError>(())
    })
    .map_err(ExecutionFault::Engine)??;
    drop(ahead);
    // Executions have ended and dropped their clones; were one left, the boundary is tried again.
    let mut batch = Arc::into_inner(world).ok_or(ExecutionFault::Held)?.source.into_batch();
    let root = batch.root()?;

    let sent: Vec<EgressItem> = replies.iter().flat_map(|reply| reply.egress.iter().cloned()).collect();
    let held_from = egress::forget(meta.egress, taken, sent.len(), &mut records);
    let held_upto = sent.last().map_or(meta.egress.1, |last| last.sequence.saturating_add(1));

    let parent = kdf::Parent::new(commit_key);
    let salts: Vec<[u8; 32]> = replies.iter().map(|reply| salt(&parent, reply.sequence)).collect();
    drop(parent);
    let leaves = reply_leaves(salts.iter().zip(&replies));
    let result = ClusterResult {
        cluster: context.cluster,
        epoch: context.epoch,
        boundary: to,
        prev,
        next: commitment(commit_key, &Some(to), &root),
        replies_root: merkle::root(&leaves),
        egress_root: egress::keep(context.genesis, to.block, sent, &mut records),
    };
    let signed = SignedResult {
        result,
        worker: identity.id(),
        signature: identity.sign(&result.signing_payload(context.genesis)),
    };

    replies::keep(upto, &result, replies, salts, leaves, &mut records);

    let closed = match meta.last {
        Some(last) if meta.epoch != context.epoch => Some((last, view.root())),
        _ => meta.closed,
    };
    let mut pending = meta.pending.clone();
    pending.push(signed.clone());
    let next = Meta {
        head: Head { count: to.count, link: to.link },
        last: Some(to),
        epoch: context.epoch,
        closed,
        pending,
        kept: (oldest, upto.saturating_add(1)),
        egress: (held_from, held_upto),
        taken_over: None,
    };
    drop(view);
    store.commit(batch, next.encode(), records)?;
    Ok((signed, next))
}

/// `HMAC(commit key, boundary, internal root)`.
pub(crate) fn commitment(commit_key: &Secret<[u8; 32]>, boundary: &Option<Boundary>, root: &Hash) -> Hash {
    kdf::hmac_commit(commit_key, domain::COMMITMENT, &(boundary, root).encode())
}

/// The same on every replica, unknown outside: without it nobody can test guesses against the published root.
pub(crate) fn salt(commit_key: &kdf::Parent, sequence: u64) -> [u8; 32] {
    *commit_key.derive_for::<32>(domain::REPLY_SALT, &sequence).expose()
}
