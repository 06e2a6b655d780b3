//! Takes second votes out of justifications, so that light clients accept what full nodes do.
//!
//! An authority that signs two precommits in one round is an equivocator. GRANDPA counts it for every block it voted for, keeps
//! both votes in the commit as proof, and calls the commit valid. A light client that counts votes, as `smoldot` and
//! `phala-light-client` do, refuses any authority that votes twice: one broken validator could keep every worker from every
//! new head. One vote of each is enough, and each is signed by itself, so a node may leave the others out.
//!
//! Guarantees: a justification whose authorities all vote once is given back as it is, and so is what is none. Otherwise one vote
//! of each equivocator stays, one that counts for the finalised block if it made one, and the headers that link what
//! is left. What an equivocator lent to a block that neither of its votes is for is lost: if the threshold rests on that, light clients
//! refuse the justification with or without the votes, and go on with the next round's.
//! Validators control the votes. Does not: verify a signature; whoever receives it does.

use codec::{DecodeAll, Encode};
use phala_runtime::{Hash, Header};
use sp_consensus_grandpa::{AuthorityId, GrandpaJustification};
use sp_runtime::traits::Header as _;
use std::collections::{BTreeMap, BTreeSet};

/// How a vote counts for the finalised block: better ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// For it or a block above it.
    Counts,
    /// For a block below it.
    Below,
    /// For a block beside it.
    Beside,
}

/// `encoded` with one vote an authority, when it is a justification in which one votes twice; else `encoded`.
pub fn one_vote_each(encoded: Vec<u8>) -> Vec<u8> {
    match GrandpaJustification::<Header>::decode_all(&mut &encoded[..]) {
        Ok(justification) => without_second_votes(justification).map_or(encoded, |repaired| repaired.encode()),
        Err(_) => encoded,
    }
}

/// The justification with one vote an authority, or nothing when it is so already.
fn without_second_votes(mut justification: GrandpaJustification<Header>) -> Option<GrandpaJustification<Header>> {
    let headers: BTreeMap<Hash, &Header> =
        justification.votes_ancestries.iter().map(|header| (header.hash(), header)).collect();
    // From a block down to the lowest one that the headers lead to; not more steps than headers, whatever they say.
    let way_down = |from: Hash| {
        let parent = |hash: &Hash| headers.get(hash).map(|header| *header.parent_hash());
        std::iter::successors(Some(from), parent).take(headers.len().saturating_add(1))
    };
    let commit = &justification.commit;
    let below: BTreeSet<Hash> = way_down(commit.target_hash).collect();
    let worth = |voted: Hash| {
        if way_down(voted).any(|hash| hash == commit.target_hash) {
            Worth::Counts
        } else if below.contains(&voted) {
            Worth::Below
        } else {
            Worth::Beside
        }
    };

    let mut votes: BTreeMap<&AuthorityId, Vec<usize>> = BTreeMap::new();
    for (index, signed) in commit.precommits.iter().enumerate() {
        votes.entry(&signed.id).or_default().push(index);
    }
    if votes.len() == commit.precommits.len() {
        return None;
    }
    let kept: BTreeSet<usize> = votes
        .into_values()
        .filter_map(|votes| match votes.as_slice() {
            [only] => Some(*only),
            several => several
                .iter()
                .filter_map(|index| Some((*index, &commit.precommits.get(*index)?.precommit)))
                .map(|(index, vote)| (worth(vote.target_hash), vote.target_number, index))
                // A vote beside the finalised block helps nobody, and would have to be linked.
                .filter(|(worth, ..)| *worth != Worth::Beside)
                .min()
                .map(|(.., index)| index),
        })
        .collect();
    let precommits: Vec<_> = commit
        .precommits
        .iter()
        .enumerate()
        .filter(|(index, _)| kept.contains(index))
        .map(|(_, signed)| signed.clone())
        .collect();

    // As GRANDPA does: every vote is linked to the lowest one, and no header is there that links none.
    let base = precommits.iter().map(|signed| &signed.precommit).min_by_key(|vote| vote.target_number)?.target_hash;
    let links: BTreeSet<Hash> = precommits
        .iter()
        .flat_map(|signed| way_down(signed.precommit.target_hash).take_while(|hash| *hash != base))
        .collect();
    let votes_ancestries =
        justification.votes_ancestries.iter().filter(|header| links.contains(&header.hash())).cloned().collect();
    justification.commit.precommits = precommits;
    justification.votes_ancestries = votes_ancestries;
    Some(justification)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use phala_light_client::{
        testing::{TestChain, Vote},
        verify_anchor, FinalityError, JustificationError,
    };
    use phala_protocol::finality::{FinalityFragment, FinalityProof};

    const TARGET: u32 = 3;

    /// A chain of five blocks, finalised by four authorities.
    fn chain() -> TestChain {
        let mut chain = TestChain::new(7, 4, []);
        chain.build_blocks(5);
        chain
    }

    /// What full nodes and light clients make of a justification of the block [`TARGET`].
    fn verdicts(chain: &TestChain, justification: &[u8]) -> (bool, Result<(), JustificationError>) {
        let decoded = sc_consensus_grandpa::GrandpaJustification::<phala_runtime::OpaqueBlock>::decode(justification);
        let authorities = chain.authorities(0).into_iter().map(|id| (id, 1)).collect();
        let full = decoded.unwrap().verify(0, &authorities).is_ok();
        let fragment =
            FinalityFragment { header: chain.header(TARGET).encode(), justification: justification.to_vec() };
        let proof = FinalityProof { fragments: vec![fragment], complete: true }.encode();
        let mut client = verify_anchor(&chain.genesis_hash(), &chain.anchor()).unwrap();
        let light = match client.advance(&proof, &[1; 32]) {
            Ok(_) => Ok(()),
            Err(FinalityError::Justification { reason, .. }) => Err(reason),
            Err(other) => panic!("{other}"),
        };
        (full, light)
    }

    /// The votes make a justification that full nodes accept and light clients do not; gives it repaired.
    fn repaired(votes: &[Vote], ancestries: Vec<Header>) -> (TestChain, Vec<u8>) {
        let mut chain = chain();
        let header = chain.header(TARGET).clone();
        let broken = chain.justification_of(&header, votes, 0, ancestries).encode();
        let (full, light) = verdicts(&chain, &broken);
        assert!(full, "full nodes accept an equivocator's votes");
        assert!(matches!(light, Err(JustificationError::VotesTwice(_) | JustificationError::TooManyVotes(_))));
        let repaired = one_vote_each(broken);
        (chain, repaired)
    }

    #[test]
    fn light_clients_accept_a_justification_without_an_equivocators_second_vote() {
        let made = chain();
        let (target, above, fork) = (made.header(TARGET), made.header(TARGET + 1), made.fork(TARGET, 9));
        let honest = [made.vote(0, target), made.vote(1, target)];
        let with = |more: &[Vote]| [&honest[..], more].concat();
        let cases = [
            // On two branches above the finalised block.
            (with(&[made.vote(2, above), made.vote(2, &fork)]), vec![above.clone(), fork.clone()]),
            // For the block and for its parent, which was the lowest of all.
            (with(&[made.vote(2, made.header(TARGET - 1)), made.vote(2, target)]), vec![target.clone()]),
            // Two equivocators, one of them for the block and for the one above.
            (
                with(&[made.vote(2, above), made.vote(2, &fork), made.vote(3, target), made.vote(3, above)]),
                vec![above.clone(), fork.clone()],
            ),
            // Nothing but a repetition.
            (with(&[made.vote(2, target), made.vote(2, target)]), vec![]),
            // Beside the finalised block, where three others are enough.
            (
                with(&[
                    made.vote(2, above),
                    made.vote(3, made.header(TARGET - 1)),
                    made.vote(3, &made.fork(TARGET - 1, 8)),
                ]),
                vec![target.clone(), above.clone(), made.fork(TARGET - 1, 8)],
            ),
        ];
        for (index, (votes, ancestries)) in cases.into_iter().enumerate() {
            let (chain, repaired) = repaired(&votes, ancestries);
            assert_eq!(verdicts(&chain, &repaired), (true, Ok(())), "case {index}");
            assert_eq!(one_vote_each(repaired.clone()), repaired, "case {index}");
        }
    }

    #[test]
    fn what_rests_on_an_equivocators_double_weight_stays_refused() {
        let made = chain();
        let target = made.header(TARGET);
        let (left, right) = (made.fork(TARGET - 1, 1), made.fork(TARGET - 1, 2));
        // Two votes for the block, one below; the fourth voted for two others, which full nodes count for any.
        let votes = [
            made.vote(0, target),
            made.vote(1, target),
            made.vote(2, made.header(TARGET - 1)),
            made.vote(3, &left),
            made.vote(3, &right),
        ];
        let (chain, repaired) = repaired(&votes, vec![target.clone(), left, right]);
        assert_eq!(verdicts(&chain, &repaired), (false, Err(JustificationError::TargetNotFinalised)));
    }

    #[test]
    fn gives_back_what_needs_no_repair() {
        let mut chain = chain();
        let good = chain.justify(TARGET).encode();
        assert_eq!(one_vote_each(good.clone()), good);
        for garbage in [vec![], vec![0xff; 300], good[..good.len() - 1].to_vec()] {
            assert_eq!(one_vote_each(garbage.clone()), garbage);
        }
    }
}
