//! The hand-over from the root that answers to the one that comes.

use super::*;

fn made(era: u32) -> RootRecord {
    RootRecord { era, threshold: 3, seats: ids(1..=4), share_list: LIST }
}

#[test]
fn the_former_root_answers_while_a_cluster_is_its() {
    started(4).execute_with(|| {
        make_root(1..=4);
        assert_ok!(start(1..=4));
        FormerClusters::set(2);
        make_root(1..=4);
        let now = System::block_number();
        assert_eq!(Next::<Test>::get(), Some(HandOver { era: 1, from: now }));
        at(now + 1_000);
        assert_eq!((Root::<Test>::get(), Roots::<Test>::get(1)), (Some(made(0)), Some(made(1))));
        assert_noop!(start(1..=4), Error::<Test>::HandOverPending);
        FormerClusters::set(0);
        at(now + 1_001);
        assert_eq!((Root::<Test>::get(), Next::<Test>::get()), (Some(made(1)), None));
        assert_eq!(Roots::<Test>::iter_keys().collect::<Vec<_>>(), [1]);
        assert!(happened(Event::RootActive { era: 1 }));
    });
}

#[test]
fn governance_cancels_a_root_within_its_delay_and_not_afterwards() {
    started(4).execute_with(|| {
        CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
        make_root(1..=4);
        let from = System::block_number() + 10;
        assert_eq!(Next::<Test>::get(), Some(HandOver { era: 0, from }));
        at(from - 1);
        assert_eq!(Root::<Test>::get(), None);
        assert!(Gatekeepers::cancel_next(RuntimeOrigin::signed(account(1))).is_err());
        assert_ok!(Gatekeepers::cancel_next(RuntimeOrigin::root()));
        at(from);
        assert_eq!((Root::<Test>::get(), Roots::<Test>::iter().count()), (None, 0));
        assert_ok!(start(1..=4));
        assert_eq!((record().era, record().attempt), (0, 1));
        make_root(1..=4);
        at(System::block_number() + 10);
        assert_eq!(Root::<Test>::get(), Some(made(0)));
        assert_noop!(Gatekeepers::cancel_next(RuntimeOrigin::root()), Error::<Test>::NothingToCancel);
    });
}

#[test]
fn a_root_that_was_recorded_by_hand_meanwhile_stays() {
    started(4).execute_with(|| {
        CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
        let other = RootRecord { share_list: [8; 32], ..made(0) };
        Root::<Test>::put(other.clone());
        make_root(1..=4);
        assert!(happened(Event::CeremonyAbandoned { era: 0, attempt: 0 }) && Next::<Test>::get().is_none());
        assert_ok!(start(1..=4));
        make_root(1..=4);
        Root::<Test>::put(RootRecord { era: 1, ..other.clone() });
        at(System::block_number() + 10);
        assert_eq!(Root::<Test>::get(), Some(RootRecord { era: 1, ..other }));
        assert!(happened(Event::NextDropped { era: 1 }) && Roots::<Test>::iter().count() == 0);
    });
}
