//! What contracts send out of their clusters, on its way to the chain.
//!
//! Each replica of a cluster offers the same items, so several relayers bring them. The chain takes each once, for nothing, and a
//! submission of which it does not take all costs its fee: what would be refused now is found out first, by the node's word on its newest
//! block, and not submitted. A node that lies there costs fees or time. Guarantees: nothing is lost, for TEEs repeat what is not taken.

use super::{judge, Settled, Submitted, REPEAT_BLOCKS};
use crate::Shared;
use codec::Encode;
use phala_client::{
    chain::{Chain, ChainCall, HeadRef},
    Account, ClientError, Until,
};
use phala_protocol::{
    egress::{EgressRoot, ProvedEgress},
    hash::blake2_256,
    ids::BlockNumber,
    limits::MAX_EGRESS_PER_TAKE,
    relay::Outgoing,
    storage, ClusterId, Hash,
};
use std::collections::BTreeMap;

/// Blocks after which items that the chain refused are brought again: it may be that the cluster has paid out as much as it may in this
/// period, and each try costs a fee.
const REFUSED_BLOCKS: BlockNumber = 50;

/// Takes the egress items out of what a TEE has for others.
pub(super) fn split(items: &mut Vec<Outgoing>) -> Vec<ProvedEgress> {
    let (sent, rest): (Vec<_>, Vec<_>) =
        std::mem::take(items).into_iter().partition(|item| matches!(item, Outgoing::Egress(_)));
    *items = rest;
    sent.into_iter().filter_map(|item| if let Outgoing::Egress(proved) = item { Some(proved) } else { None }).collect()
}

/// What one TEE's items rest until.
#[derive(Default)]
pub(super) struct Lane(Submitted);

impl Lane {
    /// Brings what of a TEE's `items`, which are of one cluster, the chain would take now. `height` is the newest finalised block.
    pub(super) async fn submit(
        &mut self,
        shared: &Shared,
        account: &Account,
        items: Vec<ProvedEgress>,
        height: BlockNumber,
    ) -> Result<(), ClientError> {
        let named: Vec<(Hash, ProvedEgress)> =
            items.into_iter().map(|proved| (blake2_256(&proved.encode()), proved)).collect();
        let names: Vec<Hash> = named.iter().map(|(name, _)| *name).collect();
        self.0.keep_only(&names);
        let waiting: Vec<_> = named.into_iter().filter(|(name, _)| self.0.is_due(name, height)).collect();
        let Some(cluster) = waiting.first().map(|(_, proved)| proved.item.cluster) else { return Ok(()) };
        let chain = shared.link.chain().await;
        let items: Vec<ProvedEgress> = waiting.iter().map(|(_, proved)| proved.clone()).collect();
        let edge = Edge::read(&chain, cluster, &items).await?;
        let taken = edge.takes(items);
        if taken.is_empty() {
            return Ok(());
        }
        let until = match chain.submit(account, &ChainCall::take_egress(&taken), Until::InBlock).await {
            Ok(included) => {
                tracing::info!(block = included.block, %cluster, items = taken.len(), "egress submitted");
                included.block.saturating_add(REPEAT_BLOCKS)
            }
            Err(error) => match judge(&error) {
                Settled::Done => {
                    tracing::debug!(%cluster, %error, "the chain has these egress items already");
                    height.saturating_add(REPEAT_BLOCKS)
                }
                Settled::Failed => return Err(error.into()),
                _ => {
                    tracing::warn!(%cluster, %error, "the chain refuses egress items; trying again later");
                    height.saturating_add(REFUSED_BLOCKS)
                }
            },
        };
        for (name, proved) in waiting {
            if taken.contains(&proved) {
                self.0.rest(name, until);
            }
        }
        Ok(())
    }
}

/// What decides at the chain's edge whether an item is taken now.
struct Edge {
    /// The newest block.
    now: BlockNumber,
    /// The sequence that is taken next.
    next: u64,
    /// Whether nothing leaves the cluster.
    disputed: bool,
    /// The dissent window, in blocks.
    window: BlockNumber,
    /// The roots of the items' boundaries.
    roots: BTreeMap<BlockNumber, EgressRoot>,
}

impl Edge {
    async fn read(chain: &Chain, cluster: ClusterId, items: &[ProvedEgress]) -> Result<Self, ClientError> {
        let HeadRef { number, hash } = chain.best_head().await?;
        let at = Some(&hash);
        let next: Option<u64> = chain.storage(&storage::egress_next_key(cluster), at).await?;
        let disputed: Option<BlockNumber> = chain.storage(&storage::disputed_key(cluster), at).await?;
        let window: BlockNumber = chain.constant("Egress", "DissentWindow").await?;
        let mut roots = BTreeMap::new();
        for block in items.iter().map(|proved| proved.block) {
            if !roots.contains_key(&block) {
                let root: Option<EgressRoot> = chain.storage(&storage::egress_root_key(cluster, block), at).await?;
                roots.extend(root.map(|root| (block, root)));
            }
        }
        Ok(Self { now: number, next: next.unwrap_or_default(), disputed: disputed.is_some(), window, roots })
    }

    /// Those of `items`, in the order of their sequences, that a block after this one takes.
    fn takes(&self, items: Vec<ProvedEgress>) -> Vec<ProvedEgress> {
        let mut taken: Vec<ProvedEgress> = Vec::new();
        if self.disputed {
            return taken;
        }
        let mut next = self.next;
        for proved in items {
            if proved.item.sequence < next {
                continue;
            }
            let open = self
                .roots
                .get(&proved.block)
                .is_some_and(|root| self.now >= root.finalised_at.saturating_add(self.window));
            if proved.item.sequence != next || !open || taken.len() >= MAX_EGRESS_PER_TAKE as usize {
                break;
            }
            next = next.saturating_add(1);
            taken.push(proved);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::{
        beacon::BeaconPartial,
        egress::{EgressAction, EgressItem},
        ContractId,
    };

    fn proved(sequence: u64, block: BlockNumber) -> ProvedEgress {
        let action = EgressAction::Message { destination: vec![], payload: vec![] };
        let item = EgressItem { cluster: ClusterId(0), sequence, contract: ContractId([1; 32]), action };
        ProvedEgress { item, block, index: 0, count: 1, path: vec![] }
    }

    fn edge(now: BlockNumber) -> Edge {
        let root = |finalised_at| EgressRoot { root: [0; 32], finalised_at };
        Edge { now, next: 3, disputed: false, window: 5, roots: BTreeMap::from([(7, root(10)), (9, root(12))]) }
    }

    fn sequences(taken: &[ProvedEgress]) -> Vec<u64> {
        taken.iter().map(|proved| proved.item.sequence).collect()
    }

    #[test]
    fn only_what_the_chain_would_take_now_is_brought() {
        let items = vec![proved(2, 7), proved(3, 7), proved(4, 7), proved(5, 9), proved(6, 11)];
        assert_eq!(sequences(&edge(14).takes(items.clone())), [0u64; 0], "the window is not over");
        assert_eq!(sequences(&edge(15).takes(items.clone())), [3, 4]);
        assert_eq!(sequences(&edge(17).takes(items.clone())), [3, 4, 5], "the root of the last is not there");
        let disputed = Edge { disputed: true, ..edge(17) };
        assert!(disputed.takes(items.clone()).is_empty());
        assert!(edge(17).takes(items[2..].to_vec()).is_empty(), "one before them is missing");
        let many = (3..60).map(|sequence| proved(sequence, 7)).collect();
        assert_eq!(edge(15).takes(many).len(), MAX_EGRESS_PER_TAKE as usize);
    }

    #[test]
    fn egress_goes_a_way_of_its_own() {
        let partial = BeaconPartial { index: 1, point: [0; 32], proof: [0; 64] };
        let other = Outgoing::BeaconPartial { era: 0, period: 0, partial };
        let mut items = vec![other.clone(), Outgoing::Egress(proved(0, 7)), Outgoing::Egress(proved(1, 7))];
        assert_eq!(sequences(&split(&mut items)), [0, 1]);
        assert_eq!(items, [other]);
    }
}
