//! The two keys that contracts' identities follow from: which set holds them, and the ceremonies that make them once and hand them over.
//!
//! Governance says when they are made, by the seats of the root that answers. From then on each set whose root answers receives them from
//! those who hold them, by itself. [`phala_protocol::identities`] has the rules, which the chain applies; it sees hashes, sealed parcels, and
//! shares that are in dispute.
//!
//! Guarantees: keys change hands at one place, the record that all holders who take part confirmed, a threshold at least, and whose keys are
//! those that the chain has; before it those who held them hold them on. A ceremony of identities begins when no root is made or handed over,
//! so that it delays no epoch key, and none is begun meanwhile: the next election waits, until it ends or is given up. No attempt's number
//! is used twice in an era. Whoever contradicts itself is convicted as in the ceremony of the root, for as long as its seat is remembered,
//! and absences cost what [`crate::absences`] says. Gatekeepers' TEEs control what is signed, whoever pays carries it. Does not: see a
//! share of an honest dealer that nobody disputes, or that a former holder forgets its shares.

use crate::{former::Seated, pallet::*, Misdeed, Offence, WeightInfo, LEAST_SEATS};
use alloc::vec;
use frame_support::{
    dispatch::{DispatchResultWithPostInfo, Pays, PostDispatchInfo},
    ensure,
    pallet_prelude::DispatchResult,
    weights::Weight,
};
use phala_pallet_attestation as attestation;
use phala_protocol::{
    attestation::Role,
    ceremony::{Attachment, Fault, Phase, MAX_SEATS},
    identities::{
        end_phase, is_complete, show, take, IdentityCeremonyRecord, IdentityNext, IdentityRecord, NotShown,
        SignedIdentityStatement,
    },
    ids::{AccountId, WorkerId},
};

impl<T> From<NotShown> for Error<T> {
    fn from(refused: NotShown) -> Self {
        match refused {
            NotShown::NotAgreed => Self::NotAgreed,
            NotShown::OtherRecord | NotShown::OtherFormer | NotShown::OtherHolders | NotShown::OtherKeys => {
                Self::OtherRecord
            }
        }
    }
}

impl<T: Config> Pallet<T> {
    /// Starts the ceremony in which the seats of the root that answers make the keys, or receive them.
    pub(crate) fn do_start_identities() -> DispatchResult {
        ensure!(!Ceremony::<T>::exists() && !IdentityCeremony::<T>::exists(), Error::<T>::UnderWay);
        ensure!(!Next::<T>::exists(), Error::<T>::HandOverPending);
        let root = attestation::Root::<T>::get().ok_or(Error::<T>::NoRoot)?;
        ensure!(root.seats.len() >= LEAST_SEATS, Error::<T>::TooFewSeats);
        ensure!(root.seats.len() <= MAX_SEATS, Error::<T>::TooManySeats);
        let former = Identity::<T>::get();
        let held = former.as_ref().is_some_and(|former| former.era >= root.era);
        ensure!(!held, Error::<T>::IdentitiesHeld);

        let era = root.era;
        let attempt = match NextIdentityAttempt::<T>::get() {
            (known, attempt) if known == era => attempt,
            _ => 0,
        };
        let present = |gatekeeper: &WorkerId| attestation::Pallet::<T>::active(gatekeeper, Role::Gatekeeper).is_some();
        let mut record = IdentityCeremonyRecord::new(era, attempt, former.as_ref(), &root.seats, present);
        let (threshold, made) = (record.threshold, former.is_none());
        // Whoever is convicted is not taken back, however few are left. But those who hold keys deal: too few of them, and the keys are lost.
        let convicted = |gatekeeper: &WorkerId| Convictions::<T>::contains_key(gatekeeper);
        for holder in record.holders.iter_mut().filter(|holder| convicted(&holder.gatekeeper)) {
            holder.left_out = Some(Fault::WrongShare);
        }
        for dealer in record.dealers.iter_mut().filter(|dealer| made && convicted(&dealer.gatekeeper)) {
            dealer.left_out = Some(Fault::WrongShare);
        }
        // Where keys are made, those who deal are those who receive.
        DealtBy::<T>::insert(era, former.map_or(era, |former| former.era));
        Self::deposit_event(Event::IdentitiesStarted { era, attempt, threshold, made });
        Self::begin_identity_phase(record, Phase::Commit);
        Ok(())
    }

    /// A root answers: its set receives the keys, if there are any.
    pub(crate) fn hand_identities_over() -> Weight {
        if !Identity::<T>::exists() {
            return Weight::zero();
        }
        // Where it cannot begin, the keys stay where they are, and governance may begin it.
        let _ = Self::do_start_identities();
        <T as Config>::WeightInfo::start(2 * MAX_SEATS as u32)
    }

    pub(crate) fn do_cancel_identities() -> DispatchResult {
        let IdentityCeremonyRecord { era, attempt, .. } =
            IdentityCeremony::<T>::get().ok_or(Error::<T>::NothingToCancel)?;
        Self::end_identities(era, attempt);
        Self::deposit_event(Event::IdentitiesCancelled { era, attempt });
        Ok(())
    }

    /// The ceremony of identities with this statement in it, if it is taken now, and the operator of the gatekeeper that made it. Writes
    /// nothing.
    fn with_identity_statement(
        signed: &SignedIdentityStatement,
        attachment: Option<&Attachment>,
    ) -> Result<(IdentityCeremonyRecord, AccountId), Error<T>> {
        let mut record = IdentityCeremony::<T>::get().ok_or(Error::<T>::NoCeremony)?;
        ensure!(signed.era == record.era, Error::<T>::WrongEra);
        ensure!(signed.attempt == record.attempt, Error::<T>::WrongAttempt);
        let SignedIdentityStatement { index, statement, .. } = *signed;
        let speaker = if statement.is_of_dealer() {
            record.dealer(index).map(|dealer| dealer.gatekeeper)
        } else {
            record.holder(index).map(|holder| holder.gatekeeper)
        };
        let gatekeeper = speaker.ok_or(Error::<T>::NoSuchSeat)?;
        let registered = attestation::Pallet::<T>::active(&gatekeeper, Role::Gatekeeper);
        let registered = registered.ok_or(Error::<T>::NotAGatekeeper)?;
        ensure!(Self::is_identity_signed(signed, &gatekeeper), Error::<T>::BadSignature);
        let circumstances = Self::circumstances(&gatekeeper, attachment);
        take(&mut record, index, &statement, attachment, &circumstances).map_err(Error::<T>::from)?;
        Ok((record, registered.operator))
    }

    fn is_identity_signed(signed: &SignedIdentityStatement, gatekeeper: &WorkerId) -> bool {
        attestation::signed_by(gatekeeper, &signed.signature, &signed.signing_payload(&Self::genesis()))
    }

    /// The gatekeeper that says this if the ceremony is of the root that answers, as it is but where governance records another meanwhile.
    /// Told without the ceremony's record, which may be large.
    fn speaker_by_root(signed: &SignedIdentityStatement) -> Option<WorkerId> {
        let former = if signed.statement.is_of_dealer() { Identity::<T>::get() } else { None };
        let Some(former) = former else {
            let root = attestation::Root::<T>::get()?;
            return root.seats.get(usize::from(signed.index).checked_sub(1)?).copied();
        };
        former.holders.iter().find(|holder| holder.index == signed.index).map(|holder| holder.gatekeeper)
    }

    /// As [`Self::is_awaited`], of a statement of a ceremony of identities.
    pub fn is_identity_awaited(
        sender: &T::AccountId,
        signed: &SignedIdentityStatement,
        attachment: Option<&Attachment>,
    ) -> bool {
        Self::is_identity_phase_open()
            && Self::speaker_by_root(signed).is_some_and(|gatekeeper| Self::is_operator(sender, &gatekeeper))
            && Self::with_identity_statement(signed, attachment)
                .is_ok_and(|(_, operator)| operator == Self::account(sender))
    }

    /// Whether `shown` is the record with which the ceremony of identities ends, and `sender` runs one of its holders now.
    pub fn is_record_awaited(sender: &T::AccountId, shown: &IdentityRecord) -> bool {
        let holds = |gatekeeper: WorkerId| shown.holders.iter().any(|holder| holder.gatekeeper == gatekeeper);
        let awaited = |record: IdentityCeremonyRecord| show(&record, shown, Identity::<T>::get().as_ref()).is_ok();
        Self::is_identity_phase_open()
            && Self::seat_of(sender).is_some_and(holds)
            && IdentityCeremony::<T>::get().is_some_and(awaited)
    }

    fn is_identity_phase_open() -> bool {
        IdentityDue::<T>::get().is_some_and(|due| Self::now() < due)
    }

    pub(crate) fn do_state_identities(
        signed: &SignedIdentityStatement,
        attachment: Option<Attachment>,
    ) -> DispatchResultWithPostInfo {
        let (record, _) = Self::with_identity_statement(signed, attachment.as_ref())?;
        let SignedIdentityStatement { era, attempt, index, statement, .. } = *signed;
        let of_dealer = statement.is_of_dealer();
        if is_complete(&record) {
            IdentityDue::<T>::put(Self::now().saturating_add(1));
        }
        let (seats, complaints) = Self::size(&record);
        let weight = match attachment {
            Some(_) => <T as Config>::WeightInfo::state_with(seats, complaints),
            None => <T as Config>::WeightInfo::state(seats, complaints),
        };
        IdentityCeremony::<T>::put(record);
        Self::deposit_event(Event::IdentitiesStated { era, attempt, index, of_dealer });
        if let Some(attachment) = attachment {
            Self::deposit_event(Event::IdentitiesAttached { era, attempt, index, of_dealer, attachment });
        }
        Ok(PostDispatchInfo { actual_weight: Some(weight), pays_fee: Pays::No })
    }

    pub(crate) fn do_report_identities(
        reporter: T::AccountId,
        first: &SignedIdentityStatement,
        second: &SignedIdentityStatement,
    ) -> DispatchResultWithPostInfo {
        let SignedIdentityStatement { era, attempt, index, statement, .. } = *first;
        let same = (second.era, second.attempt, second.index) == (era, attempt, index);
        // Two that contradict each other are of one kind: a dealer's both, or a holder's.
        ensure!(same && statement.contradicts(&second.statement), Error::<T>::NotEquivocation);
        let dealt_by = DealtBy::<T>::get(era).ok_or(Error::<T>::NoSuchSeat)?;
        let seated_in = if statement.is_of_dealer() { dealt_by } else { era };
        // The root of such an era answered, so that no other set has its seats any more.
        let Seated { gatekeeper, validator, set } = Self::seat_in(seated_in, index).ok_or(Error::<T>::NoSuchSeat)?;
        ensure!(!Convictions::<T>::contains_key(gatekeeper), Error::<T>::Convicted);
        let signed = Self::is_identity_signed(first, &gatekeeper) && Self::is_identity_signed(second, &gatekeeper);
        ensure!(signed, Error::<T>::BadSignature);
        let misdeed = Misdeed {
            offender: validator,
            offence: Offence::Equivocation,
            era: seated_in,
            attempt,
            set,
            fraction: CurrentPolicy::<T>::get().fault,
            reporters: vec![reporter],
        };
        Self::convict(&gatekeeper, misdeed);
        Ok(Pays::No.into())
    }

    pub(crate) fn do_show_identities(shown: IdentityRecord) -> DispatchResultWithPostInfo {
        let record = IdentityCeremony::<T>::get().ok_or(Error::<T>::NoCeremony)?;
        show(&record, &shown, Identity::<T>::get().as_ref()).map_err(Error::<T>::from)?;
        let (era, attempt, holders) = (record.era, record.attempt, shown.holders.len() as u32);
        Self::end_identities(era, attempt);
        Self::count_identity_absences(&record, false);
        Identity::<T>::put(shown);
        Self::deposit_event(Event::IdentitiesReceived { era, attempt, holders });
        Ok(Pays::No.into())
    }

    /// What is due of a ceremony of identities at the beginning of a block.
    pub(crate) fn identities_at_block() -> Weight {
        if IdentityDue::<T>::get().is_none_or(|due| Self::now() < due) {
            return Weight::zero();
        }
        let Some(record) = IdentityCeremony::<T>::get() else { return Weight::zero() };
        Self::advance_identities(record)
    }

    /// Dealers and holders together, and complaints.
    fn size(record: &IdentityCeremonyRecord) -> (u32, u32) {
        let seats = record.dealers.len().saturating_add(record.holders.len());
        (seats as u32, record.complaints.len() as u32)
    }

    /// Ends a phase. Returns the weight.
    fn advance_identities(mut record: IdentityCeremonyRecord) -> Weight {
        let (era, attempt) = (record.era, record.attempt);
        let (seats, complaints) = Self::size(&record);
        if record.phase == Phase::Deliver {
            let accusers = (1u16..).zip(&record.holders).filter(|(_, holder)| holder.key.is_some());
            Self::drop_undeliverable(
                &mut record.complaints,
                accusers.map(|(index, holder)| (index, holder.gatekeeper)),
            );
        }
        let before = record.clone();
        let ended = end_phase(&mut record);
        let ends = <T as Config>::WeightInfo::advance(seats, complaints);
        let weight = ends.saturating_add(Self::convictions(ended.convicted.len()));
        // Dealers were elected for the era whose set holds the keys, which is this one where keys are made.
        let dealt_by = Identity::<T>::get().map_or(era, |former| former.era);
        for index in ended.convicted {
            if let Some(dealer) = record.dealer(index) {
                Self::convict_dealer(dealt_by, attempt, &dealer.gatekeeper);
            }
        }
        let dealers = ended
            .left_out
            .dealers
            .iter()
            .map(|(index, reason)| (record.dealer(*index).map(|dealer| dealer.gatekeeper), reason.fault()));
        let holders = ended
            .left_out
            .holders
            .iter()
            .map(|(index, reason)| (record.holder(*index).map(|holder| holder.gatekeeper), reason.fault()));
        for (gatekeeper, fault) in dealers.chain(holders) {
            if let Some(gatekeeper) = gatekeeper {
                Self::deposit_event(Event::IdentitiesLeftOut { era, attempt, gatekeeper, fault });
            }
        }
        match ended.next {
            IdentityNext::Begin(phase) => Self::begin_identity_phase(record, phase),
            IdentityNext::Agreed(hash) => {
                // As long as a phase of which everybody has to hear.
                let (phase, length) = (record.phase, CurrentPolicy::<T>::get().share);
                record.begin(phase, Self::now(), length);
                IdentityDue::<T>::put(record.until.saturating_add(1));
                Self::deposit_event(Event::IdentitiesAgreed { era, attempt, record: hash, until: record.until });
                IdentityCeremony::<T>::put(record);
            }
            IdentityNext::GivenUp => {
                Self::end_identities(era, attempt);
                Self::count_identity_absences(&before, true);
                Self::deposit_event(Event::IdentitiesGivenUp { era, attempt });
            }
        }
        weight
    }

    /// The present block is the first of the phase.
    fn begin_identity_phase(mut record: IdentityCeremonyRecord, phase: Phase) {
        record.begin(phase, Self::now(), Self::phase_length(phase));
        IdentityDue::<T>::put(record.until.saturating_add(1));
        let IdentityCeremonyRecord { era, attempt, until, .. } = record;
        Self::deposit_event(Event::IdentitiesPhaseBegan { era, attempt, phase, until });
        IdentityCeremony::<T>::put(record);
    }

    fn end_identities(era: u32, attempt: u32) {
        IdentityCeremony::<T>::kill();
        IdentityDue::<T>::kill();
        NextIdentityAttempt::<T>::put((era, attempt.saturating_add(1)));
    }
}
