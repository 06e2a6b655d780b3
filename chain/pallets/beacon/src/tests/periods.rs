//! Periods: when they open, what makes their value, how they end without one.

use super::*;

#[test]
fn a_period_opens_when_the_root_answers_and_the_key_is_there() {
    network().execute_with(|| {
        let key = insecure_key(0, 1);
        Beacon::awaited(0, key.record.hash());
        at(50);
        assert_eq!(Due::<Test>::get(), None, "the root does not answer");
        Beacon::active(0);
        at(51);
        assert_eq!(Due::<Test>::get(), None, "nobody has shown the key");
        at(60);
        assert_ok!(publish(key.record.clone()));
        assert_eq!(Due::<Test>::get(), None, "not within the block");
        at(61);
        assert_eq!(Due::<Test>::get(), Some(due(0, 0, &[])));
        assert!(happened(Event::PeriodOpened { era: 0, period: 0 }));
    });
}

#[test]
fn a_key_that_is_shown_early_waits_for_its_root() {
    network().execute_with(|| {
        show(&insecure_key(0, 1));
        at(50);
        assert_eq!(Due::<Test>::get(), None);
        Beacon::active(0);
        next();
        assert_eq!(Due::<Test>::get(), Some(due(0, 0, &[])));
    });
}

#[test]
fn a_threshold_makes_the_value_and_anyone_verifies_it() {
    let (mut network, key) = open();
    network.execute_with(|| {
        at(5);
        let taken = submit(0, 0, key.partial(4, 0)).unwrap();
        assert_eq!((taken.pays_fee, taken.actual_weight), (Pays::No, Some(<() as WeightInfo>::partial())));
        assert!(happened(Event::PartialTaken { era: 0, period: 0, holder: 4 }));
        give(&key, [1]);
        assert_eq!((Due::<Test>::get(), Beacon::latest()), (Some(due(0, 0, &[1, 4])), None));
        at(6);
        let taken = submit(0, 0, key.partial(3, 0)).unwrap();
        assert_eq!((taken.pays_fee, taken.actual_weight), (Pays::No, Some(<() as WeightInfo>::complete(3, 4))));
        assert_eq!((Due::<Test>::get(), Gathering::<Test>::get()), (None, Gathered::default()));
        let made = Beacon::latest().unwrap();
        assert_eq!((made.opened, made.made), (2, 6));
        assert_eq!(made.proof.partials.iter().map(|partial| partial.index).collect::<Vec<_>>(), [1, 3, 4]);
        let record = verify_beacon_record(&GENESIS, &Keys::<Test>::get(0).unwrap()).unwrap();
        assert_eq!(verify_beacon(&record, 0, &made.proof).unwrap().value(), &made.value);
        assert!(happened(Event::ValueMade { era: 0, period: 0, value: made.value }));
    });
}

#[test]
fn a_period_has_one_value_whichever_holders_make_it() {
    let values: Vec<Hash> = [[1, 2, 3], [4, 2, 1], [3, 4, 2]]
        .into_iter()
        .map(|indices| {
            let (mut network, key) = open();
            network.execute_with(|| {
                give(&key, indices);
                Beacon::latest().unwrap().value
            })
        })
        .collect();
    assert!(values.iter().all(|value| *value == values[0]));
}

#[test]
fn periods_open_at_their_time_and_each_has_a_value_of_its_own() {
    let (mut network, key) = open();
    network.execute_with(|| {
        give(&key, 1..=3);
        at(21);
        assert_eq!(Due::<Test>::get(), None, "twenty blocks after the one before opened");
        at(22);
        assert_eq!(Due::<Test>::get(), Some(due(0, 1, &[])));
        give(&key, 2..=4);
        let [first, second] = [0, 1].map(|period| Values::<Test>::get((0, period)).unwrap());
        assert_ne!(first.value, second.value);
        assert_eq!((second.opened, Latest::<Test>::get()), (22, Some((0, 1))));
    });
}

#[test]
fn a_period_without_a_threshold_is_skipped_and_its_number_never_used_again() {
    let (mut network, key) = open();
    network.execute_with(|| {
        give(&key, [2, 3]);
        at(21);
        assert_eq!(Due::<Test>::get(), Some(due(0, 0, &[2, 3])), "its last block");
        at(22);
        assert!(happened(Event::PeriodSkipped { era: 0, period: 0, partials: 2 }));
        assert_eq!((Due::<Test>::get(), Gathering::<Test>::get().partials), (Some(due(0, 1, &[])), Vec::new()));
        refused(|| submit(0, 0, key.partial(1, 0)), Error::<Test>::NotDue);
        at(42);
        assert!(happened(Event::PeriodSkipped { era: 0, period: 1, partials: 0 }));
        assert_eq!((Due::<Test>::get(), Beacon::latest()), (Some(due(0, 2, &[])), None));
        give(&key, 1..=3);
        assert_eq!(Latest::<Test>::get(), Some((0, 2)));
    });
}

#[test]
fn another_root_ends_the_period_in_the_middle_and_begins_its_own() {
    let (mut network, key) = open();
    network.execute_with(|| {
        give(&key, 1..=3);
        at(22);
        give(&key, [1, 2]);
        let coming = insecure_key(1, 2);
        show(&coming);
        assert_eq!(Due::<Test>::get(), Some(due(0, 1, &[1, 2])), "it comes, and does not answer");
        at(30);
        Beacon::active(1);
        assert!(happened(Event::PeriodSkipped { era: 0, period: 1, partials: 2 }));
        refused(|| submit(0, 1, key.partial(3, 1)), Error::<Test>::NotDue);
        at(31);
        assert_eq!((Due::<Test>::get(), Gathering::<Test>::get().opened), (Some(due(1, 0, &[])), 31));
        give(&coming, 1..=3);
        // Both values are there, each under its own era's key.
        assert_eq!((Kept::<Test>::get(), Latest::<Test>::get()), (vec![(0, 0), (1, 0)], Some((1, 0))));
        for (era, period) in Kept::<Test>::get() {
            let record = verify_beacon_record(&GENESIS, &Keys::<Test>::get(era).unwrap()).unwrap();
            let made = Values::<Test>::get((era, period)).unwrap();
            assert_eq!(verify_beacon(&record, period, &made.proof).unwrap().value(), &made.value);
        }
    });
}

#[test]
fn another_root_whose_key_nobody_showed_has_no_period() {
    let (mut network, _) = open();
    network.execute_with(|| {
        let coming = insecure_key(1, 2);
        Beacon::awaited(1, coming.record.hash());
        Beacon::active(1);
        at(100);
        assert_eq!(Due::<Test>::get(), None);
        assert_ok!(publish(coming.record));
        at(101);
        assert_eq!(Due::<Test>::get(), Some(due(1, 0, &[])));
    });
}

#[test]
fn the_newest_values_are_kept_and_no_others() {
    let (mut network, key) = open();
    network.execute_with(|| {
        for period in 0..5 {
            at(2 + 20 * period);
            give(&key, 1..=3);
        }
        assert_eq!(Kept::<Test>::get(), [(0, 2), (0, 3), (0, 4)]);
        assert_eq!(Values::<Test>::iter_keys().count(), 3);
        assert!(Keys::<Test>::contains_key(0), "it is in use");
    });
}

#[test]
fn the_last_number_of_a_period_is_never_given() {
    let (mut network, _) = open();
    network.execute_with(|| {
        Schedule::<Test>::put(Timetable { era: 0, next: u32::MAX, opens: 30 });
        at(30);
        assert_eq!((Due::<Test>::get(), Schedule::<Test>::get().unwrap().next), (None, u32::MAX));
    });
}

#[test]
fn whoever_gave_nothing_for_a_period_without_a_value_is_named_once() {
    let (mut network, key) = open();
    network.execute_with(|| {
        give(&key, [2, 3]);
        at(21);
        assert!(Told::get().is_empty(), "its last block");
        System::set_block_number(22);
        let weight = Beacon::on_initialize(22);
        assert_eq!(Told::get(), [(0, 0, vec![1, 4], THRESHOLD)]);
        assert_eq!(weight, <() as WeightInfo>::open().saturating_add(TELLING));
        // Nobody gives anything for the next one, and nothing is said of the first again.
        at(41);
        assert_eq!(Told::get().len(), 1);
        at(42);
        assert_eq!(Told::get()[1..], [(0, 1, vec![1, 2, 3, 4], THRESHOLD)]);
    });
}

#[test]
fn a_period_that_has_its_value_or_is_cut_short_names_nobody() {
    let (mut network, key) = open();
    network.execute_with(|| {
        // The fourth is not asked any more, and so was not silent.
        give(&key, 1..=3);
        at(22);
        give(&key, [1]);
        show(&insecure_key(1, 2));
        Beacon::active(1);
        assert!(happened(Event::PeriodSkipped { era: 0, period: 1, partials: 1 }));
        at(23);
        assert!(Told::get().is_empty());
    });
}

#[test]
fn a_chain_that_stood_still_gives_holders_all_blocks_of_the_period() {
    let (mut network, key) = open();
    network.execute_with(|| {
        // Periods are of blocks: however long none was made, none of them is over.
        at(3);
        assert_eq!(Due::<Test>::get(), Some(due(0, 0, &[])));
        give(&key, 1..=3);
        assert_eq!((Latest::<Test>::get(), Told::get().len()), (Some((0, 0)), 0));
        // A period that opened late is as long as any.
        at(60);
        assert_eq!(Due::<Test>::get(), Some(due(0, 1, &[])));
        at(79);
        assert!(Told::get().is_empty());
        at(80);
        assert_eq!(Told::get(), [(0, 1, vec![1, 2, 3, 4], THRESHOLD)]);
    });
}
