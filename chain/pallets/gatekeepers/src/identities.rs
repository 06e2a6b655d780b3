//! The two keys that contracts' identities follow from: which set holds them, and the ceremonies that make them once and hand them over.
//!
//! Governance says when they are made, by the seats of the root that answers. From then on each set whose root answers receives them from
//! those who hold them, by itself. [`phala_protocol::identities`] has the rules, which the chain applies; it sees hashes, sealed parcels, and
//! shares that are in dispute.
//!
//! Guarantees: keys change hands at one place, the record that all holders who take part confirmed, a threshold at least, and whose keys are
//! those that the chain has; before it those who held them hold them on. A ceremony of identities begins when no root is made or handed over,
//! so that it delays no epoch key, and none is begun meanwhile: the next election waits, until it ends or is given up. No attempt's number
//! is used twice in an era. Gatekeepers' TEEs control what is signed, whoever pays carries it. Does not: see a share of an honest dealer that
//! nobody disputes, see that a former holder forgets its shares, or fine absences.

use crate::{pallet::*, Offence, WeightInfo, LEAST_SEATS};
use alloc::{collections::BTreeSet, vec::Vec};
use frame_support::{
    dispatch::{DispatchResultWithPostInfo, Pays, PostDispatchInfo},
    ensure,
    pallet_prelude::DispatchResult,
    weights::Weight,
};
use phala_pallet_attestation as attestation;
use phala_protocol::{
    attestation::Role,
    ceremony::{Attachment, Circumstances, Fault, Phase, MAX_SEATS},
    identities::{
        end_phase, is_complete, show, take, IdentityCeremonyRecord, IdentityNext, IdentityRecord, NotShown,
        SignedIdentityStatement,
    },
    ids::WorkerId,
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

    pub(crate) fn do_state_identities(
        signed: &SignedIdentityStatement,
        attachment: Option<Attachment>,
    ) -> DispatchResultWithPostInfo {
        let mut record = IdentityCeremony::<T>::get().ok_or(Error::<T>::NoCeremony)?;
        ensure!(signed.era == record.era, Error::<T>::WrongEra);
        ensure!(signed.attempt == record.attempt, Error::<T>::WrongAttempt);
        let SignedIdentityStatement { era, attempt, index, statement, signature } = *signed;
        let of_dealer = statement.is_of_dealer();
        let speaker = if of_dealer {
            record.dealer(index).map(|dealer| dealer.gatekeeper)
        } else {
            record.holder(index).map(|holder| holder.gatekeeper)
        };
        let gatekeeper = speaker.ok_or(Error::<T>::NoSuchSeat)?;
        let registered = attestation::Pallet::<T>::active(&gatekeeper, Role::Gatekeeper);
        let key = registered.ok_or(Error::<T>::NotAGatekeeper)?.encryption_key;
        let genesis = Self::genesis();
        let payload = signed.signing_payload(&genesis);
        ensure!(attestation::signed_by(&gatekeeper, &signature, &payload), Error::<T>::BadSignature);
        let circumstances = Circumstances { genesis, now: Self::now(), key };
        take(&mut record, index, &statement, attachment.as_ref(), &circumstances).map_err(Error::<T>::from)?;
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

    pub(crate) fn do_show_identities(shown: IdentityRecord) -> DispatchResultWithPostInfo {
        let record = IdentityCeremony::<T>::get().ok_or(Error::<T>::NoCeremony)?;
        show(&record, &shown, Identity::<T>::get().as_ref()).map_err(Error::<T>::from)?;
        let (era, attempt, holders) = (record.era, record.attempt, shown.holders.len() as u32);
        Self::end_identities(era, attempt);
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
        let (seats, complaints) = Self::size(&record);
        Self::advance_identities(record);
        <T as Config>::WeightInfo::advance(seats, complaints)
    }

    /// Dealers and holders together, and complaints.
    fn size(record: &IdentityCeremonyRecord) -> (u32, u32) {
        let seats = record.dealers.len().saturating_add(record.holders.len());
        (seats as u32, record.complaints.len() as u32)
    }

    fn advance_identities(mut record: IdentityCeremonyRecord) {
        let (era, attempt) = (record.era, record.attempt);
        if record.phase == Phase::Settle {
            Self::drop_identity_complaints_under_former_keys(&mut record);
        }
        let ended = end_phase(&mut record);
        // Dealers were elected for the era whose set holds the keys, which is this one where keys are made.
        let dealt_by = Identity::<T>::get().map_or(era, |former| former.era);
        for index in ended.convicted {
            if let Some(dealer) = record.dealer(index) {
                Self::convict(dealt_by, attempt, &dealer.gatekeeper, Offence::WrongShare, Vec::new());
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
                Self::deposit_event(Event::IdentitiesGivenUp { era, attempt });
            }
        }
    }

    /// The present block is the first of the phase.
    fn begin_identity_phase(mut record: IdentityCeremonyRecord, phase: Phase) {
        record.begin(phase, Self::now(), Self::phase_length(phase));
        IdentityDue::<T>::put(record.until.saturating_add(1));
        let IdentityCeremonyRecord { era, attempt, until, .. } = record;
        Self::deposit_event(Event::IdentitiesPhaseBegan { era, attempt, phase, until });
        IdentityCeremony::<T>::put(record);
    }

    /// As in the ceremony of the root, and for the same reason.
    fn drop_identity_complaints_under_former_keys(record: &mut IdentityCeremonyRecord) {
        let mut former = BTreeSet::new();
        for (index, holder) in (1u16..).zip(&record.holders) {
            let registered = || attestation::Workers::<T>::get(holder.gatekeeper).map(|worker| worker.encryption_key);
            if holder.key.is_some() && holder.key != registered() {
                former.insert(index);
            }
        }
        record.complaints.retain(|complaint| !former.contains(&complaint.accuser));
    }

    fn end_identities(era: u32, attempt: u32) {
        IdentityCeremony::<T>::kill();
        IdentityDue::<T>::kill();
        NextIdentityAttempt::<T>::put((era, attempt.saturating_add(1)));
    }
}
