//! The record of the root that gives epoch keys, and of the one to which clusters go over.
//!
//! Guarantees: governance records a root only with the signatures of all its seats, each a registered gatekeeper, and only where there
//! is none; a ceremony's root comes from the pallet that refereed it, which had its seats registered and their confirmations signed.
//! Either way more than two thirds of the seats are the threshold, a single seat is possible on a development network alone, and eras
//! follow each other. There are two roots at most: while clusters go over to one, nothing but it becomes the root that answers.
//! The seats' TEEs control what is signed. Does not: know which clusters need which root; that is for the caller.

use crate::{pallet::*, signed_by};
use frame_support::{ensure, pallet_prelude::DispatchResult, traits::Get};
use phala_protocol::{
    attestation::Role,
    chain_state::{next_epoch_era, RootRecord},
};

impl<T: Config> Pallet<T> {
    /// Judges what can be said of a root without its signatures: seats, threshold, and that its era is the one that comes next.
    ///
    /// # Errors
    /// `BadRoot` or `WrongEra`.
    pub fn ensure_root(root: &RootRecord) -> DispatchResult {
        let seats = root.seats.len();
        let enough = seats >= 4 || (seats == 1 && T::LoneRoot::get());
        let threshold = (2 * seats) / 3 + 1;
        ensure!(enough && seats <= 1_000 && usize::from(root.threshold) == threshold, Error::<T>::BadRoot);
        let expected = Root::<T>::get().map_or(0, |present| present.era.saturating_add(1));
        ensure!(root.era == expected, Error::<T>::WrongEra);
        Ok(())
    }

    /// The era whose root gives the keys of every cluster's next epoch; 0, which is that of the first root, where there is none.
    pub fn coming_era() -> u32 {
        next_epoch_era(Root::<T>::get().as_ref(), NextRoot::<T>::get().as_ref()).unwrap_or(0)
    }

    /// Makes a root the one to which clusters go over. Nothing takes that back. That its seats are registered and agreed to it is for
    /// the caller to have verified.
    ///
    /// # Errors
    /// Those of [`Self::ensure_root`], and `HandOverUnderWay`.
    pub fn begin_hand_over(root: RootRecord) -> DispatchResult {
        ensure!(!NextRoot::<T>::exists(), Error::<T>::HandOverUnderWay);
        Self::ensure_root(&root)?;
        NextRoot::<T>::put(root);
        Ok(())
    }

    /// Lets a root answer, and ends the hand-over to it if there is one. That its seats are registered and agreed to it, and that no
    /// cluster needs the root before, is for the caller to have verified.
    ///
    /// # Errors
    /// Those of [`Self::ensure_root`], and `HandOverUnderWay` when clusters go over to another root.
    pub fn adopt_root(root: RootRecord) -> DispatchResult {
        Self::ensure_root(&root)?;
        ensure!(NextRoot::<T>::get().is_none_or(|next| next == root), Error::<T>::HandOverUnderWay);
        let era = root.era;
        NextRoot::<T>::kill();
        Root::<T>::put(root);
        Self::deposit_event(Event::RootRecorded { era });
        Ok(())
    }

    pub(crate) fn do_record_root(root: RootRecord, signatures: &[[u8; 64]]) -> DispatchResult {
        ensure!(!Root::<T>::exists() && !NextRoot::<T>::exists(), Error::<T>::RootAnswers);
        Self::ensure_root(&root)?;
        ensure!(signatures.len() == root.seats.len(), Error::<T>::NotAGatekeeper);
        let payload = root.signing_payload(&Self::genesis());
        for (index, (seat, signature)) in root.seats.iter().zip(signatures).enumerate() {
            let repeated = root.seats.iter().take(index).any(|other| other == seat);
            let registered = Self::active(seat, Role::Gatekeeper).is_some();
            ensure!(registered && !repeated && signed_by(seat, signature, &payload), Error::<T>::NotAGatekeeper);
        }
        Self::adopt_root(root)
    }
}
