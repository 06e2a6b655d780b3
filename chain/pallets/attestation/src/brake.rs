//! The brake: suspending at once, for a bounded time, by whoever is nearer than a referendum.
//!
//! Three hands are on it: the origin that the runtime names; more than half of a small committee that governance chooses for a term, or that
//! the validators behind more than half of the recorded root's seats elect ([`Pallet::elect_committee`]); and n-t+1 seats of the recorded
//! root - the fewest without whom no key is given, so that together they can stop the network anyhow.
//!
//! Guarantees, for all three together: the brake takes away and never admits, lifts nothing, and ends no root; all uses of it share one
//! end, [`crate::Windows::suspension`] blocks after the first, and then it rests as long, so that it holds whatever it holds for at most
//! half of the time; once governance has lifted a suspension, the brake suspends nothing more until then, under whatever name; no
//! signature or vote counts for two suspensions. The caller controls the arguments, seats their signatures, members their votes.
//! Does not: judge whether there is a reason, or revoke - that is governance's.

use crate::{pallet::*, signed_by, Ballot, BrakeCommittee, Members, MOST_MEMBERS};
use alloc::vec::Vec;
use frame_support::{
    ensure,
    pallet_prelude::DispatchResult,
    traits::{ConstU32, Get},
    BoundedVec,
};
use phala_attest::{Ban, Subject, MOST_BANS};
use phala_protocol::{
    attestation::suspension_payload,
    ids::{AccountId, BlockNumber},
    limits::SUSPENSION_SIGNED_AHEAD_BLOCKS,
};

/// Suspensions that the brake holds at most, so that it cannot keep governance from revoking.
pub(crate) const MOST_SUSPENSIONS: usize = MOST_BANS / 2;
/// Blocks for which a member's vote counts: an hour of 6 s blocks. An emergency is one now.
pub(crate) const BALLOT_BLOCKS: BlockNumber = 600;
/// Members of a committee outside development at least: no single account, and no two, are a committee.
const LEAST_MEMBERS: usize = 3;
/// A committee's longest term: a year of 6 s blocks.
pub(crate) const LONGEST_TERM: BlockNumber = 5_256_000;

/// An elected committee's term: a quarter of the longest.
pub const ELECTED_TERM: BlockNumber = LONGEST_TERM / 4;

/// A suspension that may begin now.
struct Hold {
    /// Its last block.
    until: BlockNumber,
    /// Whether it is the first since the brake rested.
    first: bool,
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_suspend(subject: Subject) -> DispatchResult {
        let Hold { until, first } = Self::ensure_suspendable(&subject)?;
        if first {
            Brake::<T>::put((until, until.saturating_add(CurrentWindows::<T>::get().suspension)));
            Overruled::<T>::kill();
        }
        Suspensions::<T>::mutate(subject, |times| *times = times.saturating_add(1));
        Self::bar(Ban { subject, from: Self::now_block(), until: Some(until) })
    }

    fn ensure_suspendable(subject: &Subject) -> Result<Hold, Error<T>> {
        ensure!(!matches!(subject, Subject::Root(_)), Error::<T>::RootsOnlyEnd);
        let now = Self::now_block();
        let bans = Bans::<T>::get();
        let again = bans.iter().any(|ban| ban.subject == *subject && ban.in_force(now));
        ensure!(!again, Error::<T>::AlreadyBarred);
        let held = bans.iter().filter(|ban| ban.until.is_some() && !ban.has_ended(now)).count();
        ensure!(held < MOST_SUSPENSIONS, Error::<T>::TooManyBans);
        match Brake::<T>::get() {
            // What is suspended while the brake holds ends with it.
            Some((until, _)) if now <= until => {
                // Not the same subject alone: a vendor's machines are shut out by floors and models of many names too.
                ensure!(!Overruled::<T>::get(), Error::<T>::Overruled);
                Ok(Hold { until, first: false })
            }
            Some((_, rested)) if now <= rested => Err(Error::<T>::BrakeRests),
            // The block that suspends is the first.
            _ => {
                let length = CurrentWindows::<T>::get().suspension;
                Ok(Hold { until: now.saturating_add(length.saturating_sub(1)), first: true })
            }
        }
    }

    pub(crate) fn do_suspend_by_gatekeepers(
        subject: Subject,
        expires: BlockNumber,
        signatures: &[(u16, [u8; 64])],
    ) -> DispatchResult {
        let now = Self::now_block();
        ensure!(now <= expires, Error::<T>::SignaturesExpired);
        ensure!(expires <= now.saturating_add(SUSPENSION_SIGNED_AHEAD_BLOCKS), Error::<T>::SignedTooFarAhead);
        let root = Root::<T>::get().ok_or(Error::<T>::NotAGatekeeper)?;
        let enough = root.seats.len().saturating_add(1).saturating_sub(root.threshold.into());
        ensure!(signatures.len() >= enough.max(1), Error::<T>::TooFewGatekeepers);
        let payload = suspension_payload(&Self::genesis(), &subject, Suspensions::<T>::get(subject), expires);
        let mut last = 0;
        for (number, signature) in signatures {
            ensure!(*number > last, Error::<T>::SeatsOutOfOrder);
            last = *number;
            // Whether it is registered now is not asked: what is suspended may be the seats' own vendor.
            let seat = root.seats.get(usize::from(number.saturating_sub(1))).ok_or(Error::<T>::NotAGatekeeper)?;
            ensure!(signed_by(seat, signature, &payload), Error::<T>::NotAGatekeeper);
        }
        Self::do_suspend(subject)
    }

    /// Seats the committee that was elected, for [`ELECTED_TERM`] blocks from now on. Who elects, and that they did, is the caller's to know.
    pub fn elect_committee(members: Members) -> DispatchResult {
        Self::do_set_committee(members, ELECTED_TERM)
    }

    /// Whether these accounts may be a committee; none at all are no committee, which may be chosen too.
    pub fn ensure_committee(members: &Members) -> DispatchResult {
        let least = if T::InsecureDevelopment::get() { 1 } else { LEAST_MEMBERS };
        ensure!(members.is_empty() || members.len() >= least, Error::<T>::BadCommittee);
        let repeated =
            members.iter().enumerate().any(|(place, member)| members.iter().take(place).any(|m| m == member));
        ensure!(!repeated, Error::<T>::BadCommittee);
        Ok(())
    }

    pub(crate) fn do_set_committee(members: Members, term: BlockNumber) -> DispatchResult {
        Self::ensure_committee(&members)?;
        ensure!((1..=LONGEST_TERM).contains(&term), Error::<T>::WindowOutOfRange);
        // The block that chooses it is the first.
        let until = Self::now_block().saturating_add(term.saturating_sub(1));
        Ballots::<T>::kill();
        Committee::<T>::set((!members.is_empty()).then(|| BrakeCommittee { members: members.clone(), until }));
        Self::deposit_event(Event::CommitteeSet { members, until });
        Ok(())
    }

    pub(crate) fn do_vote_to_suspend(member: AccountId, subject: Subject) -> DispatchResult {
        let now = Self::now_block();
        let serving = |committee: &BrakeCommittee| now <= committee.until && committee.members.contains(&member);
        let committee = Committee::<T>::get().filter(serving).ok_or(Error::<T>::NotOnTheCommittee)?;
        // No votes are laid up for a time in which they could take effect.
        Self::ensure_suspendable(&subject)?;
        let counts = |ballot: &Ballot| now <= ballot.until && ballot.member != member;
        let mut ballots: Vec<Ballot> = Ballots::<T>::get().into_iter().filter(counts).collect();
        ballots.push(Ballot { member, subject, until: now.saturating_add(BALLOT_BLOCKS.saturating_sub(1)) });
        let agreeing = ballots.iter().filter(|ballot| ballot.subject == subject).count();
        Self::deposit_event(Event::SuspensionVoted { member, subject, agreeing: agreeing as u32 });
        let decided = agreeing > committee.members.len() / 2;
        if decided {
            ballots.retain(|ballot| ballot.subject != subject);
        }
        // One a member, as the committee's change voids them all.
        let ballots: BoundedVec<Ballot, ConstU32<MOST_MEMBERS>> =
            ballots.try_into().map_err(|_| Error::<T>::BadCommittee)?;
        Ballots::<T>::put(ballots);
        if decided {
            Self::do_suspend(subject)?;
        }
        Ok(())
    }
}
