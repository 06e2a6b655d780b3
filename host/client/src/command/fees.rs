//! What commands, and the code that they run, cost, and which of them an inbox would refuse.
//!
//! No figure here is proved: backlog, surge and what is held back for code are the node's word. What is charged is bounded by
//! `max_fee`, which is signed, and a refusal that is foreseen decides no more than that a command does not leave, which the node could
//! have withheld anyway. Does not: bound what the transaction itself costs.

use crate::{
    chain::{map_key, PalletError, SubmitError},
    Account, Chain, ClientError, ErrorCode, Network,
};
use codec::Encode;
use phala_protocol::{
    call::Call,
    chain_state::{ClusterRecord, QueueRecord},
    envelope::{EnvelopeKind, SizeClass, AEAD_TAG_BYTES, ENCAPSULATED_BYTES, HEADER_BYTES},
    gas::{GasClass, BACKLOG_LIMIT},
    ids::{Balance, BlockNumber},
    ClusterId, CodeHash,
};

/// Blocks for which the default of `max_fee` covers the price, should it rise as fast as it can: up to e times a full queue's.
const PRICE_LEAD_BLOCKS: BlockNumber = 8;

/// What an inbox charges for a command of a class, in 10^-12 PHA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeBounds {
    /// Its class.
    pub class: GasClass,
    /// With the cluster's present backlog and surge.
    pub now: Balance,
    /// At the most, for some blocks from now: what is allowed by default.
    pub most: Balance,
}

impl Network {
    /// What the inbox of `cluster` charges for a command with this gas limit; the transaction that carries it costs
    /// [`Self::transaction_fee`] beside. By the node's word: what is charged is decided by `max_fee`.
    pub async fn fee_bounds(&self, cluster: ClusterId, gas_limit: u64) -> Result<FeeBounds, ClientError> {
        let class = class_of(gas_limit)?;
        let (record, height) = self.cluster(cluster).await?;
        self.bounds(&record, &self.queue(cluster, height).await?, class, EnvelopeKind::Call).await
    }

    /// What waits in the inbox of `cluster` at `height`.
    pub(super) async fn queue(&self, cluster: ClusterId, height: BlockNumber) -> Result<QueueRecord, ClientError> {
        let stored: Option<QueueRecord> =
            self.chain().storage(&map_key("Inbox", "Queues", &cluster.encode()), None).await?;
        Ok(stored.unwrap_or_default().at(height))
    }

    /// What the transaction costs that carries one command whose envelope is of `size`, in 10^-12 PHA: by its bytes and weight, and
    /// without what the inbox charges. By the node's word; `max_fee` does not bound it.
    pub async fn transaction_fee(&self, cluster: ClusterId, size: SizeClass) -> Result<Balance, ClientError> {
        // It does not depend on who pays, nor on the gas class, nor on what is in the envelope.
        let nobody = Account::generate("nobody")?;
        let envelope = vec![0; call_envelope_bytes(size)];
        let call = crate::chain::ChainCall::push(cluster, GasClass::Small, vec![envelope], Balance::MAX);
        self.chain().fee_estimate(&nobody, &call).await
    }

    /// What storing `wasm` holds back of its uploader's funds, in 10^-12 PHA: nothing if the chain has it already. The node's word.
    pub async fn code_deposit(&self, wasm: &[u8]) -> Result<Balance, ClientError> {
        let key = phala_protocol::storage::code_key(&CodeHash::of(wasm));
        if self.chain().storage_raw(&key, None).await?.is_some() {
            return Ok(0);
        }
        let per_byte: Balance = self.chain().constant("Contracts", "DepositPerByte").await?;
        Ok(per_byte.saturating_mul(wasm.len() as Balance))
    }

    /// What it charges by the cluster's `record` and its `queue` of the same block.
    pub(super) async fn bounds(
        &self,
        record: &ClusterRecord,
        queue: &QueueRecord,
        class: GasClass,
        kind: EnvelopeKind,
    ) -> Result<FeeBounds, ClientError> {
        let openings = openings(self.chain(), record, kind).await?;
        Ok(FeeBounds {
            class,
            now: queue.surge.price(class, queue.backlog).saturating_add(openings),
            most: queue.surge.most_within(class, PRICE_LEAD_BLOCKS).saturating_add(openings),
        })
    }
}

/// The cheapest class that covers `gas_limit`.
pub(super) fn class_of(gas_limit: u64) -> Result<GasClass, ClientError> {
    GasClass::covering(gas_limit).ok_or_else(|| {
        ClientError::new(ErrorCode::OverLimit, format!("a command may use {} gas at most", GasClass::Large.gas()))
    })
}

/// The refusal of a command that is pushed while a cluster has this much unacknowledged gas waiting and asks for this fee.
pub(super) fn foreseen(call: &Call, backlog: u64, fee: Balance) -> Option<SubmitError> {
    let refusal = |error: &str| SubmitError::from(PalletError { pallet: "Inbox".to_owned(), error: error.to_owned() });
    if backlog.saturating_add(call.gas_class.gas()) > BACKLOG_LIMIT {
        return Some(refusal("Busy"));
    }
    (fee > call.max_fee).then(|| refusal("FeeOverMax"))
}

/// A refusal that was foreseen, of a command that nobody has seen.
pub(super) fn unsent(refusal: SubmitError) -> ClientError {
    let ClientError { code, message, .. } = refusal.into();
    ClientError::new(code, format!("{message}; it was not sent"))
        .with_hint("the price has risen, or too much work waits: allow a higher fee, or try again later")
}

/// Length of the envelope of a command that is signed by its account.
pub(super) const fn call_envelope_bytes(size: SizeClass) -> usize {
    HEADER_BYTES + ENCAPSULATED_BYTES + size.bytes() + AEAD_TAG_BYTES
}

/// What the openings of one envelope cost.
async fn openings(chain: &Chain, record: &ClusterRecord, kind: EnvelopeKind) -> Result<Balance, ClientError> {
    let constant = match kind {
        EnvelopeKind::Call | EnvelopeKind::SessionOpen => "OpeningPrice",
        EnvelopeKind::SessionCommand => "SessionOpeningPrice",
    };
    let price: Balance = chain.constant("Inbox", constant).await?;
    Ok(price.saturating_mul(record.replicas.len().max(1) as Balance))
}
