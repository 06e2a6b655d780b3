//! What gatekeepers sign when their operators pull the brake, and what they do not.

use super::play::Play;
use phala_attest::{Root, Subject, Vendor};
use phala_core::SuspensionRefusal;
use phala_crypto::signature::ed25519;
use phala_protocol::{
    attestation::suspension_payload, chain_state::RootRecord, ids::BlockNumber, limits::SUSPENSION_SIGNED_AHEAD_BLOCKS,
    storage, WorkerId,
};

const VENDOR: Subject = Subject::Vendor(Vendor::IntelTdx);
const RELEASE: Subject = Subject::Measurement([9; 32]);

/// Four gatekeepers whose root of era 1 answers.
fn play(seed: u64) -> (Play, RootRecord) {
    let mut play = Play::new(seed, false);
    play.start(1);
    let root = play.make_root();
    assert_eq!(play.sign(0, VENDOR, head(&play) + 9), Err(SuspensionRefusal::NoRoot), "made, and not recorded");
    play.record(Some(root.clone()), None);
    play.run(2);
    (play, root)
}

fn head(play: &Play) -> BlockNumber {
    play.nodes[0].tee().head().0
}

fn wants(play: &Play, subject: &Subject) -> bool {
    play.nodes[0].tee().status().wanted_keys.contains(&storage::suspensions_key(subject))
}

#[test]
fn as_many_gatekeepers_as_can_withhold_a_key_sign_one_suspension_which_their_seats_vouch_for() {
    let (mut play, root) = play(950);
    let expires = head(&play) + 100;
    for index in 0..4 {
        assert_eq!(play.sign(index, VENDOR, expires), Err(SuspensionRefusal::Unproved));
    }
    assert!(wants(&play, &VENDOR) && !wants(&play, &RELEASE));
    play.run(1);
    for (index, number) in (0..4).zip(1u16..) {
        let signed = play.sign(index, VENDOR, expires).unwrap();
        assert_eq!((signed.era, signed.seat, signed.gatekeeper), (1, number, root.seats[index]));
        assert_eq!((signed.subject, signed.sequence, signed.expires), (VENDOR, 0, expires));
        // As the pallet makes it of its own state.
        let payload = suspension_payload(&signed.genesis, &VENDOR, 0, expires);
        assert_eq!(signed.signing_payload(), payload);
        ed25519::verify(&root.seats[index].0, &payload, &signed.signature).unwrap();
        assert_eq!(play.sign(index, VENDOR, expires), Ok(signed), "the same again");
    }
}

#[test]
fn how_often_is_of_the_head_that_was_verified_last_and_of_no_other() {
    let (mut play, _) = play(951);
    let expires = head(&play) + 100;
    assert_eq!(play.sign(0, RELEASE, expires), Err(SuspensionRefusal::Unproved));
    play.run(1);
    let first = play.sign(0, RELEASE, expires).unwrap();
    play.suspended(&RELEASE, 1);
    play.next_block();
    // The head moves on, and nothing of its state is shown.
    let mut bare = play.delivery(0);
    bare.proof.clear();
    play.bring(0, bare).unwrap();
    assert_eq!(play.sign(0, RELEASE, expires), Err(SuspensionRefusal::Unproved));
    play.deliver(0).unwrap();
    let second = play.sign(0, RELEASE, expires).unwrap();
    assert_eq!((first.sequence, second.sequence), (0, 1));
    assert_ne!(first.signature, second.signature);
    // What nobody asks about any more is not proved for ever.
    (0..301).for_each(|_| play.next_block());
    play.deliver(0).unwrap();
    assert!(!wants(&play, &RELEASE));
    assert_eq!(play.sign(0, RELEASE, head(&play)), Err(SuspensionRefusal::Unproved));
}

#[test]
fn no_root_of_a_vendor_no_day_after_tomorrow_and_no_seat_of_another_root_is_signed_for() {
    let (mut play, root) = play(952);
    let now = head(&play);
    let ended = Subject::Root(Root::Intel);
    assert_eq!(play.sign(0, ended, now + 1), Err(SuspensionRefusal::Root));
    assert_eq!(play.sign(0, VENDOR, now - 1), Err(SuspensionRefusal::Past { head: now }));
    let latest = now + SUSPENSION_SIGNED_AHEAD_BLOCKS;
    assert_eq!(play.sign(0, VENDOR, latest + 1), Err(SuspensionRefusal::TooFarAhead { latest }));
    assert!(!wants(&play, &ended) && !wants(&play, &VENDOR), "nothing is fetched for what is never signed");
    assert_eq!(play.sign(0, VENDOR, latest), Err(SuspensionRefusal::Unproved));
    play.run(1);
    assert!(play.sign(0, VENDOR, latest).is_ok());
    // Of a root that is of others now, it signs nothing, whatever it holds.
    let others = RootRecord { seats: vec![WorkerId([9; 32]); 4], ..root };
    play.record(Some(others), None);
    play.run(2);
    assert_eq!(play.sign(0, VENDOR, latest), Err(SuspensionRefusal::NoSeat { era: 1 }));
}
