//! What an honest server shows is accepted.

use crate::{advance, client, single, ENTROPY};
use codec::Encode;
use phala_light_client::{
    testing::{TestChain, Vote},
    verify_ancestors, AncestryError, Checkpoint, CheckpointError, LightClient, VerifiedHeader,
};

/// Five hand-overs, between sets of different sizes, with blocks between them.
fn five_set_changes() -> TestChain {
    let mut chain = TestChain::new(1, 4, []);
    for size in [1, 7, 4, 10, 3] {
        chain.build_blocks(3);
        chain.build_set_change(size);
    }
    chain.build_blocks(4);
    chain
}

fn assert_same_block(head: &VerifiedHeader, chain: &TestChain, number: u32) {
    let header = chain.header(number);
    assert_eq!(head.number(), number);
    assert_eq!(*head.hash(), header.hash().0);
    assert_eq!(*head.parent(), header.parent_hash.0);
    assert_eq!(*head.state_root(), header.state_root.0);
    assert_eq!(*head.extrinsics_root(), header.extrinsics_root.0);
}

#[test]
fn follows_five_set_changes_in_one_proof() {
    let mut chain = five_set_changes();
    let mut client = client(&chain);
    let best = chain.best();
    let proof = chain.proof(0, best);
    assert_eq!(proof.fragments.len(), 6);
    let advance = advance(&mut client, &proof).unwrap();
    assert_eq!(advance.set_changes, 5);
    assert!(advance.alleged_complete);
    assert_eq!(advance.head, *client.head());
    assert_same_block(client.head(), &chain, best);
    assert_eq!(client.authorities().id(), 5);
    assert_eq!(client.authorities().keys().len(), 3);
}

#[test]
fn follows_five_set_changes_block_by_block_to_the_same_state() {
    let mut chain = five_set_changes();
    let mut stepwise = client(&chain);
    for number in 1..=chain.best() {
        let proof = chain.proof(number - 1, number);
        advance(&mut stepwise, &proof).unwrap();
        assert_same_block(stepwise.head(), &chain, number);
    }
    let mut at_once = client(&chain);
    let proof = chain.proof(0, chain.best());
    advance(&mut at_once, &proof).unwrap();
    assert_eq!(stepwise, at_once);
}

#[test]
fn stops_at_a_set_change_and_goes_on_from_there() {
    let mut chain = TestChain::new(2, 4, []);
    let change = chain.build_set_change(5);
    chain.build_blocks(2);
    let mut client = client(&chain);
    let proof = chain.proof(0, change);
    assert_eq!(advance(&mut client, &proof).unwrap().set_changes, 1);
    assert_eq!(client.authorities().id(), 1);
    let proof = chain.proof(change, change + 2);
    assert_eq!(advance(&mut client, &proof).unwrap().set_changes, 0);
    assert_same_block(client.head(), &chain, change + 2);
}

#[test]
fn accepts_exactly_more_than_two_thirds() {
    for (authorities, enough) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7), (100, 67)] {
        let mut chain = TestChain::new(3, authorities, []);
        chain.build_block([]);
        assert_eq!(client(&chain).authorities().threshold(), enough);
        let justification = chain.justify_by(1, enough);
        assert!(advance(&mut client(&chain), &single(&chain, 1, &justification)).is_ok(), "{enough} of {authorities}");
        let justification = chain.justify_by(1, enough - 1);
        assert!(
            advance(&mut client(&chain), &single(&chain, 1, &justification)).is_err(),
            "{enough} - 1 of {authorities}"
        );
    }
}

#[test]
fn counts_votes_for_descendants_that_are_linked() {
    let mut chain = TestChain::new(4, 4, []);
    chain.build_blocks(4);
    // Two for block 2, one each for its descendants 3 and 4.
    let headers: Vec<_> = (0..=4).map(|number| chain.header(number).clone()).collect();
    let votes: Vec<Vote> =
        [2, 2, 3, 4].iter().enumerate().map(|(authority, block)| chain.vote(authority, &headers[*block])).collect();
    let justification = chain.justification_of(&headers[2], &votes, 0, vec![headers[4].clone(), headers[3].clone()]);
    let mut client = client(&chain);
    advance(&mut client, &single(&chain, 2, &justification)).unwrap();
    assert_same_block(client.head(), &chain, 2);
}

#[test]
fn no_verdict_depends_on_the_entropy() {
    let mut chain = TestChain::new(5, 7, []);
    chain.build_block([]);
    let good = chain.proof(0, 1).encode();
    let mut bad = chain.justify(1);
    bad.commit.precommits.swap(0, 1);
    let signature = bad.commit.precommits[0].signature.clone();
    bad.commit.precommits[1].signature = signature;
    let bad = single(&chain, 1, &bad).encode();
    for byte in 0..32 {
        assert!(client(&chain).advance(&good, &[byte; 32]).is_ok());
        assert!(client(&chain).advance(&bad, &[byte; 32]).is_err());
    }
}

#[test]
fn checkpoint_restores_the_same_client() {
    let mut chain = five_set_changes();
    let mut client = client(&chain);
    let proof = chain.proof(0, 14);
    advance(&mut client, &proof).unwrap();
    let bytes = client.checkpoint().encode();
    let checkpoint = Checkpoint::decode_exact(&bytes).unwrap();
    let mut restored = LightClient::restore(&chain.genesis_hash(), &checkpoint).unwrap();
    assert_eq!(restored, client);
    let proof = chain.proof(14, chain.best());
    restored.advance(&proof.encode(), &ENTROPY).unwrap();
    assert_same_block(restored.head(), &chain, chain.best());
}

#[test]
fn refuses_checkpoint_of_another_chain_or_without_a_set() {
    let chain = TestChain::new(6, 4, []);
    let checkpoint = client(&chain).checkpoint();
    assert_eq!(LightClient::restore(&[1; 32], &checkpoint), Err(CheckpointError::WrongGenesis));
    let bytes = checkpoint.encode();
    for end in 0..bytes.len() {
        assert_eq!(Checkpoint::decode_exact(&bytes[..end]), Err(CheckpointError::Malformed));
    }
    assert_eq!(Checkpoint::decode_exact(&[&bytes[..], &[0]].concat()), Err(CheckpointError::Malformed));
    // The list of keys is the last field: its length, then four keys. The first key in place of the second.
    let mut doubled = bytes.clone();
    let first = bytes.len() - 4 * 32;
    doubled.copy_within(first..first + 32, first + 32);
    let doubled = Checkpoint::decode_exact(&doubled).unwrap();
    assert!(matches!(LightClient::restore(&chain.genesis_hash(), &doubled), Err(CheckpointError::Authorities(_))));
}

#[test]
fn verifies_ancestors_of_the_head() {
    let mut chain = five_set_changes();
    let mut client = client(&chain);
    let best = chain.best();
    let proof = chain.proof(0, best);
    advance(&mut client, &proof).unwrap();
    for number in 0..best {
        let ancestor = verify_ancestors(client.head(), &chain.ancestry(best, number)).unwrap();
        assert_same_block(&ancestor, &chain, number);
    }
}

#[test]
fn refuses_ancestry_that_is_cut_forged_or_too_long() {
    let mut chain = TestChain::new(7, 1, []);
    chain.build_blocks(300);
    let mut client = client(&chain);
    let proof = chain.proof(0, 300);
    advance(&mut client, &proof).unwrap();
    let head = client.head();

    assert_eq!(verify_ancestors(head, &Vec::<Vec<u8>>::new()), Err(AncestryError::Empty));
    assert_same_block(&verify_ancestors(head, &chain.ancestry(300, 44)).unwrap(), &chain, 44);
    assert_eq!(verify_ancestors(head, &chain.ancestry(300, 43)), Err(AncestryError::TooMany(257)));

    let mut gap = chain.ancestry(300, 290);
    gap.remove(4);
    assert_eq!(verify_ancestors(head, &gap), Err(AncestryError::NotParent(4)));
    let mut forged = chain.ancestry(300, 290);
    forged[9] = chain.fork(289, 1).encode();
    assert_eq!(verify_ancestors(head, &forged), Err(AncestryError::NotParent(9)));
    let mut reversed = chain.ancestry(300, 290);
    reversed.reverse();
    assert_eq!(verify_ancestors(head, &reversed), Err(AncestryError::NotParent(0)));
    let mut cut = chain.ancestry(300, 290);
    cut[3].pop();
    assert!(matches!(verify_ancestors(head, &cut), Err(AncestryError::Header { position: 3, .. })));
}

#[test]
fn following_a_chain_costs_its_set_changes_and_not_its_length() {
    let proof_bytes = |blocks: u32, changes: u32| {
        let mut chain = TestChain::new(1, 4, []);
        for _ in 0..changes {
            chain.build_blocks((blocks / (changes + 1) - 1) as usize);
            chain.build_set_change(4);
        }
        chain.build_blocks((blocks - chain.best()) as usize);
        let mut client = client(&chain);
        let proof = chain.proof(0, chain.best());
        advance(&mut client, &proof).unwrap();
        assert_same_block(client.head(), &chain, blocks);
        (proof.fragments.len(), proof.encoded_size())
    };
    let (fragments, bytes) = proof_bytes(100, 2);
    let (same_fragments, ten_times_longer) = proof_bytes(1_000, 2);
    assert_eq!((fragments, same_fragments), (3, 3), "one for each change, and one to the head");
    assert!(ten_times_longer.abs_diff(bytes) * 100 < bytes, "{ten_times_longer} bytes where {bytes} were enough");
    let (more_fragments, more_bytes) = proof_bytes(100, 5);
    assert_eq!(more_fragments, 6);
    assert!(more_bytes > bytes * 3 / 2);
}
