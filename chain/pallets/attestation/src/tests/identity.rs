//! One live identity a machine, its confidence, and its lapse.

use super::*;
use phala_attest::{AcceptedStatuses, Advisory, AdvisoryPolicy, TcbStatus};

#[test]
fn one_machine_carries_one_live_identity() {
    network(true).execute_with(|| {
        let (one, two) = (machine("one"), machine("two"));
        assert_ok!(submit(one.collateral()));
        allow(&one, 0, None);
        assert_ok!(register(&one, registration(ALICE, 1)));
        assert_ok!(register(&two, registration(ALICE, 2)));
        assert_noop!(register(&one, registration(BOB, 3)), Error::<Test>::HardwareInUse);
        assert_noop!(register(&two, registration(BOB, 1)), Error::<Test>::IdentityInUse);
        // The operator sets the machine up anew: the former identity is gone.
        assert_ok!(register(&one, registration(ALICE, 4)));
        assert!(Workers::<Test>::get(registration(ALICE, 1).identity).is_none());
        assert_eq!(Workers::<Test>::iter().count(), 2);
    });
}

#[test]
fn a_machine_is_free_for_another_operator_a_cool_down_after_it_lapsed() {
    ready(|machine| {
        let (alice, bob) = (registration(ALICE, 1), registration(BOB, 2));
        assert_ok!(register(machine, alice));
        let lapse = Workers::<Test>::get(alice.identity).unwrap().valid_until;
        at_second(lapse - 1);
        assert_noop!(register(machine, bob), Error::<Test>::HardwareInUse);
        at_second(lapse);
        assert_noop!(register(machine, bob), Error::<Test>::HardwareCoolingDown);
        at_second(lapse + 7 * DAY - 1);
        assert_noop!(register(machine, bob), Error::<Test>::HardwareCoolingDown);
        // Its own operator need not wait, and begins the wait anew.
        assert_ok!(register(machine, alice));
        let lapse = Workers::<Test>::get(alice.identity).unwrap().valid_until;
        at_second(lapse + 7 * DAY);
        assert_ok!(register(machine, bob));
        assert_eq!(happened(Event::Deregistered { worker: alice.identity }), 1);
        assert!(Workers::<Test>::get(alice.identity).is_none() && Appraisals::<Test>::get(alice.identity).is_none());
        assert_noop!(register(machine, alice), Error::<Test>::HardwareInUse);
    });
}

#[test]
fn an_identity_that_moves_frees_the_machine_it_leaves() {
    ready(|one| {
        let (two, claim) = (machine("two"), registration(ALICE, 1));
        assert_ok!(register(one, claim));
        assert_ok!(register(&two, claim));
        assert_eq!(Hardware::<Test>::iter().count(), 1);
        assert_ok!(register(one, registration(BOB, 3)));
    });
}

#[test]
fn a_registration_lapses_after_the_governed_period_and_its_claims_after_the_grace() {
    ready(|machine| {
        assert_ok!(set_windows(|windows| (windows.attestation_period, windows.lapse_grace) = (3_600, 600)));
        let claim = registration(ALICE, 1);
        assert_eq!(Attestation::absence(&claim.identity, Role::Worker), Some(Absence::Lapsed));
        assert_ok!(register(machine, claim));
        for (second, active, absence) in [
            (NOW + 3_599, true, None),
            (NOW + 3_600, false, None),
            (NOW + 4_199, false, None),
            (NOW + 4_200, false, Some(Absence::Lapsed)),
        ] {
            at_second(second);
            assert_eq!(is_active(&claim), active, "{second}");
            assert_eq!(Attestation::absence(&claim.identity, Role::Worker), absence, "{second}");
        }
        // The same identity attests again, and is back.
        assert_ok!(register(machine, claim));
        assert!(is_active(&claim));
        assert_eq!(Attestation::absence(&claim.identity, Role::Gatekeeper), Some(Absence::Lapsed));
    });
}

#[test]
fn status_advisories_and_policy_decide_confidence() {
    ready(|_| {
        let (claim, outdated) = (registration(ALICE, 1), 2);
        assert_noop!(register_with_module("one", outdated, claim), Error::<Test>::PlatformOutdated);
        let accepted = AcceptedStatuses::UP_TO_DATE.with(TcbStatus::OutOfDate);
        let terms = PolicyTerms { accepted, minimum_tcb_evaluation_number: 0 };
        assert_ok!(Attestation::set_terms(RuntimeOrigin::root(), terms));
        assert_ok!(register_with_module("one", outdated, claim));
        let appraisal = Appraisals::<Test>::get(claim.identity).unwrap();
        assert_eq!((appraisal.status, appraisal.confidence), (TcbStatus::OutOfDate, ConfidenceLevel::Five));
        assert_ok!(register_with_module("one", 6, claim));
        assert_eq!(Appraisals::<Test>::get(claim.identity).unwrap().confidence, ConfidenceLevel::One);

        let advisory = Advisory::decode(&mut &"INSECURE-SA-00001".encode()[..]).unwrap();
        let list = || vec![advisory.clone()].try_into().unwrap();
        let set = |policy| Attestation::set_advisories(RuntimeOrigin::root(), policy);
        let contradiction = AdvisoryPolicy { tolerated: list(), forbidden: list() };
        assert_noop!(set(contradiction), Error::<Test>::BadAdvisories);
        assert_ok!(set(AdvisoryPolicy { forbidden: list(), ..Default::default() }));
        assert_noop!(register_with_module("one", outdated, claim), Error::<Test>::AdvisoryForbidden);
        assert_ok!(register_with_module("one", 6, claim));
        assert_ok!(set(AdvisoryPolicy { tolerated: list(), ..Default::default() }));
        assert_ok!(register_with_module("one", outdated, claim));
    });
}
