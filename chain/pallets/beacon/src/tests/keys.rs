//! Keys: awaited, shown once, in use, forgotten.

use super::*;

#[test]
fn a_key_is_taken_once_and_free_by_whoever_shows_it() {
    network().execute_with(|| {
        let record = insecure_key(0, 1).record;
        refused(|| publish(record.clone()), Error::<Test>::NotAwaited);
        Beacon::awaited(0, record.hash());
        assert!(happened(Event::KeyAwaited { era: 0, hash: record.hash() }));
        let taken = publish(record.clone()).unwrap();
        assert_eq!((taken.pays_fee, taken.actual_weight), (Pays::No, Some(<() as WeightInfo>::publish_key(4))));
        assert_eq!((Keys::<Test>::get(0), Awaited::<Test>::get()), (Some(record.clone()), None));
        assert!(happened(Event::KeyTaken { era: 0, threshold: 3, holders: 4 }));
        refused(|| publish(record), Error::<Test>::NotAwaited);
    });
}

#[test]
fn a_record_is_the_one_that_was_confirmed_to_the_byte() {
    network().execute_with(|| {
        let record = insecure_key(0, 1).record;
        Beacon::awaited(0, record.hash());
        refused(|| publish(insecure_key(0, 2).record), Error::<Test>::WrongRecord);
        refused(|| publish(BeaconRecord { era: 1, ..record.clone() }), Error::<Test>::NotAwaited);
        refused(|| publish(BeaconRecord { threshold: 2, ..record.clone() }), Error::<Test>::WrongRecord);
        for holder in 0..4 {
            let mut flipped = record.clone();
            flipped.holders[holder].share[31] ^= 1;
            refused(|| publish(flipped), Error::<Test>::WrongRecord);
            let mut fewer = record.clone();
            fewer.holders.remove(holder);
            refused(|| publish(fewer), Error::<Test>::WrongRecord);
        }
        assert_ok!(publish(record));
    });
}

#[test]
fn a_record_that_is_of_no_key_is_refused_also_when_all_seats_confirmed_it() {
    let record = insecure_key(0, 1).record;
    let mut of_two = record.clone();
    of_two.holders[3] = insecure_key(0, 2).record.holders[3];
    let lower = BeaconRecord { threshold: 2, ..record.clone() };
    let mut unordered = record.clone();
    unordered.holders.swap(0, 1);
    let none = BeaconRecord { threshold: 0, holders: Vec::new(), ..record };
    for wrong in [of_two, lower, unordered, none] {
        network().execute_with(|| {
            Beacon::awaited(0, wrong.hash());
            refused(|| publish(wrong.clone()), Error::<Test>::BadRecord);
            Beacon::active(0);
            next();
            assert_eq!(Due::<Test>::get(), None, "the era has no beacon");
        });
    }
}

#[test]
fn more_holders_than_seats_can_be_are_not_looked_at() {
    network().execute_with(|| {
        let holder = insecure_key(0, 1).record.holders[0];
        let record = BeaconRecord { era: 0, threshold: 3, holders: vec![holder; 101] };
        Beacon::awaited(0, record.hash());
        refused(|| publish(record), Error::<Test>::WrongRecord);
    });
}

#[test]
fn a_key_that_was_dropped_is_neither_awaited_nor_kept() {
    network().execute_with(|| {
        let (first, second) = (insecure_key(0, 1), insecure_key(0, 2));
        Beacon::awaited(0, first.record.hash());
        Beacon::dropped(0);
        refused(|| publish(first.record.clone()), Error::<Test>::NotAwaited);
        show(&first);
        Beacon::dropped(0);
        assert!(happened(Event::KeyDropped { era: 0 }));
        assert_eq!(Keys::<Test>::iter().count(), 0);
        show(&second);
        assert_eq!(Keys::<Test>::get(0), Some(second.record));
    });
}

#[test]
fn what_is_awaited_of_another_era_stays_when_a_key_is_dropped() {
    network().execute_with(|| {
        Beacon::awaited(1, [1; 32]);
        Beacon::dropped(0);
        assert_eq!(Awaited::<Test>::get(), Some(AwaitedBeacon { era: 1, hash: [1; 32] }));
    });
}

#[test]
fn a_former_key_is_kept_as_long_as_a_value_of_it() {
    let (mut network, key) = open();
    network.execute_with(|| {
        give(&key, 1..=3);
        let coming = insecure_key(1, 2);
        show(&coming);
        assert_eq!(Keys::<Test>::iter_keys().count(), 2);
        Beacon::active(1);
        assert_eq!(Keys::<Test>::iter_keys().count(), 2, "the former one has a value");
        for period in 0..3 {
            next();
            assert_eq!(Due::<Test>::get(), Some(due(1, period, &[])));
            assert!(Keys::<Test>::contains_key(0));
            give(&coming, 2..=4);
            at(System::block_number() + PeriodLength::get() - 1);
        }
        assert_eq!(Keys::<Test>::iter_keys().collect::<Vec<_>>(), [1]);
        assert_eq!(Kept::<Test>::get(), [(1, 0), (1, 1), (1, 2)]);
    });
}

#[test]
fn a_former_key_without_a_value_goes_when_another_root_answers() {
    let (mut network, key) = open();
    network.execute_with(|| {
        give(&key, [1]);
        show(&insecure_key(1, 2));
        Beacon::active(1);
        assert_eq!(Keys::<Test>::iter_keys().collect::<Vec<_>>(), [1]);
    });
}
