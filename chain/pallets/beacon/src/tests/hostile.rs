//! Partials that are wrong, late, repeated, of others, or too many.

use super::*;
use frame_support::dispatch::GetDispatchInfo;

#[test]
fn a_partial_of_another_period_era_or_holder_is_refused() {
    let (mut network, key) = open();
    network.execute_with(|| {
        // Under its own name it is not due, and under the name of what is due it does not hold.
        refused(|| submit(0, 1, key.partial(1, 1)), Error::<Test>::NotDue);
        refused(|| submit(1, 0, key.partial(1, 0)), Error::<Test>::NotDue);
        refused(|| submit(0, 0, key.partial(1, 1)), Error::<Test>::BadPartial);
        let other = insecure_key(1, 1);
        refused(|| submit(0, 0, other.partial(1, 0)), Error::<Test>::BadPartial);
        refused(|| submit(0, 0, insecure_key(0, 2).partial(1, 0)), Error::<Test>::BadPartial);
        let anothers = BeaconPartial { index: 2, ..key.partial(1, 0) };
        refused(|| submit(0, 0, anothers), Error::<Test>::BadPartial);
        for nobody in [0, 5, u16::MAX] {
            let partial = BeaconPartial { index: nobody, ..key.partial(1, 0) };
            refused(|| submit(0, 0, partial), Error::<Test>::NoSuchHolder);
        }
        give(&key, 1..=3);
        assert!(Beacon::latest().is_some());
    });
}

#[test]
fn a_holder_gives_one_partial_and_none_when_the_value_is_there() {
    let (mut network, key) = open();
    network.execute_with(|| {
        give(&key, [2]);
        refused(|| submit(0, 0, key.partial(2, 0)), Error::<Test>::AlreadyTaken);
        // Another proof of the same point is no other partial.
        let input = BeaconInput { genesis: GENESIS, era: 0, period: 0 };
        let again = key.shares[1].partial(&input, &[8; 32]);
        assert_ne!(again, key.partial(2, 0));
        refused(|| submit(0, 0, again), Error::<Test>::AlreadyTaken);
        give(&key, [1, 3]);
        refused(|| submit(0, 0, key.partial(4, 0)), Error::<Test>::NotDue);
        refused(|| submit(0, 0, key.partial(1, 0)), Error::<Test>::NotDue);
    });
}

#[test]
fn no_flipped_bit_passes() {
    let (mut network, key) = open();
    network.execute_with(|| {
        let honest = key.partial(1, 0);
        for byte in 0..32 {
            let mut flipped = honest;
            flipped.point[byte] ^= 1 << (byte % 8);
            refused(|| submit(0, 0, flipped), Error::<Test>::BadPartial);
        }
        for byte in 0..64 {
            let mut flipped = honest;
            flipped.proof[byte] ^= 1 << (byte % 8);
            refused(|| submit(0, 0, flipped), Error::<Test>::BadPartial);
        }
        assert_ok!(submit(0, 0, honest));
    });
}

#[test]
fn before_there_is_a_key_nothing_is_due() {
    network().execute_with(|| {
        let key = insecure_key(0, 1);
        refused(|| submit(0, 0, key.partial(1, 0)), Error::<Test>::NotDue);
        Beacon::awaited(0, key.record.hash());
        Beacon::active(0);
        next();
        refused(|| submit(0, 0, key.partial(1, 0)), Error::<Test>::NotDue);
    });
}

#[test]
fn calls_need_an_account_that_pays() {
    let (mut network, key) = open();
    network.execute_with(|| {
        let partial = Beacon::submit_partial(RuntimeOrigin::none(), 0, 0, key.partial(1, 0));
        assert!(partial.is_err() && Beacon::publish_key(RuntimeOrigin::none(), key.record.clone()).is_err());
        assert_eq!(Due::<Test>::get(), Some(due(0, 0, &[])));
    });
}

#[test]
fn spam_pays_for_what_it_costs_and_keeps_no_honest_holder_out() {
    let (mut network, key) = open();
    network.execute_with(|| {
        Beacon::awaited(1, insecure_key(1, 2).record.hash());
        let (look, partial) = (<() as WeightInfo>::look(), <() as WeightInfo>::partial());
        for number in 0..200u32 {
            let mut wrong = key.partial(1, 0);
            wrong.proof[..4].copy_from_slice(&number.to_le_bytes());
            let refusal = submit(0, 0, wrong).unwrap_err();
            assert_eq!((refusal.post_info.pays_fee, refusal.post_info.actual_weight), (Pays::Yes, Some(partial)));
            let refusal = submit(0, number + 1, wrong).unwrap_err();
            assert_eq!((refusal.post_info.pays_fee, refusal.post_info.actual_weight), (Pays::Yes, Some(look)));
            let refusal = publish(BeaconRecord { era: 1, ..key.record.clone() }).unwrap_err();
            let hashed = <() as WeightInfo>::hash(4);
            assert_eq!((refusal.post_info.pays_fee, refusal.post_info.actual_weight), (Pays::Yes, Some(hashed)));
        }
        assert_eq!((Due::<Test>::get(), Gathering::<Test>::get().partials), (Some(due(0, 0, &[])), Vec::new()));
        give(&key, 1..=3);
        assert_eq!(Latest::<Test>::get(), Some((0, 0)));
    });
}

#[test]
fn a_partial_is_charged_before_for_the_key_that_the_chain_has() {
    let (mut network, key) = open();
    network.execute_with(|| {
        let charged = |era| {
            let call = Call::<Test>::submit_partial { era, period: 0, partial: key.partial(1, 0) };
            call.get_dispatch_info().call_weight
        };
        assert_eq!(charged(0), <() as WeightInfo>::submitted_at_most(3, 4));
        assert_eq!(charged(1), <() as WeightInfo>::look());
        assert_eq!(submit(1, 0, key.partial(1, 0)).unwrap_err().post_info.actual_weight, Some(charged(1)));
    });
}

#[test]
fn a_partial_is_awaited_when_it_would_be_taken_in_the_next_block_and_otherwise_not() {
    let (mut network, key) = open();
    network.execute_with(|| {
        // A pool asks of the block after the newest one.
        let awaited = |block, era, period, partial: BeaconPartial| {
            System::set_block_number(block);
            Beacon::is_awaited(era, period, &partial)
        };
        let honest = key.partial(1, 0);
        assert!(awaited(3, 0, 0, honest) && awaited(21, 0, 0, honest));
        assert!(!awaited(22, 0, 0, honest), "the period ends before that block's transactions");
        assert!(!awaited(3, 1, 0, honest) && !awaited(3, 0, 1, honest));
        assert!(!awaited(3, 0, 0, BeaconPartial { index: 2, ..honest }), "of another holder");
        assert!(!awaited(3, 0, 0, BeaconPartial { index: 5, ..honest }), "of nobody");
        let mut wrong = honest;
        wrong.proof[0] ^= 1;
        assert!(!awaited(3, 0, 0, wrong));
        assert_eq!(Due::<Test>::get(), Some(due(0, 0, &[])), "asking changes nothing");
        give(&key, [1]);
        assert!(!awaited(3, 0, 0, honest), "it is there");
        give(&key, 2..=3);
        assert!(!awaited(3, 0, 0, key.partial(4, 0)), "the value is there");
    });
}
