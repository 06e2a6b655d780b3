//! When rounds open, and what silence comes to.

use super::*;
use crate::rounds::LOOKED_AT_PER_BLOCK;
use frame_support::assert_noop;

#[test]
fn a_value_opens_one_round_in_the_block_after_it() {
    network(1).execute_with(|| {
        assert_eq!((next(), Round::<Test>::get()), (<() as WeightInfo>::idle(), None));
        NewestValue::set(Some((ERA, 7, [1; 32])));
        assert_eq!(next(), <() as WeightInfo>::open());
        let first = Round::<Test>::get().unwrap();
        assert_eq!((first.rate, first.patience), (POLICY.rate, POLICY.patience));
        assert!(happened(Event::RoundOpened { era: ERA, period: 7, until: first.until }));
        finish();
        for _ in 0..20 {
            assert_eq!(next(), <() as WeightInfo>::idle(), "of the same value nothing more comes");
        }
        assert_eq!(Round::<Test>::get(), Some(first));
        // A value that comes in the middle of a round waits, and is passed over when another one is newer.
        open(8, [2; 32]);
        for period in [9, 10] {
            NewestValue::set(Some((ERA, period, [period as u8; 32])));
            next();
            assert_eq!(Round::<Test>::get().unwrap().period, 8);
        }
        finish();
        next();
        assert_eq!(Round::<Test>::get().unwrap().period, 10);
        finish();
        // Periods of the next era begin at 0 again.
        NewestValue::set(Some((ERA + 1, 0, [3; 32])));
        next();
        assert_eq!(Round::<Test>::get().map(|round| (round.era, round.period)), Some((ERA + 1, 0)));
    });
}

#[test]
fn whoever_misses_too_many_rounds_in_a_row_is_unresponsive_until_it_answers() {
    network(2).execute_with(|| {
        round(1, &[1, 2]);
        round(2, &[1]);
        round(3, &[1]);
        assert_eq!((standing(2).misses, standing(2).unresponsive), (2, false));
        // An answer clears what was missed.
        round(4, &[1, 2]);
        assert_eq!(standing(2), HeartbeatStanding { answered: Some((ERA, 4)), ..Default::default() });
        round(5, &[1]);
        round(6, &[1]);
        assert!(Heartbeats::is_responsive(&id(2)));
        round(7, &[1]);
        assert!(!Heartbeats::is_responsive(&id(2)) && Heartbeats::is_responsive(&id(1)));
        assert!(happened(Event::Unresponsive { worker: id(2), era: ERA, period: 7, misses: 3 }));
        let named = || {
            let all = System::events().into_iter();
            let unresponsive = |event| matches!(event, RuntimeEvent::Heartbeats(Event::Unresponsive { .. }));
            all.filter(|record| unresponsive(record.event.clone())).count()
        };
        // Counted on, and named once.
        round(8, &[1]);
        assert_eq!((standing(2).misses, named(), times_missed(2), times_missed(1)), (4, 1, 6, 0));
        // Nobody is sampled, and it may answer all the same.
        assert_ok!(Heartbeats::set_policy(RuntimeOrigin::root(), HeartbeatPolicy { rate: 0, ..POLICY }));
        round(9, &[2]);
        assert!(Heartbeats::is_responsive(&id(2)));
        assert!(happened(Event::Answered { worker: id(2), era: ERA, period: 9, returned: true }));
        round(10, &[]);
        assert_eq!(standing(2), HeartbeatStanding { answered: Some((ERA, 9)), ..Default::default() });
    });
}

#[test]
fn only_an_active_worker_that_was_there_has_missed_a_round() {
    network(2).execute_with(|| {
        register(3, Role::Gatekeeper, 1);
        register(4, Role::Worker, 1);
        Workers::<Test>::mutate(id(4), |record| record.as_mut().unwrap().valid_until = 0);
        let opened = open(1, [1; 32]).opened;
        // One that registered since, and one that attested anew.
        register(5, Role::Worker, opened);
        register(2, Role::Worker, opened + 1);
        finish();
        assert_eq!((1..=5).map(times_missed).collect::<Vec<_>>(), [1, 0, 0, 0, 0]);
        // One that may not act can answer, and is not counted when it does not.
        open(2, [2; 32]);
        next();
        answer(4);
        finish();
        assert_eq!((1..=5).map(times_missed).collect::<Vec<_>>(), [2, 1, 0, 0, 1]);
    });
}

#[test]
fn whoever_missed_a_round_is_not_excused_by_attesting_behind_its_window() {
    network(3).execute_with(|| {
        round(1, &[]);
        let until = open(2, [2; 32]).until;
        at(until);
        // In the last block of the window, and in the one behind it, before the search comes by: there are more registrations than it looks at
        // in a block. The fourth was not there before.
        register(1, Role::Worker, until);
        register(2, Role::Worker, until + 1);
        register(4, Role::Worker, until + 1);
        finish();
        assert_eq!((1..=4).map(times_missed).collect::<Vec<_>>(), [1, 2, 2, 0]);
        // It was excused once, not whenever it attests behind a window.
        assert!(Standings::<Test>::contains_key(id(4)));
        for (period, missed) in [(3, 1), (4, 2), (5, 3)] {
            let until = open(period, [period as u8; 32]).until;
            at(until);
            register(4, Role::Worker, until + 1);
            finish();
            assert_eq!(times_missed(4), missed);
        }
        assert!(!Heartbeats::is_responsive(&id(4)));
    });
}

#[test]
fn whoever_registers_behind_a_window_and_is_not_asked_stands_as_before() {
    network(1).execute_with(|| {
        assert_ok!(Heartbeats::set_policy(RuntimeOrigin::root(), HeartbeatPolicy { rate: 0, ..POLICY }));
        let until = open(1, [1; 32]).until;
        at(until);
        register(2, Role::Worker, until + 1);
        finish();
        assert_eq!(Standings::<Test>::iter().count(), 0);
    });
}

#[test]
fn a_block_looks_at_a_few_workers_and_a_search_at_all_of_them_once() {
    let workers = 100;
    network(workers).execute_with(|| {
        let until = open(1, [1; 32]).until;
        at(until);
        assert_eq!(Standings::<Test>::iter().count(), 0);
        let (mut looked_at, mut missed) = (Vec::new(), 0);
        while matches!(Search::<Test>::get(), Some(SearchPlace::Workers(_))) {
            let cost = next();
            let now = Standings::<Test>::iter().count();
            assert_eq!(cost, <() as WeightInfo>::look((now - missed) as u32));
            looked_at.push(now - missed);
            missed = now;
        }
        assert!(looked_at.iter().all(|number| *number <= LOOKED_AT_PER_BLOCK as usize), "{looked_at:?}");
        assert_eq!((missed, looked_at.len()), (100, 13));
        assert!((1..=workers).all(|number| times_missed(number) == 1));
        // The standings after them, as many in a block.
        assert_eq!(finish(), 26);
        // One that goes in the middle keeps nobody else from being counted, also if it was looked at last.
        let until = open(2, [2; 32]).until;
        at(until + 1);
        let Some(SearchPlace::Workers(Some(last))) = Search::<Test>::get() else { panic!("it goes on") };
        Workers::<Test>::remove(last);
        finish();
        let left = (1..=workers).filter(|number| id(*number) != last);
        assert!(left.clone().count() == 99 && left.into_iter().all(|number| times_missed(number) == 2));
    });
}

#[test]
fn standings_of_workers_that_are_registered_no_longer_are_forgotten() {
    network(20).execute_with(|| {
        let all: Vec<u8> = (1..=20).collect();
        round(1, &all[..10]);
        assert_eq!(Standings::<Test>::iter().count(), 20);
        all.iter().filter(|number| number.is_multiple_of(2)).for_each(|number| Workers::<Test>::remove(id(*number)));
        round(2, &[]);
        assert_eq!(Standings::<Test>::iter().count(), 10);
        assert!(all.iter().all(|number| Standings::<Test>::contains_key(id(*number)) != number.is_multiple_of(2)));
    });
}

#[test]
fn governance_sets_the_policy_within_its_range_from_the_next_round_on() {
    network(1).execute_with(|| {
        let policy = HeartbeatPolicy { rate: EVERY_WORKER / 4, window: 9, patience: 2 };
        assert!(Heartbeats::set_policy(RuntimeOrigin::signed(ANYBODY), policy).is_err());
        let wrong = HeartbeatPolicy { window: 4, ..policy };
        assert_noop!(Heartbeats::set_policy(RuntimeOrigin::root(), wrong), Error::<Test>::PolicyOutOfRange);
        assert_eq!(Heartbeats::policy(), POLICY);
        let first = open(1, [1; 32]);
        assert_ok!(Heartbeats::set_policy(RuntimeOrigin::root(), policy));
        assert!(happened(Event::PolicySet { policy }));
        assert_eq!((Round::<Test>::get(), Heartbeats::policy()), (Some(first), policy));
        finish();
        let second = open(2, [2; 32]);
        assert_eq!((second.rate, second.until - second.opened, second.patience), (EVERY_WORKER / 4, 9, 2));
    });
}
