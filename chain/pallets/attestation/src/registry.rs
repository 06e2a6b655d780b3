//! Admission: evidence, who counts as active, and one live identity a machine.
//!
//! Guarantees: what `register` admits passed every check of evidence, documents, measurement and machine in [`Error`]; a TEE is active only
//! while everything that governance decides would still admit it, without anyone having to remove it ([`Pallet::active`] says what is asked);
//! a registration never outlasts the processor's certificate. A live identity is displaced by nobody but its own operator. The submitter
//! controls every argument.

use crate::{pallet::*, Absence, Applying, Appraisal, Model};
use frame_support::{ensure, pallet_prelude::DispatchResult, traits::Get};
use phala_attest::{
    claimed_model, confidence_of, verify_evidence, ConfidenceRefusal, DevelopmentGenesis, Evidence, Origin, Policy,
    Refusal, TrustAnchor, VerifiedCollateral, VerifiedReport,
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
    /// The record of a TEE that may act in `role` now. Each of these is asked anew, and holds:
    ///
    /// 1. it is registered, in this role, and its registration has not lapsed;
    /// 2. its measurement is on the allow-list, from its first block to its sunset, and listed for this role;
    /// 3. the status that its evidence had is one that the terms accept;
    /// 4. the documents that it was judged by are of an evaluation from the floor to the cap, both included;
    /// 5. no advisory that applied to its platform when it attested is forbidden;
    /// 6. its root, vendor, model, generation and measurement are neither revoked nor suspended, nor is its machine.
    pub fn active(worker: &WorkerId, role: Role) -> Option<WorkerRecord> {
        let record = Workers::<T>::get(worker)?;
        let known = Appraisals::<T>::get(worker);
        let active = record.role == role
            && record.valid_until > Self::now_seconds()
            && Self::ensure_admitted(&record.measurement, role).is_ok()
            && Self::meets_terms(known.as_ref())
            && Self::meets_advisories(worker, known.is_some())
            && !Self::is_barred(known.as_ref());
        active.then_some(record)
    }

    /// Why a TEE has no claim to act in `role`; none while it has one, which it keeps for the grace after its registration lapsed. Status,
    /// advisories and generation of documents are not asked: they are mended by attesting again, for which it has its period and the grace.
    pub fn absence(worker: &WorkerId, role: Role) -> Option<Absence> {
        let Some(record) = Workers::<T>::get(worker) else { return Some(Absence::Lapsed) };
        if Self::is_barred(Appraisals::<T>::get(worker).as_ref()) {
            return Some(Absence::Barred);
        }
        let admitted = Self::ensure_admitted(&record.measurement, role).is_ok();
        (record.role != role || Self::is_late(&record) || !admitted).then_some(Absence::Lapsed)
    }

    /// Whether a TEE has no registration in `role`, or one that lapsed longer ago than the grace. What governance or the brake decides is
    /// not asked: that is another reason, see [`Self::absence`].
    pub fn has_lapsed(worker: &WorkerId, role: Role) -> bool {
        Workers::<T>::get(worker).is_none_or(|record| record.role != role || Self::is_late(&record))
    }

    /// Whether a registration lapsed longer ago than the grace.
    fn is_late(record: &WorkerRecord) -> bool {
        let grace = CurrentWindows::<T>::get().lapse_grace;
        record.valid_until.saturating_add(grace) <= Self::now_seconds()
    }

    /// Whether governance or the brake has taken from a TEE its part in decisions: its registration is gone, its root, vendor,
    /// model, generation or measurement is revoked or suspended, or its measurement has left the list. A registration that has only lapsed,
    /// and one that has to be renewed, are not shut out: what was signed before was signed in good standing.
    pub fn is_shut_out(worker: &WorkerId) -> bool {
        Workers::<T>::get(worker).is_none_or(|record| {
            Self::is_barred(Appraisals::<T>::get(worker).as_ref())
                || Self::ensure_admitted(&record.measurement, record.role).is_err()
        })
    }

    /// Whether a TEE's root, vendor, model, generation or measurement is revoked or suspended now. One of which nothing is known is shut out
    /// by any ban.
    fn is_barred(known: Option<&Appraisal>) -> bool {
        let (bans, now) = (Bans::<T>::get(), Self::now_block());
        bans.iter().any(|ban| ban.in_force(now))
            && known.is_none_or(|known| bans.applying(&known.origin, now).is_some())
    }

    /// Whether status and generation of documents would still admit. A TEE of which nothing is known meets no floor and no cap.
    fn meets_terms(known: Option<&Appraisal>) -> bool {
        let (terms, cap) = (Terms::<T>::get(), Self::evaluation_cap());
        let floor = terms.minimum_tcb_evaluation_number;
        match known {
            Some(Appraisal { origin, status, .. }) => {
                let within = floor <= origin.evaluation && cap.is_some_and(|cap| origin.evaluation <= cap);
                within && terms.accepted.contains(*status)
            }
            None => floor == 0 && cap == Some(u32::MAX),
        }
    }

    /// Whether nothing that applied to its platform is forbidden. One of which nothing is known meets no policy that forbids anything.
    fn meets_advisories(worker: &WorkerId, known: bool) -> bool {
        let policy = Advisories::<T>::get();
        policy.forbidden.is_empty() || (known && policy.admits(&AdvisoriesOf::<T>::get(worker)).is_ok())
    }

    pub(crate) fn do_register(registration: Registration, evidence: &Evidence) -> DispatchResult {
        let (now, genesis, identity) = (Self::now_seconds(), Self::genesis(), registration.identity);
        Self::ensure_recent(&registration)?;
        let collateral = Collaterals::<T>::get(claimed::<T>(evidence)?).ok_or(Error::<T>::NoCollateral)?;
        let former = Workers::<T>::get(identity);
        if let Some(present) = &former {
            ensure!(present.operator == registration.operator, Error::<T>::IdentityInUse);
        }
        let live = former.as_ref().is_some_and(|present| present.valid_until > now);
        let judged_at = Self::judged_at(&collateral, live, now);
        let report = Self::judge(evidence, &collateral, judged_at)?;
        ensure!(report.report_data() == registration.report_data(&genesis), Error::<T>::WrongReportData);
        let measurement = report.measurement();
        Self::ensure_admitted(&measurement, registration.role)?;
        let hardware = hardware_pseudonym(&genesis, &report.hardware_id());
        if judged_at != now {
            let same = former.as_ref().is_some_and(|present| present.hardware == hardware);
            ensure!(same, Error::<T>::CollateralExpired);
        }
        let appraisal = Self::appraise(&report, &collateral)?;
        ensure!(!RevokedHardware::<T>::contains_key(hardware), Error::<T>::HardwareRevoked);
        Self::make_room(&registration, hardware, now)?;
        if let Some(present) = former.filter(|present| present.hardware != hardware) {
            Hardware::<T>::remove(present.hardware);
        }

        let valid_until = Self::valid_until(&report, &collateral, now);
        ensure!(valid_until > now, Error::<T>::CertificateExpired);
        Hardware::<T>::insert(hardware, identity);
        Appraisals::<T>::insert(identity, appraisal);
        // A report names no more than are kept.
        let applying = Applying::truncate_from(report.advisories().to_vec());
        if applying.is_empty() {
            AdvisoriesOf::<T>::remove(identity);
        } else {
            AdvisoriesOf::<T>::insert(identity, applying);
        }
        Workers::<T>::insert(
            identity,
            WorkerRecord {
                role: registration.role,
                operator: registration.operator,
                encryption_key: registration.encryption_key,
                measurement,
                hardware,
                assurance: match report.assurance() {
                    phala_attest::Assurance::Hardware => Assurance::Hardware,
                    phala_attest::Assurance::Simulated => Assurance::Simulated,
                },
                registered_at: Self::now_block(),
                valid_until,
            },
        );
        let (operator, confidence) = (registration.operator, appraisal.confidence);
        Self::deposit_event(Event::Registered { worker: identity, operator, confidence, valid_until });
        Ok(())
    }

    /// The second as of which evidence is judged: now, or the last at which the collateral held, for the renewal of a registration
    /// that holds, within the grace.
    fn judged_at(collateral: &VerifiedCollateral, live: bool, now: u64) -> u64 {
        let end = collateral.valid_until();
        let within = now < end.saturating_add(CurrentWindows::<T>::get().collateral_grace);
        if live && now >= end && within {
            end.saturating_sub(1)
        } else {
            now
        }
    }

    fn judge(evidence: &Evidence, collateral: &VerifiedCollateral, judged_at: u64) -> Result<VerifiedReport, Error<T>> {
        let anchor = match collateral.root() {
            phala_attest::Root::Intel => TrustAnchor::Intel,
            phala_attest::Root::InsecureDevelopment => Self::development_anchor().ok_or(Error::<T>::UntrustedRoot)?,
        };
        let policy = Policy { anchor, terms: Terms::<T>::get() };
        verify_evidence(evidence, collateral, &policy, judged_at).map_err(refused)
    }

    /// What the evidence is worth, unless governance has shut the platform out.
    fn appraise(report: &VerifiedReport, collateral: &VerifiedCollateral) -> Result<Appraisal, Error<T>> {
        let origin = Origin::of(report, collateral);
        let barred = Bans::<T>::get().applying(&origin, Self::now_block()).is_some();
        ensure!(!barred, Error::<T>::Barred);
        let cap = Self::evaluation_cap().ok_or(Error::<T>::NoEvaluationCap)?;
        ensure!(origin.evaluation <= cap, Error::<T>::EvaluationTooEarly);
        let confidence = confidence_of(report, &Advisories::<T>::get()).map_err(|refusal| match refusal {
            ConfidenceRefusal::Revoked => Error::<T>::PlatformRevoked,
            ConfidenceRefusal::Forbidden(_) | ConfidenceRefusal::TooManyAdvisories => Error::<T>::AdvisoryForbidden,
        })?;
        Ok(Appraisal { origin, status: report.tcb_status(), confidence })
    }

    /// Takes the machine's former identity away if it may be: its operator sets the machine up anew, or it lapsed a cool-down ago.
    fn make_room(registration: &Registration, hardware: Hash, now: u64) -> DispatchResult {
        let Some(other) = Hardware::<T>::get(hardware).filter(|other| *other != registration.identity) else {
            return Ok(());
        };
        if let Some(present) = Workers::<T>::get(other) {
            if present.operator != registration.operator {
                ensure!(present.valid_until <= now, Error::<T>::HardwareInUse);
                let free = present.valid_until.saturating_add(CurrentWindows::<T>::get().cool_down);
                ensure!(free <= now, Error::<T>::HardwareCoolingDown);
            }
            Self::forget(&other);
        }
        Ok(())
    }

    /// Removes a registration.
    pub(crate) fn forget(worker: &WorkerId) {
        Workers::<T>::remove(worker);
        Appraisals::<T>::remove(worker);
        AdvisoriesOf::<T>::remove(worker);
        Self::deposit_event(Event::Deregistered { worker: *worker });
    }

    /// Until when a registration holds: for a period, and no longer than the collateral with its grace, nor than the processor's own
    /// certificate, which has none.
    fn valid_until(report: &VerifiedReport, collateral: &VerifiedCollateral, now: u64) -> u64 {
        let windows = CurrentWindows::<T>::get();
        let period = now.saturating_add(windows.attestation_period);
        let documents = collateral.valid_until().saturating_add(windows.collateral_grace);
        period.min(documents).min(report.certified_until())
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

    /// The development root, on a chain whose genesis block marks it as a development network.
    pub fn development_anchor() -> Option<TrustAnchor> {
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

/// Which collateral evidence asks for.
fn claimed<T: Config>(evidence: &Evidence) -> Result<Model, Error<T>> {
    claimed_model(evidence).map_err(refused::<T>)
}

/// Whose fault a refusal is: that of the bytes, of the platform's owner, or of nobody who submitted this.
fn refused<T: Config>(refusal: Refusal) -> Error<T> {
    match refusal {
        Refusal::Decode(_) => Error::<T>::EvidenceMalformed,
        Refusal::DevelopmentRoot | Refusal::OtherRoot => Error::<T>::UntrustedRoot,
        Refusal::CollateralExpired => Error::<T>::CollateralExpired,
        Refusal::EvaluationNumber => Error::<T>::CollateralBelowFloor,
        Refusal::TcbRevoked | Refusal::PckRevoked => Error::<T>::PlatformRevoked,
        Refusal::TcbStatus(_) | Refusal::TcbLevel | Refusal::ModuleLevel => Error::<T>::PlatformOutdated,
        _ => Error::<T>::EvidenceRefused,
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
