//! Admission: collateral, evidence, and who counts as active.
//!
//! Guarantees: what `register` admits passed every check named in [`Error`]; a TEE whose measurement left the allow-list or whose
//! attestation lapsed is not active, without anyone having to remove it. The submitter controls every argument.

use crate::pallet::*;
use frame_support::{ensure, pallet_prelude::DispatchResult, traits::Get};
use phala_attest::{
    claimed_model, verify_collateral, verify_evidence, Collateral, DevelopmentGenesis, Evidence, Policy, TrustAnchor,
};
use phala_protocol::{
    attestation::{hardware_pseudonym, Assurance, Registration, Role},
    chain_state::WorkerRecord,
    ids::{BlockNumber, WorkerId},
    limits::MAX_REGISTRATION_AGE_BLOCKS,
    Hash,
};
use sp_runtime::{traits::Zero, SaturatedConversion};

impl<T: Config> Pallet<T> {
    /// The record of a TEE that may act in `role` now: registered, not lapsed, its measurement allowed.
    pub fn active(worker: &WorkerId, role: Role) -> Option<WorkerRecord> {
        Workers::<T>::get(worker).filter(|record| {
            record.role == role && record.valid_until > Self::now_seconds() && Self::is_allowed(&record.measurement)
        })
    }

    /// Whether a TEE cannot act in `role`, and not for want of a timely renewal: it is not registered, its measurement is off the
    /// allow-list, or its attestation lapsed `grace` seconds ago.
    pub fn has_lapsed(worker: &WorkerId, role: Role, grace: u64) -> bool {
        let Some(record) = Workers::<T>::get(worker) else { return true };
        let late = record.valid_until.saturating_add(grace) <= Self::now_seconds();
        record.role != role || late || !Self::is_allowed(&record.measurement)
    }

    pub(crate) fn do_submit_collateral(raw: &Collateral) -> DispatchResult {
        let now = Self::now_seconds();
        let verified = verify_collateral(raw, &TrustAnchor::Intel, now)
            .ok()
            .or_else(|| verify_collateral(raw, &Self::development_anchor()?, now).ok())
            .ok_or(Error::<T>::CollateralRefused)?;
        let cap = EvaluationCap::<T>::get().unwrap_or(u32::MAX);
        ensure!(verified.latest_evaluation_number() <= cap, Error::<T>::EvaluationTooEarly);
        let fmspc = verified.fmspc();
        let model = verified.model();
        // What is over the cap was early when it came, and gives way to what is not.
        let present = Collaterals::<T>::get(model).filter(|present| present.latest_evaluation_number() <= cap);
        if let Some(present) = present {
            let newer = verified.issued() > present.issued()
                && verified.tcb_evaluation_number() >= present.tcb_evaluation_number();
            ensure!(newer, Error::<T>::CollateralNotNewer);
        }
        let valid_until = verified.valid_until();
        Collaterals::<T>::insert(model, verified);
        Self::deposit_event(Event::CollateralRenewed { fmspc, valid_until });
        Ok(())
    }

    pub(crate) fn do_register(registration: Registration, evidence: &Evidence) -> DispatchResult {
        let (now, genesis) = (Self::now_seconds(), Self::genesis());
        Self::ensure_recent(&registration)?;
        let model = claimed_model(evidence).map_err(|_| Error::<T>::EvidenceRefused)?;
        let collateral = Collaterals::<T>::get(model).ok_or(Error::<T>::NoCollateral)?;
        let anchor = match collateral.root() {
            phala_attest::Root::Intel => TrustAnchor::Intel,
            phala_attest::Root::InsecureDevelopment => Self::development_anchor().ok_or(Error::<T>::UntrustedRoot)?,
        };
        let policy = Policy { anchor, terms: Terms::<T>::get() };
        let report = verify_evidence(evidence, &collateral, &policy, now).map_err(|_| Error::<T>::EvidenceRefused)?;
        ensure!(report.report_data() == registration.report_data(&genesis), Error::<T>::WrongReportData);
        ensure!(Self::is_allowed(&report.measurement()), Error::<T>::MeasurementNotAllowed);

        let identity = registration.identity;
        if let Some(present) = Workers::<T>::get(identity) {
            ensure!(present.operator == registration.operator, Error::<T>::IdentityInUse);
            Hardware::<T>::remove(present.hardware);
        }
        let hardware = hardware_pseudonym(&genesis, &report.hardware_id());
        if let Some(other) = Hardware::<T>::get(hardware).filter(|other| *other != identity) {
            // A machine that was set up anew by its operator, or whose former identity lapsed, gets a new one.
            if let Some(present) = Workers::<T>::get(other) {
                let replaceable = present.operator == registration.operator || present.valid_until <= now;
                ensure!(replaceable, Error::<T>::HardwareInUse);
                Workers::<T>::remove(other);
            }
        }
        let valid_until = report.valid_until().min(now.saturating_add(T::AttestationPeriod::get()));
        Hardware::<T>::insert(hardware, identity);
        Workers::<T>::insert(
            identity,
            WorkerRecord {
                role: registration.role,
                operator: registration.operator,
                encryption_key: registration.encryption_key,
                measurement: report.measurement(),
                hardware,
                assurance: match report.assurance() {
                    phala_attest::Assurance::Hardware => Assurance::Hardware,
                    phala_attest::Assurance::Simulated => Assurance::Simulated,
                },
                registered_at: Self::now_block(),
                valid_until,
            },
        );
        Self::deposit_event(Event::Registered { worker: identity, operator: registration.operator, valid_until });
        Ok(())
    }

    fn ensure_recent(registration: &Registration) -> DispatchResult {
        let age = Self::now_block().checked_sub(registration.block).ok_or(Error::<T>::NotRecent)?;
        ensure!(age <= MAX_REGISTRATION_AGE_BLOCKS, Error::<T>::NotRecent);
        let hash: Hash = frame_system::Pallet::<T>::block_hash(
            registration.block.saturated_into::<frame_system::pallet_prelude::BlockNumberFor<T>>(),
        )
        .into();
        // Block 0 is never "recent": its hash is known before the chain starts.
        let known = hash != Hash::default() && !registration.block.is_zero();
        ensure!(known && hash == registration.block_hash, Error::<T>::NotRecent);
        Ok(())
    }

    fn is_allowed(measurement: &Hash) -> bool {
        let now = Self::now_block();
        Measurements::<T>::get(measurement)
            .is_some_and(|entry| now >= entry.not_before && entry.sunset.is_none_or(|sunset| now <= sunset))
    }

    /// The development root, on a chain whose genesis block marks it as a development network.
    fn development_anchor() -> Option<TrustAnchor> {
        if !T::InsecureDevelopment::get() {
            return None;
        }
        let genesis = Self::genesis();
        DevelopmentGenesis::for_genesis(genesis, &[genesis]).map(TrustAnchor::InsecureDevelopment)
    }

    pub(crate) fn genesis() -> Hash {
        frame_system::Pallet::<T>::block_hash(frame_system::pallet_prelude::BlockNumberFor::<T>::zero()).into()
    }

    pub(crate) fn now_block() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    pub(crate) fn now_seconds() -> u64 {
        pallet_timestamp::Pallet::<T>::get() / 1_000
    }
}

/// Whether `signature` is `worker`'s Ed25519 signature (ZIP-215) over `payload`.
pub fn signed_by(worker: &WorkerId, signature: &[u8; 64], payload: &[u8; 32]) -> bool {
    sp_io::crypto::ed25519_verify(
        &sp_core::ed25519::Signature::from_raw(*signature),
        payload,
        &sp_core::ed25519::Public::from_raw(worker.0),
    )
}
