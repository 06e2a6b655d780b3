//! The inbox: pushes into a cluster of 15 replicas whose queue is dear and whose last block with items is another one.

use crate::{
    case::{number, Case, Scene, Work},
    world::{self, BLOCK},
};
use anyhow::{anyhow, Result};
use phala_pallet_contracts::Clusters;
use phala_pallet_inbox::{Boundaries, Call, Heads, Queues, WeightInfo};
use phala_protocol::{
    chain_state::{BoundaryRecord, QueueRecord},
    envelope::SizeClass,
    gas::{GasClass, Surge, BACKLOG_TARGET, SURGE_LIMIT},
    inbox::Head,
    ClusterId,
};
use phala_runtime::{Runtime, RuntimeCall};

const CLUSTER: ClusterId = ClusterId(0);

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("inbox", "push", |at| <() as WeightInfo>::push(number(at, 0), number(at, 1)))
        .at("one small", &[1, 0], push)
        .at("64 small", &[64, 0], push)
        .at("one large", &[1, 3], push)
        .at("64 large", &[64, 3], push)]
}

/// `[envelopes, size class]`.
fn push(size: &[u32]) -> Result<Scene> {
    dear_queue(CLUSTER);
    let class = SizeClass::ALL.into_iter().nth(number(size, 1) as usize).unwrap_or(SizeClass::K16);
    let (count, envelope) = (number(size, 0), world::envelope(CLUSTER, class));
    let bytes = count.saturating_mul(u32::try_from(envelope.len())?);
    let message = envelope.try_into().map_err(|_| anyhow!("the envelope is too long"))?;
    let envelopes = vec![message; count as usize].try_into().map_err(|_| anyhow!("too many envelopes"))?;
    let call = Call::push { cluster: CLUSTER, gas_class: GasClass::Small, envelopes, max_fee: u128::MAX };
    Ok(Scene { at: vec![count, bytes], work: Work::Call(RuntimeCall::Inbox(call)) })
}

/// A cluster with a backlog, the highest price, and two blocks that wait for results.
pub(crate) fn dear_queue(cluster: ClusterId) {
    let replicas = (0..15).map(world::id).collect();
    Clusters::<Runtime>::insert(cluster, world::cluster(replicas));
    let head = Head { count: 7, link: [1; 32] };
    Heads::<Runtime>::insert(cluster, head);
    let surge = Surge { exponent: SURGE_LIMIT, block: BLOCK - 1 };
    let waiting = Some((BLOCK - 2, BLOCK - 1));
    Queues::<Runtime>::insert(cluster, QueueRecord { backlog: BACKLOG_TARGET, surge, waiting });
    for (block, next) in [(BLOCK - 2, Some(BLOCK - 1)), (BLOCK - 1, None)] {
        Boundaries::<Runtime>::insert((cluster, block), BoundaryRecord { head, gas: 1, next });
    }
}
