//! Submissions: what is counted, what it costs, and what hostile ones change.

use super::*;
use codec::{Decode, Encode};
use frame_support::{
    dispatch::{GetDispatchInfo, Pays},
    weights::{constants::ParityDbWeight, Weight},
};
use phala_protocol::limits::MAX_REPLICAS;

fn weight(number: u32, finalised: u32) -> Option<Weight> {
    Some(<() as WeightInfo>::submit_results(number, finalised))
}

/// Items in each of the blocks 2 to `last`; the block after it runs.
fn fill(last: u32) {
    for block in 2..=last {
        assert_ok!(push(1));
        at(block + 1);
    }
}

#[test]
fn a_submission_counts_what_is_new_and_names_what_was_known() {
    network(3, true).execute_with(|| {
        fill(3);
        let (first, second) = (result_at(2, 1, 0, 1), result_at(3, 1, 1, 2));
        let one = replica(1);
        assert_ok!(vote(&one, first));
        let both = vec![signed(&one, first), signed(&one, second)];
        assert_eq!(submit(both.clone()).unwrap().actual_weight, weight(2, 0));
        assert!(happened(Event::AlreadyKnown { cluster: CLUSTER, block: 2, worker: id(&one) }));
        assert!(!happened(Event::AlreadyKnown { cluster: CLUSTER, block: 3, worker: id(&one) }));
        assert_eq!(Votes::<Test>::get((CLUSTER, 3)).len(), 1);
        // Nothing new: it fails, and the fee for looking at it is paid.
        let refused = submit(both).unwrap_err();
        assert_eq!(refused.error, Error::<Test>::AlreadyVoted.into());
        assert_eq!(refused.post_info.actual_weight, weight(2, 0));
        assert_eq!(refused.post_info.pays_fee, Pays::Yes);
    });
}

#[test]
fn one_result_makes_two_boundaries_final_at_most_and_is_charged_for_them() {
    network(1, true).execute_with(|| {
        fill(8);
        let one = replica(1);
        let results: Vec<_> =
            (2..=8u8).map(|block| signed(&one, result_at(block.into(), 1, block - 2, block - 1))).collect();
        let result = |block: usize| results[block - 2].clone();
        // All but the oldest have their majority, and wait for it.
        assert_eq!(submit((3..=8).map(result).collect()).unwrap().actual_weight, weight(6, 0));
        assert_eq!(submit(vec![result(2)]).unwrap().actual_weight, weight(1, 2));
        assert_eq!(record().final_count, 2);
        // What is known goes on with what was decided, as far as it pays for.
        assert_eq!(submit(vec![result(8)]).unwrap().actual_weight, weight(1, 2));
        assert_eq!(record().final_count, 4);
        assert_eq!(submit(vec![result(7), result(8)]).unwrap().actual_weight, weight(2, 3));
        assert_eq!((record().final_count, Inbox::oldest_boundary(CLUSTER)), (7, None));
        assert_eq!(submit(vec![result(8)]).unwrap_err().error, Error::<Test>::AlreadyVoted.into());
    });
}

#[test]
fn what_is_charged_before_covers_what_may_become_final() {
    network(1, true).execute_with(|| {
        fill(5);
        let results = vec![signed(&replica(1), result_at(2, 1, 0, 1)); 4];
        let call = Call::<Test>::submit_results { results: results.try_into().unwrap() };
        assert_eq!(Some(call.get_dispatch_info().call_weight), weight(4, 4 * FINALISED_PER_RESULT));
    });
}

#[test]
fn the_standing_of_all_who_voted_is_charged_for_each_result_and_each_boundary() {
    let of_all = Weight::from_parts(0, 0).saturating_add(ParityDbWeight::get().reads(4 * u64::from(MAX_REPLICAS)));
    let submitted = |number, finalised| <() as WeightInfo>::submit_results(number, finalised);
    assert!((submitted(2, 0) - submitted(1, 0)).all_gte(of_all), "of a result that makes nothing final");
    assert!((submitted(1, 2) - submitted(1, 1)).all_gte(of_all), "of a boundary that becomes final");
    let bound = |finalised| <() as WeightInfo>::submit_rekey(finalised);
    assert!(bound(0).all_gte(of_all.saturating_mul(2)) && (bound(1) - bound(0)).all_gte(of_all));
}

#[test]
fn a_final_result_names_who_decided_it_and_nobody_who_was_taken_off() {
    network(3, true).execute_with(|| {
        fill(2);
        let (result, other) = (result_at(2, 1, 0, 1), result_at(2, 1, 0, 9));
        assert_ok!(vote(&replica(3), result));
        // The third is replaced; the fourth disagrees.
        register(&replica(4), u64::MAX);
        let members: Vec<_> = [1, 2, 4].map(|number| id(&replica(number))).to_vec();
        assert_ok!(Contracts::assign_replicas(RuntimeOrigin::root(), CLUSTER, members.try_into().unwrap()));
        assert_ok!(vote(&replica(4), other));
        assert_ok!(vote(&replica(1), result));
        assert!(FinalResults::<Test>::get((CLUSTER, 2)).is_none(), "one of three counts");
        assert_ok!(vote(&replica(2), result));
        let decided = FinalResults::<Test>::get((CLUSTER, 2)).unwrap();
        let voters: Vec<_> = decided.votes.iter().map(|(voter, _)| *voter).collect();
        assert_eq!((decided.result, voters), (result, vec![id(&replica(1)), id(&replica(2))]));
    });
}

#[test]
fn results_of_unregistered_lapsed_and_unlisted_replicas_are_refused() {
    network(1, true).execute_with(|| {
        fill(2);
        let (one, result) = (replica(1), result_at(2, 1, 0, 1));
        let refused = || {
            assert_noop!(vote(&one, result), Error::<Test>::NotAWorker);
            assert_noop!(bind(&one, 1, 0, 1), Error::<Test>::NotAWorker);
        };
        register(&one, 1);
        refused();
        Workers::<Test>::remove(id(&one));
        refused();
        register(&one, u64::MAX);
        let listed = Measurements::<Test>::take(MEASUREMENT).unwrap();
        refused();
        Measurements::<Test>::insert(MEASUREMENT, AllowedMeasurement { sunset: Some(2), ..listed });
        refused();
        Measurements::<Test>::insert(MEASUREMENT, listed);
        // A gatekeeper is no worker, however well attested.
        Workers::<Test>::mutate(id(&one), |record| record.as_mut().unwrap().role = Role::Gatekeeper);
        refused();
        register(&one, u64::MAX);
        assert_ok!(vote(&one, result));
    });
}

#[test]
fn a_bit_flipped_anywhere_in_a_result_is_refused_and_changes_nothing() {
    network(1, true).execute_with(|| {
        fill(2);
        let bytes = signed(&replica(1), result_at(2, 1, 0, 1)).encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = SignedResult::decode(&mut &flipped[..]).unwrap();
            assert!(submit(vec![flipped]).is_err(), "bit {bit}");
        }
        assert_eq!((Votes::<Test>::iter().count(), FinalResults::<Test>::iter().count()), (0, 0));
        assert_ok!(submit(vec![SignedResult::decode(&mut &bytes[..]).unwrap()]));
    });
}

#[test]
fn what_was_signed_for_another_chain_is_refused() {
    network(1, false).execute_with(|| {
        let (one, elsewhere) = (replica(1), [9; 32]);
        let key = vec![5; PUBLIC_KEY_BYTES];
        let signature = one.sign(&announcement_payload(&elsewhere, CLUSTER, 0, 1, &key)).0;
        let origin = RuntimeOrigin::signed(ALICE);
        let announced = Contracts::announce_key(origin, CLUSTER, 0, 1, key.try_into().unwrap(), id(&one), signature);
        assert_noop!(announced, Error::<Test>::BadSignature);
        assert_ok!(announce(&one, 1, 5));
        at(2);
        fill(2);
        let result = result_at(2, 1, 0, 1);
        let signature = one.sign(&result.signing_payload(&elsewhere)).0;
        let refused = submit(vec![SignedResult { result, worker: id(&one), signature }]).unwrap_err();
        assert_eq!(refused.error, Error::<Test>::BadSignature.into());
    });
}
