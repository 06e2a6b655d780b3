//! Random bytes of contracts, out of the epoch's entropy.
//!
//! ```text
//! draw = SHAKE256("PHALA/contracts/random/v1", entropy, SCALE(cluster, link of the item, contract, number of the draw as u64))
//! ```
//!
//! Guarantees: a draw is the same on every replica of the epoch, and cannot be told from random bytes without the entropy, before it is made or
//! after. The entropy is in TEEs alone: of the epoch's replicas, of those of the next epoch if they ask while this one closes, of one that was
//! taken off meanwhile, and of as many gatekeepers as give keys. Two items, two contracts of one item and two epochs have nothing in common, nor have
//! two draws of a contract in one item: numbers count on over calls that failed. The item fixes it: what becomes of the command, and how often a
//! replica executes it, changes nothing.
//!
//! Does not: keep anyone from having an item included again, elsewhere or not at all. Who orders blocks chooses links without seeing what they
//! give; a contract that calls another sees what came of it, can undo its own call, and call again. Whoever has the epoch's entropy, out of a TEE that
//! is broken, knows every draw of a link that he knows. Nor does it withstand two thirds of GRANDPA with one replica's host, all TEEs being whole:
//! they finalise a block in private, read the draw, put the old disk back and finalise another, until they like it.

use crate::world::{ClusterWorld, Underway};
use codec::Encode;
use phala_crypto::{entropy::EntropyBuilder, Secret};
use phala_protocol::{domain, ClusterId, CodeHash, ContractId, Hash};
use phala_vm::{CompiledContract, Fault, Listing, World};
use std::sync::Arc;

/// What the contracts of one item draw from.
pub(crate) struct ItemRandom {
    pub entropy: Arc<Secret<[u8; 32]>>,
    pub cluster: ClusterId,
    /// The item's own link.
    pub link: Hash,
}

impl ItemRandom {
    /// The bytes of a contract's draw of this number.
    pub(crate) fn draw(&self, contract: &ContractId, number: u64, into: &mut [u8]) {
        let bound = (self.cluster, self.link, contract, number).encode();
        EntropyBuilder::new(domain::CONTRACT_RANDOM, self.entropy.expose()).bind(&bound).finish().fill(into);
    }
}

/// A boundary under way as the contracts of one of its items see it: with random bytes.
pub(crate) struct ItemWorld {
    pub world: Arc<ClusterWorld<Underway>>,
    pub random: ItemRandom,
}

impl World for ItemWorld {
    fn read(&self, contract: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.world.read(contract, key)
    }

    fn random(&self, contract: &ContractId, draw: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.random.draw(contract, draw, into);
        Ok(())
    }

    fn listing(&self, contract: &ContractId) -> Result<Option<Listing>, Fault> {
        self.world.listing(contract)
    }

    fn code(&self, code: &CodeHash) -> Result<Arc<CompiledContract>, Fault> {
        self.world.code(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(entropy: u8, cluster: u32, link: u8, contract: u8, number: u64) -> [u8; 32] {
        let entropy = Arc::new(Secret::new([entropy; 32]));
        let random = ItemRandom { entropy, cluster: ClusterId(cluster), link: [link; 32] };
        let mut bytes = [0; 32];
        random.draw(&ContractId([contract; 32]), number, &mut bytes);
        bytes
    }

    #[test]
    fn a_draw_depends_on_epoch_cluster_item_contract_and_number() {
        let base = drawn(1, 2, 3, 4, 5);
        assert_eq!(drawn(1, 2, 3, 4, 5), base);
        for other in [
            drawn(9, 2, 3, 4, 5),
            drawn(1, 9, 3, 4, 5),
            drawn(1, 2, 9, 4, 5),
            drawn(1, 2, 3, 9, 5),
            drawn(1, 2, 3, 4, 9),
        ] {
            assert_ne!(other, base);
        }
    }
}
