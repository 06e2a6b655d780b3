//! Which answers are taken.

use super::*;

/// Refused as `error`, for a fee, and with nothing changed.
fn refused(signed: SignedHeartbeat, error: Error<Test>) {
    let state = || {
        let standings: Vec<_> = Standings::<Test>::iter().collect();
        (standings, Round::<Test>::get(), Search::<Test>::get(), System::events().len())
    };
    let before = state();
    let refusal = submit(signed).unwrap_err();
    assert_eq!(refusal.error, error.into());
    assert_eq!(refusal.post_info.pays_fee, Pays::Yes);
    let (cost, most) = (refusal.post_info.actual_weight.unwrap(), <() as WeightInfo>::submitted_at_most());
    assert!(cost.ref_time() > 0 && most.all_gte(cost));
    assert_eq!(state(), before);
}

#[test]
fn a_worker_that_is_asked_answers_once_and_for_nothing() {
    network(2).execute_with(|| {
        open(7, [1; 32]);
        next();
        let said = signed(1, heartbeat(1));
        let taken = submit(said).unwrap();
        assert_eq!(taken.pays_fee, Pays::No);
        assert!(<() as WeightInfo>::submitted_at_most().all_gte(taken.actual_weight.unwrap()));
        assert_eq!(standing(1).answered, Some((ERA, 7)));
        assert!(happened(Event::Answered { worker: id(1), era: ERA, period: 7, returned: false }));
        refused(said, Error::AlreadyAnswered);
        // The same of a later block, whose hash it knows too.
        next();
        let block = System::block_number() - 1;
        refused(signed(1, Heartbeat { block, block_hash: hash_of(block), ..said.heartbeat }), Error::AlreadyAnswered);
        answer(2);
        finish();
        // And once in the next round.
        open(8, [2; 32]);
        next();
        answer(1);
        refused(said, Error::OtherRound);
    });
}

#[test]
fn what_is_no_answer_to_the_round_is_refused_for_its_reason() {
    network(2).execute_with(|| {
        let early =
            Heartbeat { genesis: GENESIS, worker: id(1), era: ERA, period: 7, block: 9, block_hash: hash_of(9) };
        refused(signed(1, early), Error::NoRound);
        let opened = open(7, [1; 32]).opened;
        // In the block of the opening nobody can have verified it.
        refused(signed(1, heartbeat(1)), Error::UnknownBlock);
        next();
        let good = heartbeat(1);
        refused(signed(1, Heartbeat { genesis: [9; 32], ..good }), Error::OtherChain);
        for (era, period) in [(ERA, 6), (ERA, 8), (ERA - 1, 7), (ERA + 1, 7)] {
            refused(signed(1, Heartbeat { era, period, ..good }), Error::OtherRound);
        }
        register(3, Role::Gatekeeper, 1);
        for number in [3, 4] {
            refused(signed(number, Heartbeat { worker: id(number), ..good }), Error::NotAWorker);
        }
        // A block from before the value was public, one that is not there yet, and one of another chain.
        let before = Heartbeat { block: opened - 1, block_hash: hash_of(opened - 1), ..good };
        let now = Heartbeat { block: opened + 1, block_hash: hash_of(opened + 1), ..good };
        let unknown = Heartbeat { block: opened + 1, block_hash: [0; 32], ..good };
        let forked = Heartbeat { block_hash: [9; 32], ..good };
        [before, now, unknown, forked].into_iter().for_each(|of| refused(signed(1, of), Error::UnknownBlock));
        refused(signed(2, good), Error::BadSignature);
        assert!(Heartbeats::submit_heartbeat(RuntimeOrigin::none(), signed(1, good)).is_err());
        assert_ok!(submit(signed(1, good)));
    });
}

#[test]
fn no_flipped_bit_of_an_answer_passes() {
    network(2).execute_with(|| {
        open(7, [1; 32]);
        next();
        let bytes = signed(1, heartbeat(1)).encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let altered = codec::DecodeAll::decode_all(&mut &flipped[..]).unwrap();
            assert!(submit(altered).is_err(), "bit {bit}");
        }
        assert_eq!(Standings::<Test>::iter().count(), 0);
        assert_ok!(submit(codec::DecodeAll::decode_all(&mut &bytes[..]).unwrap()));
    });
}

#[test]
fn whoever_is_not_sampled_is_not_heard() {
    network(20).execute_with(|| {
        let half = EVERY_WORKER / 2;
        assert_ok!(Heartbeats::set_policy(RuntimeOrigin::root(), HeartbeatPolicy { rate: half, ..POLICY }));
        let value = [1; 32];
        open(7, value);
        next();
        let (asked, others): (Vec<u8>, Vec<u8>) = (1..=20).partition(|number| is_sampled(&value, &id(*number), half));
        assert!(!asked.is_empty() && !others.is_empty());
        asked.iter().for_each(|number| answer(*number));
        others.iter().for_each(|number| refused(signed(*number, heartbeat(*number)), Error::NotSampled));
        finish();
        assert_eq!(Standings::<Test>::iter().count(), asked.len(), "nobody else is counted");
        assert!((1..=20).all(|number| times_missed(number) == 0));
    });
}

#[test]
fn an_answer_is_taken_up_to_the_last_block_of_the_window() {
    network(2).execute_with(|| {
        let HeartbeatRound { opened, until, .. } = open(7, [1; 32]);
        assert_eq!(until, opened + POLICY.window);
        at(until);
        answer(1);
        at(until + 1);
        refused(signed(2, heartbeat(2)), Error::TooLate);
        finish();
        refused(signed(2, heartbeat(2)), Error::TooLate);
        assert_eq!((standing(1).misses, standing(2).misses), (0, 1));
    });
}
