//! What a hostile host shows is refused, for the reason that applies, and changes nothing.

use crate::{advance, client, refused, refused_justification, single};
use codec::Encode;
use phala_light_client::{
    limits, testing::TestChain, AuthoritiesError, FinalityError, FinalityFragment, FinalityProof, JustificationError,
};
use phala_protocol::{finality::FinalityDecodeError, limits::MAX_FINALITY_FRAGMENTS};
use sp_consensus_grandpa::{ConsensusLog, ScheduledChange};

fn chain_of(authorities: usize, blocks: usize) -> TestChain {
    let mut chain = TestChain::new(11, authorities, []);
    chain.build_blocks(blocks);
    chain
}

#[test]
fn refuses_two_of_four() {
    let mut chain = chain_of(4, 1);
    let justification = chain.justify_by(1, 2);
    assert_eq!(refused_justification(&chain, 1, &justification), JustificationError::NotEnoughVotes);
}

#[test]
fn refuses_votes_without_any() {
    let mut chain = chain_of(4, 1);
    let justification = chain.justify_by(1, 0);
    assert_eq!(refused_justification(&chain, 1, &justification), JustificationError::NotEnoughVotes);
}

#[test]
fn refuses_votes_of_another_set_id() {
    let mut chain = chain_of(4, 1);
    let mut justification = chain.justify(1);
    let votes = chain.votes(1, 4);
    justification.commit.precommits = chain.sign_as(&votes, justification.round, 1, 0);
    assert_eq!(refused_justification(&chain, 1, &justification), JustificationError::BadSignature);
}

#[test]
fn refuses_votes_of_another_round() {
    let mut chain = chain_of(4, 1);
    let mut justification = chain.justify(1);
    justification.round += 1;
    assert_eq!(refused_justification(&chain, 1, &justification), JustificationError::BadSignature);
}

#[test]
fn refuses_one_vote_counted_twice() {
    let mut chain = chain_of(4, 1);
    let mut justification = chain.justify_by(1, 2);
    let again = justification.commit.precommits[1].clone();
    let voter = again.id.clone();
    justification.commit.precommits.push(again);
    assert_eq!(
        refused_justification(&chain, 1, &justification),
        JustificationError::VotesTwice(<[u8; 32]>::try_from(AsRef::<[u8]>::as_ref(&voter)).unwrap())
    );
}

#[test]
fn refuses_more_votes_than_authorities() {
    let mut chain = chain_of(4, 1);
    let mut justification = chain.justify(1);
    let again = justification.commit.precommits[0].clone();
    justification.commit.precommits.push(again);
    assert_eq!(refused_justification(&chain, 1, &justification), JustificationError::TooManyVotes(5));
}

#[test]
fn refuses_equivocating_voter() {
    let mut chain = chain_of(7, 2);
    let (one, two) = (chain.header(1).clone(), chain.header(2).clone());
    // Authorities 0 to 3 for block 1, and 3 for block 2 as well: five votes, four voters.
    let mut votes = chain.votes(1, 4);
    votes.push(chain.vote(3, &two));
    let justification = chain.justification_of(&one, &votes, 0, vec![two]);
    assert!(matches!(refused_justification(&chain, 1, &justification), JustificationError::VotesTwice(_)));
}

#[test]
fn refuses_vote_of_a_stranger() {
    let mut chain = chain_of(4, 1);
    let mut other = TestChain::new(12, 4, []);
    other.build_block([]);
    let mut justification = chain.justify_by(1, 3);
    let votes = chain.votes(1, 1);
    justification.commit.precommits[2] = other.sign(&votes, justification.round, 0).remove(0);
    assert!(matches!(refused_justification(&chain, 1, &justification), JustificationError::NotAuthority(_)));
}

#[test]
fn refuses_vote_for_a_block_that_does_not_descend() {
    let mut chain = chain_of(4, 3);
    let target = chain.header(2).clone();
    let sibling = chain.fork(1, 9);
    let mut votes = chain.votes(2, 2);
    votes.push(chain.vote(2, &sibling));
    let justification = chain.justification_of(&target, &votes, 0, vec![]);
    assert_eq!(refused_justification(&chain, 2, &justification), JustificationError::Unlinked);
    let justification = chain.justification_of(&target, &votes, 0, vec![sibling]);
    assert_eq!(refused_justification(&chain, 2, &justification), JustificationError::Unlinked);
}

#[test]
fn refuses_fork_that_votes_below_it_do_not_finalise() {
    let mut chain = chain_of(4, 3);
    // Everybody voted for block 1. The host claims that this finalises a fork on top of it.
    let fork = chain.fork(1, 3);
    let votes = chain.votes(1, 4);
    let justification = chain.justification_of(&fork, &votes, 0, vec![fork.clone()]);
    let proof = FinalityProof {
        fragments: vec![FinalityFragment { header: fork.encode(), justification: justification.encode() }],
        complete: true,
    };
    assert!(matches!(
        refused(&mut client(&chain), &proof),
        FinalityError::Justification { reason: JustificationError::TargetNotFinalised, .. }
    ));
}

#[test]
fn refuses_descendant_without_the_header_that_links_it() {
    let mut chain = chain_of(4, 3);
    let headers: Vec<_> = (0..=3).map(|number| chain.header(number).clone()).collect();
    let mut votes = chain.votes(1, 3);
    votes.push(chain.vote(3, &headers[3]));
    let justification = chain.justification_of(&headers[1], &votes, 0, vec![headers[3].clone()]);
    assert_eq!(refused_justification(&chain, 1, &justification), JustificationError::Unlinked);
    let linked = vec![headers[2].clone(), headers[3].clone()];
    let justification = chain.justification_of(&headers[1], &votes, 0, linked);
    assert!(advance(&mut client(&chain), &single(&chain, 1, &justification)).is_ok());
}

#[test]
fn refuses_header_that_no_vote_needs() {
    let mut chain = chain_of(4, 3);
    let mut justification = chain.justify(1);
    justification.votes_ancestries.push(chain.header(2).clone());
    assert_eq!(refused_justification(&chain, 1, &justification), JustificationError::UnusedHeader);
}

#[test]
fn refuses_forged_header_of_the_same_number() {
    let mut chain = chain_of(4, 2);
    let mut proof = chain.proof(0, 2);
    proof.fragments[0].header = chain.fork(1, 5).encode();
    assert!(matches!(
        refused(&mut client(&chain), &proof),
        FinalityError::Justification { number: 2, reason: JustificationError::WrongTarget, .. }
    ));
}

#[test]
fn refuses_header_with_a_changed_state_root() {
    let mut chain = chain_of(4, 1);
    let mut proof = chain.proof(0, 1);
    let mut header = chain.header(1).clone();
    header.state_root.0[0] ^= 1;
    proof.fragments[0].header = header.encode();
    assert!(matches!(
        refused(&mut client(&chain), &proof),
        FinalityError::Justification { reason: JustificationError::WrongTarget, .. }
    ));
}

#[test]
fn refuses_stale_repeated_and_empty_proofs() {
    let mut chain = chain_of(4, 5);
    let mut client = client(&chain);
    let proof = chain.proof(0, 4);
    advance(&mut client, &proof).unwrap();
    assert_eq!(refused(&mut client, &proof), FinalityError::NothingNewer(4));
    let older = chain.proof(0, 2);
    assert_eq!(refused(&mut client, &older), FinalityError::NothingNewer(4));
    assert_eq!(refused(&mut client, &FinalityProof::default()), FinalityError::NothingNewer(4));
}

#[test]
fn refuses_missing_reordered_and_repeated_set_changes() {
    let mut chain = TestChain::new(13, 4, []);
    for _ in 0..3 {
        chain.build_set_change(4);
    }
    chain.build_block([]);
    let honest = chain.proof(0, 4);
    assert_eq!(honest.fragments.len(), 4);
    assert!(advance(&mut client(&chain), &honest).is_ok());

    let mut missing = honest.clone();
    missing.fragments.remove(1);
    assert!(matches!(
        refused(&mut client(&chain), &missing),
        FinalityError::Justification { number: 3, set_id: 1, reason: JustificationError::NotAuthority(_) }
    ));
    let mut swapped = honest.clone();
    swapped.fragments.swap(0, 1);
    assert!(matches!(
        refused(&mut client(&chain), &swapped),
        FinalityError::Justification { number: 2, set_id: 0, .. }
    ));
    let mut repeated = honest.clone();
    repeated.fragments.insert(1, honest.fragments[0].clone());
    assert_eq!(refused(&mut client(&chain), &repeated), FinalityError::OutOfOrder { number: 1, after: 1 });
}

#[test]
fn refuses_old_set_after_it_handed_over() {
    let mut chain = TestChain::new(14, 4, []);
    chain.build_set_change(4);
    chain.build_block([]);
    let mut client = client(&chain);
    let proof = chain.proof(0, 1);
    advance(&mut client, &proof).unwrap();
    // The keys of set 0 sign block 2, over their own set's number and over the new one's.
    for named_set in [0, 1] {
        let mut justification = chain.justify(2);
        let votes = chain.votes(2, 4);
        justification.commit.precommits = chain.sign_as(&votes, justification.round, named_set, 0);
        assert!(matches!(
            refused(&mut client, &single(&chain, 2, &justification)),
            FinalityError::Justification { set_id: 1, reason: JustificationError::NotAuthority(_), .. }
        ));
    }
}

#[test]
fn refuses_fragment_after_a_header_that_changes_no_set() {
    let mut chain = chain_of(4, 2);
    let fragments = vec![chain.fragment(1), chain.fragment(2)];
    let proof = FinalityProof { fragments, complete: true };
    assert_eq!(refused(&mut client(&chain), &proof), FinalityError::MissingSetChange(1));
}

#[test]
fn keeps_the_state_when_only_the_last_fragment_is_wrong() {
    let mut chain = TestChain::new(15, 4, []);
    chain.build_set_change(4);
    chain.build_set_change(4);
    chain.build_block([]);
    let mut proof = chain.proof(0, 3);
    let last = proof.fragments.last_mut().unwrap();
    *last.justification.last_mut().unwrap() ^= 1;
    assert!(matches!(refused(&mut client(&chain), &proof), FinalityError::Justification { .. }));
}

fn change(chain: &TestChain, weight: u64, delay: u32) -> ScheduledChange<u32> {
    let next_authorities = chain.authorities(0).into_iter().map(|id| (id, weight)).collect();
    ScheduledChange { next_authorities, delay }
}

fn refused_logs(logs: impl FnOnce(&TestChain) -> Vec<ConsensusLog<u32>>) -> FinalityError {
    let mut chain = TestChain::new(16, 4, []);
    let logs = logs(&chain);
    let number = chain.build_with_logs(&logs);
    let proof = chain.proof(0, number);
    refused(&mut client(&chain), &proof)
}

#[test]
fn refuses_forced_change() {
    assert_eq!(
        refused_logs(|chain| vec![ConsensusLog::ForcedChange(0, change(chain, 1, 0))]),
        FinalityError::ForcedChange(1)
    );
    // A scheduled change beside it does not hide it.
    assert_eq!(
        refused_logs(|chain| vec![
            ConsensusLog::ScheduledChange(change(chain, 1, 0)),
            ConsensusLog::ForcedChange(0, change(chain, 1, 0)),
        ]),
        FinalityError::ForcedChange(1)
    );
}

#[test]
fn refuses_delayed_and_repeated_changes() {
    assert_eq!(
        refused_logs(|chain| vec![ConsensusLog::ScheduledChange(change(chain, 1, 2))]),
        FinalityError::DelayedChange { number: 1, delay: 2 }
    );
    assert_eq!(
        refused_logs(|chain| vec![ConsensusLog::ScheduledChange(change(chain, 1, 0)); 2]),
        FinalityError::SeveralChanges(1)
    );
}

#[test]
fn refuses_next_authorities_that_are_no_set() {
    let refused_change = |next: ScheduledChange<u32>| refused_logs(|_| vec![ConsensusLog::ScheduledChange(next)]);
    let sample = TestChain::new(17, 4, []);
    let reason = |reason| FinalityError::Authorities { number: 1, reason };
    assert_eq!(refused_change(change(&sample, 2, 0)), reason(AuthoritiesError::Weight(2)));
    let mut doubled = change(&sample, 1, 0);
    doubled.next_authorities[3] = doubled.next_authorities[0].clone();
    assert_eq!(refused_change(doubled), reason(AuthoritiesError::Duplicate));
    let mut empty = change(&sample, 1, 0);
    empty.next_authorities.clear();
    assert_eq!(refused_change(empty), reason(AuthoritiesError::Empty));
    let crowd = TestChain::new(18, limits::MAX_AUTHORITIES + 1, []);
    assert_eq!(refused_change(change(&crowd, 1, 0)), reason(AuthoritiesError::TooMany(limits::MAX_AUTHORITIES + 1)));
}

#[test]
fn ignores_disabled_authorities_as_a_node_does() {
    let mut chain = TestChain::new(19, 4, []);
    let number = chain.build_with_logs(&[ConsensusLog::OnDisabled(2), ConsensusLog::Pause(1), ConsensusLog::Resume(1)]);
    let mut client = client(&chain);
    let proof = chain.proof(0, number);
    assert_eq!(advance(&mut client, &proof).unwrap().set_changes, 0);
}

#[test]
fn refuses_what_is_over_a_limit() {
    let mut chain = chain_of(4, 1);
    let fragment = chain.fragment(1);
    let crowd = FinalityProof { fragments: vec![fragment.clone(); MAX_FINALITY_FRAGMENTS + 1], complete: true };
    assert_eq!(
        refused(&mut client(&chain), &crowd),
        FinalityError::Decode(FinalityDecodeError::TooManyFragments(MAX_FINALITY_FRAGMENTS + 1))
    );
    let mut long = FinalityProof { fragments: vec![fragment], complete: true };
    long.fragments[0].justification.resize(limits::MAX_JUSTIFICATION_BYTES + 1, 0);
    assert!(matches!(
        refused(&mut client(&chain), &long),
        FinalityError::Justification { reason: JustificationError::TooLong(_), .. }
    ));
    long.fragments[0].header.resize(limits::MAX_HEADER_BYTES + 1, 0);
    assert!(matches!(refused(&mut client(&chain), &long), FinalityError::Header(_)));
}
