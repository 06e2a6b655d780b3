//! Collateral: what is taken, and the alarm before it ends.
//!
//! Guarantees: what is kept was good when it came, and for its (technology, platform model, authority) no part of it goes back in
//! time, nor its evaluation number, nor does any run ahead of governance's cap; a root's revocation list goes back for no model; before it ends, one event and a readable flag say so. The work of
//! a block does not grow with the number of models. Anyone may submit; the vendor signs. Does not fetch anything.

use crate::{pallet::*, Expiry, Model, WeightInfo as _};
use frame_support::{ensure, pallet_prelude::DispatchResult, traits::Get, weights::Weight};
use phala_attest::{
    verify_collateral, Ban, Collateral, CollateralRefusal, DocumentFault, RevocationFault, Root, Subject, TrustAnchor,
    VerifiedCollateral,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_submit_collateral(raw: &Collateral) -> DispatchResult {
        let now = Self::now_seconds();
        let verified = verify_collateral(raw, &TrustAnchor::Intel, now)
            .or_else(|refusal| {
                Self::development_anchor().map_or(Err(refusal), |anchor| verify_collateral(raw, &anchor, now))
            })
            .map_err(refused::<T>)?;
        let block = Self::now_block();
        let gone = |ban: &Ban| ban.subject == Subject::Root(verified.root()) && ban.in_force(block);
        ensure!(!Bans::<T>::get().iter().any(gone), Error::<T>::UntrustedRoot);
        let cap = Self::evaluation_cap().ok_or(Error::<T>::NoEvaluationCap)?;
        ensure!(verified.latest_evaluation_number() <= cap, Error::<T>::EvaluationTooEarly);
        let model = verified.model();
        // What is over the cap was early when it came, and gives way to what is not.
        let present = Collaterals::<T>::get(model).filter(|present| present.latest_evaluation_number() <= cap);
        ensure!(present.is_none_or(|present| is_newer(&verified, &present)), Error::<T>::CollateralNotNewer);
        // What the root has revoked stays revoked for every model under it.
        let (root, list) = (verified.root(), verified.root_list_issued());
        ensure!(list >= NewestRootLists::<T>::get(root), Error::<T>::CollateralNotNewer);
        NewestRootLists::<T>::insert(root, list);
        let valid_until = verified.valid_until();
        let Model { vendor, fmspc, authority } = model;
        Collaterals::<T>::insert(model, verified);
        Expiries::<T>::insert(model, Expiry { valid_until, alarm: false });
        Self::deposit_event(Event::CollateralRenewed { vendor, fmspc, authority, valid_until });
        Ok(())
    }

    /// The highest evaluation number that is taken. None is set yet: any on a development network, none elsewhere.
    pub(crate) fn evaluation_cap() -> Option<u32> {
        EvaluationCap::<T>::get().or_else(|| T::InsecureDevelopment::get().then_some(u32::MAX))
    }

    /// Looks at one model a block, in turn.
    pub(crate) fn watch_collateral() -> Weight {
        let next = match WatchedModel::<T>::get() {
            Some(model) => Expiries::<T>::iter_from_key(model).next(),
            None => Expiries::<T>::iter().next(),
        };
        if let Some((model, expiry)) = next {
            let soon = Self::now_seconds().saturating_add(CurrentWindows::<T>::get().collateral_warning);
            if !expiry.alarm && expiry.valid_until <= soon {
                let Model { vendor, fmspc, authority } = model;
                Expiries::<T>::insert(model, Expiry { alarm: true, ..expiry });
                let valid_until = expiry.valid_until;
                Self::deposit_event(Event::CollateralExpiring { vendor, fmspc, authority, valid_until });
            }
        }
        WatchedModel::<T>::set(next.map(|(model, _)| model));
        <T as Config>::WeightInfo::watch_collateral()
    }
}

/// Whether `new` takes the place of `present`.
///
/// Collateral is several documents, and whoever submits may put an old one among new ones - a revocation list of before a revocation,
/// say - or a new one among old ones, to be first with it. So no part may be older than the one that is here, and one must be newer:
/// what mixes is refused where it takes back, and gives way to what does not mix.
fn is_newer(new: &VerifiedCollateral, present: &VerifiedCollateral) -> bool {
    let (new_parts, present_parts) = (new.parts_issued(), present.parts_issued());
    let raised = new.tcb_evaluation_number() >= present.tcb_evaluation_number();
    raised && new_parts != present_parts && new_parts.iter().zip(&present_parts).all(|(new, present)| new >= present)
}

/// Whose fault a refusal is: that of whoever fetched too long ago, or of the bytes.
fn refused<T: Config>(refusal: CollateralRefusal) -> Error<T> {
    match refusal {
        CollateralRefusal::TcbInfo(DocumentFault::Expired)
        | CollateralRefusal::QeIdentity(DocumentFault::Expired)
        | CollateralRefusal::RootCrl(RevocationFault::Expired)
        | CollateralRefusal::PckCrl(RevocationFault::Expired) => Error::<T>::CollateralExpired,
        CollateralRefusal::UntrustedRoot(_) => Error::<T>::UntrustedRoot,
        _ => Error::<T>::CollateralRefused,
    }
}

/// The root with this fingerprint: SHA-256 of its certificate's DER.
pub(crate) fn vendor_root<T: Config>(fingerprint: &phala_protocol::Hash) -> Result<Root, Error<T>> {
    let is = |der: &[u8]| sp_io::hashing::sha2_256(der) == *fingerprint;
    if is(phala_attest::INSECURE_DEVELOPMENT_ROOT_DER) {
        return Err(Error::<T>::DevelopmentRoot);
    }
    if is(phala_attest::INTEL_ROOT_DER) {
        return Ok(Root::Intel);
    }
    Err(Error::<T>::UnknownRoot)
}
