//! Whose hands are on the brake, and what they cannot do with it.

use super::*;
use crate::brake::{BALLOT_BLOCKS, LONGEST_TERM};
use phala_attest::INTEL_ROOT_DER;
use phala_protocol::{attestation::suspension_payload, limits::SUSPENSION_SIGNED_AHEAD_BLOCKS};

const VENDOR: Subject = Subject::Vendor(Vendor::IntelTdx);
const RELEASE: Subject = Subject::Measurement([9; 32]);
const SOON: u32 = BLOCK + 100;
const CAROL: [u8; 32] = [3; 32];
const DAVE: [u8; 32] = [4; 32];

fn seat(number: u16) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[100 + number as u8; 32])
}

/// Records a root of four seats, of which three give a key: two can withhold it.
fn record_root() {
    let seats = (1..=4).map(|number| WorkerId(seat(number).public().0)).collect();
    Root::<Test>::put(RootRecord { era: 0, threshold: 3, seats, share_list: [3; 32] });
}

fn signatures(subject: Subject, sequence: u32, expires: u32, seats: &[u16]) -> Vec<(u16, [u8; 64])> {
    let payload = suspension_payload(&Attestation::genesis(), &subject, sequence, expires);
    seats.iter().map(|number| (*number, seat(*number).sign(&payload).0)).collect()
}

fn pull(subject: Subject, expires: u32, signatures: Vec<(u16, [u8; 64])>) -> DispatchResult {
    Attestation::suspend_by_gatekeepers(signed(BOB), subject, expires, signatures)
}

fn pull_by(subject: Subject, sequence: u32, seats: &[u16]) -> DispatchResult {
    pull(subject, SOON, signatures(subject, sequence, SOON, seats))
}

fn set_committee(members: &[[u8; 32]], term: u32) -> DispatchResult {
    let members: Vec<_> = members.iter().copied().map(AccountId).collect();
    Attestation::set_committee(RuntimeOrigin::root(), members.try_into().unwrap(), term)
}

fn vote(member: [u8; 32], subject: Subject) -> DispatchResult {
    Attestation::vote_to_suspend(signed(member), subject)
}

fn lift(subject: Subject) -> DispatchResult {
    Attestation::lift(RuntimeOrigin::root(), subject)
}

fn is_suspended(subject: Subject) -> bool {
    let now = System::block_number();
    Bans::<Test>::get().iter().any(|ban| ban.subject == subject && ban.until.is_some() && ban.in_force(now))
}

#[test]
fn the_fewest_gatekeepers_that_can_withhold_a_key_may_suspend() {
    network(true).execute_with(|| {
        assert_noop!(pull_by(VENDOR, 0, &[1, 2]), Error::<Test>::NotAGatekeeper);
        record_root();
        for too_few in [&[][..], &[1][..]] {
            assert_noop!(pull_by(VENDOR, 0, too_few), Error::<Test>::TooFewGatekeepers);
        }
        for (seats, refused) in [
            (&[1, 1][..], Error::<Test>::SeatsOutOfOrder),
            (&[2, 1][..], Error::<Test>::SeatsOutOfOrder),
            (&[0, 1][..], Error::<Test>::SeatsOutOfOrder),
            (&[1, 5][..], Error::<Test>::NotAGatekeeper),
        ] {
            assert_noop!(pull_by(VENDOR, 0, seats), refused);
        }
        // A seat's signature in another seat's name, and a signature of nobody.
        let mut wrong = signatures(VENDOR, 0, SOON, &[1, 2]);
        wrong[1].0 = 3;
        assert_noop!(pull(VENDOR, SOON, wrong.clone()), Error::<Test>::NotAGatekeeper);
        wrong[1] = (2, [0; 64]);
        assert_noop!(pull(VENDOR, SOON, wrong), Error::<Test>::NotAGatekeeper);
        let unsigned = Attestation::suspend_by_gatekeepers(RuntimeOrigin::none(), VENDOR, SOON, vec![]);
        assert!(unsigned.is_err());
        assert!(!is_suspended(VENDOR));
        assert_ok!(pull_by(VENDOR, 0, &[2, 4]));
        assert!(is_suspended(VENDOR));
        assert_eq!(TimesTold::get(), 1);
    });
}

#[test]
fn gatekeepers_signatures_serve_one_suspension_of_one_subject_on_one_chain_in_their_time() {
    network(true).execute_with(|| {
        record_root();
        assert_ok!(set_windows(|windows| windows.suspension = 10));
        let elsewhere = suspension_payload(&[9; 32], &VENDOR, 0, SOON);
        let elsewhere = [1, 2].map(|number| (number, seat(number).sign(&elsewhere).0)).to_vec();
        assert_noop!(pull(VENDOR, SOON, elsewhere), Error::<Test>::NotAGatekeeper);
        let good = signatures(VENDOR, 0, SOON, &[1, 2]);
        assert_noop!(pull(RELEASE, SOON, good.clone()), Error::<Test>::NotAGatekeeper);
        assert_noop!(pull(VENDOR, SOON + 1, good.clone()), Error::<Test>::NotAGatekeeper);
        let far = BLOCK + SUSPENSION_SIGNED_AHEAD_BLOCKS + 1;
        assert_noop!(pull(VENDOR, far, signatures(VENDOR, 0, far, &[1, 2])), Error::<Test>::SignedTooFarAhead);
        System::set_block_number(SOON + 1);
        assert_noop!(pull(VENDOR, SOON, good.clone()), Error::<Test>::SignaturesExpired);
        System::set_block_number(BLOCK);
        assert_ok!(pull(VENDOR, SOON, good.clone()));
        // Long before they expire, and after the brake has rested.
        System::set_block_number(BLOCK + 20);
        assert!(!is_suspended(VENDOR));
        assert_noop!(pull(VENDOR, SOON, good), Error::<Test>::NotAGatekeeper);
        assert_ok!(pull_by(VENDOR, 1, &[1, 2]));
        // Nor does a signature that was kept back serve after another hand has suspended the subject.
        System::set_block_number(BLOCK + 40);
        assert_ok!(Attestation::suspend(signed(BRAKE), VENDOR));
        System::set_block_number(BLOCK + 60);
        assert_noop!(pull_by(VENDOR, 2, &[1, 2]), Error::<Test>::NotAGatekeeper);
        assert_ok!(pull_by(VENDOR, 3, &[3, 4]));
    });
}

#[test]
fn more_than_half_of_the_committee_suspends_within_an_hour_and_its_term() {
    network(true).execute_with(|| {
        assert_noop!(vote(ALICE, VENDOR), Error::<Test>::NotOnTheCommittee);
        assert_ok!(set_committee(&[ALICE, BOB, CAROL, DAVE], 2 * BALLOT_BLOCKS));
        let outsider = [9; 32];
        assert_noop!(vote(outsider, VENDOR), Error::<Test>::NotOnTheCommittee);
        assert_ok!(vote(ALICE, VENDOR));
        // Twice is once, and a vote for another subject takes the place of the first.
        assert_ok!(vote(ALICE, VENDOR));
        assert_ok!(vote(BOB, VENDOR));
        assert_ok!(vote(CAROL, RELEASE));
        assert_ok!(vote(BOB, RELEASE));
        assert!(!is_suspended(VENDOR) && !is_suspended(RELEASE), "two of four are not more than half");
        let member = AccountId(BOB);
        assert_eq!(happened(Event::SuspensionVoted { member, subject: RELEASE, agreeing: 2 }), 1);
        // Votes of an hour ago count no more.
        System::set_block_number(BLOCK + BALLOT_BLOCKS);
        assert_ok!(vote(DAVE, RELEASE));
        assert!(!is_suspended(RELEASE));
        assert_ok!(vote(CAROL, RELEASE));
        // The last block of the term, and the one after it.
        System::set_block_number(BLOCK + 2 * BALLOT_BLOCKS - 1);
        assert_ok!(vote(BOB, RELEASE));
        assert!(is_suspended(RELEASE));
        System::set_block_number(BLOCK + 2 * BALLOT_BLOCKS);
        assert_noop!(vote(ALICE, VENDOR), Error::<Test>::NotOnTheCommittee);
        assert_eq!(TimesTold::get(), 1);
    });
}

#[test]
fn votes_serve_one_suspension_and_end_with_their_committee() {
    network(true).execute_with(|| {
        assert_ok!(set_windows(|windows| windows.suspension = 1));
        assert_ok!(set_committee(&[ALICE, BOB, CAROL], 1_000));
        assert_ok!(vote(ALICE, VENDOR));
        assert_ok!(vote(BOB, VENDOR));
        assert!(is_suspended(VENDOR));
        System::set_block_number(BLOCK + 1);
        assert_noop!(vote(CAROL, VENDOR), Error::<Test>::BrakeRests);
        System::set_block_number(BLOCK + 2);
        assert_ok!(vote(CAROL, VENDOR));
        assert!(!is_suspended(VENDOR), "the two that suspended it before are used up");
        assert_ok!(set_committee(&[ALICE, BOB, DAVE], 1_000));
        assert_noop!(vote(CAROL, VENDOR), Error::<Test>::NotOnTheCommittee);
        assert_ok!(vote(DAVE, VENDOR));
        assert!(!is_suspended(VENDOR), "a former member's vote does not count");
        assert_ok!(set_committee(&[], 1));
        assert_noop!(vote(ALICE, VENDOR), Error::<Test>::NotOnTheCommittee);
    });
}

#[test]
fn a_committee_is_three_to_seven_accounts_for_a_year_at_most() {
    network(false).execute_with(|| {
        for wrong in [&[ALICE][..], &[ALICE, BOB][..], &[ALICE, BOB, ALICE][..]] {
            assert_noop!(set_committee(wrong, 100), Error::<Test>::BadCommittee);
        }
        for term in [0, LONGEST_TERM + 1] {
            assert_noop!(set_committee(&[ALICE, BOB, CAROL], term), Error::<Test>::WindowOutOfRange);
        }
        assert!(Members::try_from(vec![AccountId(ALICE); 8]).is_err());
        assert_ok!(set_committee(&[ALICE, BOB, CAROL], LONGEST_TERM));
        assert_eq!(
            happened(Event::CommitteeSet {
                members: [ALICE, BOB, CAROL].map(AccountId).to_vec().try_into().unwrap(),
                until: BLOCK + LONGEST_TERM - 1,
            }),
            1
        );
    });
}

#[test]
fn all_hands_share_one_end_and_one_rest() {
    network(true).execute_with(|| {
        record_root();
        assert_ok!(set_windows(|windows| windows.suspension = 10));
        assert_ok!(set_committee(&[ALICE], 1_000));
        assert_ok!(vote(ALICE, RELEASE));
        assert_noop!(vote(ALICE, RELEASE), Error::<Test>::AlreadyBarred);
        assert_noop!(pull_by(RELEASE, 1, &[1, 2]), Error::<Test>::AlreadyBarred);
        System::set_block_number(BLOCK + 9);
        assert_ok!(pull_by(VENDOR, 0, &[1, 2]));
        assert!(Bans::<Test>::get().iter().all(|ban| ban.until == Some(BLOCK + 9)), "nothing is extended");
        for block in [BLOCK + 10, BLOCK + 19] {
            System::set_block_number(block);
            for subject in [VENDOR, RELEASE, Subject::Measurement([8; 32])] {
                let sequence = Suspensions::<Test>::get(subject);
                assert_noop!(pull_by(subject, sequence, &[1, 2]), Error::<Test>::BrakeRests);
                assert_noop!(vote(ALICE, subject), Error::<Test>::BrakeRests);
                assert_noop!(Attestation::suspend(signed(BRAKE), subject), Error::<Test>::BrakeRests);
            }
        }
        System::set_block_number(BLOCK + 20);
        assert_ok!(vote(ALICE, VENDOR));
    });
}

#[test]
fn what_governance_lifts_stays_lifted_while_the_brake_holds() {
    network(true).execute_with(|| {
        record_root();
        assert_ok!(set_windows(|windows| windows.suspension = 10));
        assert_ok!(set_committee(&[ALICE], 1_000));
        assert_ok!(pull_by(VENDOR, 0, &[1, 2]));
        for hand in [signed(ALICE), signed(BRAKE), signed(BOB)] {
            assert!(Attestation::lift(hand, VENDOR).is_err());
        }
        assert_ok!(lift(VENDOR));
        assert_noop!(pull_by(VENDOR, 1, &[3, 4]), Error::<Test>::Overruled);
        assert_noop!(vote(ALICE, VENDOR), Error::<Test>::Overruled);
        assert_noop!(Attestation::suspend(signed(BRAKE), VENDOR), Error::<Test>::Overruled);
        System::set_block_number(BLOCK + 20);
        assert_ok!(vote(ALICE, VENDOR));
    });
}

#[test]
fn what_governance_lifts_is_not_suspended_under_another_name() {
    network(true).execute_with(|| {
        assert_ok!(set_windows(|windows| windows.suspension = 10));
        assert_ok!(set_committee(&[ALICE], 1_000));
        // A revocation that is lifted overrules nobody.
        assert_ok!(Attestation::revoke(RuntimeOrigin::root(), Subject::Measurement([8; 32]), None));
        assert_ok!(lift(Subject::Measurement([8; 32])));
        assert_ok!(vote(ALICE, RELEASE));
        assert_ok!(vote(ALICE, VENDOR));
        assert_ok!(lift(VENDOR));
        let floor = |below| Subject::Evaluation { vendor: Vendor::IntelTdx, below };
        for other in [floor(u32::MAX), floor(u32::MAX - 1), Subject::Measurement([8; 32])] {
            assert_noop!(vote(ALICE, other), Error::<Test>::Overruled);
            assert_noop!(Attestation::suspend(signed(BRAKE), other), Error::<Test>::Overruled);
        }
        // What it holds beside that, it holds to its end; and governance acts.
        assert!(is_suspended(RELEASE) && !is_suspended(VENDOR));
        assert_ok!(Attestation::revoke(RuntimeOrigin::root(), floor(3), None));
        for resting in [BLOCK + 10, BLOCK + 19] {
            System::set_block_number(resting);
            assert_noop!(vote(ALICE, floor(u32::MAX)), Error::<Test>::BrakeRests);
        }
        System::set_block_number(BLOCK + 20);
        assert_ok!(vote(ALICE, floor(u32::MAX)));
        assert_ok!(vote(ALICE, VENDOR));
    });
}

#[test]
fn no_hand_on_the_brake_ends_a_vendors_root() {
    network(true).execute_with(|| {
        record_root();
        assert_ok!(set_committee(&[ALICE], 1_000));
        let root = Subject::Root(phala_attest::Root::Intel);
        assert_noop!(pull_by(root, 0, &[1, 2]), Error::<Test>::RootsOnlyEnd);
        assert_noop!(vote(ALICE, root), Error::<Test>::RootsOnlyEnd);
        let fingerprint = sp_io::hashing::sha2_256(INTEL_ROOT_DER);
        assert!(Attestation::end_root(signed(ALICE), fingerprint, None).is_err());
    });
}
