//! Revocation, the brake's time, and the end of roots.

use super::*;
use frame_support::traits::Hooks;
use phala_attest::{Root, INSECURE_DEVELOPMENT_ROOT_DER, INTEL_ROOT_DER, MOST_BANS};

const VENDOR: Vendor = Vendor::IntelTdx;
const WHOLE_VENDOR: Subject = Subject::Vendor(VENDOR);

fn revoke(subject: Subject) -> DispatchResult {
    Attestation::revoke(RuntimeOrigin::root(), subject, None)
}

fn suspend(subject: Subject) -> DispatchResult {
    Attestation::suspend(signed(BRAKE), subject)
}

fn lift(subject: Subject) -> DispatchResult {
    Attestation::lift(RuntimeOrigin::root(), subject)
}

fn end_root(der: &[u8], from: Option<u32>) -> DispatchResult {
    Attestation::end_root(RuntimeOrigin::root(), sp_io::hashing::sha2_256(der), from)
}

/// What shuts the machine out, one of each kind.
fn subjects(machine: &InsecureMachine) -> [Subject; 4] {
    let fmspc = Collaterals::<Test>::iter_keys().next().unwrap().fmspc;
    [
        WHOLE_VENDOR,
        Subject::Model { vendor: VENDOR, fmspc },
        Subject::Evaluation { vendor: VENDOR, below: 2 },
        Subject::Measurement(machine.measurement()),
    ]
}

#[test]
fn what_is_revoked_is_inactive_at_once_and_cannot_register() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        for subject in subjects(machine) {
            assert!(is_active(&claim));
            assert_ok!(revoke(subject));
            assert!(!is_active(&claim), "{subject:?}");
            assert_eq!(Attestation::absence(&claim.identity, Role::Worker), Some(Absence::Barred));
            assert_noop!(register(machine, claim), Error::<Test>::Barred);
            assert!(Workers::<Test>::contains_key(claim.identity), "what it holds is another matter");
            assert_ok!(lift(subject));
        }
        assert!(is_active(&claim));
        let others = [
            Subject::Model { vendor: VENDOR, fmspc: [9; 6] },
            Subject::Evaluation { vendor: VENDOR, below: 1 },
            Subject::Measurement([9; 32]),
        ];
        for other in others {
            assert_ok!(revoke(other));
        }
        assert!(is_active(&claim), "others' bans are not its own");
        assert_noop!(lift(WHOLE_VENDOR), Error::<Test>::NotListed);
    });
}

#[test]
fn a_revocation_may_be_a_deadline_and_never_lies_in_the_past() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        assert_ok!(Attestation::revoke(RuntimeOrigin::root(), WHOLE_VENDOR, Some(BLOCK + 5)));
        System::set_block_number(BLOCK + 4);
        assert!(is_active(&claim));
        System::set_block_number(BLOCK + 5);
        assert!(!is_active(&claim));
        assert_ok!(Attestation::revoke(RuntimeOrigin::root(), Subject::Measurement([1; 32]), Some(0)));
        assert!(Bans::<Test>::get().iter().all(|ban| ban.from == BLOCK + 5));
    });
}

#[test]
fn a_tee_of_which_nothing_is_known_is_shut_out_by_any_ban() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        Appraisals::<Test>::remove(claim.identity);
        assert!(is_active(&claim));
        assert_ok!(revoke(Subject::Measurement([9; 32])));
        assert!(!is_active(&claim));
    });
}

#[test]
fn a_barred_measurement_is_not_listed_again_before_it_is_lifted() {
    ready(|machine| {
        let subject = Subject::Measurement(machine.measurement());
        let list = || Attestation::allow_measurement(RuntimeOrigin::root(), machine.measurement(), listing(0, None));
        assert_ok!(suspend(subject));
        assert_noop!(list(), Error::<Test>::Barred);
        assert_ok!(lift(subject));
        assert_ok!(list());
    });
}

#[test]
fn a_revoked_machine_loses_its_identity_and_gets_no_other() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        let hardware = Workers::<Test>::get(claim.identity).unwrap().hardware;
        let governed = |revoke: bool| {
            let call = if revoke { Attestation::revoke_hardware } else { Attestation::lift_hardware };
            call(RuntimeOrigin::root(), hardware)
        };
        assert_noop!(governed(false), Error::<Test>::NotListed);
        assert_ok!(governed(true));
        assert!(!is_active(&claim) && Workers::<Test>::iter().count() == 0 && Hardware::<Test>::iter().count() == 0);
        assert_noop!(governed(true), Error::<Test>::HardwareRevoked);
        for again in [claim, registration(ALICE, 2), registration(BOB, 3)] {
            assert_noop!(register(machine, again), Error::<Test>::HardwareRevoked);
        }
        // Another machine is another matter.
        assert_ok!(register(&super::machine("two"), claim));
        assert_ok!(governed(false));
        assert_ok!(register(machine, registration(BOB, 3)));
    });
}

#[test]
fn the_brake_holds_at_once_ends_by_itself_and_rests_as_long() {
    ready(|machine| {
        assert_ok!(set_windows(|windows| windows.suspension = 10));
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        assert_ok!(suspend(WHOLE_VENDOR));
        assert!(!is_active(&claim));
        assert_noop!(register(machine, claim), Error::<Test>::Barred);
        assert_noop!(suspend(WHOLE_VENDOR), Error::<Test>::AlreadyBarred);
        // What is suspended later ends with the first: no chain of subjects holds a machine for longer.
        let [_, model, evaluation, measurement] = subjects(machine);
        System::set_block_number(BLOCK + 9);
        assert!(!is_active(&claim));
        assert_ok!(suspend(model));
        System::set_block_number(BLOCK + 10);
        assert!(is_active(&claim));
        for (block, subject) in [(BLOCK + 10, WHOLE_VENDOR), (BLOCK + 10, measurement), (BLOCK + 19, evaluation)] {
            System::set_block_number(block);
            assert_noop!(suspend(subject), Error::<Test>::BrakeRests);
        }
        System::set_block_number(BLOCK + 20);
        assert_ok!(suspend(evaluation));
        assert!(!is_active(&claim));
        // Governance lifts it early, or makes it last.
        assert_ok!(lift(evaluation));
        assert!(is_active(&claim));
        System::set_block_number(BLOCK + 40);
        assert_ok!(suspend(model));
        assert_ok!(revoke(model));
        System::set_block_number(BLOCK + 1_000);
        assert!(!is_active(&claim));
    });
}

#[test]
fn a_longer_suspension_does_not_shorten_a_rest_that_began() {
    network(true).execute_with(|| {
        assert_ok!(set_windows(|windows| windows.suspension = 10));
        assert_ok!(suspend(WHOLE_VENDOR));
        assert_ok!(set_windows(|windows| windows.suspension = 1));
        System::set_block_number(BLOCK + 19);
        assert_noop!(suspend(WHOLE_VENDOR), Error::<Test>::BrakeRests);
        System::set_block_number(BLOCK + 20);
        assert_ok!(suspend(WHOLE_VENDOR));
    });
}

#[test]
fn the_brake_cannot_fill_governances_list() {
    network(true).execute_with(|| {
        let subject = |number: u32| Subject::Evaluation { vendor: VENDOR, below: number };
        let half = MOST_BANS as u32 / 2;
        for number in 0..half {
            assert_ok!(suspend(subject(number)));
        }
        assert_noop!(suspend(subject(half)), Error::<Test>::TooManyBans);
        for number in half..2 * half - 2 {
            assert_ok!(revoke(subject(number)));
        }
        // Nor can governance fill the brake's half, or the places in which roots end.
        assert_noop!(revoke(subject(1_000)), Error::<Test>::TooManyBans);
        assert_ok!(end_root(INTEL_ROOT_DER, None));
        System::set_block_number(BLOCK + 2 * Windows::DEFAULT.suspension);
        assert_noop!(revoke(subject(1_000)), Error::<Test>::TooManyBans);
        assert_ok!(suspend(subject(1_000)));
        assert_ok!(lift(subject(half)));
        assert_ok!(revoke(subject(1_000)));
    });
}

#[test]
fn whoever_serves_the_shut_out_is_told_when_a_ban_begins_and_not_before() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        let hardware = Workers::<Test>::get(claim.identity).unwrap().hardware;
        let deadline = Some(BLOCK + 5);
        assert_ok!(Attestation::revoke(RuntimeOrigin::root(), Subject::Measurement([9; 32]), deadline));
        assert!(!Attestation::is_shut_out(&claim.identity));
        let told_at = |block: u32| {
            System::set_block_number(block);
            Attestation::on_initialize(block);
            TimesTold::get()
        };
        assert_eq!([BLOCK + 4, BLOCK + 5, BLOCK + 6].map(told_at), [0, 1, 1]);
        assert_ok!(suspend(WHOLE_VENDOR));
        assert_eq!((TimesTold::get(), Attestation::is_shut_out(&claim.identity)), (2, true));
        assert_ok!(lift(WHOLE_VENDOR));
        assert_eq!((TimesTold::get(), Attestation::is_shut_out(&claim.identity)), (2, false));
        assert_ok!(Attestation::remove_measurement(RuntimeOrigin::root(), machine.measurement()));
        assert_eq!((TimesTold::get(), Attestation::is_shut_out(&claim.identity)), (3, true));
        allow(machine, 0, None);
        assert_eq!((TimesTold::get(), Attestation::is_shut_out(&claim.identity)), (3, false));
        // One that is listed otherwise may have lost somebody; one that has only lapsed has not been shut out.
        allow(machine, 0, None);
        assert_eq!(TimesTold::get(), 4);
        at_second(NOW + 2 * DAY);
        assert!(!is_active(&claim) && !Attestation::is_shut_out(&claim.identity));
        assert_ok!(Attestation::revoke_hardware(RuntimeOrigin::root(), hardware));
        assert_eq!((TimesTold::get(), Attestation::is_shut_out(&claim.identity)), (5, true));
    });
}

#[test]
fn a_revocation_in_force_is_not_put_off() {
    network(true).execute_with(|| {
        assert_ok!(revoke(WHOLE_VENDOR));
        assert_noop!(
            Attestation::revoke(RuntimeOrigin::root(), WHOLE_VENDOR, Some(BLOCK + 100)),
            Error::<Test>::AlreadyBarred
        );
    });
}

#[test]
fn a_vendors_root_can_be_ended_and_never_put_back() {
    network(true).execute_with(|| {
        let root = Subject::Root(Root::Intel);
        for call in [revoke(root), suspend(root), lift(root)] {
            assert_eq!(call, Err(Error::<Test>::RootsOnlyEnd.into()));
        }
        assert_ok!(end_root(INTEL_ROOT_DER, Some(BLOCK + 100)));
        assert_noop!(end_root(INTEL_ROOT_DER, Some(BLOCK + 101)), Error::<Test>::RootsOnlyEnd);
        assert_ok!(end_root(INTEL_ROOT_DER, Some(BLOCK + 10)));
        assert_noop!(lift(root), Error::<Test>::RootsOnlyEnd);
        let ends: Vec<_> = Bans::<Test>::get().iter().map(|ban| (ban.subject, ban.from, ban.until)).collect();
        assert_eq!(ends, [(root, BLOCK + 10, None)]);
    });
}

#[test]
fn what_rests_on_an_ended_root_is_refused() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        // No call can end the development root; what an ended vendor's root would do is shown on it.
        let ban = phala_attest::Ban { subject: Subject::Root(Root::InsecureDevelopment), from: BLOCK + 1, until: None };
        Bans::<Test>::mutate(|bans| bans.put(ban, BLOCK)).unwrap();
        assert!(is_active(&claim));
        System::set_block_number(BLOCK + 1);
        assert!(!is_active(&claim));
        assert_noop!(register(machine, claim), Error::<Test>::Barred);
        let newer = InsecureMachine::new("one", BINARY, NOW + 60).unwrap();
        assert_noop!(submit(newer.collateral()), Error::<Test>::UntrustedRoot);
    });
}

#[test]
fn no_call_takes_the_development_root_or_any_other() {
    for development in [true, false] {
        network(development).execute_with(|| {
            assert_noop!(end_root(INSECURE_DEVELOPMENT_ROOT_DER, None), Error::<Test>::DevelopmentRoot);
            assert_noop!(end_root(b"some other root", None), Error::<Test>::UnknownRoot);
            for call in [revoke, suspend, lift] {
                let refused = call(Subject::Root(Root::InsecureDevelopment));
                assert_eq!(refused, Err(Error::<Test>::RootsOnlyEnd.into()));
            }
            assert!(Bans::<Test>::get().is_empty());
        });
    }
}
