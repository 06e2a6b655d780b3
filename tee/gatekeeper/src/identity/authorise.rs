//! What may be signed as a contract: a message that has left its cluster, by this gatekeeper's own finalised head.
//!
//! The chain takes a message once, in its turn, when the result that sends it is final, the window in which a replica may show that it
//! signed otherwise is over, and none has; it then records that the message [`Left`](EgressOutcome::Left), under an id that binds chain,
//! cluster, sequence, contract, destination and content. That record, proved against the head, is what a signature rests on. What became
//! known since counts as well: while the cluster is disputed nothing of it is signed, and nothing ever that had left before governance
//! found against its results.
//!
//! Guarantees: [`verify_authorised`] makes the only [`Authorised`], and does so for an item of which all that holds in the state of the head
//! of a light client, which followed finality from a pinned genesis. A transfer is never signed: our own chain pays it by vote. Anyone
//! controls items; the host controls which proofs arrive, and can withhold them. Does not: judge whether the head is new - a message that
//! has left never comes back - or look at a dispute that a later head shows: whoever keeps an [`Authorised`] asks again with each head.

use codec::DecodeAll;
use phala_light_client::{LightClient, ProofError, VerifiedStorage};
use phala_protocol::{
    egress::{EgressAction, EgressFailure, EgressFate, EgressItem, EgressOutcome},
    identities::{signing::EgressSignature, Scheme},
    ids::BlockNumber,
    storage, ContractId, Hash,
};

/// A message that may be signed as the contract that sent it: see [`verify_authorised`].
///
/// Nothing else makes one:
/// ```compile_fail,E0423
/// let _ = phala_gatekeeper::identity::Authorised(b"pay me".to_vec());
/// ```
pub struct Authorised(Left);

/// What is known of a message that left.
struct Left {
    genesis: Hash,
    item: Hash,
    contract: ContractId,
    block: BlockNumber,
}

/// The keys that a proof has to cover for [`verify_authorised`].
pub fn authorising_keys(item: &EgressItem) -> [Vec<u8>; 3] {
    [
        storage::egress_fate_key(item.cluster, item.sequence),
        storage::disputed_key(item.cluster),
        storage::egress_voided_key(item.cluster),
    ]
}

/// Verifies that `item` may be signed as its contract, by `proved`, which must be of `client`'s head.
pub fn verify_authorised(
    client: &LightClient,
    proved: &VerifiedStorage<'_>,
    item: &EgressItem,
) -> Result<Authorised, NotAuthorised> {
    if !proved.is_of(client.head()) {
        return Err(NotAuthorised::OtherState);
    }
    if !matches!(item.action, EgressAction::Message { .. }) {
        return Err(NotAuthorised::NoMessage);
    }
    let [fate, disputed, voided] = authorising_keys(item);
    let EgressFate { id, block, outcome } = record(proved, &fate)?.ok_or(NotAuthorised::NotTaken)?;
    let genesis = *client.genesis();
    if id != item.id(&genesis) {
        return Err(NotAuthorised::OtherItem);
    }
    match outcome {
        EgressOutcome::Left => {}
        EgressOutcome::Failed(failure) => return Err(NotAuthorised::Failed(failure)),
        // Of a transfer, which this is not.
        EgressOutcome::Paid => return Err(NotAuthorised::NoMessage),
    }
    if record::<BlockNumber>(proved, &disputed)?.is_some() {
        return Err(NotAuthorised::Disputed);
    }
    // What was void when its turn came has failed; this is about what had left by then.
    if record::<BlockNumber>(proved, &voided)?.is_some_and(|until| block <= until) {
        return Err(NotAuthorised::Voided);
    }
    Ok(Authorised(Left { genesis, item: id, contract: item.contract, block }))
}

/// The entry at `key`, if the state has one.
fn record<T: DecodeAll>(proved: &VerifiedStorage<'_>, key: &[u8]) -> Result<Option<T>, NotAuthorised> {
    let entry = proved.get(key)?;
    entry.map(|mut bytes| T::decode_all(&mut bytes).map_err(|_| NotAuthorised::Record)).transpose()
}

impl Authorised {
    /// The item's id.
    pub fn item(&self) -> &Hash {
        &self.0.item
    }

    /// The contract that sent it, as which it is signed.
    pub fn contract(&self) -> &ContractId {
        &self.0.contract
    }

    /// The chain.
    pub fn genesis(&self) -> &Hash {
        &self.0.genesis
    }

    /// The block in which it left.
    pub fn left_in(&self) -> BlockNumber {
        self.0.block
    }

    /// The bytes that are signed.
    pub fn payload(&self, scheme: Scheme) -> Hash {
        EgressSignature::payload(&self.0.genesis, scheme, &self.0.item)
    }
}

#[cfg(test)]
impl Authorised {
    pub(super) fn for_a_test(genesis: Hash, item: &EgressItem, block: BlockNumber) -> Self {
        Self(Left { genesis, item: item.id(&genesis), contract: item.contract, block })
    }
}

/// Why an item is not signed as its contract. The fault is whoever asks for it, unless a variant says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAuthorised {
    /// The storage proof is of another block than the head; the caller's fault.
    #[error("proof is of another state than that of the gatekeeper's head")]
    OtherState,
    /// The proof does not cover what it has to; the relayer's fault.
    #[error("storage proof does not show what became of the item")]
    Proof(#[from] ProofError),
    /// A record has another form; nobody's fault.
    #[error("chain state is of another version than this binary; upgrade it")]
    Record,
    /// Transfers are not signed.
    #[error("the item is no message: nothing else is signed")]
    NoMessage,
    /// The chain has not taken it, or so long ago that it is forgotten.
    #[error("the chain has not taken the item, or keeps no record of it any more")]
    NotTaken,
    /// The chain took another item under this sequence.
    #[error("the chain has taken another item in its place")]
    OtherItem,
    /// It failed.
    #[error("the item failed: {0}")]
    Failed(EgressFailure),
    /// A replica of the cluster signed otherwise: it waits for governance.
    #[error("the cluster is disputed; what it sent is signed when governance has settled that")]
    Disputed,
    /// Governance found against the cluster's results after it had left.
    #[error("governance has found against the results that sent the item")]
    Voided,
}

#[cfg(test)]
mod tests;
