//! What keeps a registered TEE active, condition by condition.

use super::*;
use phala_attest::{AcceptedStatuses, Advisory, AdvisoryPolicy, TcbStatus};

fn set_terms(accepted: AcceptedStatuses, minimum_tcb_evaluation_number: u32) {
    let terms = PolicyTerms { accepted, minimum_tcb_evaluation_number };
    assert_ok!(Attestation::set_terms(RuntimeOrigin::root(), terms));
}

fn absence(claim: &Registration) -> Option<Absence> {
    Attestation::absence(&claim.identity, claim.role)
}

#[test]
fn an_entry_that_is_narrowed_to_another_role_ends_what_was_registered() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        let list = |role| {
            let listing = Listing { role, ..listing(0, None) };
            assert_ok!(Attestation::allow_measurement(RuntimeOrigin::root(), machine.measurement(), listing));
        };
        list(Some(Role::Worker));
        assert!(is_active(&claim) && absence(&claim).is_none());
        list(Some(Role::Gatekeeper));
        assert!(!is_active(&claim));
        assert_eq!(absence(&claim), Some(Absence::Lapsed));
        list(None);
        assert!(is_active(&claim));
        // An entry of which nothing more is known keeps nobody.
        Listings::<Test>::remove(machine.measurement());
        assert!(!is_active(&claim));
    });
}

#[test]
fn a_delisted_measurement_ends_what_was_registered() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        assert_ok!(Attestation::remove_measurement(RuntimeOrigin::root(), machine.measurement()));
        assert!(!is_active(&claim));
        assert_eq!(absence(&claim), Some(Absence::Lapsed));
    });
}

#[test]
fn a_floor_that_is_raised_ends_what_was_judged_by_older_documents() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        // The simulator's documents are of evaluation 1.
        set_terms(AcceptedStatuses::UP_TO_DATE, 1);
        assert!(is_active(&claim));
        set_terms(AcceptedStatuses::UP_TO_DATE, 2);
        assert!(!is_active(&claim));
        assert_eq!(absence(&claim), None, "it may attest again before it loses what it was assigned");
        assert_noop!(register(machine, claim), Error::<Test>::CollateralBelowFloor);
    });
}

#[test]
fn a_cap_that_is_lowered_ends_what_was_judged_by_earlier_documents() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        let cap = |cap| {
            assert_ok!(Attestation::set_evaluation_cap(RuntimeOrigin::root(), Some(cap)));
        };
        cap(1);
        assert!(is_active(&claim));
        cap(0);
        assert!(!is_active(&claim));
        assert_eq!(absence(&claim), None);
        assert_noop!(register(machine, claim), Error::<Test>::EvaluationTooEarly);
        cap(1);
        assert_ok!(register(machine, claim));
    });
}

#[test]
fn a_status_that_is_no_longer_accepted_ends_what_was_registered_with_it() {
    ready(|_| {
        let (outdated, current) = (registration(ALICE, 1), registration(ALICE, 2));
        set_terms(AcceptedStatuses::UP_TO_DATE.with(TcbStatus::OutOfDate), 0);
        assert_ok!(register_with_module("one", 2, outdated));
        assert_ok!(register_with_module("two", 6, current));
        assert!(is_active(&outdated) && is_active(&current));
        set_terms(AcceptedStatuses::UP_TO_DATE, 0);
        assert!(!is_active(&outdated) && is_active(&current));
        assert_eq!(absence(&outdated), None);
    });
}

#[test]
fn a_tee_of_which_nothing_is_known_meets_no_floor_and_no_cap() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        Appraisals::<Test>::remove(claim.identity);
        assert!(is_active(&claim));
        set_terms(AcceptedStatuses::UP_TO_DATE, 1);
        assert!(!is_active(&claim));
        set_terms(AcceptedStatuses::UP_TO_DATE, 0);
        assert_ok!(Attestation::set_evaluation_cap(RuntimeOrigin::root(), Some(9)));
        assert!(!is_active(&claim));
    });
}

#[test]
fn an_advisory_that_is_forbidden_later_ends_what_it_applies_to() {
    ready(|_| {
        let (outdated, current) = (registration(ALICE, 1), registration(ALICE, 2));
        set_terms(AcceptedStatuses::UP_TO_DATE.with(TcbStatus::OutOfDate), 0);
        assert_ok!(register_with_module("one", 2, outdated));
        assert_ok!(register_with_module("two", 6, current));
        let forbid = |ids: &[&str]| {
            let named: Vec<_> = ids.iter().map(|id| Advisory::decode(&mut &id.encode()[..]).unwrap()).collect();
            let policy = AdvisoryPolicy { forbidden: named.try_into().unwrap(), ..AdvisoryPolicy::default() };
            assert_ok!(Attestation::set_advisories(RuntimeOrigin::root(), policy));
            [is_active(&outdated), is_active(&current)]
        };
        assert_eq!(forbid(&["INTEL-SA-99999"]), [true, true]);
        assert_eq!(forbid(&["INSECURE-SA-00001"]), [false, true]);
        assert_eq!(absence(&outdated), None, "it may attest again before it loses what it was assigned");
        assert_noop!(register_with_module("one", 2, outdated), Error::<Test>::AdvisoryForbidden);
        // What it attests anew as is what counts.
        assert_ok!(register_with_module("one", 6, outdated));
        assert!(is_active(&outdated) && AdvisoriesOf::<Test>::iter().count() == 0);
        Appraisals::<Test>::remove(current.identity);
        assert_eq!(forbid(&["INTEL-SA-99999"]), [true, false], "of which nothing is known");
        assert_eq!(forbid(&[]), [true, true]);
    });
}
