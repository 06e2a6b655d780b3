//! What seats say: their statements, and the proof that one contradicted itself.
//!
//! Guarantees: a statement counts when its seat is an active gatekeeper, signed it for this chain, era and attempt, and
//! [`phala_protocol::ceremony::take`] takes it; what is refused changes nothing. What stands beside a statement is kept as a hash in the
//! record; its bytes are in the block and in its events, and cost no state. Gatekeepers' TEEs control what is signed, whoever pays
//! carries it.

use crate::{pallet::*, Offence, WeightInfo};
use alloc::vec;
use frame_support::{
    dispatch::{DispatchResultWithPostInfo, Pays, PostDispatchInfo},
    ensure,
};
use phala_pallet_attestation as attestation;
use phala_protocol::{
    attestation::Role,
    ceremony::{is_complete, take, Attachment, Circumstances, Refused, SignedStatement},
    ids::WorkerId,
};

impl<T> From<Refused> for Error<T> {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoSuchSeat => Self::NoSuchSeat,
            Refused::TakesNoPart => Self::TakesNoPart,
            Refused::WrongPhase => Self::WrongPhase,
            Refused::AlreadyStated => Self::AlreadyStated,
            Refused::NoSuchDealer => Self::NoSuchDealer,
            Refused::NoSuchComplaint => Self::NoSuchComplaint,
            Refused::NoSuchDelivery => Self::NoSuchDelivery,
            Refused::WrongAttachment => Self::WrongAttachment,
            Refused::TooLate => Self::TooLate,
            Refused::BadShare => Self::BadShare,
            Refused::TooManyAnswers => Self::TooManyAnswers,
        }
    }
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_state(signed: &SignedStatement, attachment: Option<Attachment>) -> DispatchResultWithPostInfo {
        let mut record = Ceremony::<T>::get().ok_or(Error::<T>::NoCeremony)?;
        ensure!(signed.era == record.era, Error::<T>::WrongEra);
        ensure!(signed.attempt == record.attempt, Error::<T>::WrongAttempt);
        let gatekeeper = record.seat(signed.index).ok_or(Error::<T>::NoSuchSeat)?.gatekeeper;
        ensure!(record.takes_part(signed.index), Error::<T>::TakesNoPart);
        let registered = attestation::Pallet::<T>::active(&gatekeeper, Role::Gatekeeper);
        let key = registered.ok_or(Error::<T>::NotAGatekeeper)?.encryption_key;
        ensure!(Self::is_signed(signed, &gatekeeper), Error::<T>::BadSignature);
        let circumstances = Circumstances { genesis: Self::genesis(), now: Self::now(), key };
        take(&mut record, signed.index, &signed.statement, attachment.as_ref(), &circumstances)
            .map_err(Error::<T>::from)?;
        if is_complete(&record) {
            Due::<T>::put(Self::now().saturating_add(1));
        }
        let (seats, complaints) = (record.seats.len() as u32, record.complaints.len() as u32);
        let weight = match attachment {
            Some(_) => <T as Config>::WeightInfo::state_with(seats, complaints),
            None => <T as Config>::WeightInfo::state(seats, complaints),
        };
        Ceremony::<T>::put(record);
        let SignedStatement { era, attempt, index, .. } = *signed;
        Self::deposit_event(Event::Stated { era, attempt, index });
        if let Some(attachment) = attachment {
            Self::deposit_event(Event::Attached { era, attempt, index, attachment });
        }
        Ok(PostDispatchInfo { actual_weight: Some(weight), pays_fee: Pays::No })
    }

    fn is_signed(signed: &SignedStatement, gatekeeper: &WorkerId) -> bool {
        attestation::signed_by(gatekeeper, &signed.signature, &signed.signing_payload(&Self::genesis()))
    }

    pub(crate) fn do_report(
        reporter: T::AccountId,
        first: &SignedStatement,
        second: &SignedStatement,
    ) -> DispatchResultWithPostInfo {
        let SignedStatement { era, attempt, index, .. } = *first;
        let same = (second.era, second.attempt, second.index) == (era, attempt, index);
        ensure!(same && first.statement.contradicts(&second.statement), Error::<T>::NotEquivocation);
        let elected = Elections::<T>::get(era).ok_or(Error::<T>::NoSuchSeat)?;
        // Attempts before are of another set: governance cancelled its ceremony.
        ensure!(attempt >= elected.first_attempt, Error::<T>::NoSuchSeat);
        let position = usize::from(index).checked_sub(1).ok_or(Error::<T>::NoSuchSeat)?;
        let (gatekeeper, _) = elected.seats.get(position).ok_or(Error::<T>::NoSuchSeat)?;
        ensure!(!Convictions::<T>::contains_key(gatekeeper), Error::<T>::Convicted);
        let signed = Self::is_signed(first, gatekeeper) && Self::is_signed(second, gatekeeper);
        ensure!(signed, Error::<T>::BadSignature);
        Self::convict(era, attempt, gatekeeper, Offence::Equivocation, vec![reporter]);
        Ok(Pays::No.into())
    }
}
