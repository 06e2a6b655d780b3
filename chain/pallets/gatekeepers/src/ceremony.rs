//! The course of a ceremony: start, phases, attempts, end.
//!
//! Guarantees: a phase ends in the block after its last, or after all that take part said what it asks; what follows is what
//! [`phala_protocol::ceremony::end_phase`] says, and dealers that it convicts are punished; a ceremony that took the absent back, or failed
//! and left out nobody, [`MOST_READMISSIONS`] times is given up, which counts as an absence of whoever is absent; no attempt's number is used
//! twice in an era; with a ceremony that ends without a root ends the wait of the set that was elected for it, in the same block.
//! A block moves a ceremony by one phase at most. Governance and elections start, governance cancels, seats' statements and time move.

use crate::{
    pallet::*, Elected, Misdeed, Offence, Punish, WeightInfo, LEAST_SEATS, MOST_READMISSIONS, REMEMBERED_ERAS,
};
use alloc::{collections::BTreeSet, vec::Vec};
use frame_support::{ensure, pallet_prelude::DispatchResult, weights::Weight};
use phala_pallet_attestation as attestation;
use phala_protocol::{
    attestation::Role,
    ceremony::{
        end_phase, faults, threshold_of, CeremonyRecord, Complaint, Fault, Next as Follows, Phase, LEAST_PHASE_BLOCKS,
        MAX_SEATS,
    },
    ids::{BlockNumber, WorkerId},
};

impl<T: Config> Pallet<T> {
    /// Starts the ceremony of the next era. Returns the era.
    pub(crate) fn begin_ceremony(gatekeepers: &[WorkerId]) -> Result<u32, Error<T>> {
        ensure!(!Ceremony::<T>::exists(), Error::<T>::UnderWay);
        ensure!(!Next::<T>::exists(), Error::<T>::HandOverPending);
        ensure!(!IdentityCeremony::<T>::exists(), Error::<T>::IdentitiesUnderWay);
        ensure!(gatekeepers.len() >= LEAST_SEATS, Error::<T>::TooFewSeats);
        ensure!(gatekeepers.len() <= MAX_SEATS, Error::<T>::TooManySeats);
        let mut elected = Vec::with_capacity(gatekeepers.len());
        for (position, gatekeeper) in gatekeepers.iter().enumerate() {
            let repeated = gatekeepers.iter().take(position).any(|other| other == gatekeeper);
            ensure!(!repeated, Error::<T>::RepeatedSeat);
            let validator = Validators::<T>::get(gatekeeper).ok_or(Error::<T>::NotSeated)?;
            ensure!(Self::seat_of(&validator) == Some(*gatekeeper), Error::<T>::NotAGatekeeper);
            elected.push((*gatekeeper, validator));
        }
        let (policy, threshold) = (CurrentPolicy::<T>::get(), threshold_of(gatekeepers.len()));
        ensure!(!policy.vendor_quota || Self::keeps_quota(gatekeepers, threshold), Error::<T>::VendorQuota);

        let era = Self::next_era();
        let attempt = match NextAttempt::<T>::get() {
            (known, attempt) if known == era => attempt,
            _ => 0,
        };
        // A plan waits for the root of its own ceremony alone. One of this era has none any more, whatever became of it.
        Self::drop_plan(era);
        Self::keep_former_set(era);
        Elections::<T>::insert(era, Elected { first_attempt: attempt, seats: elected });
        if let Some(forgotten) = era.checked_sub(REMEMBERED_ERAS) {
            Elections::<T>::remove(forgotten);
            DealtBy::<T>::remove(forgotten);
        }
        let record = CeremonyRecord::new(era, attempt, gatekeepers);
        let seats = gatekeepers.to_vec();
        Self::deposit_event(Event::CeremonyStarted { era, attempt, threshold: record.threshold, seats });
        Self::begin_phase(record, Phase::Commit);
        Ok(era)
    }

    pub(crate) fn do_cancel() -> DispatchResult {
        let CeremonyRecord { era, attempt, .. } = Ceremony::<T>::get().ok_or(Error::<T>::NothingToCancel)?;
        Self::end_ceremony(era, attempt);
        Self::deposit_event(Event::CeremonyCancelled { era, attempt });
        Self::drop_plan(era);
        Ok(())
    }

    /// What is due at the beginning of a block.
    pub(crate) fn at_block() -> Weight {
        let now = Self::now();
        let mut weight = <T as Config>::WeightInfo::idle();
        if Due::<T>::get().is_some_and(|due| now >= due) {
            if let Some(record) = Ceremony::<T>::get() {
                weight.saturating_accrue(Self::advance(record));
            }
        }
        weight.saturating_accrue(Self::identities_at_block());
        weight.saturating_add(Self::hand_over(now))
    }

    /// Ends a phase. Returns the weight.
    fn advance(mut record: CeremonyRecord) -> Weight {
        let (era, attempt) = (record.era, record.attempt);
        let ends = <T as Config>::WeightInfo::advance(record.seats.len() as u32, record.complaints.len() as u32);
        if record.phase == Phase::Deliver {
            let accusers = (1u16..).zip(&record.seats).filter(|(_, seat)| seat.key.is_some());
            Self::drop_undeliverable(&mut record.complaints, accusers.map(|(index, seat)| (index, seat.gatekeeper)));
        }
        let before = record.clone();
        let ended = end_phase(&mut record);
        // With too few that committed, whoever did not is asked again without having been left out. Where an attempt failed and nobody is at
        // fault, more lied than may, and could go on for ever.
        let again = ended.next == Follows::Begin(Phase::Commit) && ended.left_out.is_empty();
        let weight = ends.saturating_add(Self::convictions(ended.convicted.len()));
        for dealer in ended.convicted {
            if let Some(seat) = record.seat(dealer) {
                Self::convict_dealer(era, attempt, &seat.gatekeeper);
            }
        }
        for (index, reason) in ended.left_out {
            if let Some(seat) = record.seat(index) {
                let (gatekeeper, fault) = (seat.gatekeeper, reason.fault());
                Self::deposit_event(Event::LeftOut { era, attempt, gatekeeper, fault });
            }
        }
        if (again || ended.readmitted > 0) && ended.next != Follows::Abandoned {
            let times = Readmissions::<T>::get();
            if times >= MOST_READMISSIONS {
                Self::give_up(before);
                return weight;
            }
            Readmissions::<T>::put(times.saturating_add(1));
        }
        if ended.readmitted > 0 {
            Self::deposit_event(Event::Readmitted { era, seats: ended.readmitted });
        }
        match ended.next {
            Follows::Begin(phase) => Self::begin_phase(record, phase),
            Follows::Root(keys) => {
                Self::end_ceremony(era, attempt);
                Self::make_root(&record, keys);
            }
            Follows::Abandoned => {
                Self::end_ceremony(era, attempt);
                Self::abandon(era, attempt);
            }
        }
        weight
    }

    /// Ends a ceremony for those that are absent from it, as it stood before the end of its phase; the next election is held without them.
    fn give_up(mut record: CeremonyRecord) {
        for (index, reason) in faults(&record) {
            let position = usize::from(index).checked_sub(1);
            if let Some(seat) = position.and_then(|position| record.seats.get_mut(position)) {
                seat.left_out = Some(reason.fault());
            }
        }
        let CeremonyRecord { era, attempt, .. } = record;
        Self::end_ceremony(era, attempt);
        Self::count_absences(&record);
        let seats = record.seats.iter().zip(Self::seats_in(era));
        let absent = seats.filter(|(seat, _)| seat.left_out == Some(Fault::Absent));
        KeptOut::<T>::put(absent.map(|(_, (_, validator))| validator).collect::<Vec<_>>());
        Self::abandon(era, attempt);
    }

    /// At the end of `Deliver`, a complaint on which nothing was delivered counts only if dealers could verify its maker, and so seal to it:
    /// if that is active, under a registration that is as old as the shortest such phase. Whose registration lapses when it has complained,
    /// and is renewed when it is too late, would have all dealers left out. The long-lived key of the registration may be another by then:
    /// nothing is sealed to that one.
    pub(crate) fn drop_undeliverable(complaints: &mut Vec<Complaint>, accusers: impl Iterator<Item = (u16, WorkerId)>) {
        let now = Self::now();
        let is_in_reach = |gatekeeper: &WorkerId| {
            attestation::Pallet::<T>::active(gatekeeper, Role::Gatekeeper)
                .is_some_and(|worker| worker.registered_at.saturating_add(LEAST_PHASE_BLOCKS) <= now)
        };
        let out_of_reach: BTreeSet<u16> =
            accusers.filter(|(_, gatekeeper)| !is_in_reach(gatekeeper)).map(|(index, _)| index).collect();
        complaints.retain(|complaint| complaint.delivered.is_some() || !out_of_reach.contains(&complaint.accuser));
    }

    /// Blocks of a phase that begins now.
    pub(crate) fn phase_length(phase: Phase) -> BlockNumber {
        let policy = CurrentPolicy::<T>::get();
        match phase {
            Phase::Commit => policy.commit,
            Phase::Share => policy.share,
            Phase::Deliver => policy.deliver,
            Phase::Settle => policy.settle,
        }
    }

    /// The present block is the first of the phase.
    fn begin_phase(mut record: CeremonyRecord, phase: Phase) {
        record.begin(phase, Self::now(), Self::phase_length(phase));
        Due::<T>::put(record.until.saturating_add(1));
        let CeremonyRecord { era, attempt, until, .. } = record;
        Self::deposit_event(Event::PhaseBegan { era, attempt, phase, until });
        Ceremony::<T>::put(record);
    }

    fn end_ceremony(era: u32, attempt: u32) {
        Ceremony::<T>::kill();
        Due::<T>::kill();
        Readmissions::<T>::kill();
        NextAttempt::<T>::put((era, attempt.saturating_add(1)));
    }

    /// Says that a ceremony ended without a root. The set that waited for it waits no longer.
    pub(crate) fn abandon(era: u32, attempt: u32) {
        Self::deposit_event(Event::CeremonyAbandoned { era, attempt });
        Self::drop_plan(era);
    }

    /// What it costs to convict so many seats: as much as a report of each, with all who may be behind its validator.
    pub(crate) fn convictions(number: usize) -> Weight {
        let one = <T as Config>::WeightInfo::report(<T::Punish as Punish<T::AccountId>>::MOST_BACKERS);
        one.saturating_mul(number as u64)
    }

    /// Convicts a dealer that has a seat of the present set of `era`, and that a threshold rejected.
    pub(crate) fn convict_dealer(era: u32, attempt: u32, gatekeeper: &WorkerId) {
        let Some(Elected { first_attempt, seats }) = Elections::<T>::get(era) else { return };
        let Some((_, validator)) = seats.into_iter().find(|(seated, _)| seated == gatekeeper) else { return };
        let misdeed = Misdeed {
            offender: validator,
            offence: Offence::WrongShare,
            era,
            attempt,
            set: first_attempt,
            fraction: CurrentPolicy::<T>::get().fault,
            reporters: Vec::new(),
        };
        Self::convict(gatekeeper, misdeed);
    }

    /// Takes a gatekeeper out for good, and punishes the validator that had the seat. Once, whatever else it did.
    pub(crate) fn convict(gatekeeper: &WorkerId, misdeed: Misdeed<T::AccountId>) {
        if Convictions::<T>::contains_key(gatekeeper) {
            return;
        }
        Convictions::<T>::insert(gatekeeper, misdeed.era);
        // Whoever it is bound to by now: it may have moved to another validator, who did nothing, and has no seat with it either.
        if let Some(bound) = Validators::<T>::get(gatekeeper) {
            Self::unbind(&bound, gatekeeper);
        }
        let (validator, offence) = (misdeed.offender.clone(), misdeed.offence);
        Self::deposit_event(Event::Convicted { validator, gatekeeper: *gatekeeper, offence });
        if !misdeed.fraction.is_zero() {
            T::Punish::punish(misdeed);
        }
    }
}
