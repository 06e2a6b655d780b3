//! At least 800 alterations of each kind: none accepted, each refused with a reason, none panics.

use phala_attest_corpus::{altered, meant, parallel, without_effect, Kind};
use phala_attest_corpus_module::verdict;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn nothing_altered_is_accepted_and_every_refusal_has_a_reason() {
    let cases = altered();
    let outcomes = parallel(&cases, |case| case.outcome(verdict(&case.input)));
    let mut reasons: BTreeMap<Kind, BTreeMap<String, usize>> = BTreeMap::new();
    let mut classes: BTreeMap<Kind, BTreeSet<&str>> = BTreeMap::new();
    let mut accepted = Vec::new();
    for (case, outcome) in cases.iter().zip(outcomes) {
        match outcome {
            Ok(report) => {
                accepted.push(format!("{:?} {}: {} {:?}", case.kind, case.class, case.name, report.tcb_status()))
            }
            Err(reason) => {
                if case.class == "unknown kind" {
                    assert!(reason.starts_with("Evidence(UnsupportedKind("), "{}: {reason}", case.name);
                }
                *reasons.entry(case.kind).or_default().entry(reason).or_default() += 1;
                classes.entry(case.kind).or_default().insert(case.class);
            }
        }
    }
    assert!(accepted.is_empty(), "{} accepted: {accepted:#?}", accepted.len());
    for kind in Kind::ALL {
        let (count, distinct) = (reasons[&kind].values().sum::<usize>(), reasons[&kind].len());
        println!(
            "{kind:?}: {count} altered, 0 accepted, {distinct} distinct reasons, {} ways of altering",
            classes[&kind].len()
        );
        for (reason, count) in &reasons[&kind] {
            println!("    {count:5} {reason}");
        }
        assert!(count >= 800, "{kind:?}: only {count}");
        assert!(distinct >= 50, "{kind:?}: only {distinct} distinct reasons");
    }
}

#[test]
fn certificates_lists_and_documents_are_refused_for_what_is_wrong_in_them() {
    let cases = meant();
    let verdicts = parallel(&cases, |case| verdict(&case.input).map(|_| ()));
    let mut others = Vec::new();
    let mut reasons: BTreeMap<Kind, BTreeSet<String>> = BTreeMap::new();
    for (case, found) in cases.iter().zip(verdicts) {
        let expected = case.meant.clone().expect("it says so");
        if found.as_ref().err() == Some(&expected) {
            reasons.entry(case.kind).or_default().insert(expected);
        } else {
            others.push(format!("{:?} {}: {}: {expected} was meant: {found:?}", case.kind, case.class, case.name));
        }
    }
    assert!(others.is_empty(), "{} of {} are not refused as meant: {others:#?}", others.len(), cases.len());
    for kind in Kind::ALL {
        let count = cases.iter().filter(|case| case.kind == kind).count();
        println!("{kind:?}: {count} well signed and wrong, {} distinct reasons", reasons[&kind].len());
        assert!(count >= 500, "{kind:?}: only {count}");
        assert!(reasons[&kind].len() >= 100, "{kind:?}: only {}", reasons[&kind].len());
    }
}

#[test]
fn what_changes_without_effect_is_listed_and_changes_nothing() {
    for kind in Kind::ALL {
        let cases = without_effect(kind);
        for (case, why) in &cases {
            assert!(!why.is_empty());
            let outcome = case.outcome(verdict(&case.input));
            assert!(outcome.is_ok(), "{kind:?} {}: {outcome:?}", case.name);
        }
        assert!(cases.len() >= 10, "{kind:?}: {}", cases.len());
    }
}
