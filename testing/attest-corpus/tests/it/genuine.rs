//! Evidence of Intel's hardware verifies under Intel's root at its own time, with the oracle's findings, and never after it.

use phala_attest::{
    claimed_measurement, decode_quote, verify_collateral, verify_evidence, Assurance, DebugFlag, Evidence, Policy,
    PolicyTerms, Refusal, Report, TcbStatus, TrustAnchor, Vendor,
};
use phala_attest_corpus::{genuine, lenient, oracle, signed_others, Case, Kind};
use phala_attest_corpus_module::verdict;

fn evidence(case: &Case) -> Evidence {
    codec::DecodeAll::decode_all(&mut &case.input.evidence[..]).unwrap()
}

#[test]
fn genuine_evidence_of_each_kind_has_the_oracles_findings() {
    for kind in Kind::ALL {
        for case in genuine::of(kind) {
            let ours = verdict(&case.input).unwrap();
            let theirs = oracle::verdict(&case).unwrap().unwrap();
            let vendor = if kind == Kind::SgxV3 { Vendor::IntelSgx } else { Vendor::IntelTdx };
            assert_eq!((ours.vendor(), ours.assurance(), ours.debug()), (vendor, Assurance::Hardware, DebugFlag::Off));
            assert_eq!(ours.tcb_status().name(), theirs.status, "{kind:?}");
            let advisories: Vec<String> = ours.advisories().iter().map(|advisory| advisory.id()).collect();
            assert_eq!(advisories, theirs.advisory_ids, "{kind:?}");
            match (decode_quote(&case.quote).unwrap().report, theirs.report) {
                (Report::Enclave(ours), theirs) => {
                    let theirs = theirs.as_sgx().unwrap();
                    assert_eq!((ours.mr_enclave, ours.mr_signer), (theirs.mr_enclave, theirs.mr_signer));
                    assert_eq!((ours.isv_prod_id, ours.isv_svn), (theirs.isv_prod_id, theirs.isv_svn));
                    assert_eq!((ours.attributes, ours.report_data), (theirs.attributes, theirs.report_data));
                }
                (Report::Td(ours, later), theirs) => {
                    let td = theirs.as_td10().unwrap();
                    assert_eq!((ours.mr_td, ours.td_attributes, ours.xfam), (td.mr_td, td.td_attributes, td.xfam));
                    assert_eq!(ours.rtmr, [td.rt_mr0, td.rt_mr1, td.rt_mr2, td.rt_mr3]);
                    assert_eq!(ours.report_data, td.report_data);
                    let td_15 = theirs.as_td15().map(|td| (td.tee_tcb_svn2, td.mr_service_td));
                    assert_eq!(later.as_ref().map(|later| (later.tee_tcb_svn_2, later.mr_service_td)), td_15);
                    let td_id = theirs.as_td15_ex().map(|td| td.td_id);
                    assert_eq!(later.and_then(|later| later.extended).map(|extended| extended.td_id), td_id);
                }
            }
            assert_eq!(claimed_measurement(&evidence(&case)), Ok(ours.measurement()));
        }
    }
}

#[test]
fn measurements_and_hardware_ids_of_each_kind_are_frozen() {
    let frozen = [
        (
            Kind::SgxV3,
            0,
            include_str!("../../../vectors/attest/sgx_v3.measurement"),
            include_str!("../../../vectors/attest/sgx_v3.hardware-id"),
        ),
        (
            Kind::TdxV4,
            0,
            include_str!("../../../vectors/attest/tdx_v4.measurement"),
            include_str!("../../../vectors/attest/tdx_v4.hardware-id"),
        ),
        (
            Kind::TdxV5,
            0,
            include_str!("../../../vectors/attest/tdx_v5.measurement"),
            include_str!("../../../vectors/attest/tdx_v5.hardware-id"),
        ),
    ];
    for (kind, index, measurement, hardware_id) in frozen {
        let report = verdict(&genuine::of(kind)[index].input).unwrap();
        assert_eq!(hex::encode(report.measurement()), measurement.trim(), "{kind:?} {index}");
        assert_eq!(hex::encode(report.hardware_id()), hardware_id.trim(), "{kind:?} {index}");
    }
    for (case, measurement) in [
        (genuine::below_every_level(), include_str!("../../../vectors/attest/tdx_v5_td15.measurement")),
        (genuine::of_another_model(), include_str!("../../../vectors/attest/tdx_v4_cos.measurement")),
    ] {
        assert_eq!(hex::encode(claimed_measurement(&evidence(&case)).unwrap()), measurement.trim());
    }
}

#[test]
fn a_genuine_platform_below_every_level_is_refused_by_both_for_that() {
    let case = genuine::below_every_level();
    assert_eq!(verdict(&case.input).map(|_| ()), Err("Evidence(TcbLevel)".to_owned()));
    let theirs = oracle::verdict(&case).unwrap().map(|_| ()).unwrap_err();
    assert!(theirs.contains("TCB level"), "{theirs}");
}

#[test]
fn genuine_evidence_of_each_kind_fails_before_and_after_its_time() {
    for kind in Kind::ALL {
        for case in genuine::of(kind) {
            let raw = case.collateral.as_ref().unwrap();
            let collateral = verify_collateral(raw, &TrustAnchor::Intel, case.input.now).unwrap();
            let terms = PolicyTerms { accepted: lenient(), minimum_tcb_evaluation_number: 0 };
            let policy = Policy { anchor: TrustAnchor::Intel, terms };
            let verify = |now| verify_evidence(&evidence(&case), &collateral, &policy, now).map(|_| ());
            assert_eq!(verify(collateral.valid_from() - 1), Err(Refusal::CollateralNotYetValid));
            assert_eq!(verify(collateral.valid_from()), Ok(()));
            assert_eq!(verify(collateral.valid_until() - 1), Ok(()));
            assert_eq!(verify(collateral.valid_until()), Err(Refusal::CollateralExpired));
            assert!(verify_collateral(raw, &TrustAnchor::Intel, collateral.valid_until()).is_err());
            let until = verdict(&case.input).unwrap().valid_until();
            assert!(until > case.input.now && until <= collateral.valid_until());
        }
    }
}

#[test]
fn both_authorities_and_each_report_of_tdx_15_are_accepted_by_both() {
    for kind in Kind::ALL {
        for case in signed_others(kind) {
            let theirs = oracle::verdict(&case).unwrap().unwrap();
            let ours = verdict(&case.input).unwrap();
            assert_eq!((ours.tcb_status(), ours.assurance()), (TcbStatus::UpToDate, Assurance::Simulated));
            assert_eq!(ours.tcb_status().name(), theirs.status);
            assert_eq!(case.expected.0, phala_attest_corpus::unaltered(kind).last().unwrap().expected.0, "{kind:?}");
        }
    }
}
