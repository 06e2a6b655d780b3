//! How the brake's committee is elected: by the validators whose gatekeepers hold the seats of the root that answers.
//!
//! They are elected by stake themselves, each with about as much behind it, and so each has one vote: for a whole committee and not for a
//! member, so that what more than half of them want is one thing. More than half are more than the n-t+1 who pull the brake by their
//! gatekeepers: nobody gains a power by it that he has not, and a hand is gained that is quicker than so many operators. A committee
//! serves for a term, and needs new votes for another.
//!
//! Guarantees: one vote a seat, the newest; only votes of the present root's validators count, and those of a former root's are void; votes
//! that elected a committee are used up. Validators control their votes. Governance chooses and dismisses beside them: what either does, the
//! other can do otherwise, and what a committee can do is bounded. See `docs/adr/0011-seats-elect-the-brakes-committee.md`.

use crate::pallet::*;
use alloc::vec::Vec;
use frame_support::{ensure, pallet_prelude::DispatchResult};
use phala_pallet_attestation::{self as attestation, Members};
use phala_protocol::chain_state::RootRecord;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_vote_for_committee(who: T::AccountId, mut members: Members) -> DispatchResult {
        attestation::Pallet::<T>::ensure_committee(&members)?;
        members.sort();
        let root = attestation::Root::<T>::get().ok_or(Error::<T>::NotAnElector)?;
        let electors = Self::electors(&root);
        ensure!(electors.contains(&who), Error::<T>::NotAnElector);
        let (era, former) = CommitteeVotes::<T>::get();
        let mut votes: Vec<(T::AccountId, Members)> = if era == root.era { former } else { Vec::new() };
        votes.retain(|(voter, _)| *voter != who && electors.contains(voter));
        votes.push((who.clone(), members.clone()));
        let agreeing = votes.iter().filter(|(_, wanted)| *wanted == members).count();
        // Of all seats, whoever holds them: a root that was recorded by hand has seats of nobody.
        let needed = (root.seats.len() / 2).saturating_add(1);
        let (agreed, needs) = (agreeing as u32, needed as u32);
        let voted = Event::CommitteeVoted { validator: who, members: members.clone(), agreeing: agreed, needed: needs };
        Self::deposit_event(voted);
        if agreeing < needed {
            CommitteeVotes::<T>::put((root.era, votes));
            return Ok(());
        }
        CommitteeVotes::<T>::kill();
        attestation::Pallet::<T>::elect_committee(members)
    }

    /// The validators whose gatekeepers have the seats of a root.
    fn electors(root: &RootRecord) -> Vec<T::AccountId> {
        // One of the same era may have been recorded by hand meanwhile.
        Self::seats_in(root.era)
            .into_iter()
            .filter(|(gatekeeper, _)| root.seats.contains(gatekeeper))
            .map(|(_, who)| who)
            .collect()
    }
}
