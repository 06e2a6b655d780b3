//! The record of the root that gives epoch keys.

use super::*;

#[test]
fn root_needs_signatures_of_registered_seats_and_a_development_network_for_a_single_one() {
    network(true).execute_with(|| {
        let machine = machine("keeper");
        assert_ok!(submit(machine.collateral()));
        allow(&machine, 0, None);
        let claim = Registration { role: Role::Gatekeeper, ..registration(ALICE, 1) };
        let root = RootRecord { era: 0, threshold: 1, seats: vec![claim.identity], share_list: [3; 32] };
        let sign = |root: &RootRecord| {
            vec![ed25519::Pair::from_seed(&[1; 32]).sign(&root.signing_payload(&Attestation::genesis())).0]
        };
        let record =
            |root: &RootRecord, signatures| Attestation::record_root(RuntimeOrigin::root(), root.clone(), signatures);
        assert_noop!(record(&root, sign(&root)), Error::<Test>::NotAGatekeeper);
        assert_ok!(register(&machine, claim));
        assert_noop!(record(&root, vec![[0; 64]]), Error::<Test>::NotAGatekeeper);
        let wrong = RootRecord { threshold: 2, ..root.clone() };
        assert_noop!(record(&wrong, sign(&wrong)), Error::<Test>::BadRoot);
        let wrong = RootRecord { era: 1, ..root.clone() };
        assert_noop!(record(&wrong, sign(&wrong)), Error::<Test>::WrongEra);
        Development::set(false);
        assert_noop!(record(&root, sign(&root)), Error::<Test>::BadRoot);
        Development::set(true);
        assert_ok!(record(&root, sign(&root)));
        assert_eq!(Root::<Test>::get(), Some(root));
    });
}
