//! The election of the brake's committee.

use super::*;
use phala_attest::Subject;
use phala_pallet_attestation::{Committee, Members, ELECTED_TERM};

const SUBJECT: Subject = Subject::Measurement([9; 32]);

fn members(numbers: &[u8]) -> Members {
    let members: Vec<_> = numbers.iter().map(|number| phala_protocol::AccountId([*number; 32])).collect();
    members.try_into().unwrap()
}

fn vote(number: u8, slate: &[u8]) -> DispatchResult {
    Gatekeepers::vote_for_committee(RuntimeOrigin::signed(account(number)), members(slate))
}

fn committee() -> Option<Members> {
    Committee::<Test>::get().map(|committee| committee.members)
}

/// Four validators whose gatekeepers' root of era 0 answers, and a fifth whose gatekeeper has no seat.
fn rooted() -> sp_io::TestExternalities {
    let mut network = network(5);
    network.execute_with(|| {
        Root::<Test>::put(RootRecord { era: 0, threshold: 3, seats: ids(1..=4), share_list: LIST });
        let seats = (1..=4).map(|number| (id(number), account(number))).collect();
        Elections::<Test>::insert(0, Elected { first_attempt: 0, seats });
    });
    network
}

#[test]
fn more_than_half_of_the_seats_elect_one_committee_for_a_term() {
    rooted().execute_with(|| {
        assert_noop!(vote(5, &[11, 12, 13]), Error::<Test>::NotAnElector);
        assert_ok!(vote(1, &[11, 12, 13]));
        // Again is no second vote, and two of four are not more than half.
        assert_ok!(vote(1, &[11, 12, 13]));
        assert_ok!(vote(2, &[12, 13, 11]));
        assert_ok!(vote(3, &[11, 12, 14]));
        assert_eq!(committee(), None);
        let voted = |validator: u8, slate: &[u8], agreeing| -> Event<Test> {
            let (validator, members) = (account(validator), members(slate));
            Event::CommitteeVoted { validator, members, agreeing, needed: 3 }
        };
        assert!(happened(voted(2, &[11, 12, 13], 2)) && happened(voted(3, &[11, 12, 14], 1)));
        assert_ok!(vote(3, &[13, 12, 11]));
        assert_eq!(committee(), Some(members(&[11, 12, 13])));
        let until = System::block_number() + ELECTED_TERM - 1;
        assert_eq!(Committee::<Test>::get().map(|committee| committee.until), Some(until));
        assert!(!CommitteeVotes::<Test>::exists(), "used up");
        // Another one, or none at all, is as many votes anew.
        assert_ok!(vote(4, &[]));
        assert_ok!(vote(1, &[]));
        assert_eq!(committee(), Some(members(&[11, 12, 13])));
        assert_ok!(vote(2, &[]));
        assert_eq!(committee(), None);
    });
}

#[test]
fn whom_the_seats_elect_may_suspend_and_governance_may_dismiss_them() {
    rooted().execute_with(|| {
        for number in 1..=3 {
            assert_ok!(vote(number, &[11, 12, 13]));
        }
        let suspend = |number: u8| Attestation::vote_to_suspend(RuntimeOrigin::signed(account(number)), SUBJECT);
        assert_ok!(suspend(11));
        let held = || phala_pallet_attestation::Bans::<Test>::get().iter().any(|ban| ban.subject == SUBJECT);
        assert!(!held());
        assert_ok!(suspend(12));
        assert!(held());
        assert_ok!(Attestation::set_committee(RuntimeOrigin::root(), members(&[]), 1));
        assert_eq!(committee(), None);
    });
}

#[test]
fn votes_of_a_former_roots_validators_and_of_no_roots_are_void() {
    rooted().execute_with(|| {
        assert_ok!(vote(1, &[11, 12, 13]));
        assert_ok!(vote(2, &[11, 12, 13]));
        // The next era's root is of four others and one of these.
        Root::<Test>::put(RootRecord { era: 1, threshold: 3, seats: ids([2, 5, 6, 7]), share_list: LIST });
        assert_noop!(vote(2, &[11, 12, 13]), Error::<Test>::NotAnElector);
        let seats = [2, 5, 6, 7].map(|number| (id(number), account(number))).to_vec();
        Elections::<Test>::insert(1, Elected { first_attempt: 0, seats });
        assert_noop!(vote(1, &[11, 12, 13]), Error::<Test>::NotAnElector);
        assert_ok!(vote(5, &[11, 12, 13]));
        assert_eq!(CommitteeVotes::<Test>::get().1.len(), 1, "of this root, and no other's");
        assert_ok!(vote(6, &[11, 12, 13]));
        assert_eq!(committee(), None);
        // A root that somebody recorded by hand has an election's seats of its era at most in common with it.
        Root::<Test>::put(RootRecord { era: 1, threshold: 3, seats: ids([5, 8, 9, 10]), share_list: LIST });
        assert_noop!(vote(7, &[11, 12, 13]), Error::<Test>::NotAnElector);
        assert_ok!(vote(5, &[11, 12, 13]));
        assert_eq!((committee(), CommitteeVotes::<Test>::get().1.len()), (None, 1), "one of four seats");
        Root::<Test>::kill();
        assert_noop!(vote(5, &[11, 12, 13]), Error::<Test>::NotAnElector);
    });
}

#[test]
fn a_slate_is_what_a_committee_may_be() {
    rooted().execute_with(|| {
        Development::set(false);
        for slate in [&[11][..], &[11, 12], &[11, 12, 11]] {
            assert_noop!(vote(1, slate), phala_pallet_attestation::Error::<Test>::BadCommittee);
        }
        assert_ok!(vote(1, &[11, 12, 13, 14, 15, 16, 17]));
        assert_ok!(vote(1, &[]));
    });
}
