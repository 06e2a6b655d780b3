//! The record of the root that gives epoch keys, and of the one to which clusters go over.

use super::*;
use phala_protocol::storage;

#[test]
fn root_needs_signatures_of_registered_seats_and_a_network_that_takes_a_single_one() {
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
        // Development networks of several authorities take none.
        Lone::set(false);
        assert_noop!(record(&root, sign(&root)), Error::<Test>::BadRoot);
        Lone::set(true);
        assert_ok!(record(&root, sign(&root)));
        assert_eq!(Root::<Test>::get(), Some(root.clone()));
        // Clusters may need it from now on.
        let second = RootRecord { era: 1, ..root };
        assert_noop!(record(&second, sign(&second)), Error::<Test>::RootAnswers);
    });
}

fn of_era(era: u32) -> RootRecord {
    let seats = (1..=4).map(|number| WorkerId([number; 32])).collect();
    RootRecord { era, threshold: 3, seats, share_list: [7; 32] }
}

#[test]
fn both_roots_stand_where_tees_read_them() {
    assert_eq!(Root::<Test>::hashed_key().to_vec(), storage::root_key());
    assert_eq!(NextRoot::<Test>::hashed_key().to_vec(), storage::next_root_key());
    network(true).execute_with(|| {
        assert_eq!(Attestation::coming_era(), 0);
        assert_ok!(Attestation::adopt_root(of_era(0)));
        assert_ok!(Attestation::begin_hand_over(of_era(1)));
        assert_eq!(sp_io::storage::get(&storage::next_root_key()).unwrap().to_vec(), of_era(1).encode());
        assert_eq!(Attestation::coming_era(), 1);
    });
}

#[test]
fn while_clusters_go_over_to_a_root_no_other_answers_and_then_it_alone() {
    network(true).execute_with(|| {
        assert_ok!(Attestation::adopt_root(of_era(0)));
        assert_noop!(Attestation::begin_hand_over(of_era(2)), Error::<Test>::WrongEra);
        assert_noop!(Attestation::begin_hand_over(of_era(0)), Error::<Test>::WrongEra);
        assert_ok!(Attestation::begin_hand_over(of_era(1)));
        let other = RootRecord { share_list: [9; 32], ..of_era(1) };
        assert_noop!(Attestation::begin_hand_over(other.clone()), Error::<Test>::HandOverUnderWay);
        assert_noop!(Attestation::adopt_root(other.clone()), Error::<Test>::HandOverUnderWay);
        let by_hand = Attestation::record_root(RuntimeOrigin::root(), other, vec![[0; 64]; 4]);
        assert_eq!(by_hand, Err(Error::<Test>::RootAnswers.into()));
        assert_eq!((Root::<Test>::get(), NextRoot::<Test>::get()), (Some(of_era(0)), Some(of_era(1))));
        assert_ok!(Attestation::adopt_root(of_era(1)));
        assert_eq!((Root::<Test>::get(), NextRoot::<Test>::get()), (Some(of_era(1)), None));
        assert_eq!(Attestation::coming_era(), 1);
    });
}
