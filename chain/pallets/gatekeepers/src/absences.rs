//! Who is missing, and when that costs something.
//!
//! It has one price, the policy's `fine` of the validator's own stake, which is taken at the absence that the policy's `absences` names;
//! those before are warnings, each an event. Like every slash it is deferred, and governance cancels it. What is counted are
//!
//! - *roots* in a row, made or given up without a validator's gatekeeper, which had a seat;
//! - *ceremonies of identities* in a row, which ended with a record or were given up, without a validator's gatekeeper, which was to deal
//!   or to receive, and did not commit, deliver, answer or confirm;
//! - *periods of the beacon* that ended without a value while a validator's gatekeeper gave no partial. Not in a row: whoever is silent to
//!   have a value skipped that it does not like is so when it likes. They count for [`SILENT_ERAS`] eras, and cost one fine an era at most:
//!   a machine that is gone has every period skipped where no other may be missing, and its owner is not to be ruined over a week-end.
//!
//! Each is counted apart, so that presence in one makes up for absence in no other.
//!
//! # Those whom the network keeps away
//!
//! Of those who are asked t are enough, and k are missing. A period of the beacon that had its value asks nobody more, so that up to n - t
//! who are silent are no fault of anybody's: k there is n - t + 1 at least. **With k >= t nobody is counted, in a period as among the
//! dealers or the holders of a ceremony of identities; with fewer each of the k is.** So many at once are an outage, finality that stands
//! still, or a release that does not do it yet. And nobody has anything from being silent in such company: t together know every value
//! before it is made, and have the keys. A gatekeeper that is shut out when a period ends, by the brake or governance, is not counted then.
//!
//! Staking's rule for validators that are not heard (pallet-im-online, `UnresponsivenessOffence::slash_fraction`) takes of each
//!
//! ```text
//! min(3 (k - (n / 10 + 1)) / n, 1) * 7 %
//! ```
//!
//! Nothing of up to a tenth, and of each the more, the more are missing, for it fears those who stop finality together. Here what may be
//! missing follows from the threshold and not from a tenth. The price does not grow with k: it is small, so that whoever's relayer lost a
//! letter is warned and not ruined. And there is an end to it above, for a chain that fines all of them fines its own network.
//!
//! What it cannot see: whether one of k < t was unreachable or unwilling; a period in which finality stopped after more than n - t partials
//! and before the value. Both are warnings first. Ceremonies decide who is absent, the beacon pallet who is silent; this counts. Root
//! ceremonies have no upper end: they wait for n - t absent at most, ask five times, and stall the network as long.

use crate::{pallet::*, Elected, Misdeed, Offence, OnSilence, Policy, Punish, SilenceRecord, WeightInfo};
use alloc::{collections::BTreeMap, vec::Vec};
use frame_support::weights::Weight;
use phala_pallet_attestation::{self as attestation, Absence};
use phala_protocol::{
    attestation::Role,
    ceremony::{CeremonyRecord, Fault, Reason},
    identities::{faults, IdentityCeremonyRecord},
    ids::WorkerId,
};

/// Eras for which a silence of the beacon counts after the last one.
pub const SILENT_ERAS: u32 = 7;

/// Whether so many that are missing are counted, where `enough` of all would do: with more, the network is the likelier cause.
pub(crate) const fn is_counted(missing: usize, enough: usize) -> bool {
    missing < enough
}

impl<T: Config> Pallet<T> {
    /// Counts a root that was made or given up.
    pub(crate) fn count_absences(record: &CeremonyRecord) {
        let CeremonyRecord { era, attempt, .. } = *record;
        let policy = CurrentPolicy::<T>::get();
        let Some(Elected { first_attempt: set, seats }) = Elections::<T>::get(era) else { return };
        for (seat, (_, validator)) in record.seats.iter().zip(seats) {
            if seat.left_out != Some(Fault::Absent) {
                Absences::<T>::remove(&validator);
                continue;
            }
            let times = Absences::<T>::get(&validator).saturating_add(1);
            Self::deposit_event(Event::Absent { validator: validator.clone(), times });
            if times < policy.absences {
                Absences::<T>::insert(&validator, times);
                continue;
            }
            Absences::<T>::remove(&validator);
            Self::fine(&policy, validator, Offence::Absence, (era, set), attempt);
        }
    }

    /// Counts a ceremony of identities that ended with a record, or is given up with this one as it stood before the end of its last phase.
    pub(crate) fn count_identity_absences(record: &IdentityCeremonyRecord, given_up: bool) {
        let IdentityCeremonyRecord { era, attempt, .. } = *record;
        let found = if given_up && record.agreed.is_none() { faults(record) } else { Default::default() };
        let at_fault = |reason: Option<&Reason>| reason.is_some_and(|reason| reason.fault() == Fault::Absent);
        // Whoever is not left out and did not commit either was waited for, as those of a root's ceremony are.
        let dealers: Vec<(WorkerId, bool)> = record
            .dealers
            .iter()
            .map(|dealer| {
                let absent = match dealer.left_out {
                    Some(fault) => fault == Fault::Absent,
                    None => dealer.package.is_none() || at_fault(found.dealers.get(&dealer.index)),
                };
                (dealer.gatekeeper, absent)
            })
            .collect();
        let holders: Vec<(WorkerId, bool)> = (1u16..)
            .zip(&record.holders)
            .map(|(index, holder)| {
                let absent = match holder.left_out {
                    Some(fault) => fault == Fault::Absent,
                    None => at_fault(found.holders.get(&index)),
                };
                (holder.gatekeeper, absent)
            })
            .collect();
        // Of each validator the era and the set of its seat, and whether it was missing in either part.
        let mut counted = BTreeMap::<T::AccountId, ((u32, u32), bool)>::new();
        let dealt_by = DealtBy::<T>::get(era).unwrap_or(era);
        for (asked, enough, seated_in) in [(dealers, record.deals, dealt_by), (holders, record.threshold, era)] {
            let missing = asked.iter().filter(|(_, absent)| *absent).count();
            if !is_counted(missing, enough.into()) {
                continue;
            }
            let Some(Elected { first_attempt, seats }) = Elections::<T>::get(seated_in) else { continue };
            let seated_in = (seated_in, first_attempt);
            let validators: BTreeMap<WorkerId, T::AccountId> = seats.into_iter().collect();
            for (gatekeeper, absent) in asked {
                let Some(validator) = validators.get(&gatekeeper) else { continue };
                let known = counted.entry(validator.clone()).or_insert((seated_in, false));
                if absent && !known.1 {
                    *known = (seated_in, true);
                }
            }
        }
        let policy = CurrentPolicy::<T>::get();
        for (validator, (seated_in, absent)) in counted {
            if !absent {
                IdentityAbsences::<T>::remove(&validator);
                continue;
            }
            let times = IdentityAbsences::<T>::get(&validator).saturating_add(1);
            Self::deposit_event(Event::AbsentFromIdentities { validator: validator.clone(), times });
            if times < policy.absences {
                IdentityAbsences::<T>::insert(&validator, times);
                continue;
            }
            IdentityAbsences::<T>::remove(&validator);
            Self::fine(&policy, validator, Offence::IdentityAbsence, seated_in, attempt);
        }
    }

    /// Counts a period of the beacon in which this validator's gatekeeper, which has a seat of this era and set, was silent.
    fn count_silence(policy: &Policy, validator: T::AccountId, (era, set): (u32, u32), period: u32) {
        let recent = |known: &SilenceRecord| era.saturating_sub(known.era) <= SILENT_ERAS;
        let known = Silences::<T>::get(&validator).filter(recent).unwrap_or_default();
        if known.fined_in == Some(era) {
            return;
        }
        let times = known.times.saturating_add(1);
        Self::deposit_event(Event::Silent { validator: validator.clone(), era, period, times });
        if times < policy.absences {
            Silences::<T>::insert(&validator, SilenceRecord { era, times, fined_in: known.fined_in });
            return;
        }
        Silences::<T>::insert(&validator, SilenceRecord { era, times: 0, fined_in: Some(era) });
        Self::fine(policy, validator, Offence::Silence, (era, set), period);
    }

    /// Takes the policy's fine of whoever had a seat of this era and set, for what happened in this attempt, or period.
    fn fine(policy: &Policy, offender: T::AccountId, offence: Offence, (era, set): (u32, u32), attempt: u32) {
        if !policy.fine.is_zero() {
            let fraction = policy.fine;
            let reporters = Vec::new();
            T::Punish::punish(Misdeed { offender, offence, era, attempt, set, fraction, reporters });
        }
    }
}

impl<T: Config> OnSilence for Pallet<T> {
    fn silent(era: u32, period: u32, silent: &[u16], enough: u16) -> Weight {
        if !is_counted(silent.len(), enough.into()) {
            return Weight::zero();
        }
        let policy = CurrentPolicy::<T>::get();
        let Some(Elected { first_attempt, seats }) = Elections::<T>::get(era) else { return Weight::zero() };
        let holders = silent.iter().filter_map(|index| seats.get(usize::from(*index).checked_sub(1)?));
        for (gatekeeper, validator) in holders {
            let barred = attestation::Pallet::<T>::absence(gatekeeper, Role::Gatekeeper) == Some(Absence::Barred);
            if !barred {
                Self::count_silence(&policy, validator.clone(), (era, first_attempt), period);
            }
        }
        <T as Config>::WeightInfo::silence().saturating_mul(silent.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::ceremony::{threshold_of, tolerated, MAX_SEATS};

    #[test]
    fn as_many_missing_as_are_enough_are_the_networks_fault_and_fewer_are_their_own() {
        for seats in crate::LEAST_SEATS..=MAX_SEATS {
            let enough = threshold_of(seats);
            // The fewest without whom there is no value are counted, and all of them are not.
            assert!(is_counted(tolerated(seats) + 1, enough) && is_counted(enough - 1, enough), "{seats}");
            assert!(!is_counted(enough, enough) && !is_counted(seats, enough), "{seats}");
        }
    }
}
