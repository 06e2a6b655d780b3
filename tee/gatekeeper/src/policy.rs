//! Who may have a key: the checks between an inquiry and an evaluation.
//!
//! Guarantees: [`verify_machine`] is the one judgement of evidence, of workers that ask and of gatekeepers that introduce
//! themselves (`peer.rs`). [`verify_inquiry`] returns purposes only when every check in it held, each on its own; the machine is judged
//! last, and with it what is kept of that judgement (`verifier.rs`). Whether the seat's own root is recorded `seat.rs` asks before, and how
//! often somebody is answered the caller. The signature on a request is verified once, by
//! [`verify_request`], which makes the only [`SignedInquiry`]; it covers the key that the answer is sealed to, which is of that request alone.
//! The asker controls the inquiry, the host its transport and the collateral; both are verified under roots compiled into this
//! binary.
//! The delay before a new measurement counts is a constant of this binary too: no referendum shortens it. It counts
//! from when the chain says that the entry was listed, or from when this gatekeeper saw it first if that is later: an upgrade of the
//! runtime can write any date, and not what was finalised before it (`sightings.rs`).

use crate::verifier::Verifier;
use phala_attest::{confidence_of, AdvisoryPolicy, Bans, DevelopmentGenesis, PolicyTerms, Verdict, VerifiedReport};
use phala_crypto::{
    signature::ed25519,
    xwing::{EncapsulationKey, PUBLIC_KEY_BYTES},
};
use phala_protocol::{
    attestation::{Listing, Registration, Role},
    chain_state::{AllowedMeasurement, ClusterRecord, RootRecord, WorkerRecord},
    ids::BlockNumber,
    keys::{answer_key_hash, KeyPurpose, KeyRequest},
    limits::MEASUREMENT_DELAY_BLOCKS,
    relay::KeyInquiry,
    Hash, WorkerId,
};

/// What the finalised chain says about an inquiry's subject: each field out of one verified storage proof.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The chain.
    pub genesis: Hash,
    /// The gatekeeper's own identity.
    pub gatekeeper: WorkerId,
    /// The gatekeeper's finalised head.
    pub head: (BlockNumber, Hash),
    /// Chain time at that head, in Unix seconds.
    pub now: u64,
    /// Proof that the genesis state marks a development network, if it does.
    pub development: Option<DevelopmentGenesis>,
    /// The governed part of the evidence policy.
    pub terms: PolicyTerms,
    /// The governed policy on advisories.
    pub advisories: AdvisoryPolicy,
    /// Whom governance or the brake has shut out.
    pub bans: Bans,
    /// The recorded root of the era that is asked of.
    pub root: Option<RootRecord>,
    /// The era whose root gives the keys of next epochs: `phala_protocol::chain_state::next_epoch_era`.
    pub coming_era: Option<u32>,
    /// The cluster that is asked about.
    pub cluster: Option<ClusterRecord>,
    /// The asking worker's registration.
    pub worker: Option<WorkerRecord>,
    /// The allow-list entry of the registered measurement.
    pub measurement: Option<AllowedMeasurement>,
    /// What governance said when it listed that measurement: for which role, for one.
    pub listing: Option<Listing>,
    /// The highest evaluation number that governance lets collateral have. Where none is set, a development network takes any, and others
    /// none.
    pub evaluation_cap: Option<u32>,
    /// Since which finalised block this gatekeeper itself has seen that measurement listed as it is; see [`crate::Sightings`].
    pub seen_since: Option<BlockNumber>,
}

impl Facts {
    /// What the allow-list says of the registered measurement at this head: whether a machine of it may have keys in `role`.
    ///
    /// # Errors
    /// [`Refusal::MeasurementNotAllowed`] where it is not listed, not for long enough, or not any more; [`Refusal::RoleNotAllowed`].
    pub fn check_listed(&self, role: Role) -> Result<(), Refusal> {
        let entry = self.measurement.as_ref().ok_or(Refusal::MeasurementNotAllowed)?;
        if !is_allowed(entry, self.seen_since, self.head.0, self.development.is_some()) {
            return Err(Refusal::MeasurementNotAllowed);
        }
        // An entry of which nothing more is known admits nobody.
        if !self.listing.as_ref().is_some_and(|listing| listing.admits(role)) {
            return Err(Refusal::RoleNotAllowed);
        }
        Ok(())
    }
}

/// Why a gatekeeper gives a worker no key, or does not take another gatekeeper for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The inquiry is of another chain or for another gatekeeper.
    #[error("inquiry is not for this gatekeeper on this chain")]
    WrongAddressee,
    /// The request is not signed by the worker it names.
    #[error("request is not signed by the worker that it names")]
    BadSignature,
    /// The chain does not know the worker, or knows it in another role.
    #[error("worker is not registered; register it first")]
    NotRegistered,
    /// The registration's attestation lapsed.
    #[error("worker's attestation has lapsed; attest again")]
    Lapsed,
    /// What is to be sealed to is not the key that was signed, or no key at all.
    #[error("key to seal to is not the one that was signed, or no key")]
    BadEncryptionKey,
    /// The key that a gatekeeper would receive under in a ceremony is not announced under its identity.
    #[error("key is not announced for the ceremony by the gatekeeper that it names")]
    BadAnnouncement,
    /// The chain has not assigned the cluster to the worker.
    #[error("cluster is not assigned to the worker")]
    NotAssigned,
    /// The collateral is malformed or not good now.
    #[error("collateral is refused; fetch it again")]
    Collateral,
    /// The evidence is malformed or refused.
    #[error("evidence is refused")]
    Evidence,
    /// An advisory that governance forbids applies to the worker's platform.
    #[error("a forbidden advisory applies to the worker's platform; update it")]
    Advisory,
    /// The machine's root, vendor, model, generation or measurement is revoked or suspended.
    #[error("worker's root, vendor, model, generation or measurement is revoked or suspended")]
    Barred,
    /// The evidence does not bind this registration, or the registration another worker or key.
    #[error("evidence does not bind this worker's registration")]
    WrongReportData,
    /// The evidence is of another measurement than the chain registered.
    #[error("evidence is of another measurement than the registered one")]
    WrongMeasurement,
    /// The measurement is not on the allow-list, not for long enough, or not any more.
    #[error("measurement is not allowed, was listed too recently, or this gatekeeper has not seen it listed for long enough")]
    MeasurementNotAllowed,
    /// The measurement is listed for another role, or it is not known for which.
    #[error("measurement is listed for another role")]
    RoleNotAllowed,
    /// The collateral is of an evaluation that governance has not let in, or governance has let in none.
    #[error("collateral is of an evaluation that governance has not let in yet; bring the present standard one")]
    EvaluationTooEarly,
    /// The epoch is not one whose keys may be given now.
    #[error("epoch's keys are not given now")]
    EpochNotOpen,
    /// The chain gives the epoch to the root of another era than the one that is asked.
    #[error("epoch is of another era than the request; follow the chain and ask the gatekeepers of that era")]
    WrongEra,
    /// The chain has not recorded this gatekeeper's root.
    #[error("gatekeeper's root is not recorded on chain")]
    RootNotRecorded,
    /// The request is of a block too long before this gatekeeper's head: the worker's own head is behind, or somebody brings what was recorded.
    #[error(
        "request was made at block {at}, too long before this gatekeeper's head {head}; the worker asks anew by itself when its own head \
         moves: see what its relayer brings it, unless somebody brought an old request"
    )]
    Stale {
        /// The worker's finalised head, when it asked.
        at: BlockNumber,
        /// The gatekeeper's.
        head: BlockNumber,
    },
    /// The worker was given the keys of this epoch as often as anybody is: it restarts all the time, or has a defect.
    #[error("worker asks too often for the keys of one epoch; find out why it restarts. It may ask again from block {from} on")]
    TooOften {
        /// The first block by whose state another request is answered.
        from: BlockNumber,
    },
    /// As many workers' epochs were answered lately as this gatekeeper counts: it gives nothing that it could not count.
    #[error(
        "gatekeeper counts the answers of as many workers as it can, and not of this one; it may be answered from block {from} on. Where that \
         happens again, there are more workers than gatekeepers are made for: tell those who run them"
    )]
    Crowded {
        /// The first block in which one of them is counted no more.
        from: BlockNumber,
    },
}

impl Refusal {
    /// Its kind, by which refusals are counted.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::WrongAddressee => "wrong_addressee",
            Self::BadSignature => "bad_signature",
            Self::NotRegistered => "not_registered",
            Self::Lapsed => "lapsed",
            Self::BadEncryptionKey => "bad_encryption_key",
            Self::BadAnnouncement => "bad_announcement",
            Self::NotAssigned => "not_assigned",
            Self::Collateral => "collateral",
            Self::Evidence => "evidence",
            Self::Advisory => "advisory",
            Self::Barred => "barred",
            Self::WrongReportData => "wrong_report_data",
            Self::WrongMeasurement => "wrong_measurement",
            Self::MeasurementNotAllowed => "measurement_not_allowed",
            Self::RoleNotAllowed => "role_not_allowed",
            Self::EvaluationTooEarly => "evaluation_too_early",
            Self::EpochNotOpen => "epoch_not_open",
            Self::WrongEra => "wrong_era",
            Self::RootNotRecorded => "root_not_recorded",
            Self::Stale { .. } => "stale",
            Self::TooOften { .. } => "too_often",
            Self::Crowded { .. } => "crowded",
        }
    }
}

/// An inquiry whose request is signed by the worker that it names, with the key to answer to. Registration, evidence and collateral, which
/// come with the request, are an allegation still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedInquiry {
    inquiry: KeyInquiry,
    payload: Hash,
}

impl SignedInquiry {
    /// The inquiry.
    pub fn inquiry(&self) -> &KeyInquiry {
        &self.inquiry
    }

    /// [`phala_protocol::keys::KeyRequest::signing_payload`] of its request.
    pub fn payload(&self) -> Hash {
        self.payload
    }
}

/// Whether a request is young enough for a gatekeeper at block `head`.
///
/// # Errors
/// [`Refusal::Stale`].
pub fn check_age(request: &KeyRequest, head: BlockNumber) -> Result<(), Refusal> {
    if request.is_stale(head) {
        return Err(Refusal::Stale { at: request.at, head });
    }
    Ok(())
}

/// What can be said for a request without the chain's records: that it is for this gatekeeper, and of the worker that it names.
/// The signature covers the key to answer to, and nothing else that comes with the request: whoever saw it can send it with other evidence.
///
/// # Errors
/// [`Refusal::WrongAddressee`], [`Refusal::BadSignature`]; [`Refusal::BadEncryptionKey`] when the key's bytes are not those that were signed.
pub fn verify_request(inquiry: KeyInquiry, genesis: &Hash, gatekeeper: &WorkerId) -> Result<SignedInquiry, Refusal> {
    let signed = &inquiry.request;
    let request = &signed.request;
    if request.genesis != *genesis || request.gatekeeper != *gatekeeper {
        return Err(Refusal::WrongAddressee);
    }
    let payload = request.signing_payload();
    ed25519::verify(&request.worker.0, &payload, &signed.signature).map_err(|_| Refusal::BadSignature)?;
    // The length first: what is longer than a key is not hashed.
    if signed.public_key.len() != PUBLIC_KEY_BYTES || answer_key_hash(&signed.public_key) != request.answer_key {
        return Err(Refusal::BadEncryptionKey);
    }
    Ok(SignedInquiry { inquiry, payload })
}

/// The purposes for which the asker may have keys of the root of `era`, and the key to seal them to, after every check.
pub(crate) fn verify_inquiry(
    signed: &SignedInquiry,
    facts: &Facts,
    era: u32,
    verifier: &mut Verifier,
) -> Result<(Vec<KeyPurpose>, EncapsulationKey), Refusal> {
    let inquiry = signed.inquiry();
    let request = &inquiry.request.request;
    if request.genesis != facts.genesis || request.gatekeeper != facts.gatekeeper {
        return Err(Refusal::WrongAddressee);
    }
    check_age(request, facts.head.0)?;
    let worker = facts.worker.as_ref().filter(|record| record.role == Role::Worker).ok_or(Refusal::NotRegistered)?;
    if worker.valid_until <= facts.now {
        return Err(Refusal::Lapsed);
    }
    let recipient = EncapsulationKey::from_bytes(&inquiry.request.public_key).map_err(|_| Refusal::BadEncryptionKey)?;
    let cluster = facts.cluster.as_ref().ok_or(Refusal::NotAssigned)?;
    if !cluster.replicas.contains(&request.worker) {
        return Err(Refusal::NotAssigned);
    }
    let allowed: Vec<_> =
        KeyPurpose::ALL.into_iter().filter(|purpose| cluster.may_have(request.epoch, *purpose, facts.head.0)).collect();
    if allowed.is_empty() {
        return Err(Refusal::EpochNotOpen);
    }
    let given = facts.coming_era.and_then(|coming| cluster.era_of(request.epoch, coming));
    if request.era != era || given != Some(era) {
        return Err(Refusal::WrongEra);
    }
    let machine = Presented {
        identity: request.worker,
        role: Role::Worker,
        record: worker,
        registration: &inquiry.registration,
        evidence: &inquiry.evidence,
        collateral: &inquiry.collateral,
    };
    verify_machine(&machine, facts, verifier)?;
    Ok((allowed, recipient))
}

/// A machine as it presents itself, with what the chain says of it.
pub(crate) struct Presented<'a> {
    /// Whose evidence it must be.
    pub(crate) identity: WorkerId,
    /// In which role.
    pub(crate) role: Role,
    /// The chain's record of it.
    pub(crate) record: &'a WorkerRecord,
    /// What the evidence is said to bind.
    pub(crate) registration: &'a Registration,
    /// SCALE of [`phala_attest::Evidence`].
    pub(crate) evidence: &'a [u8],
    /// SCALE of [`phala_attest::Collateral`].
    pub(crate) collateral: &'a [u8],
}

/// The evidence of a worker or of another gatekeeper, judged here.
pub(crate) fn verify_machine(machine: &Presented<'_>, facts: &Facts, verifier: &mut Verifier) -> Result<(), Refusal> {
    verifier.verify(machine, facts, |verdict, report| judge_machine(machine, facts, verdict, report))
}

/// What is asked of a machine whose evidence is genuine, anew each time.
fn judge_machine(
    machine: &Presented<'_>,
    facts: &Facts,
    verdict: &Verdict,
    report: &VerifiedReport,
) -> Result<(), Refusal> {
    let (registration, record) = (machine.registration, machine.record);
    let binds = registration.role == machine.role
        && registration.identity == machine.identity
        && registration.encryption_key == record.encryption_key
        && registration.operator == record.operator
        && report.report_data() == registration.report_data(&facts.genesis);
    if !binds {
        return Err(Refusal::WrongReportData);
    }
    if report.measurement() != record.measurement {
        return Err(Refusal::WrongMeasurement);
    }
    if facts.bans.applying(verdict.origin(), facts.head.0).is_some() {
        return Err(Refusal::Barred);
    }
    // As the chain takes collateral: neither document may be ahead of the cap.
    let cap = facts.evaluation_cap.or_else(|| facts.development.map(|_| u32::MAX));
    if cap.is_none_or(|cap| verdict.latest_evaluation_number() > cap) {
        return Err(Refusal::EvaluationTooEarly);
    }
    confidence_of(report, &facts.advisories).map_err(|_| Refusal::Advisory)?;
    facts.check_listed(machine.role)
}

/// Whether keys are given to a measurement at block `now`, whose entry this gatekeeper has seen since block `seen`. A development network
/// has no delay, and needs no sight. Overflow is never early.
pub(crate) fn is_allowed(
    entry: &AllowedMeasurement,
    seen: Option<BlockNumber>,
    now: BlockNumber,
    development: bool,
) -> bool {
    let from = if development {
        Some(entry.listed_at)
    } else {
        seen.and_then(|seen| entry.listed_at.max(seen).checked_add(MEASUREMENT_DELAY_BLOCKS))
    };
    let old_enough = from.is_some_and(|from| now >= from);
    old_enough && now >= entry.not_before && entry.sunset.is_none_or(|sunset| now <= sunset)
}
