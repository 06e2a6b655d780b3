//! Whether every weight is measured or says why not, and whether what the pallets charge covers what is counted and what was measured.

use crate::{
    case::Case,
    cases::{self, ESTIMATED},
    kept,
    measure::{Counts, Prepared},
    sources, world,
};
use std::collections::BTreeSet;

fn functions(pallet: &str) -> Vec<sources::Function> {
    sources::functions(&std::fs::read_to_string(sources::path(pallet)).unwrap()).unwrap()
}

fn find<'a>(cases: &'a [Case], pallet: &str, function: &str) -> Option<&'a Case> {
    cases.iter().find(|case| (case.pallet, case.function) == (pallet, function))
}

#[test]
fn every_weight_has_a_case_or_a_reason_why_not() {
    let cases = cases::all();
    let mut known = BTreeSet::new();
    for pallet in sources::PALLETS {
        for function in functions(pallet) {
            let estimated = ESTIMATED.iter().any(|(of, name, _)| (*of, *name) == (pallet, function.name.as_str()));
            let case = find(&cases, pallet, &function.name);
            assert!(case.is_some() != estimated, "{pallet}.{} is measured or estimated", function.name);
            if let Some(case) = case {
                assert!(case.points.len() > function.parameters.len(), "{pallet}.{} needs more states", function.name);
            }
            known.insert((pallet, function.name));
        }
    }
    for (pallet, function) in cases.iter().map(|case| (case.pallet, case.function)) {
        assert!(known.contains(&(pallet, function.to_owned())), "{pallet}.{function} is no weight");
    }
    assert_eq!(cases.len() + ESTIMATED.len(), known.len(), "a weight has one case");
}

/// Every scene does what it is for, natively, and says enough of each parameter. Costs of the database are the same on every machine.
#[test]
fn the_reads_and_writes_of_every_state_are_charged() {
    let genesis = world::genesis_state().unwrap();
    let mut faults = Vec::new();
    for case in cases::all() {
        let name = |label: &str| format!("{}.{}: {label}", case.pallet, case.function);
        let mut samples = Vec::new();
        for point in &case.points {
            let counted = Prepared::new(&genesis, point).and_then(|mut prepared| {
                let counts = Counts { proof: 0, ..prepared.count(case.charged)? };
                Ok(case.sample(prepared.at, counts, 0))
            });
            match counted {
                Ok(sample) => {
                    let (charged, needed) = ((case.charged)(&sample.at), sample.weight());
                    if !charged.all_gte(needed) {
                        faults.push(format!("{} charges {charged:?} for {sample:?}", name(point.label)));
                    }
                    samples.push((point.label, sample));
                }
                Err(error) => faults.push(format!("{} fails: {error:#}", name(point.label))),
            }
        }
        let parameters = functions(case.pallet).into_iter().find(|function| function.name == case.function);
        let parameters = parameters.map_or(0, |function| function.parameters.len());
        if let Err(error) = crate::fitted(&samples, parameters) {
            faults.push(format!("{}: {error:#}", name("all states")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_is_charged_covers_what_was_measured() {
    let (cases, kept) = (cases::all(), kept::read().unwrap());
    for point in &kept {
        let case = find(&cases, &point.pallet, &point.function).expect("a case that was measured is there");
        let charged = (case.charged)(&point.sample.at);
        assert!(charged.all_gte(point.sample.weight()), "{point:?}: {charged:?} is charged");
    }
    // What says that it is measured is, in every state; and nothing is measured whose weight is an estimate.
    for pallet in sources::PALLETS {
        let source = std::fs::read_to_string(sources::path(pallet)).unwrap();
        for function in functions(pallet) {
            let name = function.name.as_str();
            let says = body(&source, name).contains("// Measured: ");
            let states = kept.iter().filter(|point| (point.pallet.as_str(), point.function.as_str()) == (pallet, name));
            let expected = find(&cases, pallet, name).filter(|_| says).map_or(0, |case| case.points.len());
            assert_eq!(states.count(), expected, "states of {pallet}.{name} in measured.json");
            assert!(!says || expected > 0, "{pallet}.{name} says that it is measured");
        }
    }
}

fn body<'a>(source: &'a str, function: &str) -> &'a str {
    let (_, implementation) = source.split_once("impl WeightInfo for () {").unwrap();
    let (_, rest) = implementation.split_once(&format!("\n    fn {function}(")).unwrap();
    rest.split("\n    }\n").next().unwrap()
}
