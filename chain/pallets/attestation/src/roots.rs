//! The record of the root that gives epoch keys.
//!
//! Guarantees: a root is recorded only with the signatures of all its seats, each a registered gatekeeper, with more than two
//! thirds of the seats as threshold; a single seat is possible on a development network alone. Eras follow each other.
//! Governance sends the call; the seats' TEEs control what is signed.

use crate::{pallet::*, signed_by};
use frame_support::{ensure, pallet_prelude::DispatchResult, traits::Get};
use phala_protocol::{attestation::Role, chain_state::RootRecord};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_record_root(root: RootRecord, signatures: &[[u8; 64]]) -> DispatchResult {
        let seats = root.seats.len();
        let enough = seats >= 4 || (seats == 1 && T::InsecureDevelopment::get());
        let threshold = (2 * seats) / 3 + 1;
        ensure!(enough && seats <= 1_000 && usize::from(root.threshold) == threshold, Error::<T>::BadRoot);
        let expected = Root::<T>::get().map_or(0, |present| present.era.saturating_add(1));
        ensure!(root.era == expected, Error::<T>::WrongEra);
        ensure!(signatures.len() == seats, Error::<T>::NotAGatekeeper);
        let payload = root.signing_payload(&Self::genesis());
        for (index, (seat, signature)) in root.seats.iter().zip(signatures).enumerate() {
            let repeated = root.seats.iter().take(index).any(|other| other == seat);
            let registered = Self::active(seat, Role::Gatekeeper).is_some();
            ensure!(registered && !repeated && signed_by(seat, signature, &payload), Error::<T>::NotAGatekeeper);
        }
        let era = root.era;
        Root::<T>::put(root);
        Self::deposit_event(Event::RootRecorded { era });
        Ok(())
    }
}
