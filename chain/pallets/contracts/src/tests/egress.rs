//! What is kept of results that send something out of their cluster, and what stops that.

use super::*;
use phala_protocol::egress::{empty_root, EgressRoot};
use sp_runtime::traits::Dispatchable;

fn sends(result: ClusterResult) -> ClusterResult {
    ClusterResult { egress_root: [8; 32], ..result }
}

#[test]
fn a_root_is_kept_when_its_result_is_final_and_only_if_it_sends_something() {
    network(3, true).execute_with(|| {
        assert_ok!(push(1));
        at(3);
        let result = sends(result_at(2, 1, 0, 1));
        assert_ok!(vote(&replica(1), result));
        assert_eq!(Contracts::egress_root(CLUSTER, 2), None, "one of three is no majority");
        at(4);
        assert_ok!(vote(&replica(2), result));
        assert_eq!(Contracts::egress_root(CLUSTER, 2), Some(EgressRoot { root: [8; 32], finalised_at: 4 }));

        assert_ok!(push(1));
        at(5);
        let nothing = ClusterResult { egress_root: empty_root(), ..result_at(4, 1, 1, 2) };
        assert_ok!(vote(&replica(1), nothing));
        assert_ok!(vote(&replica(2), nothing));
        assert_eq!(record().final_count, 2);
        assert_eq!(EgressRoots::<Test>::iter_keys().collect::<Vec<_>>(), [(CLUSTER, 2)]);
        // However long it takes until it is taken.
        Contracts::forget_egress_root(CLUSTER, 2);
        assert_eq!(Contracts::egress_root(CLUSTER, 2), None);
    });
}

#[test]
fn a_root_outlasts_its_final_result() {
    network(1, true).execute_with(|| {
        let kept = phala_protocol::limits::FINAL_RESULTS_KEPT;
        for block in 2..=kept + 4 {
            assert_ok!(push(1));
            at(block + 1);
            let result = result_at(block, 1, (block - 2) as u8, (block - 1) as u8);
            let root = if block == 2 { [8; 32] } else { empty_root() };
            assert_ok!(vote(&replica(1), ClusterResult { egress_root: root, ..result }));
        }
        assert!(FinalResults::<Test>::get((CLUSTER, 2)).is_none());
        assert!(Contracts::egress_root(CLUSTER, 2).is_some());
    });
}

#[test]
fn whoever_signs_otherwise_stops_what_leaves_until_it_is_settled() {
    network(3, true).execute_with(|| {
        assert_ok!(push(1));
        at(3);
        let (result, other) = (result_at(2, 1, 0, 1), sends(result_at(2, 1, 0, 1)));
        // Before the others: it is a dissent once they have decided.
        assert_ok!(vote(&replica(3), other));
        assert!(!Contracts::is_disputed(CLUSTER));
        assert_ok!(vote(&replica(1), result));
        assert_ok!(vote(&replica(2), result));
        assert!(Contracts::is_disputed(CLUSTER));
        assert!(Contracts::settle_dispute(CLUSTER) && !Contracts::settle_dispute(CLUSTER));

        // After the others.
        assert_ok!(push(1));
        at(4);
        let second = result_at(3, 1, 1, 2);
        assert_ok!(vote(&replica(1), second));
        assert_ok!(vote(&replica(3), second));
        assert!(!Contracts::is_disputed(CLUSTER));
        assert_ok!(vote(&replica(2), sends(second)));
        assert!(Contracts::is_disputed(CLUSTER));
        assert!(Contracts::settle_dispute(CLUSTER));

        // Two ways at once.
        assert_ok!(push(1));
        at(5);
        let third = result_at(4, 1, 2, 3);
        assert_ok!(vote(&replica(1), third));
        assert_ok!(vote(&replica(1), sends(third)));
        assert!(Contracts::is_disputed(CLUSTER));
    });
}

/// Brings one result, as a transaction does: what fails leaves nothing.
fn bring(pair: &ed25519::Pair, result: ClusterResult) -> DispatchResult {
    let results = vec![signed(pair, result)].try_into().unwrap();
    let call = RuntimeCall::Contracts(Call::submit_results { results });
    call.dispatch(RuntimeOrigin::signed(ALICE)).map(|_| ()).map_err(|refused| refused.error)
}

/// An item in this block, whose result the first two replicas make final in the next one.
fn decide(prev: u8, next: u8) -> ClusterResult {
    let block = System::block_number();
    assert_ok!(push(1));
    at(block + 1);
    let result = result_at(block, 1, prev, next);
    assert_ok!(bring(&replica(1), result));
    assert_ok!(bring(&replica(2), result));
    result
}

#[test]
fn what_was_settled_is_not_disputed_again_by_whoever_shows_it_again() {
    network(3, true).execute_with(|| {
        let first = decide(0, 1);
        assert_ok!(bring(&replica(3), sends(first)));
        assert_ok!(bring(&replica(2), sends(first)));
        assert!(Contracts::is_disputed(CLUSTER));
        at(9);
        assert!(Contracts::settle_dispute(CLUSTER));
        // The dissent alone, and beside something new; and the second result of one that voted.
        assert_eq!(bring(&replica(3), sends(first)), Err(Error::<Test>::AlreadyVoted.into()));
        assert_ok!(push(1));
        at(10);
        let second = result_at(9, 1, 1, 2);
        let both = vec![signed(&replica(3), sends(first)), signed(&replica(1), second)];
        assert_ok!(submit(both));
        assert_ok!(bring(&replica(2), sends(first)));
        assert!(!Contracts::is_disputed(CLUSTER));
    });
}

#[test]
fn a_replica_that_dissents_again_stops_what_leaves_again() {
    network(3, true).execute_with(|| {
        let first = decide(0, 1);
        assert_ok!(bring(&replica(3), sends(first)));
        at(9);
        assert!(Contracts::settle_dispute(CLUSTER));
        let second = decide(1, 2);
        assert_ok!(bring(&replica(3), sends(second)));
        assert!(Contracts::is_disputed(CLUSTER));
        // While it is disputed, what is known is.
        assert_eq!(bring(&replica(3), sends(second)), Err(Error::<Test>::AlreadyVoted.into()));
        assert!(Contracts::is_disputed(CLUSTER));
    });
}

#[test]
fn a_first_dissent_counts_also_about_what_was_final_before_a_settlement() {
    network(5, true).execute_with(|| {
        let first = decide(0, 1);
        assert_ok!(bring(&replica(3), first));
        assert_ok!(bring(&replica(4), sends(first)));
        at(9);
        assert!(Contracts::settle_dispute(CLUSTER));
        assert_ok!(bring(&replica(5), sends(first)));
        assert!(Contracts::is_disputed(CLUSTER));
    });
}
