//! The start: only the pinned chain, only proven authorities.

use crate::client;
use codec::Encode;
use phala_light_client::{
    limits::MAX_AUTHORITIES, testing::TestChain, verify_anchor, AnchorError, AuthoritiesError, ProofError,
};
use phala_protocol::storage::GRANDPA_AUTHORITIES;
use sp_consensus_grandpa::AuthorityId;

/// The verdict over a genesis state whose `Grandpa::Authorities` holds `value`.
fn verdict(value: Option<Vec<u8>>) -> Result<(), AnchorError> {
    let state =
        value.into_iter().map(|value| (GRANDPA_AUTHORITIES.to_vec(), value)).chain([(b"other".to_vec(), vec![1; 40])]);
    let chain = TestChain::with_genesis_state(31, vec![], state.collect());
    verify_anchor(&chain.genesis_hash(), &chain.anchor()).map(|_| ())
}

fn ids(count: usize) -> Vec<AuthorityId> {
    TestChain::new(32, count, []).authorities(0)
}

#[test]
fn reads_the_genesis_authorities() {
    let chain = TestChain::new(30, 5, [(b"other".to_vec(), vec![1; 40])]);
    let client = client(&chain);
    assert_eq!(client.head().number(), 0);
    assert_eq!(*client.head().hash(), chain.genesis_hash());
    assert_eq!(*client.genesis(), chain.genesis_hash());
    assert_eq!(client.authorities().id(), 0);
    let expected: Vec<_> = chain.authorities(0).iter().map(|id| AsRef::<[u8]>::as_ref(id).to_vec()).collect();
    assert_eq!(client.authorities().keys().iter().map(|key| key.to_vec()).collect::<Vec<_>>(), expected);
}

#[test]
fn refuses_another_genesis_than_the_pinned_one() {
    let chain = TestChain::new(30, 4, []);
    let other = TestChain::new(33, 4, []);
    assert_eq!(verify_anchor(&other.genesis_hash(), &chain.anchor()), Err(AnchorError::WrongGenesis));
    let mut changed = chain.anchor();
    changed.header[40] ^= 1;
    assert_eq!(verify_anchor(&chain.genesis_hash(), &changed), Err(AnchorError::WrongGenesis));
}

#[test]
fn refuses_a_later_block_as_genesis() {
    let mut chain = TestChain::new(34, 4, []);
    chain.build_block([]);
    let mut anchor = chain.anchor();
    anchor.header = chain.header(1).encode();
    assert_eq!(verify_anchor(&chain.header(1).hash().0, &anchor), Err(AnchorError::NotGenesis(1)));
}

#[test]
fn refuses_authorities_of_another_chain_and_cut_proofs() {
    let chain = TestChain::new(35, 4, (0..50_u8).map(|byte| (vec![byte; 8], vec![byte; 60])));
    let mut anchor = chain.anchor();
    anchor.authorities_proof = TestChain::new(36, 4, []).anchor().authorities_proof;
    assert_eq!(verify_anchor(&chain.genesis_hash(), &anchor), Err(AnchorError::Proof(ProofError::WrongRoot)));
    let honest = chain.anchor();
    for position in 0..honest.authorities_proof.len() {
        let mut cut = honest.clone();
        cut.authorities_proof.remove(position);
        assert!(matches!(verify_anchor(&chain.genesis_hash(), &cut), Err(AnchorError::Proof(_))));
    }
}

#[test]
fn refuses_authority_lists_that_are_no_set() {
    let weighted =
        |ids: &[AuthorityId], weight: u64| Some(ids.iter().map(|id| (id.clone(), weight)).collect::<Vec<_>>().encode());
    let four = ids(4);
    assert_eq!(verdict(weighted(&four, 1)), Ok(()));
    assert_eq!(verdict(None), Err(AnchorError::NoAuthorities));
    assert_eq!(verdict(weighted(&[], 1)), Err(AnchorError::Authorities(AuthoritiesError::Empty)));
    assert_eq!(verdict(weighted(&four, 0)), Err(AnchorError::Authorities(AuthoritiesError::Weight(0))));
    assert_eq!(verdict(weighted(&four, 2)), Err(AnchorError::Authorities(AuthoritiesError::Weight(2))));
    let doubled = [four.clone(), vec![four[1].clone()]].concat();
    assert_eq!(verdict(weighted(&doubled, 1)), Err(AnchorError::Authorities(AuthoritiesError::Duplicate)));
    let crowd = ids(MAX_AUTHORITIES + 1);
    assert_eq!(
        verdict(weighted(&crowd, 1)),
        Err(AnchorError::Authorities(AuthoritiesError::TooMany(MAX_AUTHORITIES + 1)))
    );
    assert_eq!(verdict(weighted(&crowd[..MAX_AUTHORITIES], 1)), Ok(()));
    let mut trailing = weighted(&four, 1).unwrap();
    trailing.push(0);
    assert_eq!(verdict(Some(trailing)), Err(AnchorError::Authorities(AuthoritiesError::Malformed)));
    let mut cut = weighted(&four, 1).unwrap();
    cut.pop();
    assert_eq!(verdict(Some(cut)), Err(AnchorError::Authorities(AuthoritiesError::Malformed)));
}
