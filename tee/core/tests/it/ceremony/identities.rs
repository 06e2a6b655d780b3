//! Gatekeepers that make identities, hand them over to others and forget them, through deliveries and statuses alone.

use super::{count, opens, play::Play, sealed_to};
use phala_core::{IdentityPart, Notice};
use phala_gatekeeper::identity::ceremony::CeremonyError;
use phala_protocol::{
    ceremony::{Attachment, CeremonyAttempt, ParcelKind, Phase},
    identities::IdentityStatement,
    relay::Outgoing,
};
use std::sync::atomic::Ordering::SeqCst;

/// What of its statements a gatekeeper has for the chain.
fn said(play: &Play, index: usize) -> Vec<IdentityStatement> {
    let outgoing = play.nodes[index].tee().status().outgoing.into_iter();
    let statements = outgoing.filter_map(|item| match item {
        Outgoing::StateIdentity { statement, .. } => Some(statement.statement),
        _ => None,
    });
    statements.collect()
}

/// The era of the shares that a gatekeeper holds, and its index.
pub(super) fn holds(play: &Play, index: usize) -> Option<(u32, u16)> {
    play.nodes[index].tee().gate_health().unwrap().identities.map(|held| (held.era, held.index))
}

/// INSECURE: the shares that a gatekeeper holds, out of what its machine keeps while none are coming.
fn insecure_shares(play: &Play, index: usize) -> Vec<u8> {
    let kept = play.nodes[index].machine.sealed("custody-");
    kept[kept.len() - 65..kept.len() - 1].to_vec()
}

fn is_on_disk(play: &Play, index: usize, bytes: &[u8]) -> bool {
    play.nodes[index].machine.disk().values().any(|kept| kept.windows(bytes.len()).any(|window| window == bytes))
}

fn keeps_custody(play: &Play, index: usize) -> bool {
    play.nodes[index].machine.disk().keys().any(|name| name.starts_with("custody-"))
}

/// Bytes of what a gatekeeper keeps of ceremonies.
fn sealed_state(play: &Play, index: usize) -> usize {
    let disk = play.nodes[index].machine.disk();
    disk.iter().find(|(name, _)| name.starts_with("identities-")).map_or(0, |(_, bytes)| bytes.len())
}

fn fails(play: &Play, index: usize) -> bool {
    play.nodes[index].notices.iter().any(|notice| matches!(notice, Notice::IdentitiesFailed { .. }))
}

#[test]
fn gatekeepers_make_identities_and_hand_them_over_and_former_holders_keep_nothing() {
    let mut play = Play::of(950, 6, false);
    play.start_identities(1, &[0, 1, 2, 3]);
    let made = play.receive_identities(1);
    assert_eq!((made.threshold, made.holders.len(), play.ledger.attempt), (3, 4, 0), "nobody was left out");
    for index in 0..4 {
        let number = index as u16 + 1;
        assert_eq!(holds(&play, index), Some((1, number)));
        let begun = Notice::IdentitiesBegun { era: 1, attempt: 0, dealer: Some(number), holder: Some(number) };
        assert_eq!(count(&play, index, &begun), 1);
        assert_eq!(count(&play, index, &Notice::IdentitiesConfirmed { era: 1, attempt: 0 }), 1);
        assert_eq!(count(&play, index, &Notice::IdentitiesReceived { era: 1 }), 1);
        assert!(!fails(&play, index));
        assert!((1..32).contains(&sealed_state(&play, index)), "the seed is forgotten");
        assert_eq!(play.nodes[index].tee().status().identity_attempt, None);
        play.restart(index);
    }
    assert!((4..6).all(|index| holds(&play, index).is_none() && sealed_state(&play, index) == 0));
    let former: Vec<_> = (0..4).map(|index| insecure_shares(&play, index)).collect();

    // Two stay, in other seats; those who leave deal.
    play.start_identities(2, &[2, 3, 4, 5]);
    play.run_until(|play| play.identity_phase() == Some(Phase::Share));
    play.run(1);
    let parts = |index: usize| {
        let attempt = play.nodes[index].tee().gate_health().unwrap().identity_attempt.unwrap();
        (attempt.era, attempt.dealer, attempt.holder)
    };
    assert_eq!((parts(0), parts(2), parts(4)), ((2, Some(1), None), (2, Some(3), Some(1)), (2, None, Some(3))));
    assert_eq!(holds(&play, 0), Some((1, 1)), "they sign until the chain has the next record");
    assert!(sealed_state(&play, 0) > 32);
    let handed = play.receive_identities(2);
    assert_eq!((handed.keys, handed.threshold, play.ledger.attempt), (made.keys, 3, 0));
    let held = [None, None, Some((2, 1)), Some((2, 2)), Some((2, 3)), Some((2, 4))];
    for (index, held) in held.into_iter().enumerate() {
        assert_eq!(holds(&play, index), held);
        assert!(!fails(&play, index) && (1..32).contains(&sealed_state(&play, index)));
        assert_eq!(keeps_custody(&play, index), held.is_some());
        assert!(former.iter().all(|shares| !is_on_disk(&play, index, shares)));
    }
    for index in [0, 1] {
        assert_eq!(count(&play, index, &Notice::IdentitiesDropped { era: 2 }), 1);
        play.restart(index);
    }
    play.run(2);
    assert!([0, 1].iter().all(|index| holds(&play, *index).is_none() && !keeps_custody(&play, *index)));
}

#[test]
fn what_was_sealed_to_a_holder_opens_no_more_when_the_chain_has_the_record() {
    let mut play = Play::of(958, 6, false);
    play.start_identities(1, &[0, 1, 2, 3]);
    play.receive_identities(1);
    // So that the phase goes on. The first only deals, and the fifth only receives.
    play.drop_parcels = true;
    play.start_identities(2, &[2, 3, 4, 5]);
    play.run_until(|play| sealed_to(play, 0, 4).is_some());
    let (announced, parcel) = sealed_to(&play, 0, 4).unwrap();
    assert_eq!((announced.of, parcel.header.kind), (CeremonyAttempt::identities(2, 0), ParcelKind::Identities));
    assert!(opens(&play, 4, announced.of, &parcel), "the attempt's seed does, while it is under way");
    play.restart(4);
    play.run_until(|play| sealed_to(play, 0, 4).is_some());
    assert_eq!(sealed_to(&play, 0, 4).map(|(again, _)| again), Some(announced.clone()), "it has one key an attempt");
    play.receive_identities(2);
    assert_eq!(holds(&play, 4), Some((2, 3)));
    assert!(!opens(&play, 4, announced.of, &parcel));
    assert!(sealed_to(&play, 0, 4).is_none());
}

#[test]
fn whoever_restarts_in_each_phase_of_a_ceremony_of_identities_goes_on_while_no_parcel_arrives() {
    let mut play = Play::of(951, 5, false);
    play.drop_parcels = true;
    // In the second the first only deals, the last only receives, and the second does both.
    for (era, set, restarts) in [(1, [0, 1, 2, 3], vec![0]), (2, [1, 2, 3, 4], vec![0, 1, 4])] {
        play.start_identities(era, &set);
        let mut seen = Vec::new();
        while play.ledger.record.as_ref().is_none_or(|record| record.era != era) {
            assert!(play.number() < 500, "no record: {:?}", play.ledger.ceremony);
            play.step();
            for index in restarts.iter().copied() {
                let attempt = play.nodes[index].tee().gate_health().unwrap().identity_attempt;
                let Some(phase) = attempt.map(|attempt| attempt.phase) else { continue };
                // When it has something to say in a phase for the first time, and when that was carried away.
                if !seen.contains(&(index, phase)) && !said(&play, index).is_empty() {
                    seen.push((index, phase));
                    play.restart(index);
                }
            }
        }
        play.run(2);
        assert_eq!(play.ledger.attempt, 0, "nobody was left out");
        if era == 1 {
            assert_eq!(seen, [Phase::Commit, Phase::Share, Phase::Deliver].map(|phase| (0, phase)));
            let parcels =
                play.ledger.attached.iter().filter(|placed| matches!(placed.attachment, Attachment::Parcel(_)));
            assert_eq!(parcels.count(), 9, "three deal, each to the three others");
        }
        assert!(restarts.iter().all(|index| seen.iter().any(|(other, _)| other == index)));
        let packages = play.ledger.attached.iter().filter(|placed| matches!(placed.attachment, Attachment::Package(_)));
        assert_eq!(packages.count(), 0, "no disputes");
        for (number, index) in (1..).zip(set) {
            assert_eq!(holds(&play, index), Some((era, number)));
            assert!(!fails(&play, index));
        }
    }
}

#[test]
fn a_head_of_the_past_ends_no_ceremony_of_identities_and_begins_none() {
    let mut play = Play::new(952, false);
    let before = play.number() - 1;
    let committing = play.number();
    play.start_identities(1, &[0, 1, 2, 3]);
    play.run_until(|play| play.identity_phase() == Some(Phase::Share));
    play.run(1);
    play.restart(0);
    // Its host leads it through the chain's past, when there was no ceremony.
    play.show(0, before);
    assert!(said(&play, 0).is_empty() && sealed_state(&play, 0) > 32);
    play.receive_identities(1);
    assert_eq!((play.ledger.attempt, fails(&play, 0), holds(&play, 0)), (0, false, Some((1, 1))));
    // The ceremony is over, whatever was before.
    play.restart(0);
    play.show(0, committing);
    assert!(said(&play, 0).is_empty() && play.nodes[0].tee().status().identity_attempt.is_none());
    assert!(sealed_state(&play, 0) < 32, "no seed is drawn");
    assert_eq!(holds(&play, 0), Some((1, 1)));
    play.run(2);
    assert_eq!(holds(&play, 0), Some((1, 1)));
}

#[test]
fn a_ceremony_of_identities_that_is_cancelled_leaves_no_seed_and_its_attempt_does_not_begin_again() {
    let mut play = Play::new(955, false);
    let committing = play.number();
    play.start_identities(1, &[0, 1, 2, 3]);
    play.run(3);
    assert!(sealed_state(&play, 0) > 32 && play.nodes[0].tee().status().identity_attempt == Some((1, 0)));
    play.ledger.ceremony = None;
    play.run(2);
    assert!((0..4).all(|index| sealed_state(&play, index) < 32 && said(&play, index).is_empty()));
    assert_eq!(play.nodes[0].tee().status().identity_attempt, None);
    play.restart(0);
    play.show(0, committing);
    assert!(said(&play, 0).is_empty() && sealed_state(&play, 0) < 32);
}

#[test]
fn the_shares_of_a_hand_over_that_is_given_up_are_dropped_and_those_that_count_stay() {
    let mut play = Play::of(956, 5, false);
    play.start_identities(1, &[0, 1, 2, 3]);
    let made = play.receive_identities(1);
    let held = |play: &Play, index: usize| play.nodes[index].machine.sealed("custody-").len();
    let before = held(&play, 1);
    let committing = play.number();
    play.start_identities(2, &[1, 2, 3, 4]);
    // The second deals, receives and holds; the last only receives. Both have sealed shares of the same keys.
    play.run_until(|play| held(play, 1) > before && keeps_custody(play, 4));
    assert!(play.ledger.ceremony.is_some() && play.ledger.record.as_ref() == Some(&made), "nothing counts yet");
    let disk = play.nodes[4].machine.disk();
    // Led through the past, in which there was no such ceremony, it keeps them.
    play.restart(4);
    play.show(4, committing - 1);
    assert!(keeps_custody(&play, 4));

    play.ledger.ceremony = None;
    play.next_block();
    play.nodes[4].machine.disk_full.store(true, SeqCst);
    assert!(play.deliver(4).is_err() && keeps_custody(&play, 4), "the disk does not obey");
    play.nodes[4].machine.disk_full.store(false, SeqCst);
    // What would say that they have to go is still there.
    assert!(sealed_state(&play, 4) > 32);
    play.restart(4);
    play.run(2);
    for index in 0..5 {
        assert_eq!(holds(&play, index), (index < 4).then_some((1, index as u16 + 1)));
        assert_eq!(keeps_custody(&play, index), index < 4);
    }
    assert_eq!(held(&play, 1), before, "no more than what counts");
    // An old disk brings them back no further than to the next head.
    play.nodes[4].machine.rewind(disk);
    play.restart(4);
    assert!(keeps_custody(&play, 4));
    play.run(1);
    assert!(!keeps_custody(&play, 4));

    play.start_identities(2, &[1, 2, 3, 4]);
    // No attempt's number is used again.
    play.ledger.ceremony.as_mut().unwrap().attempt = 1;
    let handed = play.receive_identities(2);
    assert_eq!((handed.keys, handed.holders.len()), (made.keys, 4));
    assert_eq!((holds(&play, 0), holds(&play, 4)), (None, Some((2, 4))));
}

#[test]
fn what_a_holder_has_of_an_attempt_goes_with_a_later_one_in_which_it_has_no_part() {
    let mut play = Play::of(957, 5, false);
    play.start_identities(1, &[0, 1, 2, 3]);
    play.receive_identities(1);
    play.start_identities(2, &[1, 2, 3, 4]);
    play.run_until(|play| keeps_custody(play, 4));
    assert!(sealed_state(&play, 4) > 32);
    play.start_identities(2, &[0, 1, 2, 3]);
    play.ledger.ceremony.as_mut().unwrap().attempt = 1;
    play.run(2);
    assert!(!keeps_custody(&play, 4) && (1..32).contains(&sealed_state(&play, 4)));
    play.receive_identities(2);
    assert!((0..4).all(|index| holds(&play, index) == Some((2, index as u16 + 1))));
}

#[test]
fn what_identities_rest_on_is_sealed_before_anything_leaves_and_dropped_whatever_the_disk_does() {
    let mut play = Play::of(953, 5, false);
    let full = |play: &Play, full| play.nodes[0].machine.disk_full.store(full, SeqCst);
    play.start_identities(1, &[0, 1, 2, 3]);
    full(&play, true);
    play.run(3);
    assert!(play.deliver(0).is_err());
    assert!(said(&play, 0).is_empty(), "no seed is sealed");
    full(&play, false);
    play.run_until(|play| play.identity_phase() == Some(Phase::Share));
    // Whatever it would post or confirm rests on what it cannot seal now.
    full(&play, true);
    play.run(3);
    let outgoing = play.nodes[0].tee().status().outgoing;
    let leaves = |item: &Outgoing| matches!(item, Outgoing::Post { .. } | Outgoing::StateIdentity { .. });
    assert!(!outgoing.iter().any(leaves) && !keeps_custody(&play, 0), "{outgoing:?}");
    full(&play, false);
    while !said(&play, 0).iter().any(|statement| matches!(statement, IdentityStatement::Confirm { .. })) {
        assert!(play.ledger.ceremony.is_some() && play.ledger.attempt == 0, "it does not confirm");
        play.step();
    }
    assert!(keeps_custody(&play, 0), "the shares were sealed before the confirmation could leave");
    play.restart(0);
    play.receive_identities(1);
    assert_eq!((play.ledger.attempt, holds(&play, 0)), (0, Some((1, 1))));

    let shares = insecure_shares(&play, 0);
    play.start_identities(2, &[1, 2, 3, 4]);
    play.run_until(|play| play.identity_phase() == Some(Phase::Share));
    play.run(1);
    full(&play, true);
    play.receive_identities(2);
    assert!(play.deliver(0).is_err());
    assert_eq!(holds(&play, 0), None, "gone from memory with the head that shows the record");
    assert!(is_on_disk(&play, 0, &shares) && sealed_state(&play, 0) > 32, "the disk does not obey");
    full(&play, false);
    play.run(1);
    assert!(!is_on_disk(&play, 0, &shares) && !keeps_custody(&play, 0) && sealed_state(&play, 0) < 32);
}

#[test]
fn an_old_disk_deals_no_second_package_of_identities_and_gives_no_former_shares_back() {
    let mut play = Play::of(954, 5, false);
    let empty = play.nodes[1].machine.disk();
    play.start_identities(1, &[0, 1, 2, 3]);
    play.run_until(|play| play.identity_phase() == Some(Phase::Share));
    play.nodes[1].machine.rewind(empty);
    play.restart(1);
    play.run(3);
    let (part, error) = (IdentityPart::Dealer, CeremonyError::Foreign);
    let foreign = Notice::IdentitiesFailed { era: 1, attempt: 0, part, error };
    assert_eq!(count(&play, 1, &foreign), 1, "said once, and not with each block");
    assert!(!said(&play, 1).iter().any(IdentityStatement::is_of_dealer));
    // Nobody has its parcels: the others make the keys without it.
    let made = play.receive_identities(1);
    assert_eq!((made.holders.len(), play.ledger.attempt), (3, 1));
    assert_eq!((holds(&play, 0), holds(&play, 1)), (Some((1, 1)), None));

    let (old, shares) = (play.nodes[0].machine.disk(), insecure_shares(&play, 0));
    play.start_identities(2, &[1, 2, 3, 4]);
    let handed = play.receive_identities(2);
    assert_eq!((handed.keys, handed.holders.len()), (made.keys, 4));
    assert_eq!((holds(&play, 0), is_on_disk(&play, 0, &shares)), (None, false));
    play.nodes[0].machine.rewind(old);
    play.restart(0);
    assert_eq!(holds(&play, 0), Some((1, 1)), "until it sees a head");
    play.run(1);
    assert_eq!((holds(&play, 0), is_on_disk(&play, 0, &shares)), (None, false));
}
