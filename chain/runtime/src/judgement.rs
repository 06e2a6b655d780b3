//! What this runtime's verifier says of evidence, asked without a transaction.
//!
//! An operator asks before he pays for a registration; whoever doubts a verdict asks with documents and a time of his own. The same
//! code in the same blob decides about registrations. A verdict is a function of evidence, collateral, terms and time: what a
//! question leaves out is the chain's own, as of the block at which it is asked.
//!
//! Guarantees: an answer changes nothing; what is decoded is bounded as it is in a registration; a question names a root and adds
//! none, so that the development root counts only on a chain whose genesis marks it. Whoever asks controls the question. What a node
//! answers is that node's word and no proof: nothing that gives secrets, and no call of a pallet, reads it. Does not look at what a
//! registration needs beside a verdict: what the report data binds, the allow-list, bans, advisories, the machine's other identities.

#![allow(missing_docs, reason = "the macro generates undocumented items")]

use crate::{Attestation, Runtime, Timestamp};
use alloc::vec::Vec;
use codec::{Decode, Encode};
use phala_attest::{
    claimed_model, decode_collateral, decode_evidence, verify_collateral, verify_evidence, Advisory, Assurance,
    CollateralRefusal, KindFault, Policy, PolicyTerms, Refusal, Root, TcbStatus, TrustAnchor, Vendor, VerifiedReport,
};
use phala_pallet_attestation::{Collaterals, Terms};
use scale_info::TypeInfo;

sp_api::decl_runtime_apis! {
    /// What the runtime's verifier says of evidence.
    pub trait AttestationApi {
        /// The verdict on evidence, by what the question gives and otherwise by what this chain keeps.
        fn judge(question: Question) -> Result<Finding, Fault>;
    }
}

/// Evidence, and what it is to be judged by where that is not the chain's own.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Question {
    /// SCALE of the evidence, as a registration has it.
    pub evidence: Vec<u8>,
    /// The root to judge under, and SCALE of the collateral. Without it, the collateral that the chain keeps for the model that the
    /// evidence claims, under the root that it ends in.
    pub collateral: Option<(Root, Vec<u8>)>,
    /// The policy's terms. Without them, the chain's.
    pub terms: Option<PolicyTerms>,
    /// Unix seconds. Without it, the chain's time.
    pub at: Option<u64>,
}

/// What verified evidence says, each field as the verifier's report has it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Finding {
    /// Whose hardware.
    pub vendor: Vendor,
    /// Whether hardware stands behind it, or nothing: the development root's key is public.
    pub assurance: Assurance,
    /// Hash of every launch-identity field.
    pub measurement: [u8; 32],
    /// What the machine asked to have certified.
    pub report_data: [u8; 64],
    /// Hash of the processor's identity; on chain stands a pseudonym of it. Whoever has the evidence can compute both.
    pub hardware_id: [u8; 32],
    /// How the vendor judges the platform.
    pub status: TcbStatus,
    /// The advisories that apply to it.
    pub advisories: Vec<Advisory>,
    /// First Unix second at which certificates or collateral behind it are not valid any more.
    pub valid_until: u64,
    /// The Unix second at which the processor's certificate ends.
    pub certified_until: u64,
}

impl From<&VerifiedReport> for Finding {
    fn from(report: &VerifiedReport) -> Self {
        Self {
            vendor: report.vendor(),
            assurance: report.assurance(),
            measurement: report.measurement(),
            report_data: report.report_data(),
            hardware_id: report.hardware_id(),
            status: report.tcb_status(),
            advisories: report.advisories().to_vec(),
            valid_until: report.valid_until(),
            certified_until: report.certified_until(),
        }
    }
}

/// Why there is no finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Fault {
    /// The question names the development root, and this chain's genesis marks no development network: the asker's.
    NotDevelopment,
    /// The evidence is not the SCALE of any, or has bytes behind it: whoever made it is at fault.
    EvidenceShape,
    /// The collateral is not the SCALE of any, or has bytes behind it: whoever made it is at fault.
    CollateralShape,
    /// The chain keeps no collateral for the model that the evidence claims: submit it, or give it with the question.
    NoCollateral,
    /// The collateral is refused.
    Collateral(CollateralRefusal),
    /// The evidence is refused.
    Evidence(Refusal),
    /// The evidence is of this kind, its first byte, which this runtime does not verify.
    UnsupportedEvidence(u8),
    /// The collateral is of this kind, its first byte, which this runtime does not verify.
    UnsupportedCollateral(u8),
}

/// The verdict that [`Question`] asks for.
///
/// # Errors
/// Whose fault it is that there is none.
pub fn judge(question: &Question) -> Result<Finding, Fault> {
    let now = question.at.unwrap_or_else(|| Timestamp::get() / 1_000);
    let given = match &question.collateral {
        Some((root, bytes)) => Some((anchor_of(*root)?, bytes)),
        None => None,
    };
    let evidence = decode_evidence(&question.evidence).map_err(|fault| unread(fault, Fault::EvidenceShape))?;
    let (anchor, collateral) = match given {
        Some((anchor, bytes)) => {
            let raw = decode_collateral(bytes).map_err(|fault| unread(fault, Fault::CollateralShape))?;
            (anchor, verify_collateral(&raw, &anchor, now).map_err(Fault::Collateral)?)
        }
        None => {
            let model = claimed_model(&evidence).map_err(Fault::Evidence)?;
            let kept = Collaterals::<Runtime>::get(model).ok_or(Fault::NoCollateral)?;
            (anchor_of(kept.root())?, kept)
        }
    };
    let terms = question.terms.unwrap_or_else(Terms::<Runtime>::get);
    let report = verify_evidence(&evidence, &collateral, &Policy { anchor, terms }, now).map_err(Fault::Evidence)?;
    Ok(Finding::from(&report))
}

/// Why bytes were not read; `shape` if they are malformed.
fn unread(fault: KindFault, shape: Fault) -> Fault {
    match fault {
        KindFault::UnsupportedEvidence(kind) => Fault::UnsupportedEvidence(kind),
        KindFault::UnsupportedCollateral(kind) => Fault::UnsupportedCollateral(kind),
        KindFault::Malformed => shape,
    }
}

/// The anchor of a root that this chain trusts.
fn anchor_of(root: Root) -> Result<TrustAnchor, Fault> {
    match root {
        Root::Intel => Ok(TrustAnchor::Intel),
        Root::InsecureDevelopment => Attestation::development_anchor().ok_or(Fault::NotDevelopment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Development;
    use phala_attest_corpus::{unaltered, Case, Kind};

    fn on_a_chain(development: bool, work: impl FnOnce()) {
        sp_io::TestExternalities::default().execute_with(|| {
            Development::<Runtime>::put(development);
            work();
        });
    }

    /// The question that gives everything.
    fn whole(case: &Case) -> Question {
        let root = if case.input.development { Root::InsecureDevelopment } else { Root::Intel };
        Question {
            evidence: case.input.evidence.clone(),
            collateral: Some((root, case.input.collateral.clone())),
            terms: Some(PolicyTerms { accepted: case.input.accepted, minimum_tcb_evaluation_number: 0 }),
            at: Some(case.input.now),
        }
    }

    #[test]
    fn genuine_and_simulated_evidence_has_the_findings_of_its_root() {
        for case in Kind::ALL.into_iter().flat_map(unaltered) {
            on_a_chain(true, || {
                let finding = judge(&whole(&case)).unwrap();
                let assurance = if case.input.development { Assurance::Simulated } else { Assurance::Hardware };
                assert_eq!((finding.assurance, finding.measurement), (assurance, case.expected.0), "{:?}", case.kind);
                assert_eq!(finding.report_data, case.expected.1, "{:?}", case.kind);
            });
        }
    }

    #[test]
    fn the_development_root_counts_only_where_the_genesis_marks_it() {
        for case in Kind::ALL.into_iter().flat_map(unaltered) {
            on_a_chain(false, || {
                let answer = judge(&whole(&case)).map(|finding| finding.assurance);
                let expected =
                    if case.input.development { Err(Fault::NotDevelopment) } else { Ok(Assurance::Hardware) };
                assert_eq!(answer, expected, "{:?}", case.kind);
            });
        }
    }

    #[test]
    fn what_a_question_leaves_out_is_the_chains() {
        let case = unaltered(Kind::TdxV4).into_iter().find(|case| case.input.development).unwrap();
        let asked = Question { collateral: None, terms: None, at: None, ..whole(&case) };
        on_a_chain(true, || {
            assert_eq!(judge(&asked), Err(Fault::NoCollateral));

            let anchor = Attestation::development_anchor().unwrap();
            let raw = case.collateral.as_ref().unwrap();
            let kept = verify_collateral(raw, &anchor, case.input.now).unwrap();
            let ends = kept.valid_until();
            Collaterals::<Runtime>::insert(kept.model(), kept);
            pallet_timestamp::Now::<Runtime>::put(case.input.now * 1_000);
            assert_eq!(judge(&asked), judge(&whole(&case)));
            assert!(judge(&asked).is_ok());

            let late = Question { at: Some(ends), ..asked.clone() };
            assert_eq!(judge(&late), Err(Fault::Evidence(Refusal::CollateralExpired)));
            pallet_timestamp::Now::<Runtime>::put(ends * 1_000);
            assert_eq!(judge(&asked), Err(Fault::Evidence(Refusal::CollateralExpired)));

            pallet_timestamp::Now::<Runtime>::put(case.input.now * 1_000);
            let floor = PolicyTerms { minimum_tcb_evaluation_number: u32::MAX, ..PolicyTerms::STRICT };
            Terms::<Runtime>::put(floor);
            assert_eq!(judge(&asked), Err(Fault::Evidence(Refusal::EvaluationNumber)));

            // What was kept under a root counts no longer than the root does.
            Development::<Runtime>::put(false);
            assert_eq!(judge(&asked), Err(Fault::NotDevelopment));
        });
    }

    #[test]
    fn what_is_not_whole_is_refused_by_name() {
        let case = unaltered(Kind::SgxV3).remove(0);
        let question = whole(&case);
        on_a_chain(false, || {
            for evidence in [Vec::new(), vec![1; 9], [&question.evidence[..], &[0]].concat()] {
                assert_eq!(judge(&Question { evidence, ..question.clone() }), Err(Fault::EvidenceShape));
            }
            for bytes in [Vec::new(), vec![0; 9], [&case.input.collateral[..], &[0]].concat()] {
                let collateral = Some((Root::Intel, bytes));
                assert_eq!(judge(&Question { collateral, ..question.clone() }), Err(Fault::CollateralShape));
            }
            // Another kind is told from what is broken, whatever follows it.
            for kind in [2, 3, 0xff] {
                let mut other = question.clone();
                other.evidence[0] = kind;
                assert_eq!(judge(&other), Err(Fault::UnsupportedEvidence(kind)));
                let collateral = Some((Root::Intel, vec![kind; 9]));
                let other = Question { collateral, ..question.clone() };
                assert_eq!(judge(&other), Err(Fault::UnsupportedCollateral(kind)));
            }
        });
    }
}
