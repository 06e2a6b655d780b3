//! What seats say: their statements, and the proof that one contradicted itself.
//!
//! Guarantees: a statement counts when its seat is an active gatekeeper, signed it for this chain, era and attempt, and
//! [`phala_protocol::ceremony::take`] takes it, and a key beside it when the gatekeeper announced that one under its identity; what is
//! refused changes nothing. What stands beside a statement is kept as a hash in the
//! record; its bytes are in the block and in its events, and cost no state. Two statements that contradict each other convict whoever had the
//! seat in their attempt, whether taken or not, and whichever set has the era's seats since (`former.rs`). Gatekeepers' TEEs control what is signed, whoever pays
//! carries it. Which transactions come first in a block because they carry one that is awaited is the runtime's to say, by
//! [`Pallet::is_awaited`].

use crate::{former::Seated, pallet::*, Misdeed, Offence, WeightInfo};
use alloc::vec;
use frame_support::{
    dispatch::{DispatchResultWithPostInfo, Pays, PostDispatchInfo},
    ensure,
};
use phala_pallet_attestation as attestation;
use phala_protocol::{
    attestation::Role,
    ceremony::{is_complete, take, Attachment, CeremonyRecord, Circumstances, Refused, SignedStatement},
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
    /// The ceremony with this statement in it, if it is taken now. Writes nothing.
    fn with_statement(signed: &SignedStatement, attachment: Option<&Attachment>) -> Result<CeremonyRecord, Error<T>> {
        let mut record = Ceremony::<T>::get().ok_or(Error::<T>::NoCeremony)?;
        ensure!(signed.era == record.era, Error::<T>::WrongEra);
        ensure!(signed.attempt == record.attempt, Error::<T>::WrongAttempt);
        let gatekeeper = record.seat(signed.index).ok_or(Error::<T>::NoSuchSeat)?.gatekeeper;
        ensure!(record.takes_part(signed.index), Error::<T>::TakesNoPart);
        let registered = attestation::Pallet::<T>::active(&gatekeeper, Role::Gatekeeper);
        ensure!(registered.is_some(), Error::<T>::NotAGatekeeper);
        ensure!(Self::is_signed(signed, &gatekeeper), Error::<T>::BadSignature);
        let circumstances = Self::circumstances(&gatekeeper, attachment);
        take(&mut record, signed.index, &signed.statement, attachment, &circumstances).map_err(Error::<T>::from)?;
        Ok(record)
    }

    /// Under what a statement of this gatekeeper is taken: with a key beside it, its announcement is verified too. One that is no key is not,
    /// and not taken.
    pub(crate) fn circumstances(gatekeeper: &WorkerId, attachment: Option<&Attachment>) -> Circumstances {
        let genesis = Self::genesis();
        let announced = match attachment {
            Some(Attachment::Key(key)) => {
                key.is_well_formed()
                    && attestation::signed_by(gatekeeper, &key.signature, &key.signing_payload(&genesis))
            }
            Some(Attachment::Parcel(_) | Attachment::Package(_)) | None => false,
        };
        Circumstances { genesis, now: Self::now(), announced }
    }

    /// Whether `sender` is the operator of the seat that made this statement, and the chain would take it in the present block, which is
    /// the next one where a pool asks. Not when the phase ends before that block's transactions. Whose it is comes first, since nobody pays
    /// for the answer: the seats of the era are a hundredth of a record with all its complaints.
    pub fn is_awaited(sender: &T::AccountId, signed: &SignedStatement, attachment: Option<&Attachment>) -> bool {
        let open = Due::<T>::get().is_some_and(|due| Self::now() < due);
        open && Self::operates(sender, signed.era, signed.index) && Self::with_statement(signed, attachment).is_ok()
    }

    pub(crate) fn do_state(signed: &SignedStatement, attachment: Option<Attachment>) -> DispatchResultWithPostInfo {
        let record = Self::with_statement(signed, attachment.as_ref())?;
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
        let seated = Self::seat_in_attempt(era, attempt, index).ok_or(Error::<T>::NoSuchSeat)?;
        let Seated { gatekeeper, validator, set } = seated;
        ensure!(!Convictions::<T>::contains_key(gatekeeper), Error::<T>::Convicted);
        let signed = Self::is_signed(first, &gatekeeper) && Self::is_signed(second, &gatekeeper);
        ensure!(signed, Error::<T>::BadSignature);
        let misdeed = Misdeed {
            offender: validator,
            offence: Offence::Equivocation,
            era,
            attempt,
            set,
            fraction: CurrentPolicy::<T>::get().fault,
            reporters: vec![reporter],
        };
        Self::convict(&gatekeeper, misdeed);
        Ok(Pays::No.into())
    }
}
