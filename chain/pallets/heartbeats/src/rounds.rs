//! Rounds: opened by a value of the beacon, closed by time, and followed by a search for whoever did not answer.
//!
//! Guarantees: a block looks at [`LOOKED_AT_PER_BLOCK`] entries at most; a search passes over no registration that is there from its beginning
//! to its end, and looks at none twice; a standing whose worker is registered no longer goes with the next search. Whoever registers
//! controls how many there are, and pays for that; nobody controls their order, which is that of hashes.

use crate::{pallet::*, BeaconValues, WeightInfo};
use alloc::vec::Vec;
use frame_support::weights::Weight;
use phala_pallet_attestation::{self as attestation, Workers};
use phala_protocol::{
    attestation::Role,
    chain_state::WorkerRecord,
    heartbeat::{HeartbeatRound, HeartbeatStanding},
    ids::WorkerId,
};

/// Registrations, or standings, that are looked at in a block. In the 500 blocks that a period of 600 has after a window of 100 these are
/// some four thousand: two thousand workers, for a search looks at their registrations and then at their standings, and soon each has one.
pub(crate) const LOOKED_AT_PER_BLOCK: u32 = 8;

impl<T: Config> Pallet<T> {
    /// What is to do at the beginning of a block.
    pub(crate) fn at_block() -> Weight {
        let (now, round) = (Self::now(), Round::<T>::get());
        if round.is_some_and(|round| now <= round.until) {
            return <T as Config>::WeightInfo::idle();
        }
        if let (Some(round), Some(place)) = (round, Search::<T>::get()) {
            let (looked_at, next) = match place {
                SearchPlace::Workers(after) => Self::look_for_silence(&round, after),
                SearchPlace::Standings(after) => Self::look_for_gone(after),
            };
            Search::<T>::set(next);
            return <T as Config>::WeightInfo::look(looked_at);
        }
        let known = round.map(|round| (round.era, round.period));
        let newest = T::Beacon::newest().filter(|newest| known != Some(*newest));
        let opened = newest.and_then(|(era, period)| Some((era, period, T::Beacon::value(era, period)?)));
        let Some((era, period, value)) = opened else { return <T as Config>::WeightInfo::idle() };
        let policy = Self::policy();
        let (until, rate, patience) = (now.saturating_add(policy.window), policy.rate, policy.patience);
        Round::<T>::put(HeartbeatRound { era, period, value, rate, opened: now, until, patience });
        Search::<T>::put(SearchPlace::Workers(None));
        Self::deposit_event(Event::RoundOpened { era, period, until });
        <T as Config>::WeightInfo::open()
    }

    /// Looks at the next registrations after this one. Says how many, and where it goes on.
    fn look_for_silence(round: &HeartbeatRound, after: Option<WorkerId>) -> (u32, Option<SearchPlace>) {
        let entries = match after {
            Some(worker) => Workers::<T>::iter_from_key(worker),
            None => Workers::<T>::iter(),
        };
        let (mut looked_at, mut last) = (0u32, after);
        for (worker, record) in entries.take(LOOKED_AT_PER_BLOCK as usize) {
            Self::judge(round, worker, &record);
            looked_at = looked_at.saturating_add(1);
            last = Some(worker);
        }
        let all = looked_at < LOOKED_AT_PER_BLOCK;
        (looked_at, Some(if all { SearchPlace::Standings(None) } else { SearchPlace::Workers(last) }))
    }

    /// Counts a round against a worker that owes it an answer.
    fn judge(round: &HeartbeatRound, worker: WorkerId, record: &WorkerRecord) {
        let known = Standings::<T>::get(worker);
        if record.role != Role::Worker || !round.asks(&worker, &known) {
            return;
        }
        // Whoever may not act now has lost more than a drawing already, or may not have been able to attest.
        if attestation::Pallet::<T>::active(&worker, Role::Worker).is_none() {
            return;
        }
        if (round.opened..=round.until).contains(&record.registered_at) {
            return;
        }
        // Its evidence is of a time at which the round was over. It may be new, but only once: a search takes hours, and whoever missed the round
        // can attest anew before it gets there.
        if record.registered_at > round.until && !Standings::<T>::contains_key(worker) {
            Standings::<T>::insert(worker, known);
            return;
        }
        let (era, period, misses) = (round.era, round.period, known.misses.saturating_add(1));
        let unresponsive = known.unresponsive || misses >= round.patience;
        Standings::<T>::insert(worker, HeartbeatStanding { misses, unresponsive, ..known });
        Self::deposit_event(Event::Missed { worker, era, period, misses });
        if unresponsive && !known.unresponsive {
            Self::deposit_event(Event::Unresponsive { worker, era, period, misses });
        }
    }

    /// Looks at the next standings after this one, and forgets those of workers that are registered no longer.
    fn look_for_gone(after: Option<WorkerId>) -> (u32, Option<SearchPlace>) {
        let keys = match after {
            Some(worker) => Standings::<T>::iter_keys_from_key(worker),
            None => Standings::<T>::iter_keys(),
        };
        let workers: Vec<WorkerId> = keys.take(LOOKED_AT_PER_BLOCK as usize).collect();
        for worker in workers.iter().filter(|worker| !Workers::<T>::contains_key(*worker)) {
            Standings::<T>::remove(worker);
        }
        let looked_at = workers.len() as u32;
        let more = looked_at == LOOKED_AT_PER_BLOCK;
        (looked_at, more.then(|| SearchPlace::Standings(workers.last().copied())))
    }
}
