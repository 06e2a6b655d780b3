//! The node: blocks that are built, made final or abandoned, and the proofs of them that relayers fetch.
//!
//! Guarantees: headers, justifications and read proofs are those of a polkadot-sdk node, made by Parity's own crates; what is final
//! is never abandoned. Abandoned blocks are kept, for a relayer that forks.

use crate::{
    machine::{measurement, START},
    pallets::{Changes, Pallets, CLUSTER},
    root::Facts,
};
use codec::{Decode, Encode};
use phala_light_client::testing::TestChain;
use phala_protocol::{
    chain_state::{ClusterRecord, FinalRecord, RootRecord},
    finality::{FinalityFragment, FinalityProof, GenesisAnchor},
    ids::BlockNumber,
    inbox::Item,
    storage, CodeHash, Hash, WorkerId,
};
use std::collections::BTreeMap;

/// Authorities at genesis: the least of which two thirds are fewer than all.
pub const AUTHORITIES: usize = 4;
const BLOCK_MS: u64 = 6_000;

/// A block as it can be built again: its end's height, its changes, and the authorities that it hands over to after itself.
struct Built {
    height: BlockNumber,
    changes: Changes,
    handover: Option<usize>,
}

/// Blocks that were never made final.
pub struct Abandoned {
    /// The chain that ends in them.
    pub blocks: TestChain,
    /// Their inbox.
    pub items: Vec<Item>,
    /// The last block that they share with the chain.
    pub since: BlockNumber,
}

/// The chain and who produces it.
pub struct Node {
    seed: u64,
    blocks: TestChain,
    /// State under construction.
    pub pallets: Pallets,
    log: Vec<Built>,
    /// The pallets at the end of each block that may become the last final one.
    ends: BTreeMap<BlockNumber, Pallets>,
    finalised: BlockNumber,
    /// The producers' clock, in milliseconds; chain time follows it and never goes back.
    pub clock_ms: u64,
    /// The newest abandoned blocks.
    pub abandoned: Option<Abandoned>,
    /// Uploaded code.
    pub codes: BTreeMap<CodeHash, Vec<u8>>,
}

impl Node {
    /// A chain with one final block after its genesis.
    pub fn new(seed: u64, epoch_length: BlockNumber) -> Self {
        let blocks = Self::at_genesis(seed);
        let pallets = Pallets::new(blocks.genesis_hash(), measurement(), epoch_length);
        let mut node = Self {
            seed,
            blocks,
            pallets,
            log: Vec::new(),
            ends: BTreeMap::new(),
            finalised: 0,
            clock_ms: START * 1_000,
            abandoned: None,
            codes: BTreeMap::new(),
        };
        node.build(None);
        node.finalise();
        node
    }

    fn at_genesis(seed: u64) -> TestChain {
        TestChain::new(seed, AUTHORITIES, Pallets::genesis_entries(&measurement()))
    }

    /// The genesis hash.
    pub fn genesis(&self) -> Hash {
        self.blocks.genesis_hash()
    }

    /// What pins the chain.
    pub fn anchor(&self) -> GenesisAnchor {
        let authorities_proof = self.blocks.read_proof(0, &[&storage::GRANDPA_AUTHORITIES, &storage::DEVELOPMENT]);
        GenesisAnchor { header: self.blocks.header(0).encode(), authorities_proof }
    }

    /// Height of the newest block.
    pub fn best(&self) -> BlockNumber {
        self.blocks.best()
    }

    /// Height of the newest final block.
    pub fn finalised(&self) -> BlockNumber {
        self.finalised
    }

    /// The hash of a block of the chain.
    pub fn hash(&self, height: BlockNumber) -> Option<Hash> {
        (height <= self.best()).then(|| self.blocks.header(height).hash().0)
    }

    /// Ends the block under construction and begins the next. With `handover` another block hands over to so many authorities.
    pub fn build(&mut self, handover: Option<usize>) {
        let changes = std::mem::take(&mut self.pallets.changes);
        self.blocks.build_block(changes.clone());
        if let Some(authorities) = handover {
            self.blocks.build_set_change(authorities);
        }
        let height = self.best();
        self.log.push(Built { height, changes, handover });
        self.clock_ms += BLOCK_MS;
        let time = self.clock_ms.max(self.pallets.time_ms + 1);
        self.pallets.begin(height + 1, time);
        self.ends.insert(height, self.pallets.clone());
    }

    /// Makes all that is built final.
    pub fn finalise(&mut self) {
        self.finalised = self.best();
        let finalised = self.finalised;
        self.ends.retain(|height, _| *height >= finalised);
    }

    /// Abandons all that is not final, and what was being built. Returns the items that are in no block now.
    pub fn reorganise(&mut self) -> Vec<Item> {
        let Some(end) = self.ends.get(&self.finalised).cloned() else { return Vec::new() };
        let kept = end.items.len();
        let lost = self.pallets.items.get(kept..).unwrap_or_default().to_vec();
        if self.best() > self.finalised {
            let mut blocks = Self::at_genesis(self.seed);
            self.log.retain(|built| built.height <= self.finalised);
            for built in &self.log {
                blocks.build_block(built.changes.clone());
                if let Some(authorities) = built.handover {
                    blocks.build_set_change(authorities);
                }
            }
            let blocks = std::mem::replace(&mut self.blocks, blocks);
            self.abandoned = Some(Abandoned { blocks, items: self.pallets.items.clone(), since: self.finalised });
        }
        self.pallets = end;
        // Another producer's block: another time, and so another state and hash.
        self.clock_ms += 1_000;
        let time = self.clock_ms.max(self.pallets.time_ms + 1);
        let number = self.best() + 1;
        self.pallets.begin(number, time);
        self.ends.insert(self.finalised, self.pallets.clone());
        lost
    }

    /// The finality proof that an honest node gives a client at `from`.
    pub fn finality(&mut self, from: BlockNumber, to: BlockNumber) -> Vec<u8> {
        if to > from {
            self.blocks.proof(from, to).encode()
        } else {
            Vec::new()
        }
    }

    /// A proof of these keys in the state of a block.
    pub fn prove(&self, height: BlockNumber, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
        prove(&self.blocks, height, keys)
    }

    /// The newest block with the votes of half of its authorities.
    pub fn unfinished(&mut self) -> (BlockNumber, Vec<u8>) {
        let best = self.best();
        (best, half_justified(&mut self.blocks, best))
    }

    /// The newest abandoned block with the votes of half of its authorities.
    pub fn unfinished_fork(&mut self) -> Option<(BlockNumber, Vec<u8>)> {
        let blocks = &mut self.abandoned.as_mut()?.blocks;
        let best = blocks.best();
        Some((best, half_justified(blocks, best)))
    }

    /// A proof of these keys in the newest abandoned block.
    pub fn prove_fork(&self, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
        self.abandoned.as_ref().map(|fork| prove(&fork.blocks, fork.blocks.best(), keys)).unwrap_or_default()
    }

    /// A header on top of the last final one that strangers "finalised".
    pub fn forged(&self, salt: u8) -> Vec<u8> {
        let header = self.blocks.fork(self.finalised, salt);
        let mut strangers = TestChain::new(self.seed ^ 0x5eed, AUTHORITIES, []);
        let votes: Vec<_> = (0..AUTHORITIES).map(|authority| strangers.vote(authority, &header)).collect();
        let justification = strangers.justification_of(&header, &votes, 0, Vec::new());
        let set_id = self.blocks.set_of(self.finalised);
        let justification = phala_light_client::testing::Justification { round: set_id + 1, ..justification };
        let fragment = FinalityFragment { header: header.encode(), justification: justification.encode() };
        FinalityProof { fragments: vec![fragment], complete: true }.encode()
    }

    /// The cluster's record in the state of a block.
    pub fn cluster_at(&self, height: BlockNumber) -> Option<ClusterRecord> {
        self.read(height, &storage::cluster_key(CLUSTER))
    }

    /// The root that answers, and the one to which the cluster goes over, in the state of a block.
    pub fn roots_at(&self, height: BlockNumber) -> (Option<RootRecord>, Option<RootRecord>) {
        (self.read(height, &storage::root_key()), self.read(height, &storage::next_root_key()))
    }

    /// What the newest final block's state says of a worker's wish for keys.
    pub(crate) fn facts(&self, worker: &WorkerId) -> Facts {
        let height = self.finalised;
        let (root, next_root) = self.roots_at(height);
        Facts {
            genesis: self.genesis(),
            head: (height, self.blocks.header(height).hash().0),
            worker: self.read(height, &storage::worker_key(worker)),
            cluster: self.cluster_at(height),
            root,
            next_root,
        }
    }

    fn read<T: Decode>(&self, height: BlockNumber, key: &[u8]) -> Option<T> {
        let bytes = self.blocks.value(height, key)?;
        T::decode(&mut bytes.as_slice()).ok()
    }

    /// The final result of a boundary in the state of a block.
    pub fn final_at(&self, height: BlockNumber, block: BlockNumber) -> Option<FinalRecord> {
        self.read(height, &storage::final_result_key(CLUSTER, block))
    }

    /// The items of blocks up to `height`.
    pub fn items_to(&self, height: BlockNumber) -> &[Item] {
        let count = self.pallets.items.partition_point(|item| item.header.block <= height);
        &self.pallets.items[..count]
    }
}

fn prove(blocks: &TestChain, height: BlockNumber, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    blocks.read_proof(height, &keys)
}

fn half_justified(blocks: &mut TestChain, height: BlockNumber) -> Vec<u8> {
    let voters = blocks.authorities(blocks.set_of(height)).len() / 2;
    let justification = blocks.justify_by(height, voters).encode();
    let header = blocks.header(height).encode();
    FinalityProof { fragments: vec![FinalityFragment { header, justification }], complete: true }.encode()
}
