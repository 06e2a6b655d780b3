//! The chain of tests: blocks, authority sets, justifications and proofs. See the module above for what it promises.

use codec::Encode;
use finality_grandpa::{Message, Precommit, SignedPrecommit};
use phala_protocol::{
    finality::{FinalityFragment, FinalityProof, GenesisAnchor},
    hash::blake2_256,
    storage::{DEVELOPMENT, GRANDPA_AUTHORITIES},
    Hash,
};
use sp_consensus_grandpa::{
    AuthorityId, AuthorityList, AuthorityPair, Commit, ConsensusLog, GrandpaJustification, ScheduledChange,
    GRANDPA_ENGINE_ID,
};
use sp_core::{storage::StateVersion, Pair, H256};
use sp_runtime::{
    generic::{Digest, DigestItem},
    traits::{BlakeTwo256, Header as _},
};
use sp_state_machine::{prove_read, InMemoryBackend};
use std::{collections::BTreeMap, sync::Arc};

/// The header of our chain: 32-bit numbers, BLAKE2b-256.
pub type Header = sp_runtime::generic::Header<u32, BlakeTwo256>;
/// The justification a node stores and serves.
pub type Justification = GrandpaJustification<Header>;

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// A precommit that somebody makes: which authority of the signing set, for which header.
#[derive(Clone, Debug)]
pub struct Vote {
    /// Index in the set.
    pub authority: usize,
    /// The block voted for.
    pub hash: H256,
    /// Its height.
    pub number: u32,
}

/// A chain whose every block is known and can be finalised.
pub struct TestChain {
    seed: u64,
    blocks: Vec<Block>,
    /// The authorities of every set, by set id.
    sets: Vec<Vec<AuthorityPair>>,
    /// Round of the next justification; grows so that no two are alike.
    round: u64,
}

#[derive(Clone)]
struct Block {
    header: Header,
    state: Arc<State>,
    /// The set that finalises this block.
    set_id: u64,
    /// Whether the block hands over to the next set.
    changes_set: bool,
}

impl TestChain {
    /// A chain with `authorities` in set 0 and `storage` in its genesis state, beside `Grandpa::Authorities`.
    pub fn new(seed: u64, authorities: usize, storage: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let set = authority_pairs(seed, 0, authorities);
        let mut state: State = storage.into_iter().collect();
        state.insert(GRANDPA_AUTHORITIES.to_vec(), authority_list(&set).encode());
        Self::with_genesis_state(seed, set, state)
    }

    /// A chain whose genesis state is exactly `state`, whatever it says about authorities.
    pub fn with_genesis_state(seed: u64, set: Vec<AuthorityPair>, state: State) -> Self {
        let root = *backend(&state).root();
        let header = Header::new(0, H256::from(blake2_256(b"extrinsics")), root, H256::zero(), Digest::default());
        let genesis = Block { header, state: Arc::new(state), set_id: 0, changes_set: false };
        Self { seed, blocks: vec![genesis], sets: vec![set], round: 1 }
    }

    /// Appends a block that writes (`Some`) and removes (`None`) storage.
    pub fn build_block(&mut self, changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> u32 {
        self.append(changes, vec![], None)
    }

    /// Appends `count` blocks that change nothing.
    pub fn build_blocks(&mut self, count: usize) -> u32 {
        for _ in 0..count {
            self.build_block([]);
        }
        self.best()
    }

    /// Appends a block whose digest hands over to a fresh set of `authorities`, which finalises the blocks after it.
    pub fn build_set_change(&mut self, authorities: usize) -> u32 {
        let next = authority_pairs(self.seed, self.sets.len() as u64, authorities);
        let list = authority_list(&next);
        let log = ConsensusLog::ScheduledChange(ScheduledChange { next_authorities: list.clone(), delay: 0u32 });
        let changes = [(GRANDPA_AUTHORITIES.to_vec(), Some(list.encode()))];
        self.append(changes, vec![grandpa_item(&log)], Some(next))
    }

    /// Appends a block with these GRANDPA logs in its digest, whatever they are; the set does not change.
    pub fn build_with_logs(&mut self, logs: &[ConsensusLog<u32>]) -> u32 {
        let items = logs.iter().map(grandpa_item).collect();
        self.append([], items, None)
    }

    fn append(
        &mut self,
        changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
        mut items: Vec<DigestItem>,
        next_set: Option<Vec<AuthorityPair>>,
    ) -> u32 {
        let parent = self.blocks.last().expect("a chain has a genesis").clone();
        let mut state = parent.state.clone();
        for (key, value) in changes {
            let state = Arc::make_mut(&mut state);
            match value {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
        let root =
            if Arc::ptr_eq(&state, &parent.state) { *parent.header.state_root() } else { *backend(&state).root() };
        // What every block of a real chain carries beside GRANDPA's own items.
        items.insert(0, DigestItem::Other(self.seed.encode()));
        items.push(DigestItem::Seal(*b"TEST", vec![7; 64]));
        let header = Header::new(
            parent.header.number() + 1,
            H256::from(blake2_256(&parent.header.number().encode())),
            root,
            parent.header.hash(),
            Digest { logs: items },
        );
        let set_id = self.sets.len() as u64 - 1;
        self.blocks.push(Block { header, state, set_id, changes_set: next_set.is_some() });
        self.sets.extend(next_set);
        self.best()
    }

    /// Height of the newest block.
    pub fn best(&self) -> u32 {
        self.blocks.len() as u32 - 1
    }

    /// Hash of the genesis header.
    pub fn genesis_hash(&self) -> Hash {
        self.header(0).hash().0
    }

    /// A block's header.
    pub fn header(&self, number: u32) -> &Header {
        &self.blocks[number as usize].header
    }

    /// Number of the set that finalises a block.
    pub fn set_of(&self, number: u32) -> u64 {
        self.blocks[number as usize].set_id
    }

    /// The authorities of a set.
    pub fn authorities(&self, set_id: u64) -> Vec<AuthorityId> {
        self.sets[set_id as usize].iter().map(Pair::public).collect()
    }

    /// A header beside the chain, on top of block `parent`; `salt` tells siblings apart.
    pub fn fork(&self, parent: u32, salt: u8) -> Header {
        let parent = self.header(parent);
        let digest = Digest { logs: vec![DigestItem::Other(vec![salt])] };
        Header::new(parent.number() + 1, H256::from(blake2_256(&[salt])), *parent.state_root(), parent.hash(), digest)
    }

    /// The chain up to block `number`, to be continued in another way: as whoever holds its authorities' keys can.
    pub fn branch(&self, number: u32) -> Self {
        let blocks = self.blocks[..=number as usize].to_vec();
        let last = &blocks[number as usize];
        let sets = last.set_id as usize + 1 + usize::from(last.changes_set);
        Self { seed: self.seed, sets: self.sets[..sets].to_vec(), round: self.round, blocks }
    }

    /// What pins the chain.
    pub fn anchor(&self) -> GenesisAnchor {
        GenesisAnchor {
            header: self.header(0).encode(),
            authorities_proof: self.read_proof(0, &[&GRANDPA_AUTHORITIES, &DEVELOPMENT]),
        }
    }

    /// Votes of the first `voters` authorities of the block's set for the block itself.
    pub fn votes(&self, number: u32, voters: usize) -> Vec<Vote> {
        (0..voters).map(|authority| self.vote(authority, self.header(number))).collect()
    }

    /// One authority's vote for a header.
    pub fn vote(&self, authority: usize, header: &Header) -> Vote {
        Vote { authority, hash: header.hash(), number: *header.number() }
    }

    /// Signs votes of the given round in the name of a set.
    pub fn sign(
        &self,
        votes: &[Vote],
        round: u64,
        set_id: u64,
    ) -> Vec<SignedPrecommit<H256, u32, sp_consensus_grandpa::AuthoritySignature, AuthorityId>> {
        self.sign_as(votes, round, set_id, set_id)
    }

    /// Signs votes with the keys of one set over messages that name another.
    pub fn sign_as(
        &self,
        votes: &[Vote],
        round: u64,
        named_set: u64,
        keys_of_set: u64,
    ) -> Vec<SignedPrecommit<H256, u32, sp_consensus_grandpa::AuthoritySignature, AuthorityId>> {
        votes
            .iter()
            .map(|vote| {
                let pair = &self.sets[keys_of_set as usize][vote.authority];
                let precommit = Precommit { target_hash: vote.hash, target_number: vote.number };
                let message = Message::Precommit(precommit.clone());
                let payload = sp_consensus_grandpa::localized_payload(round, named_set, &message);
                SignedPrecommit { precommit, signature: pair.sign(&payload), id: pair.public() }
            })
            .collect()
    }

    /// A justification of a header out of signed votes, in the round they were signed for.
    pub fn justification_of(
        &mut self,
        header: &Header,
        votes: &[Vote],
        set_id: u64,
        votes_ancestries: Vec<Header>,
    ) -> Justification {
        self.round += 1;
        let commit: Commit<Header> = Commit::<Header> {
            target_hash: header.hash(),
            target_number: *header.number(),
            precommits: self.sign(votes, self.round, set_id),
        };
        GrandpaJustification { round: self.round, commit, votes_ancestries }
    }

    /// The justification of a block by its first `voters` authorities.
    pub fn justify_by(&mut self, number: u32, voters: usize) -> Justification {
        let (header, set_id) = (self.header(number).clone(), self.set_of(number));
        let votes = self.votes(number, voters);
        self.justification_of(&header, &votes, set_id, vec![])
    }

    /// The justification of a block by all of its authorities.
    pub fn justify(&mut self, number: u32) -> Justification {
        let voters = self.sets[self.set_of(number) as usize].len();
        self.justify_by(number, voters)
    }

    /// A block's header with its justification.
    pub fn fragment(&mut self, number: u32) -> FinalityFragment {
        let justification = self.justify(number).encode();
        FinalityFragment { header: self.header(number).encode(), justification }
    }

    /// What an honest server shows a client whose head is `from`: every hand-over after it up to `to`, and `to`.
    pub fn proof(&mut self, from: u32, to: u32) -> FinalityProof {
        let numbers: Vec<u32> =
            (from + 1..=to).filter(|number| *number == to || self.blocks[*number as usize].changes_set).collect();
        let fragments = numbers.into_iter().map(|number| self.fragment(number)).collect();
        FinalityProof { fragments, complete: to == self.best() }
    }

    /// Encoded headers from the parent of `from` down to `to`.
    pub fn ancestry(&self, from: u32, to: u32) -> Vec<Vec<u8>> {
        (to..from).rev().map(|number| self.header(number).encode()).collect()
    }

    /// A value in a block's state.
    pub fn value(&self, number: u32, key: &[u8]) -> Option<&Vec<u8>> {
        self.blocks[number as usize].state.get(key)
    }

    /// The nodes that a node's `state_getReadProof` returns.
    pub fn read_proof(&self, number: u32, keys: &[&[u8]]) -> Vec<Vec<u8>> {
        let backend = backend(&self.blocks[number as usize].state);
        let proof = prove_read(backend, keys.iter()).expect("the state is complete");
        proof.into_iter_nodes().collect()
    }
}

/// The key pairs of a set.
pub(super) fn authority_pairs(seed: u64, set_id: u64, count: usize) -> Vec<AuthorityPair> {
    (0..count as u64).map(|index| AuthorityPair::from_seed(&blake2_256(&(seed, set_id, index).encode()))).collect()
}

fn authority_list(set: &[AuthorityPair]) -> AuthorityList {
    set.iter().map(|pair| (pair.public(), 1)).collect()
}

fn grandpa_item(log: &ConsensusLog<u32>) -> DigestItem {
    DigestItem::Consensus(GRANDPA_ENGINE_ID, log.encode())
}

fn backend(state: &State) -> InMemoryBackend<BlakeTwo256> {
    (state.clone(), StateVersion::V1).into()
}
