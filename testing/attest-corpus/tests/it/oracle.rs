//! dcap-qvl's verdict on every case, and the table of differences.

use phala_attest_corpus::{
    altered,
    differences::{explain, render, DIFFERENCES},
    oracle, parallel, stride, unaltered, without_effect, Kind,
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
