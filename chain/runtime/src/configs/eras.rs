//! Staking as the session pallet's manager, which charges for the slashes that are taken when an era begins.
//!
//! A slash costs twice. When it is reported, staking notes what the validator and everybody behind it lose; that is in the weight of the
//! report. It takes it when [`SlashDeferDuration`](super::staking::SlashDeferDuration) eras are over, within which governance may cancel it:
//! at the beginning of the next era, in the block that changes sessions. The session pallet charges that block as a whole one, which covers
//! the change, what is forgotten of old eras, and few slashes. Beside it, what is taken is charged here, stake by stake.
//!
//! Guarantees: a block in which slashes are taken is charged for every stake that they take of; all else of sessions and eras is staking's.
//! Who offends, and who is behind it, decide how much is due. Does not: put off what is more than a block should do. Very many slashes of
//! one era make one block late.

use crate::{AccountId, Runtime, Staking};
use alloc::vec::Vec;
use frame_support::dispatch::DispatchClass;
use pallet_session::{historical, SessionManager};
use pallet_staking::{ActiveEra, ErasStartSessionIndex, UnappliedSlashes};
use phala_pallet_gatekeepers::WeightInfo;
use sp_staking::SessionIndex;

/// Staking, with what an era's beginning takes charged.
pub struct Eras;

/// Stakes, validators' and nominators', of which is taken when this session begins; none where no era begins with it.
fn due_with(session: SessionIndex) -> u32 {
    let next = ActiveEra::<Runtime>::get().map_or(0, |active| active.index.saturating_add(1));
    // As staking asks.
    if ErasStartSessionIndex::<Runtime>::get(next).is_none_or(|first| first > session) {
        return 0;
    }
    UnappliedSlashes::<Runtime>::get(next).iter().fold(0, |stakes: u32, slash| {
        let nominators = u32::try_from(slash.others.len()).unwrap_or(u32::MAX);
        stakes.saturating_add(nominators).saturating_add(1)
    })
}

impl SessionManager<AccountId> for Eras {
    fn new_session(index: SessionIndex) -> Option<Vec<AccountId>> {
        <Staking as SessionManager<AccountId>>::new_session(index)
    }

    fn new_session_genesis(index: SessionIndex) -> Option<Vec<AccountId>> {
        <Staking as SessionManager<AccountId>>::new_session_genesis(index)
    }

    fn start_session(index: SessionIndex) {
        let stakes = due_with(index);
        if stakes > 0 {
            let weight = <() as WeightInfo>::apply(stakes);
            frame_system::Pallet::<Runtime>::register_extra_weight_unchecked(weight, DispatchClass::Mandatory);
        }
        <Staking as SessionManager<AccountId>>::start_session(index);
    }

    fn end_session(index: SessionIndex) {
        <Staking as SessionManager<AccountId>>::end_session(index);
    }
}

impl historical::SessionManager<AccountId, ()> for Eras {
    fn new_session(index: SessionIndex) -> Option<Vec<(AccountId, ())>> {
        <Staking as historical::SessionManager<AccountId, ()>>::new_session(index)
    }

    fn new_session_genesis(index: SessionIndex) -> Option<Vec<(AccountId, ())>> {
        <Staking as historical::SessionManager<AccountId, ()>>::new_session_genesis(index)
    }

    fn start_session(index: SessionIndex) {
        <Self as SessionManager<AccountId>>::start_session(index);
    }

    fn end_session(index: SessionIndex) {
        <Self as SessionManager<AccountId>>::end_session(index);
    }
}
