//! A verdict that is kept: what evidence said, judged again without a signature.
//!
//! Evidence stays genuine; what changes is the time, and what governance accepts. A [`Verdict`] holds what those are compared with, so that
//! whoever is shown the same bytes again need not verify their three signatures again.
//!
//! Guarantees: a verdict is made by [`crate::verify_evidence`]'s own judgement alone, and [`Verdict::holds`] gives what that would give for
//! the same evidence and the same collateral at any time, under any policy, to the refusal: the two run the same three checks in the same
//! order. It holds no certificate and no collateral, and takes a few hundred bytes, which [`Verdict::memory_bytes`] counts. Does not: know whether bytes are the same as those that
//! it is of, which is the caller's to compare, nor judge bans, advisories, or what the report is about.

use crate::{
    ban::Origin,
    certificate::check_validity,
    collateral::VerifiedCollateral,
    dcap::{check_collateral, check_status, Documents},
    evidence::{verify_evidence, Evidence, Refusal, VerifiedReport},
    policy::Policy,
    tcb::{Advisory, MOST_ADVISORY_BYTES},
};

/// What evidence said, with one collateral. Neither encodable nor decodable, so that it is only ever of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    report: VerifiedReport,
    origin: Origin,
    documents: Documents,
}

impl Verdict {
    /// Judges `evidence` as [`verify_evidence`] does, at `now` (Unix seconds), and keeps what it takes to judge it again.
    ///
    /// # Errors
    /// Those of [`verify_evidence`].
    pub fn of(
        evidence: &Evidence,
        collateral: &VerifiedCollateral,
        policy: &Policy,
        now: u64,
    ) -> Result<Self, Refusal> {
        let mut report = verify_evidence(evidence, collateral, policy, now)?;
        // It may be kept for long: no room that is not used.
        report.advisories.shrink_to_fit();
        let origin = Origin::of(&report, collateral);
        Ok(Self { report, origin, documents: Documents::of(collateral) })
    }

    /// What [`verify_evidence`] gives at `now` (Unix seconds) under `policy` for the same evidence and collateral.
    ///
    /// # Errors
    /// The same as it gives.
    pub fn holds(&self, policy: &Policy, now: u64) -> Result<&VerifiedReport, Refusal> {
        check_collateral(&self.documents, policy, now)?;
        check_validity(self.report.certified_from, self.report.certified_until, now)
            .map_err(Refusal::PckCertificate)?;
        check_status(self.report.tcb_status, policy)?;
        Ok(&self.report)
    }

    /// Whether the collateral is in date at `now`: [`VerifiedCollateral::is_good_at`].
    pub const fn documents_are_good_at(&self, now: u64) -> bool {
        let (from, until) = self.documents.valid;
        from <= now && now < until
    }

    /// Bytes of memory that it takes at most, without what an allocator adds.
    pub fn memory_bytes(&self) -> usize {
        let advisories = self.report.advisories.len().saturating_mul(size_of::<Advisory>() + MOST_ADVISORY_BYTES);
        size_of::<Self>().saturating_add(advisories)
    }

    /// What bans ask about.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The higher evaluation number of the collateral's two documents: [`VerifiedCollateral::latest_evaluation_number`].
    pub const fn latest_evaluation_number(&self) -> u32 {
        let (_, latest) = self.documents.evaluation;
        latest
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{
        anchor::{Assurance, Root, TrustAnchor},
        certificate::CertificateFault,
        evidence::Vendor,
        policy::PolicyTerms,
        tcb::{TcbStatus, MOST_ADVISORIES},
    };
    use alloc::{vec, vec::Vec};

    /// Of documents that are good from 10 to 19 and have the evaluations 5 and 6, and of a certificate from 12 to 15.
    fn verdict() -> Verdict {
        let report = VerifiedReport {
            vendor: Vendor::IntelTdx,
            measurement: [1; 32],
            report_data: [2; 64],
            tcb_status: TcbStatus::UpToDate,
            advisories: Vec::new(),
            hardware_id: [3; 32],
            assurance: Assurance::Hardware,
            valid_until: 15,
            certified_from: 12,
            certified_until: 15,
        };
        let origin = Origin {
            root: Root::Intel,
            vendor: Vendor::IntelTdx,
            fmspc: [4; 6],
            evaluation: 5,
            measurement: report.measurement,
        };
        let documents = Documents { root: Root::Intel, valid: (10, 20), evaluation: (5, 6) };
        Verdict { report, origin, documents }
    }

    #[test]
    fn a_verdict_ends_with_the_certificate_as_with_the_documents() {
        let policy = Policy { anchor: TrustAnchor::Intel, terms: PolicyTerms::STRICT };
        let at = |now| verdict().holds(&policy, now).err();
        let uncertified = |fault| Some(Refusal::PckCertificate(fault));
        assert_eq!(at(9), Some(Refusal::CollateralNotYetValid));
        assert_eq!([10, 11].map(at), [0; 2].map(|_| uncertified(CertificateFault::NotYetValid)));
        assert_eq!([12, 15].map(at), [None, None]);
        assert_eq!([16, 19].map(at), [0; 2].map(|_| uncertified(CertificateFault::Expired)));
        assert_eq!(at(20), Some(Refusal::CollateralExpired));
        assert_eq!([9, 10, 19, 20].map(|now| verdict().documents_are_good_at(now)), [false, true, true, false]);
        assert_eq!(verdict().latest_evaluation_number(), 6);
    }

    #[test]
    fn a_verdict_with_as_many_advisories_as_can_be_takes_two_kilobytes() {
        let plain = verdict();
        assert_eq!(plain.memory_bytes(), size_of::<Verdict>());
        let advisory = Advisory::new("INTEL-SA-00000-OF-24-CHA").unwrap();
        assert_eq!(advisory.id().len(), MOST_ADVISORY_BYTES);
        let report = VerifiedReport { advisories: vec![advisory; MOST_ADVISORIES], ..plain.report.clone() };
        let full = Verdict { report, ..plain };
        assert!((1_024..2_048).contains(&full.memory_bytes()), "{}", full.memory_bytes());
    }
}
