//! Which collateral is taken, and what is said before it ends.

use super::*;
use frame_support::traits::Hooks;
use phala_insecure_tee::{qe_identity_json, tcb_info_json, Revoked, Window};

#[test]
fn collateral_of_another_authority_displaces_nothing() {
    network(true).execute_with(|| {
        let machine = machine("one");
        assert_ok!(submit(machine.collateral()));
        allow(&machine, 0, None);
        let model = Collaterals::<Test>::iter_keys().next().unwrap();
        let kept = Collaterals::<Test>::get(model).unwrap();
        assert_eq!(kept.model(), model);
        // The same model's processors under the other authority: no evidence of this machine is judged by it.
        Collaterals::<Test>::insert(Model { authority: [9; 32], ..model }, kept.clone());
        Collaterals::<Test>::remove(model);
        assert_noop!(register(&machine, registration(ALICE, 1)), Error::<Test>::NoCollateral);
        Collaterals::<Test>::insert(model, kept);
        assert_ok!(register(&machine, registration(ALICE, 1)));
    });
}

#[test]
fn early_collateral_waits_for_governance_and_gives_way_to_standard_one() {
    network(true).execute_with(|| {
        let machine = machine("one");
        let set = |origin, cap| Attestation::set_evaluation_cap(origin, cap);
        assert!(set(signed(ALICE), Some(1)).is_err());
        // The simulator's documents are of evaluation 1.
        assert_ok!(set(RuntimeOrigin::root(), Some(0)));
        assert_noop!(submit(machine.collateral()), Error::<Test>::EvaluationTooEarly);
        assert_ok!(set(RuntimeOrigin::root(), Some(1)));
        assert_ok!(submit(machine.collateral()));
        // Somebody had brought an early evaluation 2, issued later, before there was a cap.
        let model = Collaterals::<Test>::iter_keys().next().unwrap();
        let mut early = Collaterals::<Test>::get(model).unwrap().encode();
        // Root, two dates, model and PCE come before TCB info's evaluation number; its date follows.
        early[25..29].copy_from_slice(&2u32.to_le_bytes());
        early[29..37].copy_from_slice(&(NOW + 1).to_le_bytes());
        let early = phala_attest::VerifiedCollateral::decode(&mut &early[..]).unwrap();
        assert_eq!((early.tcb_evaluation_number(), early.latest_evaluation_number()), (1, 2));
        Collaterals::<Test>::insert(model, early);
        assert_ok!(set(RuntimeOrigin::root(), None));
        assert_noop!(submit(machine.collateral()), Error::<Test>::CollateralNotNewer);
        assert_ok!(set(RuntimeOrigin::root(), Some(1)));
        assert_ok!(submit(machine.collateral()));
        assert_eq!(Collaterals::<Test>::get(model).unwrap().latest_evaluation_number(), 1);
    });
}

#[test]
fn collateral_never_goes_back_in_time() {
    network(true).execute_with(|| {
        let (old, new) = (InsecureMachine::new("one", b"", NOW - 86_400).unwrap(), machine("one"));
        assert_ok!(submit(new.collateral()));
        assert_noop!(submit(old.collateral()), Error::<Test>::CollateralNotNewer);
        assert_noop!(submit(new.collateral()), Error::<Test>::CollateralNotNewer);
        let mut forged = new.collateral().clone();
        forged.tcb_info_signature[0] ^= 1;
        assert_noop!(submit(&forged), Error::<Test>::CollateralRefused);
    });
}

/// Collateral whose documents hold for `documents` and whose revocation lists for `lists`.
fn collateral(documents: Window, lists: Window, revoked: &Revoked) -> Collateral {
    let (tcb, qe) = (tcb_info_json(documents).unwrap(), qe_identity_json(documents).unwrap());
    InsecureVendor::new().unwrap().collateral(lists, &tcb, &qe, revoked).unwrap()
}

fn model() -> Model {
    Collaterals::<Test>::iter_keys().next().unwrap()
}

/// Raises or lowers the evaluation number of both documents.
fn of_evaluation(number: u32, window: Window) -> Collateral {
    let named = |json: String| {
        json.replace("\"tcbEvaluationDataNumber\":1,", &format!("\"tcbEvaluationDataNumber\":{number},"))
    };
    let (tcb, qe) = (named(tcb_info_json(window).unwrap()), named(qe_identity_json(window).unwrap()));
    InsecureVendor::new().unwrap().collateral(window, &tcb, &qe, &Revoked::default()).unwrap()
}

#[test]
fn an_old_revocation_list_among_new_documents_is_refused() {
    network(true).execute_with(|| {
        let (first, second, third) = (Window::around(NOW - 300), Window::around(NOW - 200), Window::around(NOW));
        let processor = InsecureVendor::new().unwrap().serial_of(&Processor::named("one")).unwrap();
        let revoked = Revoked { by_authority: vec![processor], ..Revoked::default() };
        assert_ok!(submit(&collateral(second, second, &revoked)));
        let machine = machine("one");
        allow(&machine, 0, None);
        assert_noop!(register(&machine, registration(ALICE, 1)), Error::<Test>::PlatformRevoked);
        // The documents are newer than what is here; the list is of before the revocation.
        let rolled_back = collateral(third, first, &Revoked::default());
        assert_noop!(submit(&rolled_back), Error::<Test>::CollateralNotNewer);
        assert_ok!(submit(&collateral(third, third, &revoked)));
    });
}

#[test]
fn whoever_is_first_with_new_documents_beside_an_old_list_gives_way_to_the_whole() {
    network(true).execute_with(|| {
        let (first, second) = (Window::around(NOW - 300), Window::around(NOW - 200));
        let processor = InsecureVendor::new().unwrap().serial_of(&Processor::named("one")).unwrap();
        let revoked = Revoked { by_authority: vec![processor], ..Revoked::default() };
        assert_ok!(submit(&collateral(first, first, &Revoked::default())));
        // The attacker's processor is on the new list: he brings the new documents before anybody brings them with it.
        assert_ok!(submit(&collateral(second, first, &Revoked::default())));
        assert_ok!(submit(&collateral(second, second, &revoked)));
        assert_noop!(submit(&collateral(second, first, &Revoked::default())), Error::<Test>::CollateralNotNewer);
        let machine = machine("one");
        allow(&machine, 0, None);
        assert_noop!(register(&machine, registration(ALICE, 1)), Error::<Test>::PlatformRevoked);
    });
}

#[test]
fn a_roots_revocation_list_goes_back_for_no_model() {
    network(true).execute_with(|| {
        let (first, second) = (Window::around(NOW - 300), Window::around(NOW - 200));
        assert_ok!(submit(&collateral(second, second, &Revoked::default())));
        // As if what is here were another model's.
        Collaterals::<Test>::remove(model());
        assert_noop!(submit(&collateral(second, first, &Revoked::default())), Error::<Test>::CollateralNotNewer);
        assert_ok!(submit(&collateral(second, second, &Revoked::default())));
    });
}

#[test]
fn evaluation_number_never_goes_back() {
    network(true).execute_with(|| {
        assert_ok!(submit(&of_evaluation(5, Window::around(NOW - 300))));
        assert_noop!(submit(&of_evaluation(4, Window::around(NOW))), Error::<Test>::CollateralNotNewer);
        assert_ok!(submit(&of_evaluation(5, Window::around(NOW))));
    });
}

#[test]
fn without_a_cap_only_a_development_network_takes_collateral() {
    network(true).execute_with(|| {
        assert_eq!(Attestation::evaluation_cap(), Some(u32::MAX));
        Development::set(false);
        assert_eq!(Attestation::evaluation_cap(), None);
        let set = |cap| Attestation::set_evaluation_cap(RuntimeOrigin::root(), cap);
        assert_noop!(set(None), Error::<Test>::NoEvaluationCap);
        assert_ok!(set(Some(17)));
        assert_eq!(Attestation::evaluation_cap(), Some(17));
    });
}

#[test]
fn floor_stays_under_the_cap_and_refuses_older_collateral() {
    ready(|machine| {
        let floor = |minimum| {
            let terms = PolicyTerms { minimum_tcb_evaluation_number: minimum, ..PolicyTerms::STRICT };
            Attestation::set_terms(RuntimeOrigin::root(), terms)
        };
        let cap = |cap| Attestation::set_evaluation_cap(RuntimeOrigin::root(), Some(cap));
        assert_ok!(cap(3));
        assert_noop!(floor(4), Error::<Test>::FloorOverCap);
        assert_ok!(floor(2));
        assert_noop!(cap(1), Error::<Test>::FloorOverCap);
        assert_noop!(register(machine, registration(ALICE, 1)), Error::<Test>::CollateralBelowFloor);
        // Whoever submits early documents raises neither: governance does.
        assert_noop!(submit(&of_evaluation(4, Window::around(NOW + 60))), Error::<Test>::EvaluationTooEarly);
        assert_ok!(submit(&of_evaluation(3, Window::around(NOW + 60))));
        assert_ok!(register(machine, registration(ALICE, 1)));
    });
}

#[test]
fn expired_collateral_is_told_from_bad_one() {
    network(true).execute_with(|| {
        let old = Window::around(NOW - 40 * DAY);
        assert_noop!(submit(&collateral(old, old, &Revoked::default())), Error::<Test>::CollateralExpired);
        let fresh = Window::around(NOW);
        assert_noop!(submit(&collateral(old, fresh, &Revoked::default())), Error::<Test>::CollateralExpired);
        let mut bad = collateral(fresh, fresh, &Revoked::default());
        bad.qe_identity_signature[0] ^= 1;
        assert_noop!(submit(&bad), Error::<Test>::CollateralRefused);
    });
}

#[test]
fn alarm_is_raised_once_before_collateral_ends_and_falls_with_newer() {
    ready(|_| {
        let Model { vendor, fmspc, authority } = model();
        // More models, so that each block's look is in turn.
        for other in 0..3 {
            Expiries::<Test>::insert(
                Model { vendor, fmspc: [other; 6], authority },
                Expiry { valid_until: u64::MAX, alarm: false },
            );
        }
        let turn = || {
            for _ in 0..10 {
                Attestation::on_initialize(BLOCK);
            }
        };
        let end = Expiries::<Test>::get(model()).unwrap().valid_until;
        assert_eq!(end, Collaterals::<Test>::get(model()).unwrap().valid_until());
        let alarm = || Expiries::<Test>::get(model()).unwrap().alarm;
        let said = || happened(Event::CollateralExpiring { vendor, fmspc, authority, valid_until: end });
        at_second(end - 7 * DAY - 1);
        turn();
        assert_eq!((alarm(), said()), (false, 0));
        at_second(end - 7 * DAY);
        turn();
        turn();
        assert_eq!((alarm(), said()), (true, 1));
        let newer = Window::around(end - 7 * DAY);
        assert_ok!(submit(&collateral(newer, newer, &Revoked::default())));
        turn();
        assert_eq!((alarm(), said()), (false, 1));
    });
}

#[test]
fn ended_collateral_renews_what_is_here_within_its_grace_and_admits_nobody() {
    ready(|machine| {
        assert_ok!(set_windows(|windows| windows.collateral_grace = 2 * DAY));
        let end = Collaterals::<Test>::get(model()).unwrap().valid_until();
        at_second(end - 100);
        let (present, other) = (registration(ALICE, 1), registration(ALICE, 2));
        assert_ok!(register(machine, present));
        let lasting = Workers::<Test>::get(present.identity).unwrap().valid_until;
        assert_eq!(lasting, end - 100 + DAY, "the grace is part of what it may last");
        at_second(end + 100);
        let second = InsecureMachine::new("two", BINARY, NOW).unwrap();
        assert_noop!(register(&second, other), Error::<Test>::CollateralExpired);
        assert_noop!(register(machine, other), Error::<Test>::CollateralExpired);
        assert_noop!(register(&second, present), Error::<Test>::CollateralExpired);
        assert_ok!(register(machine, present));
        at_second(end + DAY);
        assert_ok!(register(machine, present));
        assert_eq!(Workers::<Test>::get(present.identity).unwrap().valid_until, end + 2 * DAY);
        at_second(end + 2 * DAY);
        assert!(!is_active(&present));
        assert_noop!(register(machine, present), Error::<Test>::CollateralExpired);
    });
}

/// Registers machine "one" with a certificate of its processor that ends at second `end`.
fn register_certified_until(end: u64, claim: Registration) -> DispatchResult {
    let mut fields = QuoteFields::of(BINARY);
    fields.report.report_data = claim.report_data(&Attestation::genesis());
    let vendor = InsecureVendor::new().unwrap();
    let signer = QuoteSigner::with_altered_certificate(&vendor, &Processor::named("one"), |certificate| {
        let start = certificate.not_before.unix_timestamp() as u64;
        certificate.not_after = certificate.not_before + std::time::Duration::from_secs(end - start);
    });
    let evidence = Evidence::TdxDcap(signer.unwrap().sign(&fields).try_into().unwrap());
    Attestation::register(signed(claim.operator.0), claim, Box::new(evidence))
}

#[test]
fn no_grace_of_collateral_outlives_the_processors_certificate() {
    ready(|_| {
        assert_ok!(set_windows(|windows| windows.collateral_grace = 2 * DAY));
        let claim = registration(ALICE, 1);
        let lasts = || Workers::<Test>::get(claim.identity).unwrap().valid_until;
        let end = Collaterals::<Test>::get(model()).unwrap().valid_until();
        at_second(end - 100);
        // Before the collateral ends, and within its grace.
        assert_ok!(register_certified_until(end - 50, claim));
        assert_eq!(lasts(), end - 50);
        assert_ok!(register_certified_until(end + 100, claim));
        assert_eq!(lasts(), end + 100);
        at_second(end + 50);
        assert_ok!(register_certified_until(end + 100, claim));
        assert_eq!(lasts(), end + 100);
        // Judged as of the collateral's last second, a certificate that ended since would pass.
        assert_noop!(register_certified_until(end + 20, claim), Error::<Test>::CertificateExpired);
        at_second(end + 100);
        assert!(!is_active(&claim));
    });
}

#[test]
fn a_registration_that_lapsed_is_not_renewed_by_ended_collateral() {
    ready(|machine| {
        assert_ok!(set_windows(|windows| windows.collateral_grace = 2 * DAY));
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        at_second(Collaterals::<Test>::get(model()).unwrap().valid_until());
        assert_noop!(register(machine, claim), Error::<Test>::CollateralExpired);
    });
}
