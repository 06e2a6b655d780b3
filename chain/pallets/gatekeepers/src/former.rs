//! Sets of eras that were begun again: who had the seats of a ceremony that ended without its era's root.
//!
//! Guarantees: whoever signed two statements of which one can be true is known by era, attempt and index also when governance cancelled the
//! ceremony, or it was given up or abandoned, and another set began the era again. The newest [`MOST_FORMER_SETS`] are kept, of the eras that
//! are remembered. Elections begin one a session at most, so that they reach back over as many sessions without a root in any of them, which
//! are more than a stake stays bonded for while eras pass (the runtime sees to that). What a beginning forgets is bounded: [`MOST_FORGOTTEN`]
//! sets, one more than it adds.
//!
//! Elections and governance control how often an era is begun. Does not: keep more than that, where governance begins and cancels all the
//! time, or a network makes no root for longer, in which no era passes and stakes stay bonded.

use crate::{pallet::*, Elected, MOST_FORMER_SETS, REMEMBERED_ERAS};
use phala_protocol::ids::WorkerId;

/// Former sets that are forgotten when an era begins, at most.
const MOST_FORGOTTEN: usize = 2;

/// A seat of a set that was asked for an era's root.
pub(crate) struct Seated<Account> {
    pub(crate) gatekeeper: WorkerId,
    pub(crate) validator: Account,
    /// The first attempt of the set.
    pub(crate) set: u32,
}

impl<T: Config> Pallet<T> {
    /// Keeps the set that has the seats of `era`, if there is one, for another one is about to have them; and forgets the oldest sets that are
    /// too many or of too long ago.
    pub(crate) fn keep_former_set(era: u32) {
        let known = FormerSets::<T>::get();
        let mut kept = known.clone();
        if let Some(Elected { first_attempt, seats }) = Elections::<T>::get(era) {
            FormerElections::<T>::insert((era, first_attempt), seats);
            kept.push((era, first_attempt));
        }
        for _ in 0..MOST_FORGOTTEN {
            let too_many = kept.len() > MOST_FORMER_SETS as usize;
            let too_old = |(of, _): &(u32, u32)| of.saturating_add(REMEMBERED_ERAS) <= era;
            let Some(oldest) = kept.first().copied().filter(|oldest| too_many || too_old(oldest)) else { break };
            kept.remove(0);
            FormerElections::<T>::remove(oldest);
        }
        if kept != known {
            FormerSets::<T>::put(kept);
        }
    }

    /// The seat of `index` (from 1) in the set that was asked for this attempt of an era; none where that is not remembered.
    pub(crate) fn seat_in_attempt(era: u32, attempt: u32, index: u16) -> Option<Seated<T::AccountId>> {
        let position = usize::from(index).checked_sub(1)?;
        let elected = Elections::<T>::get(era)?;
        let Elected { first_attempt: set, seats } = if attempt < elected.first_attempt {
            // Attempts of an era are numbered on: those of a set end where the next one's begin, and the oldest are forgotten first.
            let is_of = |(of, first): &(u32, u32)| *of == era && *first <= attempt;
            let former @ (_, first_attempt) = FormerSets::<T>::get().into_iter().rev().find(is_of)?;
            Elected { first_attempt, seats: FormerElections::<T>::get(former)? }
        } else {
            elected
        };
        let (gatekeeper, validator) = seats.into_iter().nth(position)?;
        Some(Seated { gatekeeper, validator, set })
    }
}
