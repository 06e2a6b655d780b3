//! Gatekeepers that make roots together, hold them by era, and drop them, through deliveries and statuses alone.
//!
//! INSECURE: machines are simulated, and the chain's part is the rules of `phala_protocol::ceremony`, played by hand with real signatures,
//! justifications and proofs (`ceremony/play.rs`); the gatekeepers are the code that ships.

mod beacon;
mod brake;
mod identities;
mod old_disks;
pub mod play;
mod signing;
mod upgrade;

use self::play::{Asker, Play};
use phala_core::{Notice, SeatHealth};
use phala_crypto::{signature::ed25519::IdentityKey, xwing::DecapsulationKey, Secret};
use phala_gatekeeper::{
    dkg::{open_parcel, CeremonyError},
    ReceivingKey, Refusal,
};
use phala_protocol::{
    ceremony::{AnnouncedKey, Attachment, CeremonyAttempt, Introduction, Parcel, Phase, Statement},
    chain_state::RootRecord,
    relay::{Delivery, Outgoing},
    storage, WorkerId,
};
use std::sync::atomic::Ordering::SeqCst;

/// What of its statements a gatekeeper has for the chain.
fn said(play: &Play, index: usize) -> Vec<Statement> {
    let outgoing = play.nodes[index].tee().status().outgoing.into_iter();
    let statements = outgoing.filter_map(|item| match item {
        Outgoing::State(signed) => Some(signed.statement),
        Outgoing::StateWith { statement, .. } => Some(statement.statement),
        _ => None,
    });
    statements.collect()
}

fn seats(play: &Play, index: usize) -> Vec<SeatHealth> {
    play.nodes[index].tee().gate_health().unwrap().seats
}

/// Bytes of what a gatekeeper keeps of ceremonies.
fn sealed_state(play: &Play, index: usize) -> usize {
    let disk = play.nodes[index].machine.disk();
    disk.iter().find(|(name, _)| name.starts_with("ceremony-")).map(|(_, bytes)| bytes.len()).unwrap()
}

fn count(play: &Play, index: usize, notice: &Notice) -> usize {
    play.nodes[index].notices.iter().filter(|other| *other == notice).count()
}

#[test]
fn four_gatekeepers_make_a_root_out_of_deliveries_alone_and_forget_how() {
    let mut play = Play::new(900, false);
    play.start(1);
    let root = play.make_root();
    assert_eq!((root.era, root.threshold, root.seats.len()), (1, 3, 4));
    assert_eq!(play.attempts(), 1, "nobody was left out");
    for index in 0..4 {
        assert_eq!(seats(&play, index), [SeatHealth { era: 1, recorded: false }]);
        let begun = Notice::CeremonyBegun { era: 1, attempt: 0, index: index as u16 + 1 };
        assert_eq!(count(&play, index, &begun), 1);
        assert_eq!(count(&play, index, &Notice::CeremonyConfirmed { era: 1, attempt: 0 }), 1);
        assert!(!play.nodes[index].notices.iter().any(|notice| matches!(notice, Notice::CeremonyFailed { .. })));
        // The root waits; a day goes by without a ceremony, and machines start again.
        play.restart(index);
    }
    play.run(3);
    assert!((0..4).all(|index| seats(&play, index) == [SeatHealth { era: 1, recorded: false }]));
    assert!(sealed_state(&play, 0) > 32);
    play.record(Some(root), None);
    play.run(2);
    for index in 0..4 {
        assert_eq!(seats(&play, index), [SeatHealth { era: 1, recorded: true }]);
        assert_eq!(count(&play, index, &Notice::RootRecorded { era: 1 }), 1);
        assert!(sealed_state(&play, index) < 32, "the seed is forgotten");
        assert_eq!(play.nodes[index].tee().status().attempt, None);
    }
}

#[test]
fn whoever_restarts_in_each_phase_goes_on_while_no_parcel_arrives() {
    let mut play = Play::new(901, false);
    play.drop_parcels = true;
    play.start(1);
    let mut seen = Vec::new();
    while play.made.is_none() {
        assert!(play.number() < 300, "no root");
        play.step();
        // When it has something to say in a phase for the first time, and when that was carried away.
        let attempt = play.nodes[0].tee().gate_health().unwrap().attempt;
        if let Some(attempt) = attempt.filter(|attempt| !seen.contains(&attempt.phase) && !said(&play, 0).is_empty()) {
            seen.push(attempt.phase);
            play.restart(0);
        }
    }
    assert_eq!(play.attempts(), 1, "nobody was left out");
    assert_eq!(seen, [Phase::Commit, Phase::Share, Phase::Deliver]);
    let parcels = play.attached.iter().filter(|placed| matches!(placed.attachment, Attachment::Parcel(_))).count();
    assert_eq!(parcels, 12, "each dealer delivers to each of the others");
    assert!(!play.attached.iter().any(|placed| matches!(placed.attachment, Attachment::Package(_))), "no disputes");
    let root = play.made.clone();
    play.record(root, None);
    play.run(2);
    assert!((0..4).all(|index| seats(&play, index) == [SeatHealth { era: 1, recorded: true }]));
}

/// What one gatekeeper seals to another, and the key that the other announces.
fn sealed_to(play: &Play, from: usize, to: usize) -> Option<(AnnouncedKey, Parcel)> {
    let mut introduced = play.nodes[to].tee().status().outgoing.into_iter();
    let announced = introduced.find_map(|item| match item {
        Outgoing::Introduce { introduction, .. } => Some(introduction.announced),
        _ => None,
    })?;
    let (own, mut posted) = (play.nodes[to].id(), play.nodes[from].tee().status().outgoing.into_iter());
    let parcel = posted.find_map(|item| match item {
        Outgoing::Post { to, parcel } if to == own => Some(parcel),
        _ => None,
    })?;
    Some((announced, parcel))
}

/// INSECURE: whether anything that a gatekeeper's machine keeps opens a parcel, as the seed of an attempt's key or of one that lasts.
fn opens(play: &Play, index: usize, of: CeremonyAttempt, parcel: &Parcel) -> bool {
    let (genesis, disk) = (play.genesis(), play.nodes[index].machine.disk());
    let mut windows = disk.values().flat_map(|bytes| bytes.windows(32));
    windows.any(|window| {
        let seed = Secret::<[u8; 32]>::from_slice(window).unwrap();
        let (of_attempt, lasting) = (ReceivingKey::derive(&seed, &genesis, of), DecapsulationKey::from_seed(&seed));
        let keys = [of_attempt.secret(), &lasting];
        keys.iter().any(|key| open_parcel(&genesis, key, parcel).is_ok())
    })
}

#[test]
fn what_was_sealed_to_a_gatekeeper_opens_no_more_when_the_root_is_recorded() {
    let mut play = Play::new(908, false);
    // So that the phase goes on.
    play.drop_parcels = true;
    play.start(1);
    play.run_until(|play| sealed_to(play, 1, 0).is_some());
    let (announced, parcel) = sealed_to(&play, 1, 0).unwrap();
    assert_eq!(announced.of, CeremonyAttempt::root(1, 0));
    assert!(opens(&play, 0, announced.of, &parcel), "the ceremony's seed does, while it is under way");
    play.restart(0);
    play.run_until(|play| sealed_to(play, 1, 0).is_some());
    assert_eq!(sealed_to(&play, 1, 0).map(|(again, _)| again), Some(announced.clone()), "it has one key an attempt");
    let root = play.make_root();
    play.record(Some(root), None);
    play.run(2);
    assert!(!opens(&play, 0, announced.of, &parcel));
    assert!(sealed_to(&play, 1, 0).is_none());
}

#[test]
fn a_peer_with_two_keys_is_sealed_to_under_the_first_until_it_complains_under_the_other() {
    let mut play = Play::new(909, false);
    play.drop_parcels = true;
    play.start(1);
    let posted = |play: &Play| -> Vec<Parcel> {
        let (own, outgoing) = (play.nodes[1].id(), play.nodes[0].tee().status().outgoing.into_iter());
        let posted = outgoing.filter_map(|item| match item {
            Outgoing::Post { to, parcel } if to == own => Some(parcel),
            _ => None,
        });
        posted.collect()
    };
    play.run_until(|play| !posted(play).is_empty());
    let first = posted(&play);
    let introduced = play.nodes[1].tee().status().outgoing.into_iter().find_map(|item| match item {
        Outgoing::Introduce { introduction, .. } => Some(introduction),
        _ => None,
    });
    // INSECURE: its machine keeps the seed of its identity in clear.
    let kept = play.nodes[1].machine.sealed("identity-");
    let identity = IdentityKey::from_seed(&Secret::from_slice(&kept[..32]).unwrap());
    let other = ReceivingKey::derive(&Secret::new([1; 32]), &play.genesis(), CeremonyAttempt::root(1, 0));
    let (announced, collateral) = (other.announce(&identity), play.nodes[0].machine.collateral());
    let second = Introduction { announced, collateral, ..introduced.unwrap() };
    let bring = |play: &mut Play| {
        for _ in 0..8 {
            let mut delivery = play.delivery(0);
            delivery.introductions = vec![second.clone()];
            play.bring(0, delivery).unwrap();
            play.next_block();
        }
        posted(play)
    };
    assert_eq!(bring(&mut play), first);
    play.ceremony.as_mut().unwrap().seats[1].key = Some(other.hash());
    let again = bring(&mut play);
    assert!(!again.is_empty());
    assert!(again.iter().all(|parcel| open_parcel(&play.genesis(), other.secret(), parcel).is_ok()));
}

#[test]
fn an_old_disk_makes_no_second_package() {
    let mut play = Play::new(902, false);
    let empty = play.nodes[1].machine.disk();
    play.start(1);
    play.run_until(|play| play.phase() == Some(Phase::Share));
    play.run(1);
    let committed = play.nodes[0].machine.disk();
    play.run(1);
    // One gets back what it sealed before, the other what it had before it drew its seed.
    play.nodes[0].machine.rewind(committed);
    play.restart(0);
    play.nodes[1].machine.rewind(empty);
    play.restart(1);
    play.run(2);
    let foreign = Notice::CeremonyFailed { era: 1, attempt: 0, error: CeremonyError::Foreign };
    assert_eq!(count(&play, 1, &foreign), 1, "said once, and not with each block");
    assert!(said(&play, 1).is_empty() && play.nodes[1].tee().status().attempt.is_none());
    // It takes part again in an attempt that begins later, if at all; the others make the root.
    let root = play.make_root();
    let confirmed = Notice::CeremonyConfirmed { era: 1, attempt: play.attempts() - 1 };
    assert_eq!(count(&play, 0, &confirmed), 1);
    play.record(Some(root), None);
    play.run(2);
    assert_eq!(seats(&play, 0), [SeatHealth { era: 1, recorded: true }]);
}

#[test]
fn what_cannot_be_sealed_does_not_leave() {
    let mut play = Play::new(903, false);
    play.start(1);
    let full = |play: &Play, full| play.nodes[0].machine.disk_full.store(full, SeqCst);
    full(&play, true);
    play.run(3);
    assert!(play.deliver(0).is_err());
    assert!(said(&play, 0).is_empty(), "no seed is sealed");
    full(&play, false);
    play.run_until(|play| play.phase() == Some(Phase::Share));
    // Whatever it would post or confirm rests on what it cannot seal now.
    full(&play, true);
    play.run(3);
    let outgoing = play.nodes[0].tee().status().outgoing;
    assert!(!outgoing.iter().any(|item| matches!(item, Outgoing::Post { .. } | Outgoing::State(_))), "{outgoing:?}");
    assert!(seats(&play, 0).is_empty());
    full(&play, false);
    while !said(&play, 0).iter().any(|statement| matches!(statement, Statement::Confirm(_))) {
        assert!(play.ceremony.is_some() && play.attempts() == 1, "it does not confirm");
        play.step();
    }
    // The seat was sealed before the confirmation could leave.
    play.restart(0);
    assert_eq!(seats(&play, 0), [SeatHealth { era: 1, recorded: false }]);
    play.make_root();
    assert_eq!(play.attempts(), 1);
}

#[test]
fn a_seat_answers_for_its_own_era_and_is_gone_when_the_era_is_over() {
    let mut play = Play::new(904, false);
    play.start(0);
    let former = play.make_root();
    play.record(Some(former.clone()), None);
    play.run(2);
    play.start(1);
    let next = play.make_root();
    let asker = Asker::new(&mut play);
    // Clusters are on their way: the open epoch is of the former root, the next of the newer.
    play.record(Some(former), Some(next.clone()));
    play.cluster(&asker, 1, (0, 0));
    play.run(2);
    assert_eq!(play.ask(&asker, 0, 0, 1), Ok(()));
    assert_eq!(play.ask(&asker, 0, 1, 2), Ok(()));
    assert_eq!(play.ask(&asker, 0, 1, 1), Err(Refusal::WrongEra));
    assert_eq!(play.ask(&asker, 0, 0, 2), Err(Refusal::WrongEra));
    assert_eq!(play.ask(&asker, 0, 2, 2), Err(Refusal::RootNotRecorded));
    // Any three give the keys of either.
    assert!(play.opens(&asker, 0, 1) && play.opens(&asker, 1, 2));
    // Half way: the open epoch is of the newer root, the one before of the former.
    play.cluster(&asker, 2, (1, 0));
    play.run(2);
    assert_eq!(play.ask(&asker, 0, 0, 1), Ok(()));
    assert_eq!(play.ask(&asker, 0, 1, 2), Ok(()));

    let answers = |play: &Play| {
        let outgoing = play.nodes[0].tee().status().outgoing;
        outgoing.iter().filter(|item| matches!(item, Outgoing::AnswerKeys { .. })).count()
    };
    let (old, before) = (play.nodes[0].machine.disk(), answers(&play));
    play.cluster(&asker, 3, (1, 1));
    play.record(Some(next), None);
    play.run(2);
    assert_eq!(count(&play, 0, &Notice::SeatRetired { era: 0 }), 1);
    assert!((1..before).contains(&answers(&play)), "of the newer era alone are repeated");
    for rewound in [false, true] {
        assert_eq!(seats(&play, 0), [SeatHealth { era: 1, recorded: true }], "rewound: {rewound}");
        assert_eq!(play.ask(&asker, 0, 0, 2), Err(Refusal::RootNotRecorded));
        assert_eq!(play.ask(&asker, 0, 1, 3), Ok(()));
        let disk = play.nodes[0].machine.disk();
        assert!(!disk.keys().any(|name| name.starts_with("seat-") && name.ends_with("-0-0")), "{:?}", disk.keys());
        if !rewound {
            play.nodes[0].machine.rewind(old.clone());
        }
        play.restart(0);
        play.run(1);
    }
}

#[test]
fn a_lone_seat_ends_with_its_era_and_is_never_made_again() {
    let mut play = Play::new(905, true);
    play.run_until(|play| play.roots.0.is_some());
    let lone = play.roots.0.clone().unwrap();
    assert_eq!((lone.era, lone.threshold), (0, 1));
    play.run(2);
    assert_eq!(seats(&play, 0), [SeatHealth { era: 0, recorded: true }]);
    let alone = play.nodes[0].machine.disk();
    play.start(1);
    let root = play.make_root();
    play.run(1);
    assert_eq!(seats(&play, 0).len(), 2, "the root waits, and the lone one answers");
    play.record(Some(lone), Some(root.clone()));
    play.run(2);
    assert_eq!(seats(&play, 0).len(), 2, "clusters go over");
    play.record(Some(root), None);
    play.run(2);
    assert_eq!(count(&play, 0, &Notice::SeatRetired { era: 0 }), 1);
    assert_eq!(seats(&play, 0), [SeatHealth { era: 1, recorded: true }]);
    // After a start its host leads it through the past, when there was no root.
    play.restart(0);
    play.show(0, 1);
    assert_eq!(seats(&play, 0), [SeatHealth { era: 1, recorded: false }]);
    let offers = |play: &Play| {
        let outgoing = play.nodes[0].tee().status().outgoing;
        outgoing.iter().any(|item| matches!(item, Outgoing::RecordRoot { .. }))
    };
    assert!(!offers(&play));
    // The disk of the time of the lone seat brings it back until the head shows that its era is over.
    play.nodes[0].machine.rewind(alone);
    play.restart(0);
    play.run(1);
    assert!(seats(&play, 0).is_empty() && !offers(&play));
}

#[test]
fn copies_and_garbage_leave_the_honest_their_room() {
    for drop_parcels in [false, true] {
        flood(906 + u64::from(drop_parcels), drop_parcels);
    }
}

/// A ceremony whose first gatekeeper is brought much more than it can use. Without parcels, what it needs stands on chain.
fn flood(seed: u64, drop_parcels: bool) {
    let mut play = Play::new(seed, false);
    play.drop_parcels = drop_parcels;
    play.start(1);
    let peer = play.nodes[1].id();
    let mut kept = Vec::new();
    while play.made.is_none() {
        assert!(play.number() < 300, "no root");
        let mut delivery = play.delivery(0);
        let honest = delivery.clone();
        kept.extend(honest.introductions.iter().find(|honest| honest.registration.identity == peer).cloned());
        for number in 0..8u8 {
            for introduction in &honest.introductions {
                let mut stranger = introduction.clone();
                stranger.registration.identity = WorkerId([number; 32]);
                let mut broken = introduction.clone();
                broken.evidence = vec![number; 40];
                delivery.introductions.extend([introduction.clone(), stranger, broken]);
            }
            for parcel in &honest.parcels {
                let mut altered = parcel.clone();
                altered.body = vec![number; 40];
                let mut elsewhere = parcel.clone();
                elsewhere.header.to = 3;
                delivery.parcels.extend([parcel.clone(), altered, elsewhere]);
            }
            for placed in &honest.attachments {
                let mut older = placed.clone();
                older.era = 0;
                let mut altered = placed.clone();
                altered.attachment = Attachment::Package(vec![number; 40]);
                delivery.attachments.extend([placed.clone(), older, altered]);
            }
        }
        play.bring(0, delivery).unwrap();
        let wanted = play.nodes[0].tee().status().wanted_keys;
        assert!(!wanted.contains(&storage::worker_key(&WorkerId([7; 32]))));
        (1..4).for_each(|index| play.deliver(index).unwrap());
        play.next_block();
    }
    assert_eq!(play.attempts(), 1, "nobody was left out");
    let refusals = play.nodes[0].notices.iter().filter(|notice| matches!(notice, Notice::PeerRefused { .. })).count();
    assert!(refusals <= 12, "each is said once: {refusals}");
    // Another root is recorded than the one that they made: what they hold is of no use.
    let other = play.made.clone().map(|root| RootRecord { share_list: [9; 32], ..root });
    play.record(other, None);
    play.run(2);
    assert!(seats(&play, 0).is_empty());
    assert_eq!(count(&play, 0, &Notice::SeatDropped { era: 1, attempt: Some(0) }), 1);
    assert!(!play.nodes[0].machine.disk().keys().any(|name| name.starts_with("seat-")));
    // Between ceremonies no introduction is taken at all.
    kept.truncate(10);
    assert!(!kept.is_empty());
    play.bring(0, Delivery { introductions: kept, ..Delivery::default() }).unwrap();
    assert!(!play.nodes[0].tee().status().wanted_keys.contains(&storage::worker_key(&peer)));
}
