//! dcap-qvl's verdict on every case, and the table of differences.

use phala_attest::decode_quote;
use phala_attest_corpus::{
    altered, altered_quotes,
    differences::{explain, render, DIFFERENCES},
    genuine, oracle, parallel, stride, unaltered, without_effect, Kind,
};
use phala_attest_corpus_module::verdict;
use std::{collections::BTreeMap, path::Path};

#[test]
fn every_difference_from_the_oracle_is_explained() {
    let cases = altered();
    let verdicts = parallel(&cases, |case| (verdict(&case.input), oracle::verdict(case)));
    let (mut counts, mut agreed, mut not_put) = (vec![0; DIFFERENCES.len()], 0, 0);
    let mut unexplained: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (case, (ours, theirs)) in cases.iter().zip(verdicts) {
        let name = || format!("{:?} {}: {}", case.kind, case.class, case.name);
        match (ours, theirs) {
            (_, None) => not_put += 1,
            (Ok(ours), Some(theirs)) => {
                let theirs = theirs.unwrap_or_else(|error| panic!("{}: we accept what they refuse: {error}", name()));
                // The caller refuses these: the measurement or the report data is another.
                assert_eq!(ours.tcb_status().name(), theirs.status, "{}", name());
            }
            (Err(_), Some(Err(_))) => agreed += 1,
            (Err(refusal), Some(Ok(_))) => match explain(case, &refusal) {
                Some(row) => counts[row] += 1,
                None => {
                    let entry = unexplained.entry(format!("{}: {refusal}", case.class)).or_insert((0, name()));
                    entry.0 += 1;
                }
            },
        }
    }
    let idle: Vec<&str> =
        DIFFERENCES.iter().zip(&counts).filter(|(_, count)| **count == 0).map(|(row, _)| row.input).collect();
    assert!(
        unexplained.is_empty() && idle.is_empty(),
        "only we refuse, and no row says why: {unexplained:#?}\nrows that explain nothing: {idle:#?}"
    );

    if stride() == 149 {
        let page = render(&counts, cases.len(), agreed, not_put);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/attestation-differences.md");
        if std::env::var_os("PHALA_BLESS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(there == page, "docs/attestation-differences.md is not this table: PHALA_BLESS=1 writes it");
    }
}

#[test]
fn the_oracle_accepts_what_is_unaltered_and_what_changes_without_effect() {
    for kind in Kind::ALL {
        let free = without_effect(kind).into_iter().map(|(case, _)| case);
        for case in unaltered(kind).into_iter().chain(free) {
            let theirs = oracle::verdict(&case).unwrap();
            let ours = verdict(&case.input).unwrap();
            assert_eq!(
                theirs.map(|report| report.status),
                Ok(ours.tcb_status().name().to_owned()),
                "{kind:?} {}",
                case.name
            );
        }
    }
}

/// Both compare the model behind every signature: what either says of it is said of a quote that it found to be Intel's.
#[test]
fn a_genuine_quote_of_another_model_is_refused_by_both_for_that_and_altered_for_what_is_altered() {
    const OURS: &str = "Evidence(PlatformModel)";
    const THEIRS: &str = "Fmspc mismatch";
    let case = genuine::of_another_model();
    assert_eq!(verdict(&case.input).map(|_| ()), Err(OURS.to_owned()));
    let theirs = oracle::verdict(&case).unwrap().map(|_| ()).unwrap_err();
    assert!(theirs.contains(THEIRS), "{theirs}");
    let (ours, theirs) = (decode_quote(&case.quote).unwrap(), dcap_qvl::quote::Quote::parse(&case.quote).unwrap());
    assert_eq!(ours.signed, &case.quote[..theirs.signed_length()]);
    assert_eq!(ours.pck_chain, theirs.raw_cert_chain().unwrap());
    let (ours, theirs) = (ours.report.td().unwrap(), theirs.report.as_td10().unwrap());
    assert_eq!((ours.tee_tcb_svn, ours.mr_seam, ours.mr_td), (theirs.tee_tcb_svn, theirs.mr_seam, theirs.mr_td));
    assert_eq!((ours.td_attributes, ours.xfam), (theirs.td_attributes, theirs.xfam));
    assert_eq!(ours.rtmr, [theirs.rt_mr0, theirs.rt_mr1, theirs.rt_mr2, theirs.rt_mr3]);
    assert_eq!(ours.report_data, theirs.report_data);

    let cases = altered_quotes(&case, stride());
    let verdicts = parallel(&cases, |case| (verdict(&case.input), oracle::verdict(case).unwrap()));
    let (mut both, mut alone) = (0, 0);
    for (case, (ours, theirs)) in cases.iter().zip(verdicts) {
        let name = format!("{}: {}", case.class, case.name);
        match (ours, theirs) {
            // The whole quote of another machine, which is not this model's.
            (Ok(_), theirs) => assert!(theirs.is_ok() && case.class == "another kind's", "{name}"),
            (Err(ours), Err(theirs)) if !theirs.contains(THEIRS) => {
                assert_ne!(ours, OURS, "they refuse before the model, for {theirs}: {name}");
                both += 1;
            }
            (Err(ours), _) => {
                assert_ne!(ours, OURS, "nothing altered is found to be Intel's: {name}");
                assert!(explain(case, &ours).is_some(), "only we refuse before the model, for {ours}: {name}");
                alone += 1;
            }
        }
    }
    assert!(both > 100 && alone > 5, "{both} {alone}");
}
